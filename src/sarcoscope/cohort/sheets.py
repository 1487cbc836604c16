"""Tables of a cohort as CSV that opens in a spreadsheet, Korean and all."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

BOM: Final = "\ufeff"
_FORMULA: Final = tuple("=+-@\t\r")


@dataclass(frozen=True)
class Sheet:
    """A table: a file name, columns in order, rows."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]


def sheet_bytes(sheet: Sheet, titles: Mapping[str, str]) -> bytes:
    """The CSV (UTF-8 with a mark, so that Excel knows it).

    Args:
        sheet: the table; a column ``group`` gets its title beside it.
        titles: of the groups.
    """
    columns = list(sheet.columns)
    named = "group" in columns
    if named:
        columns.insert(columns.index("group") + 1, "group_title")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in sheet.rows:
        filled = {**row, "group_title": titles.get(str(row.get("group")), "")} if named else row
        writer.writerow([cell(filled.get(c)) for c in columns])
    return (BOM + out.getvalue()).encode("utf-8")


def cell(value: Any) -> str:
    """A value as a spreadsheet reads it: ten digits, nothing for what is not known, no formulas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    if hasattr(value, "item"):
        return cell(value.item())
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
