"""Contrast phase as the picture shows it: how bright the aorta is in front of the spine.

A guess that is there to contradict or replace a silent header. Between the bands of the table it says
``unknown`` rather than guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from scipy import ndimage as ndi

from sarcoscope.files import packaged_rows
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.level_map import LevelMap

_LEVELS: Final = ("T10", "T11", "T12", "L1", "L2", "L3")
_SLICES: Final = 12
_FRONT_MM: Final = (78.0, 38.0)
"""The aorta's centre lies this far in front of the canal."""
_ASIDE_MM: Final = (-20.0, 45.0)
"""... and this far to the right (-) or left (+) of it."""
_CORE_MM: Final = 9.0
_EVEN_SD_HU: Final = 28.0


@dataclass(frozen=True)
class PhaseGuess:
    """``value`` (a phase or ``unknown``) and in ``evidence`` what it rests on."""

    value: str
    evidence: str


@cache
def _bands() -> tuple[tuple[str, float, float], ...]:
    rows = packaged_rows("sarcoscope.measures", "picture_phase")
    return tuple((r["phase"], float(r["aorta_low"]), float(r["aorta_high"])) for r in rows)


def picture_phase(volume: Volume, levels: LevelMap) -> PhaseGuess:
    """Guess the phase from slices between T10 and L3."""
    if not levels.spine:
        return PhaseGuess("unknown", "the spine's place is not known")
    ranges = [r for r in levels.ranges if r.level in _LEVELS]
    indices = [i for r in ranges for i in range(r.index_low, r.index_high + 1)]
    if not indices:
        return PhaseGuess("unknown", "no slice between T10 and L3")
    step = max(len(indices) // _SLICES, 1)
    values = [v for i in indices[::step] if (v := _brightest_core(volume, i, levels.spine[i])) is not None]
    if len(values) < 2:
        return PhaseGuess("unknown", "no vessel found in front of the spine")
    aorta = float(np.median(values))
    found = next((name for name, low, high in _bands() if low <= aorta <= high), "unknown")
    return PhaseGuess(found, f"aorta about {aorta:.0f} HU")


def _brightest_core(volume: Volume, index: int, canal: tuple[float, float]) -> float | None:
    """HU of the brightest even disc where the aorta lies, or None."""
    dy, dx = volume.geometry.spacing_mm[1:]
    rows = slice(max(int(canal[0] - _FRONT_MM[0] / dy), 0), max(int(canal[0] - _FRONT_MM[1] / dy), 0))
    columns = slice(max(int(canal[1] + _ASIDE_MM[0] / dx), 0), max(int(canal[1] + _ASIDE_MM[1] / dx), 0))
    patch = np.clip(volume.hu[index, rows, columns].astype(np.float32), -200, 1000)
    size = (max(int(_CORE_MM / dy), 1), max(int(_CORE_MM / dx), 1))
    if patch.shape[0] < 2 * size[0] or patch.shape[1] < 2 * size[1]:
        return None
    mean = ndi.uniform_filter(patch, size)
    spread = np.sqrt(np.maximum(ndi.uniform_filter(patch**2, size) - mean**2, 0))
    even = mean[(spread < _EVEN_SD_HU) & (mean > 0)]
    return float(even.max()) if len(even) else None
