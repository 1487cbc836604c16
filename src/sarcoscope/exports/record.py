"""The study record: everything that the outputs of one analysis show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sarcoscope.diagnosis import Diagnosis
from sarcoscope.imaging.series import RefusedSeries
from sarcoscope.imaging.volume import SeriesInfo
from sarcoscope.levels.level_map import LevelMap
from sarcoscope.measures.body import BodyInfo
from sarcoscope.measures.measurement import Flag, IndexValue, Measurement, SliceMeasure


@dataclass(frozen=True)
class SeriesRecord:
    """The measured series."""

    info: SeriesInfo
    n_slices: int
    spacing_mm: tuple[float, float, float]
    """(z, y, x)"""
    phase: str
    phase_evidence: str
    refused: tuple[RefusedSeries, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """How the result came about."""

    version: str
    models: tuple[tuple[str, str, str], ...]
    """(name, version, sha256)"""
    protocol: str
    hu_bands: Mapping[str, tuple[int, int]]
    settings: Mapping[str, object]


@dataclass(frozen=True)
class Run:
    """What differs between two runs of the same input."""

    id: str
    time: str
    """ISO 8601, UTC."""
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """Everything known after the analysis of one study."""

    series: SeriesRecord
    levels: LevelMap
    level_z_mm: Mapping[str, tuple[float, float, float]]
    """By level: z (mm) of the lowest, the highest and the middle slice."""
    slices: tuple[SliceMeasure, ...]
    measurements: tuple[Measurement, ...]
    body: BodyInfo
    indices: tuple[IndexValue, ...]
    diagnoses: tuple[Diagnosis, ...]
    flags: tuple[Flag, ...]
    provenance: Provenance
    run: Run
