"""Augmentation of whole slices, by kind: none, spatial, window (P1 shows its harm), noise, all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Floats = NDArray[np.float32]


def augmented_slice(
    hu: Floats, mask: NDArray[np.uint8] | None, kind: str, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8] | None]:
    """A slice [y, x] of HU and its mask after the augmentations of ``kind``."""
    if kind in ("spatial", "all"):
        hu, mask = moved(hu, mask, rng)
    if kind in ("window", "all"):
        hu = (hu - np.float32(rng.normal(0, 60))) * np.float32(np.exp(rng.normal(0, 0.25)))
    if kind in ("noise", "all"):
        hu = hu + rng.standard_normal(hu.shape).astype(np.float32) * np.float32(rng.uniform(0, 25))
        if rng.random() < 0.3:
            hu = np.asarray(ndi.gaussian_filter(hu, rng.uniform(0.3, 1.2)), np.float32)
    return np.asarray(hu, np.float32), mask


def moved(
    hu: Floats, mask: NDArray[np.uint8] | None, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8] | None]:
    """Rotation, scale, shear, shift and mirror, the same for slice and mask (new corners are air)."""
    angle, scale, shear = np.radians(rng.normal(0, 7)), np.exp(rng.normal(0, 0.1)), rng.normal(0, 0.05)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.array([[1.0, shear], [0.0, 1.0]]) / scale
    if rng.random() < 0.5:
        matrix = matrix @ np.diag([1.0, -1.0])
    centre = (np.array(hu.shape) - 1) / 2
    offset = centre - matrix @ (centre + rng.normal(0, 0.03, 2) * hu.shape)
    out = ndi.affine_transform(hu, matrix, offset, order=1, cval=-1024.0)
    if mask is not None:
        mask = ndi.affine_transform(mask, matrix, offset, order=0, cval=0)
    return np.asarray(out, np.float32), mask
