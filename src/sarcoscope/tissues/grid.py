"""Between a slice's own pixels and the grid of the compartment network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.sparse import csr_array

from sarcoscope.tissues.compartments import GRID_MM, GRID_MULTIPLE

AIR_HU = -1024.0
_MARGIN_MM = 12.0
_LARGEST = 512
"""Pixels of a side (92 cm): no person is wider, whatever a header says of the spacing."""


@dataclass(frozen=True)
class GridPlace:
    """Where the network's grid lies on a slice: (y, x) mm of its first pixel from the slice's first pixel."""

    origin_mm: tuple[float, float]
    shape: tuple[int, int]


def place_on(body: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> GridPlace:
    """A grid centred on the body [y, x] with a margin; its sides are multiples of what the network needs."""
    origin, shape = [], []
    for axis, step in enumerate(spacing_mm):
        held = np.flatnonzero(body.any(axis=1 - axis))
        low, high = float(held[0]) * step, float(held[-1]) * step
        count = int(np.ceil((high - low + 2 * _MARGIN_MM) / GRID_MM / GRID_MULTIPLE)) * GRID_MULTIPLE
        count = min(count, _LARGEST)
        origin.append((low + high) / 2 - (count - 1) / 2 * GRID_MM)
        shape.append(count)
    return GridPlace((origin[0], origin[1]), (shape[0], shape[1]))


def centred_place(
    body: NDArray[np.bool_], spacing_mm: tuple[float, float], shape: tuple[int, int]
) -> GridPlace:
    """A grid of a given shape with the same centre as :func:`place_on`."""
    own = place_on(body, spacing_mm)
    shift = [(own.shape[k] - shape[k]) / 2 * GRID_MM for k in (0, 1)]
    return GridPlace((own.origin_mm[0] + shift[0], own.origin_mm[1] + shift[1]), shape)


def _weights(target_mm: NDArray[np.float64], source_mm: NDArray[np.float64], width_mm: float) -> csr_array:
    """Triangle weights [target, source]; rows of targets beyond the source are zero."""
    weights = np.clip(1.0 - np.abs(target_mm[:, None] - source_mm[None, :]) / width_mm, 0.0, None)
    total = weights.sum(axis=1, keepdims=True)
    return csr_array((weights / np.where(total > 0, total, 1.0)).astype(np.float32))


def _axes(
    place: GridPlace, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    return [
        (
            place.origin_mm[k] + np.arange(place.shape[k], dtype=np.float64) * GRID_MM,
            np.arange(shape[k], dtype=np.float64) * spacing_mm[k],
        )
        for k in (0, 1)
    ]


def _resampled(values: NDArray[np.float32], rows: csr_array, columns: csr_array) -> NDArray[np.float32]:
    """Apply weights along both axes of ``values`` [channel, y, x]."""
    return np.stack([(columns @ (rows @ plane).T).T for plane in values])


def to_grid(
    values: NDArray[np.float32], place: GridPlace, spacing_mm: tuple[float, float], fill: float
) -> NDArray[np.float32]:
    """Average native pixels ``values`` [channel, y, x] onto the grid; ``fill`` where the slice ends."""
    axes = _axes(place, (values.shape[-2], values.shape[-1]), spacing_mm)
    rows, columns = (
        _weights(grid, native, max(GRID_MM, spacing_mm[k])) for k, (grid, native) in enumerate(axes)
    )
    return _resampled(values - np.float32(fill), rows, columns) + np.float32(fill)


def from_grid(
    values: NDArray[np.float32], place: GridPlace, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """Interpolate grid ``values`` [channel, y, x] bilinearly onto the native pixels (zero beyond it)."""
    rows, columns = (_weights(native, grid, GRID_MM) for grid, native in _axes(place, shape, spacing_mm))
    return _resampled(values, rows, columns)


def body_only(hu: NDArray[np.int16], body: NDArray[np.bool_]) -> NDArray[np.float32]:
    """HU [y, x] with air everywhere but on the body and two pixels around it."""
    kept = np.array(hu, dtype=np.float32)
    kept[~ndi.binary_dilation(body, iterations=2)] = AIR_HU
    return kept
