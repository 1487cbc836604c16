"""What spoils a slice: cut tissue, metal, oedema, free fluid. Shares only; limits belong to the flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.imaging.volume import Volume
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.tissues.refine import small_parts, surface_distance
from sarcoscope.tissues.tissue_mask import TissueMask

METAL_HU = 2500
"""Above any bone."""
OEDEMA_HU = (-29, 40)
FLUID_HU = (0, 25)
_METAL_MM2 = 20.0
_AWAY_MM = 4.0
_CIRCLE_PX = 1.2
_CIRCLE_SHARE = 0.2
"""A round person centred in the picture has about an eighth of the outline on one circle."""
_FLUID_WINDOW_MM = 9.0
_FLUID_SD_HU = 15.0
_FLUID_PART_MM2 = 800.0

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SliceQuality:
    """Findings on one slice that make its areas doubtful."""

    index: int
    truncated_share: float
    """0..1: share of the body outline that lies on the border of the field of view."""
    metal: bool
    """At least 20 mm2 above 2500 HU in the body."""
    oedema_share: float
    """0..1: share of the subcutaneous side, away from skin and muscle, between -29 and 40 HU."""
    fluid_share: float
    """0..1: share of the cavity that is even and between 0 and 25 HU, in parts that reach the wall."""


def _truncated_share(body: Mask, padding: Mask | None) -> float:
    framed = np.pad(body, 1)
    outline = (framed & ~ndi.binary_erosion(framed))[1:-1, 1:-1]
    if not outline.any():
        return 0.0
    rows, columns = body.shape
    beyond = np.zeros(body.shape, dtype=bool)
    beyond[[0, -1], :] = beyond[:, [0, -1]] = True
    if padding is not None:
        beyond |= ndi.binary_dilation(padding, iterations=2)
    elif rows == columns:
        y, x = np.ogrid[:rows, :columns]
        radius = np.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2)
        if not body[radius > rows / 2 + 1].any():
            beyond |= radius >= rows / 2 - 2
        # A smaller circle that nobody told of: much of the outline lies on it.
        farthest = float(np.percentile(radius[outline], 99))
        on_circle = np.abs(radius - farthest) <= _CIRCLE_PX
        if on_circle[outline].mean() > _CIRCLE_SHARE:
            beyond |= on_circle
    return float((outline & beyond).sum() / outline.sum())


def _oedema_share(
    hu: NDArray[np.int16], compartments: NDArray[np.uint8], body: Mask, step: tuple[float, float]
) -> float:
    skin_side = compartments == Compartment.SKIN_SIDE
    from_inside = ndi.distance_transform_edt(compartments <= Compartment.SKIN_SIDE, sampling=step)
    inner = skin_side & (surface_distance(body, step) > _AWAY_MM) & (from_inside > _AWAY_MM)
    wet = inner & (hu >= OEDEMA_HU[0]) & (hu <= OEDEMA_HU[1])
    return float(wet.sum() / max(1, inner.sum()))


def _fluid_share(hu: NDArray[np.int16], compartments: NDArray[np.uint8], step: tuple[float, float]) -> float:
    cavity = compartments == Compartment.CAVITY
    if not cavity.any():
        return 0.0
    window = [max(3, round(_FLUID_WINDOW_MM / s) | 1) for s in step]
    values = np.clip(hu, -300, 300).astype(np.float32)
    mean = ndi.uniform_filter(values, window)
    spread = np.sqrt(np.clip(ndi.uniform_filter(values**2, window) - mean**2, 0, None))
    even = cavity & (mean >= FLUID_HU[0]) & (mean <= FLUID_HU[1]) & (spread < _FLUID_SD_HU)
    even &= ~small_parts(even, _FLUID_PART_MM2, step[0] * step[1])
    parts, _ = ndi.label(even)
    wall = ndi.distance_transform_edt(compartments != Compartment.RING, sampling=step) <= _FLUID_WINDOW_MM
    reaching = np.unique(parts[even & wall])
    return float(np.isin(parts, reaching[reaching > 0]).sum() / cavity.sum())


def slice_quality(volume: Volume, mask: TissueMask) -> tuple[SliceQuality, ...]:
    """Quality of every segmented slice, in the order of ``mask.indices``."""
    step = volume.geometry.spacing_mm[1:]
    answers = []
    for k, index in enumerate(mask.indices):
        hu, body = volume.hu[index], mask.body[k]
        metal = float(((hu > METAL_HU) & body).sum()) * step[0] * step[1] >= _METAL_MM2
        oedema = fluid = 0.0
        if mask.compartments is not None and body.any():
            oedema = _oedema_share(hu, mask.compartments[k], body, step)
            fluid = _fluid_share(hu, mask.compartments[k], step)
        cut = _truncated_share(body, volume.padding)
        answers.append(SliceQuality(index, cut, metal, oedema, fluid))
    return tuple(answers)
