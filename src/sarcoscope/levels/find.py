"""Find the vertebral levels of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.chain import CHAIN, NONE_CLASS, Chain, Evidence, Segment, decode, name_shares
from sarcoscope.levels.coarse import STEP_MM, CoarseVolume, coarse_copy
from sarcoscope.levels.level_map import LevelFlag, LevelMap, LevelRange
from sarcoscope.levels.slice_classifier import find_l3, read_slices, row_evidence, row_places
from sarcoscope.levels.spine import SpinePath, find_spine
from sarcoscope.levels.strips import cut_strips, network_input
from sarcoscope.models.package import ModelPackage, shipped_package
from sarcoscope.progress import Progress

SHORTEST_MM: Final = 40.0
"""Less than this of the spine in view: no vertebra is named."""
SHORT_MM: Final = 110.0
"""Less than this in view: the numbering rests on the look of two or three vertebrae."""
SURE: Final = 0.8
"""A level named with less confidence than this is flagged."""
OBLIQUE_DEGREES: Final = 20.0
_TEMPERATURE: Final = 4.0
_FAR_ROWS: Final = 6.0
_LEAST_SPINE: Final = 0.3
_FEWEST_ROWS: Final = 24


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says of a spine: class shares [member, 20, row] and gap shares [member, row]."""

    classes: NDArray[np.float64]
    gaps: NDArray[np.float64]

    def evidence(self, members: Sequence[int]) -> Evidence:
        """Mean evidence of some members."""
        chosen = list(members)
        return Evidence.of(self.classes[chosen].mean(axis=0), self.gaps[chosen].mean(axis=0))


@dataclass(frozen=True, eq=False)
class SpineView:
    """What the deciding model saw of the straightened spine and said of it, on rows of 2 mm from below."""

    strips: NDArray[np.float32]
    """HU [strip, row, 48], strips in the order of :data:`~sarcoscope.levels.strips.PLANS`."""
    rows_mm: NDArray[np.float64]
    """[row] distance along the slice normal."""
    shares: NDArray[np.float64]
    """[19, row] share of every level (order of ``LEVELS``), mean of the members."""
    gaps: NDArray[np.float64]
    """[row] share of "between two bodies"."""


def find_levels(
    volume: Volume,
    *,
    progress: Progress | None = None,
    person: str | None = None,
    package: ModelPackage | None = None,
    canal: ModelPackage | None = None,
) -> LevelMap:
    """The vertebral bodies in view, with confidence, runner-up and completeness.

    Args as of :func:`see_levels`.
    """
    return see_levels(volume, progress=progress, person=person, package=package, canal=canal)[0]


def see_levels(
    volume: Volume,
    *,
    progress: Progress | None = None,
    person: str | None = None,
    package: ModelPackage | None = None,
    canal: ModelPackage | None = None,
) -> tuple[LevelMap, SpineView | None]:
    """The levels, and what they were decided from (None: too little in view to ask the model).

    Args:
        volume: HU int16 [z, y, x].
        progress: hears ("levels", fraction).
        person: somebody of the training data: only members that never saw them are asked (cross-validation).
        package: a ``level-chain`` model package; the shipped one by default.
        canal: a ``spine-canal`` model package; the shipped one by default.
    """
    package, canal = package or shipped_package("level-chain"), canal or shipped_package("spine-canal")
    models = (canal.reference, package.reference)
    height = float(np.ptp(volume.geometry.slice_offsets_mm)) + volume.geometry.spacing_mm[0]
    if volume.n_slices < 3 or height < SHORTEST_MM:
        return LevelMap((), (LevelFlag("short_field_of_view"),), models), None
    coarse = coarse_copy(volume)
    _tell(progress, 0.3)
    path = find_spine(coarse, canal, canal.members_without(person))
    _tell(progress, 0.7)
    strips = cut_strips(coarse, path)
    reading = read_spine(strips, package)
    chosen = package.members_without(person)
    seen = SpineView(
        strips,
        coarse.row_offsets_mm,
        reading.classes[list(chosen), :NONE_CLASS].mean(axis=0),
        reading.gaps[list(chosen)].mean(axis=0),
    )
    chain = decode(reading.evidence(chosen))
    spine = _slice_path(volume, coarse, path)
    if path.quality < _LEAST_SPINE or not chain.segments:
        return LevelMap((), (LevelFlag("spine_not_found"),), models, spine), seen
    evidence = reading.evidence(chosen)
    agreement = _agreement(reading, chosen, chain)
    ranges = chain_ranges(volume, coarse.row_offsets_mm, chain, evidence, agreement)
    _tell(progress, 1.0)
    flags = _flags(ranges, height) + _obliquity(volume, ranges, spine)
    return LevelMap(ranges, flags, models, spine), seen


def find_levels_by(
    volume: Volume, packages: Mapping[str, ModelPackage], progress: Progress | None = None
) -> LevelMap:
    """Levels by the models that the user chose.

    Args:
        volume: HU int16 [z, y, x].
        packages: kind of model -> package; what is not named is done by what ships.
        progress: hears ("levels", fraction).
    """
    if "slice-levels" in packages:
        return find_by_slices(volume, packages["slice-levels"], progress)
    if "l3-slice" in packages:
        return find_l3(volume, packages["l3-slice"], progress)
    package, canal = packages.get("level-chain"), packages.get("spine-canal")
    return find_levels(volume, progress=progress, package=package, canal=canal)


def read_spine(strips_hu: NDArray[np.float32], package: ModelPackage) -> Reading:
    """Ask the network about the straightened spine, HU [strip, row, 48]."""
    strips = network_input(strips_hu)
    rows = strips.shape[1]
    if rows < _FEWEST_ROWS:
        strips = np.pad(strips, ((0, 0), (0, _FEWEST_ROWS - rows), (0, 0)), mode="edge")
    (logits,) = package.run(strips=strips[None])
    logits = np.asarray(logits[:, :, :rows], np.float64)
    classes = np.exp(logits[:, :-1] - logits[:, :-1].max(axis=1, keepdims=True))
    classes /= classes.sum(axis=1, keepdims=True)
    return Reading(classes, 1.0 / (1.0 + np.exp(-logits[:, -1])))


def _tell(progress: Progress | None, fraction: float) -> None:
    if progress is not None:
        progress("levels", fraction)


def find_by_slices(volume: Volume, package: ModelPackage, progress: Progress | None = None) -> LevelMap:
    """The vertebral bodies in view by a slice classifier: every slice named alone, then the chain in order.

    Args:
        volume: HU int16 [z, y, x].
        package: a ``slice-levels`` model package.
        progress: hears ("levels", fraction).
    """
    offsets = volume.geometry.slice_offsets_mm
    height = float(np.ptp(offsets)) + volume.geometry.spacing_mm[0]
    if volume.n_slices < 3 or height < SHORTEST_MM:
        return LevelMap((), (LevelFlag("short_field_of_view"),), (package.reference,))
    shares = read_slices(volume, list(range(volume.n_slices)), package, progress).shares
    evidence, rows = row_evidence(shares, offsets), row_places(offsets)
    chain = decode(evidence)
    ranges = chain_ranges(volume, rows, chain, evidence, {})
    flags = _flags(ranges, height) if ranges else (LevelFlag("spine_not_found"),)
    return LevelMap(ranges, flags, (package.reference,))


def chain_ranges(
    volume: Volume,
    rows: NDArray[np.float64],
    chain: Chain,
    evidence: Evidence,
    agreement: Mapping[str, float],
) -> tuple[LevelRange, ...]:
    """Slices of every vertebra of a chain; one that holds no slice's centre gets none.

    Args:
        volume: whose slices are meant.
        rows: [row] distance of every row along the slice normal in mm.
        chain: the numbering of the rows.
        evidence: what it was found from.
        agreement: level -> factor 0..1 of the confidence (1 where it is not named).
    """
    shares = name_shares(evidence, chain, _TEMPERATURE)
    offsets = volume.geometry.slice_offsets_mm
    found = []
    for segment, share in zip(chain.segments, shares, strict=True):
        low_mm = rows[segment.start] - STEP_MM / 2
        high_mm = rows[segment.stop - 1] + STEP_MM / 2
        inside = np.flatnonzero((offsets >= low_mm) & (offsets < high_mm))
        if len(inside) == 0:
            continue
        low, high = int(inside[0]), int(inside[-1])
        cut = segment.start == 0 or segment.stop == len(rows) or low == 0 or high == len(offsets) - 1
        own = CHAIN.index(segment.level)
        confidence = float(share[own]) * agreement.get(segment.level, 1.0)
        runner_up = CHAIN[max((k for k in range(len(CHAIN)) if k != own), key=lambda k: share[k])]
        found.append(LevelRange(segment.level, low, high, round(confidence, 3), not cut, runner_up))
    return tuple(found)


def _agreement(reading: Reading, members: Sequence[int], chain: Chain) -> dict[str, float]:
    """Per level 0..1: how far the single members, each asked alone, give the same name and borders."""
    if len(members) < 2:
        return {segment.level: 0.97 for segment in chain.segments}
    alone = [decode(reading.evidence([m])).segments for m in members]
    agreement = {}
    for segment in chain.segments:
        middle = (segment.start + segment.stop) // 2
        same = sum(_named(other, middle) == segment.level for other in alone) / len(alone)
        borders = sum(_border_agreement(other, segment) for other in alone) / len(alone)
        agreement[segment.level] = (0.30 + 0.68 * same) * (0.85 + 0.15 * borders)
    return agreement


def _border_agreement(segments: Sequence[Segment], own: Segment) -> float:
    """1 where a level's borders lie on the same rows, 0 where they differ by :data:`_FAR_ROWS` together."""
    other = next((s for s in segments if s.level == own.level), None)
    if other is None:
        return 0.0
    return 1.0 - min((abs(other.start - own.start) + abs(other.stop - own.stop)) / _FAR_ROWS, 1.0)


def _named(segments: Sequence[Segment], row: int) -> str | None:
    return next((s.level for s in segments if s.start <= row < s.stop), None)


def _slice_path(volume: Volume, coarse: CoarseVolume, path: SpinePath) -> tuple[tuple[float, float], ...]:
    """Per slice the canal's (y, x) in pixels of the volume."""
    offsets = volume.geometry.slice_offsets_mm
    places = []
    for axis in range(2):
        along = path.yx[:, axis] * STEP_MM + coarse.corner_mm[axis]
        pixels = np.interp(offsets, coarse.row_offsets_mm, along) / volume.geometry.spacing_mm[1 + axis]
        places.append([round(float(p), 2) for p in pixels])
    return tuple(zip(*places, strict=True))


def _flags(ranges: Sequence[LevelRange], height_mm: float) -> tuple[LevelFlag, ...]:
    flags = []
    if height_mm < SHORT_MM:
        flags.append(LevelFlag("short_field_of_view"))
    doubtful = [r for r in ranges if r.confidence < SURE]
    if ranges and len(doubtful) > len(ranges) / 2:
        flags.append(LevelFlag("numbering_uncertain"))
    flags += [LevelFlag("level_confidence_low", (("level", r.level),)) for r in doubtful if r.level == "L3"]
    return tuple(flags)


def _obliquity(
    volume: Volume, ranges: Sequence[LevelRange], spine: Sequence[tuple[float, float]]
) -> tuple[LevelFlag, ...]:
    """A flag when the slices lie oblique to the spine at L3."""
    level = next((r for r in ranges if r.level == "L3"), None)
    if level is None:
        return ()
    offsets = volume.geometry.slice_offsets_mm
    reach = 20.0
    middle = float(offsets[level.index_mid])
    near = np.flatnonzero(np.abs(offsets - middle) <= reach)
    if len(near) < 3:
        return ()
    points = np.array(spine)[near] * np.array(volume.geometry.spacing_mm[1:])
    slopes = [float(np.polyfit(offsets[near], points[:, a], 1)[0]) for a in range(2)]
    angle = float(np.degrees(np.arctan(np.hypot(slopes[0], slopes[1]))))
    if angle < OBLIQUE_DEGREES:
        return ()
    return (LevelFlag("scoliosis", (("angle", f"{angle:.0f}"),)),)
