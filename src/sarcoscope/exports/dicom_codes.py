"""Codes of DICOM SEG and SR: the standard's where one exists, else a private scheme (``docs/dicom.md``)."""

from __future__ import annotations

from functools import cache
from typing import Final

from pydicom.sr.coding import Code

from sarcoscope.files import packaged_rows

PRIVATE_SCHEME: Final = "99SARCOSCOPE"
UNITS: Final[dict[str, tuple[str, str]]] = {
    "cm2": ("cm2", "square centimeter"),
    "cm3": ("cm3", "cubic centimeter"),
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "cm2/m2": ("cm2/m2", "square centimeter per square meter"),
    "cm2/kg": ("cm2/kg", "square centimeter per kilogram"),
    "cm2/(kg/m2)": ("cm2/(kg/m2)", "square centimeter per body mass index"),
    "kg/m2": ("kg/m2", "kilogram per square meter"),
    "1": ("1", "no units"),
}
"""Unit of a result -> UCUM code and meaning."""


@cache
def _codes() -> dict[str, dict[str, str]]:
    return {r["key"]: r for r in packaged_rows("sarcoscope.exports", "dicom_codes")}


def code(key: str) -> Code:
    """Code of a concept by its key in ``data/dicom_codes.csv`` (KeyError when there is none)."""
    row = _codes()[key]
    return Code(row["value"], row["scheme"], row["meaning"])


def unit(name: str) -> Code:
    """UCUM code of a unit as it stands in ``result.json``."""
    value, meaning = UNITS[name]
    return Code(value, "UCUM", meaning)


def all_codes() -> list[dict[str, str]]:
    """Every row of the table: key, scheme, value, meaning, certainty."""
    return list(_codes().values())
