"""The spinal canal through the whole volume: the thread along which the spine is straightened.

A small network says for every row where the canal's centre is (:mod:`sarcoscope.levels.canal`); the best
smooth path through all rows is found by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.levels.canal import SHRINK, canal_share
from sarcoscope.levels.coarse import CoarseVolume
from sarcoscope.models.package import ModelPackage

_MOVE = 2
"""Pixels of 4 mm that the path may move from one row (2 mm) to the next."""
_MOVE_COST = 0.06
_SEEN = 0.25
"""From this share on the network sees a canal."""
_HILL = 2
_SMOOTH_ROWS = 2.5


@dataclass(frozen=True, eq=False)
class SpinePath:
    """The canal's centre on every coarse row.

    ``yx`` [row, 2] in coarse pixels, ``score`` [row] 0..1: how much the place looks like a canal.
    """

    yx: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def quality(self) -> float:
        """Share of rows on which the path runs in something like a canal."""
        return float((self.score > _SEEN).mean()) if len(self.score) else 0.0


def find_spine(coarse: CoarseVolume, package: ModelPackage, members: Sequence[int]) -> SpinePath:
    """The best smooth path through the canal from the lowest to the highest row.

    Below the lowest and above the highest row on which the network sees a canal the path stays where it is.

    Args:
        coarse: the volume at 2 mm.
        package: a ``spine-canal`` model package.
        members: its members to ask.
    """
    share = canal_share(coarse, package, members)
    path = _best_path(share)
    rows = np.arange(len(path))
    score = share[rows, path[:, 0], path[:, 1]].astype(np.float64)
    yx = np.array([_centre(plane, place) for plane, place in zip(share, path, strict=True)])
    seen = np.flatnonzero(score > _SEEN)
    if len(seen):
        kept = np.clip(rows, seen[0], seen[-1])
        yx = yx[kept]
    yx = yx * SHRINK + (SHRINK - 1) / 2
    return SpinePath(ndi.gaussian_filter1d(yx, _SMOOTH_ROWS, axis=0, mode="nearest"), score)


def _centre(plane: NDArray[np.float32], place: NDArray[np.int64]) -> tuple[float, float]:
    """The weighted centre (y, x) of the hill around a cell."""
    low = np.maximum(place - _HILL, 0)
    hill = plane[low[0] : place[0] + _HILL + 1, low[1] : place[1] + _HILL + 1]
    total = float(hill.sum())
    if total < _SEEN:
        return float(place[0]), float(place[1])
    y = float((hill.sum(axis=1) * np.arange(hill.shape[0])).sum()) / total
    x = float((hill.sum(axis=0) * np.arange(hill.shape[1])).sum()) / total
    return low[0] + y, low[1] + x


def _best_path(gain: NDArray[np.float32]) -> NDArray[np.int64]:
    """[row, 2] (y, x) of the path with the greatest sum of ``gain`` [row, y, x] less the cost of moving."""
    rows, height, width = gain.shape
    moves = [(dy, dx) for dy in range(-_MOVE, _MOVE + 1) for dx in range(-_MOVE, _MOVE + 1)]
    moves.sort(key=lambda m: m[0] ** 2 + m[1] ** 2)
    best = gain[0].copy()
    came = np.zeros((rows, height, width), np.int8)
    for row in range(1, rows):
        padded = np.pad(best, _MOVE, constant_values=-1e9)
        top = np.full((height, width), -1e9, np.float32)
        for code, (dy, dx) in enumerate(moves):
            part = padded[_MOVE + dy : _MOVE + dy + height, _MOVE + dx : _MOVE + dx + width]
            part = part - np.float32(_MOVE_COST * (dy * dy + dx * dx))
            better = part > top
            top[better] = part[better]
            came[row][better] = code
        best = top + gain[row]
    path = np.zeros((rows, 2), np.int64)
    path[-1] = np.unravel_index(int(best.argmax()), best.shape)
    for row in range(rows - 1, 0, -1):
        dy, dx = moves[came[row, path[row, 0], path[row, 1]]]
        path[row - 1] = path[row] + (dy, dx)
    return path
