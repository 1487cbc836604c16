"""Synthetic slices for the tests of this room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sarcoscope.imaging.volume import Geometry, SliceSource, Volume


def volume_of(hu: NDArray[np.int16], spacing_mm: tuple[float, float] = (0.8, 0.8)) -> Volume:
    """A volume from HU [z, y, x] or [y, x]."""
    hu = hu if hu.ndim == 3 else hu[None]
    positions = np.zeros((len(hu), 3))
    positions[:, 2] = np.arange(len(hu)) * 5.0
    geometry = Geometry((5.0, *spacing_mm), np.eye(3), positions)
    return Volume(hu.astype(np.int16), geometry, tuple(SliceSource() for _ in hu))


def ellipse(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """Mask [y, x] of an ellipse, all in pixels."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    inside: NDArray[np.bool_] = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    return inside


def trunk(shape: tuple[int, int] = (320, 400), spacing_mm: float = 1.0) -> NDArray[np.int16]:
    """A plain trunk in air: skin, fat, muscle ring with spine, fatty cavity with organs; HU [y, x]."""
    hu = np.full(shape, -1000, dtype=np.int16)
    centre = (shape[0] / 2, shape[1] / 2)

    def put(value: int, y: float, x: float, ry: float, rx: float) -> None:
        at = (centre[0] + y / spacing_mm, centre[1] + x / spacing_mm)
        hu[ellipse(shape, at, (ry / spacing_mm, rx / spacing_mm))] = value

    put(30, 0, 0, 110, 160)
    put(-100, 0, 0, 108, 158)
    put(55, 0, 0, 88, 132)
    put(-95, -10, 0, 66, 118)
    for side in (-1, 1):
        put(55, 45, 38 * side, 20, 18)
        put(120, 10, 75 * side, 22, 18)
    put(300, 45, 0, 20, 24)
    put(60, -30, -40, 25, 40)
    return hu
