"""The spinal canal through the whole volume: the thread along which the spine is straightened.

The canal is soft tissue with bone in front, behind, left and right. Its best smooth path through all rows is
found by dynamic programming, which contrast-filled vessels do not deceive as "the brightest thing near the
midline" is deceived.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.levels.coarse import STEP_MM, CoarseVolume

_SHRINK = 2
"""The path is sought on every second coarse pixel (4 mm)."""
_MOVE = 2
"""Pixels of 4 mm that the path may move from one row (2 mm) to the next."""
_MOVE_COST = 0.06
_BODY_HU = -300.0


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
        return float((self.score > 0.25).mean()) if len(self.score) else 0.0


def find_spine(coarse: CoarseVolume) -> SpinePath:
    """The best smooth path of canal-like places from the lowest to the highest row."""
    score = canal_score(coarse.hu)
    total = score + _prior(coarse.hu)
    path = _best_path(total)
    rows = np.arange(len(path))
    along = score[rows, path[:, 0], path[:, 1]].astype(np.float64)
    yx = path.astype(np.float64) * _SHRINK + (_SHRINK - 1) / 2
    yx = ndi.gaussian_filter1d(yx, 3.0, axis=0, mode="nearest")
    return SpinePath(yx, along)


def canal_score(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """[row, y/2, x/2] how canal-like every place is, 0..1, from coarse HU [row, y, x] at 2 mm."""
    rows, height, width = hu.shape
    height, width = height // _SHRINK * _SHRINK, width // _SHRINK * _SHRINK
    shape = (rows, height // _SHRINK, _SHRINK, width // _SHRINK, _SHRINK)
    cells = hu[:, :height, :width].reshape(shape)
    soft = np.clip(1.0 - np.abs(cells.mean(axis=(2, 4)) - 30.0) / 110.0, 0.0, 1.0)
    bone = np.clip((cells.max(axis=4).mean(axis=2) - 110.0) / 200.0, 0.0, 1.0)
    step = STEP_MM * _SHRINK

    def box(centre_y: float, centre_x: float, size_y: float, size_x: float) -> NDArray[np.float32]:
        size = (1, max(round(size_y / step), 1), max(round(size_x / step), 1))
        mean = ndi.uniform_filter(bone, size, mode="constant")
        move = (0, round(-centre_y / step), round(-centre_x / step))
        shifted = np.roll(mean, move, axis=(0, 1, 2))
        return np.asarray(shifted, np.float32)

    front = box(-22, 0, 20, 20)
    back = np.maximum(box(12, 0, 8, 8), box(20, 0, 16, 8))
    left, right = box(-2, -16, 20, 8), box(-2, 16, 20, 8)
    sides = np.sqrt(left * right)
    centre = ndi.uniform_filter(soft, (1, 3, 3), mode="constant")
    raw = centre * (0.5 * np.sqrt(front) + 0.3 * np.sqrt(back) + 0.5 * np.sqrt(sides)) * np.sqrt(front)
    smooth = ndi.gaussian_filter1d(raw, 5.0, axis=0, mode="nearest")
    score: NDArray[np.float32] = np.clip(smooth * 1.6, 0.0, 1.0).astype(np.float32)
    return score


def _prior(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """[row, y/2, x/2] penalty (<= 0): far from the midline, in front of the middle, outside the body."""
    small = hu[:, ::_SHRINK, ::_SHRINK][:, : hu.shape[1] // _SHRINK, : hu.shape[2] // _SHRINK]
    rows, height, width = small.shape
    body = small > _BODY_HU
    middle_x, low_y, high_y = np.full(rows, width / 2), np.zeros(rows), np.full(rows, float(height - 1))
    for k in range(rows):
        if body[k].sum() > 50:
            middle_x[k] = np.median(np.nonzero(body[k])[1])
            low_y[k], high_y[k] = np.percentile(np.nonzero(body[k])[0], (2, 98))
    middle_x, low_y, high_y = (
        ndi.gaussian_filter1d(v, 8.0, mode="nearest") for v in (middle_x, low_y, high_y)
    )
    x = np.arange(width)[None, :]
    y = np.arange(height)[None, :]
    aside = np.abs(x - middle_x[:, None]) * STEP_MM * _SHRINK
    depth = (y - low_y[:, None]) / np.maximum(high_y - low_y, 1.0)[:, None]
    penalty_x = -0.35 * np.clip(aside / 60.0, 0.0, 2.0) ** 2
    penalty_y = -1.0 * np.clip(0.50 - depth, 0.0, 1.0) - 2.0 * np.clip(depth - 0.95, 0.0, 1.0)
    outside = np.where(body, 0.0, -0.3)
    total: NDArray[np.float32] = (penalty_x[:, None, :] + penalty_y[:, :, None] + outside).astype(np.float32)
    return total


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
