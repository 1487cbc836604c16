"""The person on an axial slice, without table, arms, clothing and the air around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

BODY_HU = -250
"""Between fat (about -100) and air or foam (below -500)."""
_OPENING_MM = 5.0
"""Things thinner than twice this (table tops, tubes, sheets) are parted from the trunk."""


def _disc(radius_mm: float, spacing_mm: tuple[float, float]) -> NDArray[np.bool_]:
    ry, rx = (max(1, round(radius_mm / s)) for s in spacing_mm)
    y, x = np.ogrid[-ry : ry + 1, -rx : rx + 1]
    disc: NDArray[np.bool_] = (y / ry) ** 2 + (x / rx) ** 2 <= 1.0
    return disc


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
    # a border of air, so that bodies cut by the field of view are filled and opened like any other
    margin = max(1, round(_OPENING_MM / min(spacing_mm))) + 1
    dense = np.pad(dense, margin, mode="edge")
    filled = ndi.binary_fill_holes(dense)
    distance = ndi.distance_transform_edt(filled, sampling=spacing_mm)
    core, count = ndi.label(distance > _OPENING_MM)
    if count == 0:
        return np.zeros(hu.shape, dtype=bool)
    sizes = ndi.sum_labels(core > 0, core, np.arange(1, count + 1))
    trunk = core == 1 + int(np.argmax(sizes))
    grown = ndi.distance_transform_edt(~trunk, sampling=spacing_mm) <= _OPENING_MM + 0.01
    body: NDArray[np.bool_] = (grown & filled)[margin:-margin, margin:-margin]
    if body.sum() * spacing_mm[0] * spacing_mm[1] < 2000.0:
        return np.zeros(hu.shape, dtype=bool)
    return body
