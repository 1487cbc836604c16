"""One cell of a clinical table by the kind of its field."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sarcoscope.cohort.fields import Field
from sarcoscope.deid.link import parts_of_date

YES: Final = ("1", "y", "yes", "true", "o", "pos", "positive", "있음", "유", "예", "양성", "+")
NO: Final = ("0", "n", "no", "false", "x", "neg", "negative", "없음", "무", "아니오", "음성", "-")
EMPTY: Final = ("", "na", "n/a", "nan", "null", "none", ".", "unknown", "모름")
SEXES: Final = {
    "m": "M", "male": "M", "man": "M", "남": "M", "남자": "M", "남성": "M",
    "f": "F", "female": "F", "woman": "F", "여": "F", "여자": "F", "여성": "F",
}  # fmt: skip
_AMBIGUOUS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""A comma of thousands or of decimals: one of them is wrong a thousand times."""


@dataclass(frozen=True)
class Cell:
    """What a cell says."""

    value: Any = None
    """None: nothing."""
    problem: str = ""
    """``missing``, ``no_number``, ``no_date``, ``unclear`` or ``impossible``."""


def read_cell(field: Field, text: str, factor: float = 1.0) -> Cell:
    """Read a cell; ``factor`` turns the table's unit into the field's."""
    plain = text.strip().casefold()
    if plain in EMPTY and not (field.kind in ("flag", "disease") and plain in NO):
        return Cell(None, "missing" if field.kind == "sex" else "")
    if field.kind == "number":
        return _number(field, plain, factor)
    if field.kind == "category":
        return _number(field, {**dict.fromkeys(YES, "1"), **dict.fromkeys(NO, "0")}.get(plain, plain), 1.0)
    if field.kind == "date":
        return _day(text.strip())
    if field.kind in ("flag", "disease"):
        return Cell(1.0) if plain in YES else Cell(0.0) if plain in NO else Cell(None, "unclear")
    if field.kind == "sex":
        return Cell(SEXES[plain]) if plain in SEXES else Cell(None, "unclear")
    return Cell(text.strip())


def _number(field: Field, text: str, factor: float) -> Cell:
    if _AMBIGUOUS.fullmatch(text):
        return Cell(None, "unclear")
    text = re.sub(r"(?<=\d),(?=\d{3}(\D|$))", "", text) if text.count(",") > 1 else text.replace(",", ".")
    try:
        value = float(text) * factor
    except ValueError:
        return Cell(None, "no_number")
    if field.kind == "category" and not value.is_integer():
        return Cell(None, "unclear")
    low, high = field.low, field.high
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        return Cell(value if value == value else None, "impossible")
    return Cell(value)


def _day(text: str) -> Cell:
    found = parts_of_date(text)
    if found is None:
        return Cell(None, "no_date")
    try:
        day = date(found.year, found.month, found.day)
    except ValueError:
        return Cell(None, "no_date")
    return Cell(day.isoformat()) if 1900 <= day.year <= 2100 else Cell(None, "impossible")
