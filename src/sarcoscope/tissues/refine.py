"""Compartments on native pixels, mended by what anatomy allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.tissues.compartments import Compartment

_SKIN_MM = 2.0
"""Nearer to the surface there is skin, never muscle."""
_CORTEX_MM = 2.0
"""How far the network's bone reaches over the cortex into muscle."""
_FAT_EDGE_MM = 1.0
"""How far the network's smooth ring reaches over the edge of muscle into the fat beside it."""
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


def _likeliest_inside(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The likeliest compartment [y, x] but for ``OUTSIDE`` (faster than argmax over the first axis)."""
    best = np.full(shares.shape[1:], 1, dtype=np.uint8)
    top = shares[1].copy()
    for k in range(2, len(shares)):
        better = shares[k] > top
        best[better] = k
        np.maximum(top, shares[k], out=top)
    return best


def refined_compartments(
    shares: NDArray[np.float32],
    depth_mm: NDArray[np.float64],
    spacing_mm: tuple[float, float],
) -> NDArray[np.uint8]:
    """Compartments [y, x] of a slice.

    Args:
        shares: [class, y, x] probabilities on the native pixels.
        depth_mm: [y, x] distance from the surface (:func:`surface_distance`), 0 outside the body.
        spacing_mm: (y, x) pixel spacing.
    """
    best = _likeliest_inside(shares)
    best[shares[Compartment.OUTSIDE] > 0.5] = Compartment.OUTSIDE
    ring = best == Compartment.RING
    skin = ring & (depth_mm < _SKIN_MM)
    islands = small_parts(ring & ~skin, _ISLAND_MM2, spacing_mm[0] * spacing_mm[1])
    islands |= floating_parts(ring & ~skin & ~islands, best >= Compartment.CAVITY)
    best[skin] = Compartment.SKIN_SIDE
    others = shares[:, islands]
    others[[Compartment.OUTSIDE, Compartment.RING]] = -1.0
    best[islands] = others.argmax(axis=0)
    best[depth_mm == 0] = Compartment.OUTSIDE
    return best


def reach_bone(
    compartments: NDArray[np.uint8], muscle_hu: NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> NDArray[np.uint8]:
    """Let muscle go up to the cortex, where the network's smooth bone outline covers a seam of it.

    Args:
        compartments: [y, x].
        muscle_hu: [y, x] pixels in the muscle band.
        spacing_mm: (y, x) pixel spacing.
    """
    ring = compartments == Compartment.RING
    seam = (compartments == Compartment.BONE) & muscle_hu
    steps = max(1, round(_CORTEX_MM / min(spacing_mm)))
    reached = ndi.binary_dilation(ring & muscle_hu, iterations=steps, mask=seam | ring)
    answer = compartments.copy()
    answer[reached & seam] = Compartment.RING
    return answer


def fat_to_its_side(
    compartments: NDArray[np.uint8], fat_hu: NDArray[np.bool_], spacing_mm: tuple[float, float]
) -> NDArray[np.uint8]:
    """Give fat at the very border of the ring back to the fat that it continues (SAT or VAT, not IMAT).

    Args:
        compartments: [y, x].
        fat_hu: [y, x] pixels in the fat band.
        spacing_mm: (y, x) pixel spacing; on pixels coarser than the seam nothing is changed.
    """
    answer = compartments.copy()
    steps = round(_FAT_EDGE_MM / min(spacing_mm))
    if steps == 0:
        return answer
    seam = (compartments == Compartment.RING) & fat_hu
    for side in (Compartment.SKIN_SIDE, Compartment.CAVITY):
        fat = (compartments == side) & fat_hu
        reached = ndi.binary_dilation(fat, iterations=steps, mask=fat | seam)
        answer[reached & seam & (answer == Compartment.RING)] = side
    return answer
