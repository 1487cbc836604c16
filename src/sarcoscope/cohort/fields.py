"""The fields that a clinical table may have: kinds, units, plausible ranges, names of their columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sarcoscope.files import packaged_rows

KINDS: Final = ("key", "sex", "number", "date", "flag", "category", "text", "disease")
RESERVED: Final = frozenset(
    {
        "id", "person", "date", "level", "protocol", "phase", "kernel", "flags", "disease", "fluid",
        "diseases", "clinical_days", "bmi", "muscle_area_cm2", "muscle_area_error_cm2", "sat_area_cm2",
        "vat_area_cm2", "imat_area_cm2", "kvp", "slice_thickness_mm", "level_confidence", "SMA", "SMA_Ht2",
        "SMA_Wt", "SMA_BMI", "SMD", "SMA_error", "SMA_Ht2_error", "SMA_Wt_error", "SMA_BMI_error",
        "SMD_error",
    }
)  # fmt: skip
"""Columns of the studies, which no clinical column may stand in for."""


@dataclass(frozen=True)
class Field:
    """A field of the data dictionary."""

    name: str
    kind: str
    unit: str
    low: float | None
    """Values below cannot be true."""
    high: float | None
    typical: tuple[float, float] | None
    """Where nearly everybody lies."""
    factors: Mapping[str, float]
    """Other units -> what their values are multiplied by."""
    columns: tuple[str, ...]
    title: Mapping[str, str]
    concept: str
    certainty: str


def _number(text: str) -> float | None:
    return float(text) if text else None


@cache
def fields() -> Mapping[str, Field]:
    """The shipped fields by name."""
    found = {}
    for r in packaged_rows("sarcoscope.cohort", "clinical_fields"):
        pairs = [part.rsplit(":", 1) for part in r["other_units"].split("|") if part]
        low, high = _number(r["typical_low"]), _number(r["typical_high"])
        found[r["field"]] = Field(
            r["field"],
            r["kind"],
            r["unit"],
            _number(r["low"]),
            _number(r["high"]),
            None if low is None or high is None else (low, high),
            {unit: float(factor) for unit, factor in pairs},
            tuple(r["columns"].split("|")),
            {"en": r["en"], "ko": r["ko"]},
            r["concept"],
            r["certainty"],
        )
    return found


def own_field(
    name: str,
    kind: str,
    title: Mapping[str, str],
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Field:
    """A field that the shipped table does not have."""
    return Field(name, kind, unit, low, high, None, {}, (), {"en": name, "ko": name, **title}, "", "")


def plain(name: str) -> str:
    """A column's name without case, blanks and signs."""
    return re.sub(r"[\s_.()\[\]/-]", "", name.casefold())


@cache
def field_of_column() -> Mapping[str, str]:
    """Plain name of a column -> field."""
    return {plain(name): f.name for f in fields().values() for name in (*f.columns, f.name)}
