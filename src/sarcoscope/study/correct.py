"""What readers correct: levels that they moved and masks that they drew go before the models' answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVEL_INDEX, LEVELS
from sarcoscope.errors import InputError, SettingError
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.level_map import LevelMap, LevelRange
from sarcoscope.measures.measurement import Flag
from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.tissue_mask import TissueMask

KEPT_FLAGS: Final = frozenset(
    {
        "level_confidence_low",
        "level_corrected",
        "scoliosis",
        "short_field_of_view",
        "ascites_suspected",
        "oedema_suspected",
    }
)
"""What an earlier analysis said of the picture and its levels that a correction does not compute again."""


@dataclass(frozen=True)
class LevelMove:
    """A reader's range of one level."""

    level: str
    index_low: int
    index_high: int
    reader: str
    renumber: bool = False
    """The vertebra that lies there was named wrongly: every other name moves along with it."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Levels and masks that are taken as they are."""

    levels: LevelMap
    flags: tuple[Flag, ...]
    """What still holds of the levels and the picture."""
    n_slices: int
    """Slices of the volume that it speaks of."""
    series_uid: str | None
    """Its series."""
    indices: tuple[int, ...] = ()
    """Slices that the mask covers, ascending."""
    labels: NDArray[np.uint8] | None = None
    """[n, y, x] labels of these slices."""
    reader: str = ""
    """Who corrected the mask last; empty: nobody did."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What provenance says of it."""


def moved(levels: LevelMap, move: LevelMove, n_slices: int) -> LevelMap:
    """The level map with a reader's range in it; neighbours give way, what contradicts it is left out.

    Raises:
        SettingError: no such level, or slices that the volume does not have.
    """
    if move.level not in LEVEL_INDEX:
        raise SettingError(f"'{move.level}' is no level; levels are {', '.join(LEVELS)}.")
    if not 0 <= move.index_low <= move.index_high < n_slices:
        raise SettingError(f"A range lies within the slices 0 to {n_slices - 1}, from low to high.")
    ranges = _renumbered(levels.ranges, move) if move.renumber else levels.ranges
    complete = move.index_low > 0 and move.index_high < n_slices - 1
    own = LevelRange(move.level, move.index_low, move.index_high, 1.0, complete)
    kept = [own]
    for other in ranges:
        rest = None if other.level == move.level else _beside(other, own)
        if rest is not None and _in_order(rest, own):
            kept.append(rest)
    return replace(levels, ranges=tuple(sorted(kept, key=lambda r: r.index_low)))


def _renumbered(ranges: Sequence[LevelRange], move: LevelMove) -> list[LevelRange]:
    """Every name moved by as many vertebrae as the one in the reader's range."""

    def shared(r: LevelRange) -> int:
        return min(r.index_high, move.index_high) - max(r.index_low, move.index_low) + 1

    there = max(ranges, key=shared, default=None)
    if there is None or shared(there) <= 0:
        raise SettingError("No vertebra was found in this range: the other names cannot move along with it.")
    by = LEVEL_INDEX[move.level] - LEVEL_INDEX[there.level]
    found = []
    for r in ranges:
        new = LEVEL_INDEX[r.level] + by
        ends = r.level in (LEVELS[0], LEVELS[-1])
        # Neck and sacrum are no single vertebra: they stay what they are.
        if ends:
            found.append(r)
        elif 0 < new < len(LEVELS) - 1:
            found.append(replace(r, level=LEVELS[new], runner_up=None))
    return found


def _beside(other: LevelRange, own: LevelRange) -> LevelRange | None:
    """What is left of a range beside the reader's."""
    if other.index_high < own.index_low or other.index_low > own.index_high:
        return other
    below, above = own.index_low - other.index_low, other.index_high - own.index_high
    if max(below, above) <= 0:
        return None
    if below >= above:
        return replace(other, index_high=own.index_low - 1, complete=False)
    return replace(other, index_low=own.index_high + 1, complete=False)


def _in_order(other: LevelRange, own: LevelRange) -> bool:
    """Higher slices have more cranial names."""
    return (other.index_low > own.index_high) == (LEVEL_INDEX[other.level] < LEVEL_INDEX[own.level])


def check_volume(correction: Correction, volume: Volume) -> None:
    """See that a correction speaks of this volume.

    Raises:
        InputError: images came or went since.
    """
    same = volume.series.uid == correction.series_uid
    if volume.n_slices != correction.n_slices or not same:
        raise InputError("The images are not those that were corrected; process the study from scratch.")


def settled_flags(flags: Sequence[Flag], moves: Sequence[LevelMove]) -> tuple[Flag, ...]:
    """What an earlier analysis said that still holds after the moves, and who made them."""
    corrected = {m.level for m in moves}
    whole = any(m.renumber for m in moves)
    kept = [
        f
        for f in flags
        if f.code in KEPT_FLAGS
        and f.values.get("level") not in corrected
        and not (whole and f.code == "level_confidence_low")
    ]
    # A numbering that nobody has mended stays in doubt.
    kept += [f for f in flags if f.code == "numbering_uncertain" and not whole]
    last = {m.level: m for m in moves}
    return (*kept, *(Flag("level_corrected", {"level": m.level, "reader": m.reader}) for m in last.values()))


def corrected_mask(volume: Volume, correction: Correction, more: TissueMask | None) -> TissueMask | None:
    """The reader's slices, and those that a model has added to them.

    Args:
        volume: the CT.
        correction: holds the labels so far.
        more: slices that the correction does not cover.
    """
    if correction.labels is None or not correction.indices:
        return more
    spacing = volume.geometry.spacing_mm[1:]
    drawn = {i: correction.labels[k] for k, i in enumerate(correction.indices)}
    bodies = {i: body_mask(volume.hu[i], spacing) for i in drawn}
    if more is not None:
        drawn |= {i: more.labels[k] for k, i in enumerate(more.indices)}
        bodies |= {i: more.body[k] for k, i in enumerate(more.indices)}
    indices = tuple(sorted(drawn))
    models = [m for m in correction.levels.models if m[0].startswith("tissue")]
    return TissueMask(
        indices,
        np.stack([drawn[i] for i in indices]),
        np.stack([bodies[i] for i in indices]),
        () if more is None or correction.reader else more.doubt,
        tuple(dict.fromkeys((*models, *(more.models if more is not None else ())))),
        reader=correction.reader,
    )
