"""Levels by a slice classifier (P2's way): every axial slice named alone, then the whole chain in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import ModelError
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.chain import NONE_CLASS, Evidence
from sarcoscope.levels.coarse import STEP_MM
from sarcoscope.levels.level_map import LevelFlag, LevelMap, LevelRange
from sarcoscope.models.package import ModelPackage
from sarcoscope.models.slice_input import SliceInput
from sarcoscope.progress import Progress

_BATCH: Final = 8
_LEAST_NONE: Final = 1e-3
_SHARE: Final = 0.5


@dataclass(frozen=True, eq=False)
class SliceReading:
    """A slice classifier's shares [slice, class] and Grad-CAM maps [slice, class, y, x]."""

    shares: NDArray[np.float32]
    maps: NDArray[np.float32]


def read_slices(
    volume: Volume, indices: list[int], package: ModelPackage, progress: Progress | None = None
) -> SliceReading:
    """Ask a slice classifier about some slices.

    Raises:
        ModelError: the package is no slice classifier.
    """
    spec = SliceInput.of_card(package.card)
    shares, maps = [], []
    for k in range(0, len(indices), _BATCH):
        answer = package.run(image=spec.batch(volume.hu[indices[k : k + _BATCH]]))
        if len(answer) != 2:
            raise ModelError(f"The model '{package.name}' does not answer shares and maps of slices.")
        shares.append(answer[0].mean(axis=0))
        maps.append(answer[1])
        if progress is not None:
            progress("levels", min((k + _BATCH) / len(indices), 1.0))
    return SliceReading(np.concatenate(shares), np.concatenate(maps))


def row_places(offsets_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of 2 mm from the first to the last slice."""
    return np.arange(offsets_mm[0], offsets_mm[-1] + 1e-6, STEP_MM)


def row_evidence(shares: NDArray[np.float32], offsets_mm: NDArray[np.float64]) -> Evidence:
    """Shares of slices [slice, 19] as evidence on rows of 2 mm; discs are not seen by such a classifier."""
    rows = row_places(offsets_mm)
    table = np.full((NONE_CLASS + 1, len(rows)), _LEAST_NONE)
    for level in range(len(LEVELS)):
        table[level] = np.interp(rows, offsets_mm, shares[:, level])
    return Evidence.of(table / table.sum(axis=0), np.full(len(rows), 0.5))


def find_l3(volume: Volume, package: ModelPackage, progress: Progress | None = None) -> LevelMap:
    """L3 alone, by a classifier "L3 or not" (P3's way): the longest run of slices taken for L3."""
    reading = read_slices(volume, list(range(volume.n_slices)), package, progress)
    share = reading.shares[:, list(package.card["classes"]).index("L3")]
    taken = share > _SHARE
    runs, start = [], None
    for index, inside in enumerate([*taken.tolist(), False]):
        if inside and start is None:
            start = index
        elif not inside and start is not None:
            runs.append((start, index - 1))
            start = None
    if not runs:
        return LevelMap((), (LevelFlag("spine_not_found"),), (package.reference,))
    low, high = max(runs, key=lambda r: (r[1] - r[0], float(share[r[0] : r[1] + 1].sum())))
    complete = low > 0 and high < volume.n_slices - 1
    sure = round(float(share[low : high + 1].mean()) / len(runs), 3)
    return LevelMap((LevelRange("L3", low, high, sure, complete),), (), (package.reference,))


def level_map_of(volume: Volume, index: int, level: str, package: ModelPackage) -> NDArray[np.float32]:
    """Grad-CAM [y, x] of one slice and level class on the network's grid, scaled to 0..1.

    Raises:
        ModelError: the package does not know that level.
    """
    classes = list(package.card["classes"])
    if level not in classes:
        raise ModelError(f"The model '{package.name}' has no class '{level}'.")
    cam = read_slices(volume, [index], package).maps[0, classes.index(level)]
    top = float(cam.max())
    scaled: NDArray[np.float32] = (cam / top if top > 0 else cam).astype(np.float32)
    return scaled


def slice_level(volume: Volume, index: int, package: ModelPackage) -> tuple[str, float]:
    """The likeliest class of a slice, and its share."""
    shares = read_slices(volume, [index], package).shares[0]
    best = int(shares.argmax())
    return str(package.card["classes"][best]), float(shares[best])
