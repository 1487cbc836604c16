"""Table 1: who the people of every group are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy import stats

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import group_masks
from sarcoscope.cohort.frame import Floats
from sarcoscope.errors import SettingError

SKEWED: Final = 1.0
"""A column whose skewness exceeds this is given as median and quartiles."""


def table_one(cohort: Cohort) -> list[dict[str, Any]]:
    """A row a characteristic, a column a group, as text; missing values are counted in rows of their own."""
    groups = group_masks(cohort)
    rows: list[dict[str, Any]] = [
        {"characteristic": "n", **{g: str(int(m.sum())) for g, m in groups.items()}},
    ]
    sex = cohort.frame.text("sex")
    rows.append({"characteristic": "women", **{g: _part(sex[m] == "F") for g, m in groups.items()}})
    for name in (*cohort.definition.analysis.table_one, *cohort.definition.analysis.indices):
        rows += _of_column(cohort, name, groups)
    several = cohort.frame.number("diseases") > 1
    rows.append({"characteristic": "several", **{g: _part(several[m]) for g, m in groups.items()}})
    phase = cohort.frame.text("phase")
    for value in cohort.mixes["phase"]:
        cells = {g: _part(phase[m] == value) for g, m in groups.items()}
        rows.append({"characteristic": f"phase:{value}", **cells})
    return rows


def _of_column(cohort: Cohort, name: str, groups: dict[str, Any]) -> list[dict[str, Any]]:
    if name not in cohort.frame:
        raise SettingError(f"The cohort has no column '{name}' for table 1.")
    column = cohort.frame.columns[name]
    if column.dtype == object:
        values = sorted({v for v in column if v})
        return [
            {"characteristic": f"{name}:{v}", **{g: _part(column[m] == v) for g, m in groups.items()}}
            for v in values
        ]
    numbers = cohort.frame.number(name)
    known = numbers[np.isfinite(numbers)]
    if len(known) and set(np.unique(known)) <= {0.0, 1.0}:
        flags = {g: _part(numbers[m & np.isfinite(numbers)] == 1) for g, m in groups.items()}
        rows = [{"characteristic": name, **flags}]
    else:
        skewed = len(known) > 2 and known.std() > 0 and abs(float(stats.skew(known))) > SKEWED
        mode = "median" if skewed else "mean"
        rows = [
            {"characteristic": f"{name}|{mode}", **{g: _centre(numbers[m], mode) for g, m in groups.items()}}
        ]
    gaps = {g: int(np.isnan(numbers[m]).sum()) for g, m in groups.items()}
    if any(gaps.values()):
        rows.append({"characteristic": f"{name}|missing", **{g: str(v) for g, v in gaps.items()}})
    return rows


def _part(flags: Any) -> str:
    k, n = int(np.count_nonzero(flags)), len(flags)
    return f"{k} ({100 * k / n:.1f} %)" if n else "0"


def _centre(values: Floats, mode: str) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    if mode == "median":
        q1, middle, q3 = np.quantile(known, (0.25, 0.5, 0.75))
        return f"{_short(middle)} [{_short(q1)}, {_short(q3)}]"
    return f"{_short(known.mean())} ({_short(known.std(ddof=1))})" if len(known) > 1 else _short(known.mean())


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
