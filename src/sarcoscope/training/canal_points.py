"""The canal's path where it is known: points checked by eye on the reference volumes, and phantoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcoscope.files import packaged_rows
from sarcoscope.levels.coarse import STEP_MM, CoarseVolume
from sarcoscope.levels.spine import SpinePath
from sarcoscope.samples.phantom import Phantom

_BEHIND_BODY_MM = 24.0
"""About how far the canal's centre lies behind the centre of a phantom's vertebral body."""


def read_points() -> dict[str, NDArray[np.float64]]:
    """Volume name to points [n, (offset, y, x)] in mm: offset along the normal from slice 0, y and x from the
    centre of the slice's first pixel. Found by a first network, checked by eye on every volume."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    for row in packaged_rows("sarcoscope.training", "canal_points"):
        place = (float(row["offset_mm"]), float(row["y_mm"]), float(row["x_mm"]))
        points.setdefault(row["volume"], []).append(place)
    return {name: np.array(found) for name, found in points.items()}


def reference_path(points: NDArray[np.float64], coarse: CoarseVolume) -> SpinePath:
    """The path through points [n, (offset, y, x)] on the rows of a coarse volume.

    Beyond the first and last point it stays where it is, with score 0.
    """
    rows = coarse.row_offsets_mm
    along = [
        (np.interp(rows, points[:, 0], points[:, 1 + axis]) - coarse.corner_mm[axis]) / STEP_MM
        for axis in range(2)
    ]
    half = STEP_MM / 2
    known = (rows >= points[0, 0] - half) & (rows <= points[-1, 0] + half)
    return SpinePath(np.stack(along, axis=1), known.astype(np.float64))


def phantom_path(phantom: Phantom, coarse: CoarseVolume) -> SpinePath:
    """The canal of a phantom, from the true centres of its vertebral bodies."""
    offsets = phantom.geometry.slice_offsets_mm
    y, x = (phantom.spine_px[:, axis] * phantom.geometry.spacing_mm[1 + axis] for axis in range(2))
    return reference_path(np.stack([offsets, y + _BEHIND_BODY_MM, x], axis=1), coarse)
