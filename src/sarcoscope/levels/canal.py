"""Where the spinal canal is: what the canal network sees, and its answer for every row of a coarse volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.levels.coarse import AIR_HU, CoarseVolume
from sarcoscope.models.package import ModelPackage

SHRINK: Final = 2
"""The network looks at every second coarse pixel: cells of 4 mm."""
ROW_STEP: Final = 3
"""And at every third row (6 mm); the rows between are interpolated."""
MULTIPLE: Final = 16
"""Heights and widths of its input are multiples of this many cells."""
_NEIGHBOURS: Final = (-3, 0, 3)
_WINDOWS: Final = ((-150.0, 250.0), (0.0, 1000.0))
_BATCH: Final = 24
_BODY_HU: Final = -300.0


def cells_of(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU [row, y, x] at 2 mm as means over cells of 4 mm, padded with air: [row, cell y, cell x]."""
    rows, height, width = (hu.shape[0], hu.shape[1] // SHRINK, hu.shape[2] // SHRINK)
    kept = hu[:, : height * SHRINK, : width * SHRINK]
    cells = kept.reshape(rows, height, SHRINK, width, SHRINK).mean(axis=(2, 4))
    room = [(0, max(-(-size // MULTIPLE), 2) * MULTIPLE - size) for size in (height, width)]
    padded: NDArray[np.float32] = np.pad(cells, ((0, 0), *room), constant_values=AIR_HU)
    return padded


def canal_input(cells: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
    """Input [row, 6, cell y, cell x] for chosen rows of cells: the row and its neighbours in two windows."""
    last = len(cells) - 1
    stack = np.stack([cells[[min(max(r + n, 0), last) for r in rows]] for n in _NEIGHBOURS], axis=1)
    return windowed(stack)


def windowed(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU [row, neighbour, y, x] to channels [row, neighbour x window, y, x] of 0..1."""
    channels = [np.clip((stack - low) / (high - low), 0.0, 1.0) for low, high in _WINDOWS]
    joined: NDArray[np.float32] = np.concatenate(channels, axis=1).astype(np.float32)
    return joined


def canal_share(coarse: CoarseVolume, package: ModelPackage, members: Sequence[int]) -> NDArray[np.float32]:
    """[row, y/2, x/2] 0..1: how likely every cell lies at the canal's centre, mean of some members."""
    cells = cells_of(coarse.hu)
    y, x = (_body_part(cells, axis) for axis in (1, 2))
    asked = list(range(0, len(cells), ROW_STEP))
    seen = cells[:, y, x]
    answers = [
        package.run(image=canal_input(seen, asked[k : k + _BATCH]))[0][list(members)].mean(axis=0)
        for k in range(0, len(asked), _BATCH)
    ]
    share = np.zeros((len(asked), *cells.shape[1:]), np.float32)
    share[:, y, x] = np.concatenate(answers)
    share = share[:, : coarse.hu.shape[1] // SHRINK, : coarse.hu.shape[2] // SHRINK]
    rows = np.arange(len(cells))
    low = np.minimum(rows // ROW_STEP, len(asked) - 1)
    high = np.minimum(low + 1, len(asked) - 1)
    part = ((rows % ROW_STEP) / ROW_STEP).astype(np.float32)[:, None, None]
    between: NDArray[np.float32] = share[low] * (1 - part) + share[high] * part
    return between


def _body_part(cells: NDArray[np.float32], axis: int) -> slice:
    """The part of an axis of cells [row, y, x] that holds the body, a multiple of :data:`MULTIPLE` long."""
    others = tuple(k for k in range(3) if k != axis)
    held = np.flatnonzero((cells > _BODY_HU).any(axis=others))
    if len(held) == 0:
        return slice(0, MULTIPLE * 2)
    low, high = max(int(held[0]) - 2, 0), min(int(held[-1]) + 3, cells.shape[axis])
    length = max(-(-(high - low) // MULTIPLE) * MULTIPLE, MULTIPLE * 2)
    start = max(min(low, cells.shape[axis] - length), 0)
    return slice(start, start + length)
