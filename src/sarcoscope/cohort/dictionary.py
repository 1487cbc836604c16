"""The data dictionary of an imported table: what every column holds, in which unit, how full it is."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sarcoscope.cohort.clinical import Clinical, day_text

COLUMNS: Final = (
    "field", "column", "title_en", "title_ko", "kind", "unit", "low", "high", "n", "missing", "minimum",
    "median", "maximum", "values", "concept", "concept_certainty",
)  # fmt: skip


def data_dictionary(table: Clinical) -> list[dict[str, Any]]:
    """A row a field, in the order of the table."""
    rows = []
    for name, field in table.fields.items():
        column = table.frame.columns[name]
        row: dict[str, Any] = {
            "field": name,
            "column": table.columns.get(name, ""),
            "title_en": field.title["en"],
            "title_ko": field.title["ko"],
            "kind": field.kind,
            "unit": field.unit,
            "low": field.low,
            "high": field.high,
            "concept": field.concept,
            "concept_certainty": field.certainty,
        }
        if column.dtype == object:
            filled = column[column != ""]
            if field.kind != "key":
                names, counts = np.unique(filled.astype(str), return_counts=True)
                row["values"] = "; ".join(f"{a}: {b}" for a, b in list(zip(names, counts, strict=True))[:12])
        elif column.dtype.kind == "M":
            filled = column[~np.isnat(column)]
            if len(filled):
                ordered = np.sort(filled)
                row |= {
                    "minimum": day_text(ordered[0]),
                    "median": day_text(ordered[len(ordered) // 2]),
                    "maximum": day_text(ordered[-1]),
                }
        else:
            filled = column[~np.isnan(column)]
            if field.kind == "number" and len(filled):
                low, middle, high = (round(float(f(filled)), 6) for f in (np.min, np.median, np.max))
                row |= {"minimum": low, "median": middle, "maximum": high}
            else:
                names, counts = np.unique(filled, return_counts=True)
                row["values"] = "; ".join(f"{a:g}: {b}" for a, b in zip(names, counts, strict=True))
        rows.append({**row, "n": len(filled), "missing": len(column) - len(filled)})
    return rows
