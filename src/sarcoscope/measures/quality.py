"""Quality flags: what a reader of the numbers must know about the picture, the levels and the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sarcoscope.imaging.kernels import is_sharp
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.level_map import LevelMap
from sarcoscope.measures.measurement import Flag, Measurement, SliceMeasure
from sarcoscope.measures.phase import PhaseGuess
from sarcoscope.tissues.quality import SliceQuality
from sarcoscope.tissues.tissue_mask import TissueMask

THICK_MM: Final = 5.0
USUAL_KVP: Final = 120.0
_CUT_SHARE: Final = 0.005
_OEDEMA_SHARE: Final = 0.18
_FLUID_SHARE: Final = 0.10
_DOUBT: Final = 0.22
_MUSCLE_CM2: Final = (30.0, 400.0)
_MUSCLE_HU: Final = (-10.0, 90.0)
_SPREAD_SHARE: Final = 0.12
_NOISE_HU: Final = 30.0
"""SD of subcutaneous fat inside its band; it is 15 to 29 HU in the reference CT with soft kernels."""


@dataclass(frozen=True)
class Phase:
    """The contrast phase that counts, and what it rests on."""

    value: str
    evidence: str


def settled_phase(
    stated: str | None, header: tuple[str, str], picture: PhaseGuess
) -> tuple[Phase, tuple[Flag, ...]]:
    """The phase from the user's word, else the header, else the picture; a contradiction is flagged."""
    value, evidence = header
    if stated is not None:
        phase = Phase(stated, "given")
    elif value != "unknown":
        phase = Phase(value, f"header: {evidence}; picture: {picture.evidence}")
    else:
        phase = Phase(picture.value, f"picture: {picture.evidence}")
    flags = []
    if phase.value == "unknown":
        flags.append(Flag("phase_unknown"))
    enhanced = phase.value not in ("unenhanced", "unknown")
    plain_picture, bright_picture = picture.value == "unenhanced", picture.value in ("portal", "arterial")
    if (enhanced and plain_picture) or (phase.value == "unenhanced" and bright_picture):
        flags.append(Flag("phase_disagrees", {"phase": phase.value, "evidence": picture.evidence}))
    return phase, tuple(flags)


def series_flags(volume: Volume) -> tuple[Flag, ...]:
    """Flags of how the picture was taken: thickness, kernel, tube voltage."""
    flags = []
    series = volume.series
    thickness = series.slice_thickness_mm
    if thickness is None and volume.n_slices > 1:
        thickness = volume.geometry.spacing_mm[0]
    if thickness is not None and thickness > THICK_MM + 0.05:
        flags.append(Flag("thick_slices", {"thickness": f"{thickness:.1f}"}))
    if is_sharp(series.kernel):
        flags.append(Flag("sharp_kernel", {"kernel": str(series.kernel)}))
    if series.kvp is None:
        flags.append(Flag("kvp_unknown"))
    elif abs(series.kvp - USUAL_KVP) > 1:
        flags.append(Flag("kvp_differs", {"kvp": f"{series.kvp:g}"}))
    return tuple(flags)


def mask_flags(mask: TissueMask, quality: Sequence[SliceQuality]) -> tuple[Flag, ...]:
    """Flags of the measured slices: cut tissue, metal, fluid, an engine in doubt."""
    flags = []
    cut = max((q.truncated_share for q in quality), default=0.0)
    if cut > _CUT_SHARE:
        flags.append(Flag("tissue_cut_off", {"percent": f"{100 * cut:.0f}" if cut >= 0.01 else "<1"}))
    if any(q.metal for q in quality):
        flags.append(Flag("metal"))
    if quality and float(np.median([q.fluid_share for q in quality])) > _FLUID_SHARE:
        flags.append(Flag("ascites_suspected"))
    if quality and float(np.median([q.oedema_share for q in quality])) > _OEDEMA_SHARE:
        flags.append(Flag("oedema_suspected"))
    if mask.doubt and float(np.median(mask.doubt)) > _DOUBT:
        flags.append(Flag("muscle_border_doubtful", {"percent": f"{100 * float(np.median(mask.doubt)):.0f}"}))
    return tuple(flags)


def value_flags(
    measurements: Iterable[Measurement], slices: Sequence[SliceMeasure], levels: LevelMap, *, assumed: bool
) -> tuple[Flag, ...]:
    """Flags of the numbers: a level cut off, one slice only, slices that differ, values beyond belief."""
    flags = []
    for measurement in measurements:
        level = measurement.level
        found = levels.find(level)
        if found is not None and not found.complete and not assumed:
            flags.append(Flag("level_cut_off", {"level": level}))
        if len(measurement.indices) == 1 and measurement.protocol == "range":
            flags.append(Flag("one_slice", {"level": level}))
        muscle = measurement.tissues["muscle"]
        areas = [s.tissues["muscle"].area_cm2 for s in slices if s.index in measurement.indices]
        if len(areas) > 2 and muscle.area_cm2 > 0:
            spread = float(np.max(np.abs(np.array(areas) - np.median(areas)))) / float(np.median(areas) or 1)
            if spread > _SPREAD_SHARE:
                flags.append(Flag("slices_differ", {"level": level, "percent": f"{100 * spread:.0f}"}))
        noise = measurement.tissues["sat"].sd_hu
        if noise is not None and noise > _NOISE_HU:
            flags.append(Flag("noisy", {"level": level, "sd": f"{noise:.0f}"}))
        odd_area = not _MUSCLE_CM2[0] <= muscle.area_cm2 <= _MUSCLE_CM2[1]
        odd_hu = muscle.mean_hu is None or not _MUSCLE_HU[0] <= muscle.mean_hu <= _MUSCLE_HU[1]
        if odd_area or odd_hu:
            flags.append(Flag("implausible_values", {"level": level}))
    return tuple(flags)
