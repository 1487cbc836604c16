"""The person on an axial slice, without table, arms, clothing and the air around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

BODY_HU = -250
"""Between fat (about -100) and air or foam (below -500)."""
BONE_HU = 250
_ARM_CORE_MM = 12.0
"""An arm is thicker than twice this, and its bridge to the trunk is thinner."""
_ARM_BONE_MM2 = 40.0
_SMALLEST_BODY_MM2 = 2000.0
_OPENING_MM = 5.0
"""Things thinner than twice this (table tops, tubes, sheets) are parted from the trunk."""


def bounding_box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Slices (y, x) of the smallest box round a mask [y, x] that is not empty, wider by ``margin`` pixels."""
    spans = []
    for axis in (0, 1):
        held = np.flatnonzero(mask.any(axis=1 - axis))
        spans.append(slice(max(0, int(held[0]) - margin), int(held[-1]) + margin + 1))
    return spans[0], spans[1]


def _large_enough(pixels: int, spacing_mm: tuple[float, float]) -> bool:
    return pixels * spacing_mm[0] * spacing_mm[1] >= _SMALLEST_BODY_MM2


def _arms(
    hu: NDArray[np.int16],
    distance: NDArray[np.float64],
    spacing_mm: tuple[float, float],
) -> NDArray[np.bool_]:
    """Parts [y, x] that hold bone and are joined to the trunk by a neck: arms that lie at the sides.

    Folds of fat are joined by necks too, but hold no bone.
    """
    cores, count = ndi.label(distance > _ARM_CORE_MM)
    arms = np.zeros(hu.shape, dtype=bool)
    if count < 2:
        return arms
    nearest = ndi.distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    owner = cores[tuple(nearest)]
    sizes = np.bincount(cores.ravel(), minlength=count + 1)
    bone = np.bincount(owner[(hu > BONE_HU) & (distance > 0)], minlength=count + 1)
    trunk = 1 + int(np.argmax(sizes[1:]))
    for part in range(1, count + 1):
        if part != trunk and bone[part] * spacing_mm[0] * spacing_mm[1] >= _ARM_BONE_MM2:
            arms |= owner == part
    return arms


def body_mask(hu: NDArray[np.int16], spacing_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """The trunk on one slice.

    Args:
        hu: [y, x] int16 HU.
        spacing_mm: (y, x) pixel spacing.

    Returns:
        [y, x] mask of the largest connected part that is not air, holes (lung, bowel gas) filled; parts that
        hang on it by thin bridges only (table, arms that touch the skin) are left out. Empty where no part is
        larger than 20 cm2.
    """
    dense = hu > BODY_HU
    # the edge goes on beyond the picture, so that a body cut by the field of view is not opened there
    margin = max(1, round(_OPENING_MM / min(spacing_mm))) + 1
    dense = np.pad(dense, margin, mode="edge")
    filled = ndi.binary_fill_holes(dense)
    if filled.all():
        return np.full(hu.shape, _large_enough(hu.size, spacing_mm))
    distance = ndi.distance_transform_edt(filled, sampling=spacing_mm)
    arms = _arms(np.pad(hu, margin, mode="edge"), distance, spacing_mm)
    core, count = ndi.label((distance > _OPENING_MM) & ~arms)
    if count == 0:
        return np.zeros(hu.shape, dtype=bool)
    sizes = ndi.sum_labels(core > 0, core, np.arange(1, count + 1))
    trunk = core == 1 + int(np.argmax(sizes))
    box = bounding_box(trunk, margin)
    body = np.zeros(filled.shape, dtype=bool)
    body[box] = ndi.distance_transform_edt(~trunk[box], sampling=spacing_mm) <= _OPENING_MM + 0.01
    body = (body & filled & ~arms)[margin:-margin, margin:-margin]
    if not _large_enough(int(body.sum()), spacing_mm):
        return np.zeros(hu.shape, dtype=bool)
    return body
