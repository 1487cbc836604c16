"""A 2 mm isotropic copy of a volume: what level finding looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sarcoscope.imaging.volume import Volume

STEP_MM = 2.0
AIR_HU = -1024.0
_LARGEST = 400
"""Pixels of a side (80 cm); what lies farther from the picture's centre is cut."""
_MOST_ROWS = 1200


@dataclass(frozen=True, eq=False)
class CoarseVolume:
    """HU float32 ``[row, y, x]`` at 2 mm; rows go from inferior to superior.

    ``row_offsets_mm`` [row] are distances along the slice normal from slice 0; ``corner_mm`` is the (y, x)
    distance of the first coarse pixel's centre from the centre of the slice's first pixel.
    """

    hu: NDArray[np.float32]
    row_offsets_mm: NDArray[np.float64]
    corner_mm: tuple[float, float]


def coarse_copy(volume: Volume) -> CoarseVolume:
    """Resample a volume: boxes in the plane, linear between slices (gaps are bridged)."""
    offsets = volume.geometry.slice_offsets_mm
    rows = np.arange(offsets[0], offsets[-1] + 1e-6, STEP_MM)[:_MOST_ROWS]
    y_weights, y_corner = _box_weights(volume.hu.shape[1], volume.geometry.spacing_mm[1])
    x_weights, x_corner = _box_weights(volume.hu.shape[2], volume.geometry.spacing_mm[2])
    out = np.empty((len(rows), y_weights.shape[0], x_weights.shape[0]), np.float32)
    for k, offset in enumerate(rows):
        plane = _plane_at(volume, offsets, float(offset))
        out[k] = (x_weights @ (y_weights @ plane).T).T
    return CoarseVolume(out, rows, (y_corner, x_corner))


def _plane_at(volume: Volume, offsets: NDArray[np.float64], offset: float) -> NDArray[np.float32]:
    """[y, x] HU at a distance along the normal: triangle weights over the slices within one step."""
    near = np.flatnonzero(np.abs(offsets - offset) < STEP_MM)
    weights = 1.0 - np.abs(offsets[near] - offset) / STEP_MM
    if len(near) < 2 or weights.sum() <= 0:
        above = int(np.clip(np.searchsorted(offsets, offset), 1, max(len(offsets) - 1, 1)))
        if len(offsets) == 1:
            only: NDArray[np.float32] = np.clip(volume.hu[0], AIR_HU, None).astype(np.float32)
            return only
        near = np.array([above - 1, above])
        share = (offset - offsets[above - 1]) / max(offsets[above] - offsets[above - 1], 1e-6)
        weights = np.array([1.0 - share, share])
    weights = weights / weights.sum()
    plane = np.zeros(volume.hu.shape[1:], np.float32)
    for index, weight in zip(near, weights, strict=True):
        plane += np.float32(weight) * volume.hu[index]
    np.maximum(plane, np.float32(AIR_HU), out=plane)
    return plane


def _box_weights(count: int, spacing: float) -> tuple[csr_array, float]:
    """Sparse matrix [coarse, fine] that averages pixels over 2 mm boxes, and the first centre's place (mm).

    Fine pixels wider than a box are interpolated linearly.
    """
    size = min(max(round(count * spacing / STEP_MM), 1), _LARGEST)
    corner = ((count - 1) * spacing - (size - 1) * STEP_MM) / 2
    centres = corner + np.arange(size) * STEP_MM
    reach = max(spacing, STEP_MM)
    distance = np.abs(centres[:, None] - np.arange(count)[None] * spacing)
    weights = np.clip(1.0 - distance / reach, 0.0, None)
    weights[weights.sum(axis=1) == 0, 0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    return csr_array(weights.astype(np.float32)), float(corner)
