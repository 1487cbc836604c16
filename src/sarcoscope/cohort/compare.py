"""Are the groups different? Tables where nobody is in two groups, regressions with indicators in any case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import ALL, SEXES
from sarcoscope.cohort.classes import Classified
from sarcoscope.cohort.definition import REST
from sarcoscope.cohort.frame import Flags, Floats
from sarcoscope.cohort.prevalence import corrected, low_by_value
from sarcoscope.cohort.stats.logistic import INTERCEPT, Fit, logistic, without_constant
from sarcoscope.cohort.stats.proportions import compare_counts
from sarcoscope.errors import SettingError
from sarcoscope.measures.indices import WEIGHT_INDICES

TEST_COLUMNS: Final = (
    "reference",
    "index",
    "sex",
    "groups",
    "n",
    "test",
    "statistic",
    "dof",
    "p",
    "p_corrected",
)
MODEL_COLUMNS: Final = (
    "reference", "index", "model", "term", "n", "events", "odds_ratio", "low", "high", "p", "p_corrected",
    "problem", "few_events", "warning",
)  # fmt: skip
NOTHING: Final = {
    "odds_ratio": float("nan"),
    "low": float("nan"),
    "high": float("nan"),
    "p": float("nan"),
    "problem": "constant",
    "warning": "",
}
"""What is said of a term that is the same for everybody."""
TENS: Final = ("age_years",)
"""Covariates whose ratio is given for ten units."""


def group_tests(cohort: Cohort, answers: Sequence[Classified]) -> list[dict[str, Any]]:
    """Chi-square or Fisher over disjoint groups, for both sexes and each; nothing where groups overlap."""
    if not cohort.disjoint or len(cohort.members) < 2:
        return []
    sex = cohort.frame.text("sex")
    rows: list[dict[str, Any]] = []
    for found in answers:
        low, fits = low_by_value(found)
        for which in (ALL, *SEXES):
            own = fits if which == ALL else fits & np.asarray(sex == which, np.bool_)
            table = [
                [int((own & m & low).sum()), int((own & m & ~low).sum())] for m in cohort.members.values()
            ]
            test = compare_counts(table, cohort.definition.analysis.seed)
            row: dict[str, Any] = {"reference": found.reference, "index": found.index, "sex": which}
            row["groups"] = len(table)
            row |= {"n": int(np.sum(table)), "test": test.name, "statistic": test.statistic, "dof": test.dof}
            rows.append({**row, "p": test.p})
    return corrected(rows, cohort.definition.analysis.correction)


def covariates(cohort: Cohort, names: Sequence[str]) -> tuple[Floats, list[str], Flags]:
    """(columns [person, term], names of the terms, who has all of them).

    Sex becomes ``male``; age counts in tens of years.

    Raises:
        SettingError: no such column, or one of text.
    """
    columns, terms = [], []
    for name in names:
        if name not in cohort.frame:
            raise SettingError(f"The cohort has no column '{name}' to adjust for.")
        if name == "sex":
            sex = cohort.frame.text("sex")
            columns.append(np.where(sex == "M", 1.0, np.where(sex == "F", 0.0, np.nan)))
            terms.append("male")
            continue
        if cohort.frame.columns[name].dtype.kind != "f":
            raise SettingError(f"The column '{name}' holds no numbers to adjust for.")
        value = cohort.frame.number(name)
        columns.append(value / 10 if name in TENS else value)
        terms.append(f"{name}_10" if name in TENS else name)
    if not columns:
        return np.empty((len(cohort), 0)), [], np.ones(len(cohort), np.bool_)
    stacked = np.column_stack(columns)
    return stacked, terms, np.isfinite(stacked).all(axis=1)


def contains_body(index: str, adjust: Sequence[str]) -> bool:
    """Does the index itself hold what is adjusted for (weight or BMI)?"""
    return index in WEIGHT_INDICES and bool({"bmi", "weight_kg"} & set(adjust))


def group_models(cohort: Cohort, answers: Sequence[Classified]) -> list[dict[str, Any]]:
    """Odds of low muscle by group: indicators together, without and with adjustment.

    People of several groups carry several indicators; the baseline is who is in none. p-values are corrected
    over the groups of all references and indices, for each of the two models; covariates are no hypotheses.
    """
    part = cohort.definition.analysis
    names = [g for g in cohort.members if g != REST]
    indicators = np.column_stack([cohort.members[g].astype(np.float64) for g in names])
    extra, terms, known = covariates(cohort, part.adjust)
    rows: list[dict[str, Any]] = []
    for found in answers:
        low, fits = low_by_value(found)
        body = contains_body(found.index, part.adjust)
        for model, x, labels, who in (
            ("groups", indicators, names, fits),
            ("adjusted", np.column_stack([indicators, extra]), [*names, *terms], fits & known),
        ):
            if model == "adjusted" and not terms:
                continue
            used, kept, constant = without_constant(x[who], labels)
            fit = logistic(used, low[who], kept)
            warning = "index_contains_body" if body and model == "adjusted" else ""
            place = {"reference": found.reference, "index": found.index, "model": model}
            rows += _rows(place, fit, warning)
            for term in constant:
                rows.append({**place, "term": term, "n": fit.n, **NOTHING})
    for model in ("groups", "adjusted"):
        own = [r for r in rows if r["model"] == model and r["term"] in names]
        for row, new in zip(own, corrected(own, part.correction), strict=True):
            row["p_corrected"] = new["p_corrected"]
    return rows


def _rows(place: dict[str, Any], fit: Fit, warning: str) -> list[dict[str, Any]]:
    low, high = fit.interval()
    return [
        {
            **place,
            "term": term,
            "n": fit.n,
            "events": fit.events,
            "odds_ratio": float(fit.ratios[k]),
            "low": float(low[k]),
            "high": float(high[k]),
            "p": float(fit.p[k]),
            "problem": fit.problem,
            "few_events": fit.few_events,
            "warning": warning,
        }
        for k, term in enumerate(fit.names)
        if term != INTERCEPT
    ]
