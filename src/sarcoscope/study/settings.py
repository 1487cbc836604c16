"""What the user may choose in one analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import SettingError
from sarcoscope.measures.measurement import PROTOCOLS
from sarcoscope.models.runtime import runtime_name

PHASES: Final[tuple[str, ...]] = ("portal", "unenhanced", "delayed", "arterial", "unknown")
"""Contrast phases, in the order of the series policy."""


@dataclass(frozen=True)
class AnalysisSettings:
    """Choices of one analysis; the defaults are the product's.

    Raises:
        SettingError: a level or protocol that is not known, or choices that contradict each other.
    """

    levels: tuple[str, ...] = ("L3",)
    """Levels to measure."""
    assume_level: str | None = None
    """Every slice of the input belongs to this level; levels are not searched."""
    protocol: str = "range"
    slice_index: int | None = None
    """The slice of the protocol ``slice`` (index 0 = most inferior)."""
    references: tuple[str, ...] = ()
    """Names of reference sets; empty: the defaults of the measured level."""
    series_policy: Path | None = None
    """File that says which series is measured; None: the shipped policy."""
    series_uid: str | None = None
    """Measure this very series instead of what the policy chooses."""
    phase: str | None = None
    """Contrast phase as the user states it; None: from header and picture."""
    fluid: bool = False
    """Ascites or oedema is known: weight-based indices get no class unless the weight is dry."""

    models: tuple[str, ...] = ()
    """Names of models that take the place of those that ship, one for levels and one for tissues."""
    levels_from: Path | None = None
    """Label map of vertebrae (TotalSegmentator's ids) on the CT's grid, instead of finding levels."""
    tissues_from: Path | None = None
    """Mask of another reader (DICOM SEG, RTSTRUCT or NIfTI), measured as it is."""

    def __post_init__(self) -> None:
        for level in (*self.levels, *((self.assume_level,) if self.assume_level else ())):
            if level not in LEVELS:
                raise SettingError(f"'{level}' is no level; levels are {', '.join(LEVELS)}.")
        if not self.levels:
            raise SettingError("No level was given to measure.")
        if self.protocol not in PROTOCOLS:
            raise SettingError(f"'{self.protocol}' is no protocol; protocols are {', '.join(PROTOCOLS)}.")
        if (self.protocol == "slice") != (self.slice_index is not None):
            raise SettingError("The protocol 'slice' and a slice index go together: give both or neither.")
        if self.phase is not None and self.phase not in PHASES:
            raise SettingError(f"'{self.phase}' is no contrast phase; phases are {', '.join(PHASES)}.")
        if self.slice_index is not None and self.slice_index < 0:
            raise SettingError("A slice index is 0 (the lowest slice) or more.")

    def record(self) -> Mapping[str, object]:
        """The choices as provenance keeps them (no file paths)."""
        return {
            "levels": list(self.levels),
            "assume_level": self.assume_level,
            "protocol": self.protocol,
            "slice_index": self.slice_index,
            "references": list(self.references),
            "series_policy": self.series_policy.name if self.series_policy else "default",
            "series_uid": self.series_uid,
            "phase": self.phase,
            "fluid": self.fluid,
            "models": list(self.models),
            "runtime": runtime_name(),
            "levels_from": self.levels_from.name if self.levels_from else None,
            "tissues_from": self.tissues_from.name if self.tissues_from else None,
        }
