"""Measurements: what was measured, where, by which protocol, and how far it may be off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PROTOCOLS: Final[tuple[str, ...]] = ("range", "mid", "inferior-endplate", "two-adjacent", "slice")
"""Slice protocols: mean of all slices of the level (default), middle slice, slice at the inferior endplate,
mean of the two middle slices, a slice chosen by hand."""


@dataclass(frozen=True)
class TissueMeasure:
    """One tissue on one slice or over the slices of a protocol."""

    area_cm2: float
    """Area; over several slices the mean area."""
    mean_hu: float | None
    """Mean HU of all pixels, None when the tissue is empty."""
    sd_hu: float | None
    area_error_cm2: float | None = None
    """Half-width of the 95 % interval of the area's measurement error."""
    volume_cm3: float | None = None
    """Volume over the level's slices (only for protocols with more than one slice)."""
    nama_cm2: float | None = None
    """Normal-attenuation part of the muscle (30..150 HU)."""
    lama_cm2: float | None = None
    """Low-attenuation part of the muscle (-29..29 HU)."""


@dataclass(frozen=True)
class SliceMeasure:
    """All tissues on one slice."""

    index: int
    level: str | None
    z_mm: float
    tissues: Mapping[str, TissueMeasure]
    level_confidence: float = 0.0
    """0..1: how likely the level's name is right on this slice (less near a border)."""
    height_mm: float = 0.0
    """How much of the body the slice stands for."""


@dataclass(frozen=True)
class Measurement:
    """All tissues of one level by one protocol."""

    level: str
    protocol: str
    indices: tuple[int, ...]
    """The slices that went into it."""
    tissues: Mapping[str, TissueMeasure]
    ratios: Mapping[str, float | None]
    """``muscle_to_sat``, ``muscle_to_vat``, ``vat_to_sat`` (of areas)."""


@dataclass(frozen=True)
class IndexValue:
    """An index of a measurement."""

    name: str
    """``SMA``, ``SMA_Ht2``, ``SMA_Wt``, ``SMA_BMI`` or ``SMD``."""
    level: str
    protocol: str
    value: float
    unit: str
    error: float | None = None
    """Half-width of the 95 % interval of the measurement error, in the same unit."""


@dataclass(frozen=True)
class Flag:
    """Something that the reader must know; texts and severity stand in the message catalogue."""

    code: str
    values: Mapping[str, str] = field(default_factory=dict)
    """What fills the sentence's ``{placeholders}``."""
