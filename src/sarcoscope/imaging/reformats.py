"""Reformats with square pixels, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcoscope.imaging.volume import Volume


@dataclass(frozen=True, eq=False)
class Reformat:
    """A sagittal picture, superior at the top, anterior on the left."""

    hu: NDArray[np.float32]
    """[row, y] HU; NaN where no slice was taken (a gap)."""
    pixel_mm: float
    top_offset_mm: float
    """Distance along the slice normal (from slice 0) of the first row's centre."""

    def row_of(self, offset_mm: float) -> float:
        """Row (fractional) of a distance along the slice normal."""
        return (self.top_offset_mm - offset_mm) / self.pixel_mm


def sagittal(volume: Volume, x_px: Sequence[float] | None = None, pixel_mm: float = 1.0) -> Reformat:
    """A sagittal reformat along a path.

    Args:
        volume: HU [z, y, x].
        x_px: per slice the column that is shown; the middle column by default.
        pixel_mm: side of the square pixels.
    """
    columns = x_px if x_px is not None else [volume.hu.shape[2] / 2] * volume.n_slices
    shown = np.clip(np.rint(np.asarray(columns)).astype(int), 0, volume.hu.shape[2] - 1)
    lines = volume.hu[np.arange(volume.n_slices), :, shown].astype(np.float32)
    dz, dy, _ = volume.geometry.spacing_mm
    offsets = volume.geometry.slice_offsets_mm
    y_mm = np.arange(0.0, volume.hu.shape[1] * dy, pixel_mm)
    lines = np.stack([np.interp(y_mm, np.arange(volume.hu.shape[1]) * dy, line) for line in lines])
    rows_mm = np.arange(offsets[-1] + dz / 2, offsets[0] - dz / 2, -pixel_mm)
    above = np.clip(np.searchsorted(offsets, rows_mm), 1, max(volume.n_slices - 1, 1))
    if volume.n_slices == 1:
        return Reformat(np.repeat(lines, len(rows_mm), axis=0), pixel_mm, float(rows_mm[0]))
    below = above - 1
    width = offsets[above] - offsets[below]
    share = np.clip((rows_mm - offsets[below]) / width, 0.0, 1.0)[:, None]
    picture = (lines[below] * (1 - share) + lines[above] * share).astype(np.float32)
    far = np.minimum(np.abs(rows_mm - offsets[below]), np.abs(rows_mm - offsets[above])) > 0.8 * dz
    picture[far & (width > 1.5 * dz)] = np.nan
    return Reformat(picture, pixel_mm, float(rows_mm[0]))
