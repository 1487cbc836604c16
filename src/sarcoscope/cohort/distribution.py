"""How the indices are distributed: a row for every cell and index."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import cells
from sarcoscope.cohort.frame import Floats

COLUMNS: Final = (
    "group", "sex", "decade", "index", "n", "missing", "mean", "sd", "minimum", "q1", "median", "q3",
    "maximum", "small",
)  # fmt: skip


def summary(values: Floats) -> dict[str, Any]:
    """n, missing, mean, SD (n - 1), quartiles (linear interpolation) and ends of values with gaps."""
    known = values[np.isfinite(values)]
    row: dict[str, Any] = {"n": len(known), "missing": len(values) - len(known)}
    if not len(known):
        return row
    low, q1, middle, q3, high = np.quantile(known, (0, 0.25, 0.5, 0.75, 1))
    row |= {"minimum": low, "q1": q1, "median": middle, "q3": q3, "maximum": high, "mean": known.mean()}
    if len(known) > 1:
        row["sd"] = known.std(ddof=1)
    return row


def distributions(cohort: Cohort) -> list[dict[str, Any]]:
    """A row for every cell and index; ``small`` marks cells of fewer people than the file says."""
    least = cohort.definition.analysis.small_cell
    values = {i: cohort.frame.number(i) for i in cohort.definition.analysis.indices}
    rows = []
    for cell in cells(cohort):
        for index, column in values.items():
            found = summary(column[cell.people])
            rows.append({**cell.place, "index": index, **found, "small": found["n"] < least})
    return rows
