"""A cut-point looked for in the data: it flatters itself, so it is judged on people it was not found in."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import SEXES
from sarcoscope.cohort.frame import Flags, Floats, Ints
from sarcoscope.cohort.stats.cox import cox
from sarcoscope.cohort.stats.survival import log_rank

COLUMNS: Final = (
    "index", "sex", "n", "events", "cut_point", "chi_square_found", "hazard_ratio_found", "cut_point_low",
    "cut_point_high", "folds", "chi_square_validated", "p_validated", "hazard_ratio_validated", "hr_low",
    "hr_high", "label",
)  # fmt: skip
SHARES: Final = np.round(np.arange(0.10, 0.901, 0.05), 2)
"""Quantiles that are tried; the outer tenths make groups too small."""
FOLDS: Final = 10
LEAST_EVENTS: Final = 20


def best_cut(value: Floats, time: Floats, event: Flags) -> tuple[float, float]:
    """(the cut with the largest log-rank statistic among the quantiles, that statistic)."""
    cuts = np.unique(np.quantile(value, SHARES))
    scores = [log_rank(time, event, (value < cut).astype(np.int64)).statistic for cut in cuts]
    scores = [s if np.isfinite(s) else -1.0 for s in scores]
    k = int(np.argmax(scores))
    return float(cuts[k]), float(scores[k])


def cut_points(cohort: Cohort, index: str, rows: Ints, time: Floats, event: Flags) -> list[dict[str, Any]]:
    """For each sex the cut-point of an index by log-rank, validated by folds; exploratory.

    Every tenth of the people is put into low and not low by the cut that the other nine tenths give; the
    hazard ratio and the test over these are the honest ones.
    """
    value, sex = cohort.frame.number(index)[rows], cohort.frame.text("sex")[rows]
    rng = np.random.default_rng(cohort.definition.analysis.seed)
    found = []
    for which in SEXES:
        own = np.asarray(sex == which, np.bool_) & np.isfinite(value)
        v, t, e = value[own], time[own], event[own]
        row: dict[str, Any] = {
            "index": index,
            "sex": which,
            "n": len(v),
            "events": int(e.sum()),
            "label": "exploratory",
        }
        if e.sum() < LEAST_EVENTS:
            found.append({**row, "label": "too_few_events"})
            continue
        cut, chi = best_cut(v, t, e)
        fold = rng.permutation(len(v)) % FOLDS
        low = np.zeros(len(v), np.bool_)
        cuts = []
        for k in range(FOLDS):
            other, _ = best_cut(v[fold != k], t[fold != k], e[fold != k])
            low[fold == k] = v[fold == k] < other
            cuts.append(other)
        test = log_rank(t, e, low.astype(np.int64))
        honest = cox(low[:, None].astype(np.float64), t, e, ("low",))
        flattering = cox((v < cut)[:, None].astype(np.float64), t, e, ("low",))
        bounds = honest.interval()
        found.append(
            {
                **row,
                "cut_point": cut,
                "chi_square_found": chi,
                "hazard_ratio_found": float(flattering.ratios[0]),
                "cut_point_low": min(cuts),
                "cut_point_high": max(cuts),
                "folds": FOLDS,
                "chi_square_validated": test.statistic,
                "p_validated": test.p,
                "hazard_ratio_validated": float(honest.ratios[0]),
                "hr_low": float(bounds[0][0]),
                "hr_high": float(bounds[1][0]),
            }
        )
    return found
