"""Slice protocols: which slices of a level count, and how they become one measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.errors import SettingError
from sarcoscope.levels.level_map import LevelRange
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.measurement import PROTOCOLS, Measurement, SliceMeasure, TissueMeasure


def protocol_indices(level: LevelRange, protocol: str, *, slice_index: int | None = None) -> tuple[int, ...]:
    """Slice indices of a protocol, ascending.

    ``range``: all slices of the level. ``mid``: the middle one (of an even number the lower of the two in
    the middle). ``inferior-endplate``: the lowest. ``two-adjacent``: the two in the middle (of an odd number
    the middle one and the one above it; a level of one slice gives that one). ``slice``: the given one.

    Raises:
        SettingError: an unknown protocol, or ``slice`` without a slice.
    """
    low, high = level.index_low, level.index_high
    if protocol == "range":
        return tuple(range(low, high + 1))
    if protocol == "mid":
        return (level.index_mid,)
    if protocol == "inferior-endplate":
        return (low,)
    if protocol == "two-adjacent":
        return tuple(range(level.index_mid, min(level.index_mid + 1, high) + 1))
    if protocol == "slice" and slice_index is not None:
        return (slice_index,)
    if protocol == "slice":
        raise SettingError("The protocol 'slice' needs the index of a slice.")
    raise SettingError(f"'{protocol}' is no protocol; protocols are {', '.join(PROTOCOLS)}.")


def slice_heights_mm(offsets_mm: NDArray[np.float64], thickness_mm: float) -> NDArray[np.float64]:
    """[z] how much of the body each slice stands for: half the way to each neighbour.

    A neighbour farther than 1.5 times the usual step (a gap, the end) counts as one usual step away, so that
    a missing slice adds no volume that nobody saw.

    Args:
        offsets_mm: [z] distances along the slice normal, ascending.
        thickness_mm: what a single slice stands for.
    """
    if len(offsets_mm) < 2:
        return np.full(len(offsets_mm), thickness_mm)
    steps = np.diff(offsets_mm)
    usual = float(np.median(steps))
    steps = np.where(steps > 1.5 * usual, usual, steps)
    heights: NDArray[np.float64] = (np.r_[usual, steps] + np.r_[steps, usual]) / 2
    return heights


def measure_level(
    slices: Sequence[SliceMeasure],
    level: str,
    protocol: str,
    indices: Sequence[int],
) -> Measurement:
    """One measurement from the slices of a protocol.

    The area is the mean of the slices' areas, mean and SD of HU are those of all pixels together, the volume
    is the sum of area times slice height (only where more than one slice counts).

    Args:
        slices: measured slices, among them those of ``indices``.
        level: level name.
        protocol: protocol name.
        indices: slices that count.
    """
    chosen = [s for s in slices if s.index in set(indices)]
    heights = np.array([s.height_mm for s in chosen])
    names = [tissue_name(t) for t in TISSUES]
    tissues = {name: _joined([s.tissues[name] for s in chosen], heights, level, name) for name in names}
    return Measurement(level, protocol, tuple(s.index for s in chosen), tissues, ratios(tissues))


def ratios(tissues: Mapping[str, TissueMeasure]) -> dict[str, float | None]:
    """Ratios of areas; None where the denominator is empty."""

    def ratio(top: str, bottom: str) -> float | None:
        below = tissues[bottom].area_cm2
        return tissues[top].area_cm2 / below if below > 0 else None

    return {
        "muscle_to_sat": ratio("muscle", "sat"),
        "muscle_to_vat": ratio("muscle", "vat"),
        "vat_to_sat": ratio("vat", "sat"),
    }


def _joined(
    parts: Sequence[TissueMeasure], heights_mm: NDArray[np.float64], level: str, name: str
) -> TissueMeasure:
    areas = np.array([p.area_cm2 for p in parts])
    area = float(areas.mean())
    mean, sd = _pooled(parts)
    nama = [p.nama_cm2 for p in parts if p.nama_cm2 is not None]
    lama = [p.lama_cm2 for p in parts if p.lama_cm2 is not None]
    return TissueMeasure(
        area_cm2=area,
        mean_hu=mean,
        sd_hu=sd,
        area_error_cm2=area * measurement_error(level, name).area_percent / 100.0,
        volume_cm3=float((areas * heights_mm / 10.0).sum()) if len(parts) > 1 else None,
        nama_cm2=float(np.mean(nama)) if nama else None,
        lama_cm2=float(np.mean(lama)) if lama else None,
    )


def _pooled(parts: Sequence[TissueMeasure]) -> tuple[float | None, float | None]:
    """Mean and SD of HU over all pixels of all slices (every pixel has the same area)."""
    held = [(p.area_cm2, p.mean_hu, p.sd_hu) for p in parts if p.mean_hu is not None and p.sd_hu is not None]
    if not held:
        return None, None
    area, mean, sd = (np.array(column) for column in zip(*held, strict=True))
    whole = float((area * mean).sum() / area.sum())
    variance = float((area * (sd**2 + (mean - whole) ** 2)).sum() / area.sum())
    return whole, float(np.sqrt(variance))
