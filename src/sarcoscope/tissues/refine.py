"""Compartments on native pixels, mended by what anatomy allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.tissues.compartments import Compartment

_SKIN_MM = 2.0
"""Nearer to the surface there is skin, never muscle."""
_ISLAND_MM2 = 60.0
"""Ring pieces that are smaller are no muscle (a psoas has several cm2)."""


def surface_distance(body: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Distance [y, x] in mm of each body pixel from the nearest pixel outside the body.

    The border of the picture is no surface: a body cut by the field of view has no skin there.
    """
    if body.all():
        return np.full(body.shape, np.inf)
    distance: NDArray[np.float64] = ndi.distance_transform_edt(body, sampling=spacing_mm)
    return distance


def small_parts(mask: NDArray[np.bool_], smallest_mm2: float, pixel_mm2: float) -> NDArray[np.bool_]:
    """The connected parts of a mask [y, x] that are smaller than a limit."""
    parts, count = ndi.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * pixel_mm2
    small = sizes < smallest_mm2
    small[0] = False
    found: NDArray[np.bool_] = small[parts]
    return found


def floating_parts(ring: NDArray[np.bool_], inner: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Parts of the ring [y, x], but for the largest, that border on neither cavity nor bone.

    Muscle does not float in subcutaneous fat: such parts are skin folds, scars and vessels.
    """
    parts, count = ndi.label(ring)
    if count < 2:
        return np.zeros(ring.shape, dtype=bool)
    kept = np.zeros(count + 1, dtype=bool)
    kept[np.unique(parts[ndi.binary_dilation(inner, iterations=3)])] = True
    kept[1 + int(np.argmax(np.bincount(parts.ravel())[1:]))] = True
    floating: NDArray[np.bool_] = ~kept[parts] & ring
    return floating


def refined_compartments(
    hu: NDArray[np.int16],
    shares: NDArray[np.float32],
    body: NDArray[np.bool_],
    spacing_mm: tuple[float, float],
) -> NDArray[np.uint8]:
    """Compartments [y, x] of a slice.

    Args:
        hu: [y, x] int16 HU.
        shares: [class, y, x] probabilities on the native pixels.
        body: [y, x]; nothing lies outside it.
        spacing_mm: (y, x) pixel spacing.
    """
    inner = shares[1:]
    best: NDArray[np.uint8] = (1 + inner.argmax(axis=0)).astype(np.uint8)
    best[shares[Compartment.OUTSIDE] > 0.5] = Compartment.OUTSIDE
    no_ring = inner.copy()
    no_ring[Compartment.RING - 1] = -1.0
    second = (1 + no_ring.argmax(axis=0)).astype(np.uint8)
    ring = best == Compartment.RING
    skin = ring & (surface_distance(body, spacing_mm) < _SKIN_MM)
    islands = small_parts(ring & ~skin, _ISLAND_MM2, spacing_mm[0] * spacing_mm[1])
    islands |= floating_parts(ring & ~skin & ~islands, best >= Compartment.CAVITY)
    best[skin] = Compartment.SKIN_SIDE
    best[islands] = second[islands]
    best[~body] = Compartment.OUTSIDE
    return best
