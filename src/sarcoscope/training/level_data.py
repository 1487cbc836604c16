"""Training rows of the level network: strips and targets of reference CT, label maps and phantoms."""

from __future__ import annotations

import csv
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVEL_INDEX
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.coarse import CoarseVolume, coarse_copy
from sarcoscope.levels.spine import SpinePath
from sarcoscope.levels.strips import cut_strips
from sarcoscope.samples.phantom import make_phantom, random_settings
from sarcoscope.training.canal_points import phantom_path, read_points, reference_path

NONE = 19
"""Class of rows above the first cervical and below the last sacral vertebra."""
UNKNOWN = -1
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LevelCase:
    """One spine: ``strips`` [strip, row, 48] HU, ``level`` [row] class or -1, ``gap`` [row] 1/0 or -1."""

    name: str
    person: str
    kind: str
    """``ct``, ``map`` or ``phantom``."""
    strips: NDArray[np.float32]
    level: NDArray[np.int64]
    gap: NDArray[np.int64]


@dataclass(frozen=True)
class ReferenceRange:
    """A row of the reference table: one vertebra of one volume."""

    level: str
    index_low: int
    index_high: int
    cut: bool


def read_references(data: Path) -> dict[str, tuple[str, float, tuple[ReferenceRange, ...]]]:
    """Volume name → (person, the readers' certainty of the numbering, vertebrae from below)."""
    found: dict[str, tuple[str, float, list[ReferenceRange]]] = {}
    with (data / "levels.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            entry = found.setdefault(row["volume"], (row["person"], float(row["numbering_confidence"]), []))
            name = {"C": "Cervical", "S": "Sacral"}.get(row["level"][0], row["level"])
            low, high = int(row["index_low"]), int(row["index_high"])
            entry[2].append(ReferenceRange(name, low, high, row["cut_by_volume_end"] == "1"))
    return {k: (p, c, tuple(sorted(r, key=lambda x: x.index_low))) for k, (p, c, r) in found.items()}


def row_targets(
    spans: Iterable[tuple[str, float, float, bool]], rows_mm: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(level, gap) per row from ``(level, low mm, high mm, cut)`` of every vertebra, ordered from below.

    Rows between two neighbours are gaps and carry the nearer one's level. Rows beyond an uncut sacrum or
    first cervical vertebra are ``NONE``; other rows are unknown.
    """
    spans = list(spans)
    level = np.full(len(rows_mm), UNKNOWN, np.int64)
    gap = np.full(len(rows_mm), UNKNOWN, np.int64)
    for name, low, high, _ in spans:
        inside = (rows_mm >= low) & (rows_mm <= high)
        level[inside], gap[inside] = LEVEL_INDEX[name], 0
    for (below, _, low, _), (above, high, _, _) in itertools.pairwise(spans):
        between = (rows_mm > low) & (rows_mm < high)
        level[between] = np.where(rows_mm[between] < (low + high) / 2, LEVEL_INDEX[below], LEVEL_INDEX[above])
        gap[between] = 0 if below == above else 1
    if spans and spans[0][0] == "Sacral" and not spans[0][3]:
        level[rows_mm < spans[0][1] - 6.0] = NONE
    if spans and spans[-1][0] == "Cervical" and not spans[-1][3]:
        level[rows_mm > spans[-1][2] + 6.0] = NONE
    return level, gap


def case_of_volume(
    name: str,
    person: str,
    kind: str,
    volume: Volume,
    ranges: Iterable[ReferenceRange],
    path_of: Callable[[CoarseVolume], SpinePath],
) -> LevelCase:
    """Strips and targets of a volume with known ranges and a known path of the canal."""
    coarse = coarse_copy(volume)
    offsets = volume.geometry.slice_offsets_mm
    half = volume.geometry.spacing_mm[0] / 2
    spans = [
        (r.level, float(offsets[r.index_low]) - half, float(offsets[r.index_high]) + half, r.cut)
        for r in ranges
    ]
    level, gap = row_targets(spans, coarse.row_offsets_mm)
    return LevelCase(name, person, kind, cut_strips(coarse, path_of(coarse)), level, gap)


def reference_cases(data: Path, cache: Path) -> list[LevelCase]:
    """All reference CT volumes; their strips are kept in ``cache``."""
    cases = []
    points = read_points()
    for name, (person, _, ranges) in read_references(data).items():
        kept = cache / f"{name}.npz"
        if not kept.is_file():
            log.info("strips of %s", name)
            volume = read_nifti(data / "volumes" / f"{name}.nii.gz")
            path_of = partial(reference_path, points[name])
            save_case(kept, case_of_volume(name, person, "ct", volume, ranges, path_of))
        cases.append(load_case(kept))
    return cases


def phantom_cases(count: int, seed: int, cache: Path) -> list[LevelCase]:
    """Phantoms of random people, noisy and blurred as CT is; their strips are kept in ``cache``."""
    cases = []
    for k in range(count):
        kept = cache / f"phantom_{seed}_{k}.npz"
        if not kept.is_file():
            rng = np.random.default_rng([seed, k])
            settings = random_settings(rng, matrix=192, clean=False)
            phantom = make_phantom(settings)
            ranges = [
                ReferenceRange(r.level, r.index_low, r.index_high, not r.complete)
                for r in phantom.levels.ranges
            ]
            name, path_of = f"phantom_{k}", partial(phantom_path, phantom)
            case = case_of_volume(name, name, "phantom", phantom.volume(), ranges, path_of)
            save_case(kept, case)
        cases.append(load_case(kept))
    return cases


def save_case(path: Path, case: LevelCase) -> None:
    """Keep a case in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        strips=case.strips.astype(np.float16),
        level=case.level,
        gap=case.gap,
        names=np.array([case.name, case.person, case.kind]),
    )


def load_case(path: Path) -> LevelCase:
    """Read a kept case."""
    with np.load(path) as kept:
        name, person, kind = (str(n) for n in kept["names"])
        return LevelCase(name, person, kind, kept["strips"].astype(np.float32), kept["level"], kept["gap"])


def reference_folds(data: Path, count: int) -> list[tuple[str, ...]]:
    """Persons of the reference CT in ``count`` groups, those with a lumbar spine spread evenly."""
    lumbar: dict[str, bool] = {}
    for person, _, ranges in read_references(data).values():
        lumbar[person] = lumbar.get(person, False) or any(r.level == "L3" for r in ranges)
    order = sorted(lumbar, key=lambda p: (not lumbar[p], p))
    return [tuple(order[k::count]) for k in range(count)]
