"""Writes ``data/oracles.json``: answers of statsmodels 0.15.0 and lifelines 0.30.3 on the fixed data.

Run by hand in an environment of its own (the project does not depend on them):
``python -m tests.cohort.make_oracles``.
"""

from __future__ import annotations

import json
from pathlib import Path

import lifelines
import numpy as np
import pandas as pd
import patsy
import statsmodels.api as sm
from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
from statsmodels.duration.survfunc import CumIncidenceRight
from statsmodels.stats.contingency_tables import Table
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tests.cohort.fixed import people


def main() -> None:
    p = people()
    x = np.column_stack([p["age"], p["sex"], p["bmi"]])
    out: dict[str, object] = {}
    k, n = np.array([0, 1, 7, 50, 99, 100]), np.array([10, 12, 30, 100, 100, 100])
    low, high = proportion_confint(k, n, method="wilson")
    out["wilson"] = {"k": k.tolist(), "n": n.tolist(), "low": list(low), "high": list(high)}
    pv = [0.01, 0.04, 0.03, 0.005, 0.2, 0.9]
    out["p"] = {
        "raw": pv,
        "holm": list(multipletests(pv, method="holm")[1]),
        "bh": list(multipletests(pv, method="fdr_bh")[1]),
    }
    cases, totals = np.array([3, 9, 20, 31]), np.array([50, 60, 70, 65])
    trend = Table(np.column_stack([cases, totals - cases])).test_ordinal_association()
    out["trend"] = {"cases": cases.tolist(), "totals": totals.tolist(), "z": float(trend.zscore)}
    logit = sm.Logit(p["answer"].astype(float), sm.add_constant(x)).fit(
        disp=0, tol=1e-12, method="newton", maxiter=100
    )
    out["logit"] = {
        "b": list(logit.params),
        "se": list(logit.bse),
        "p": list(logit.pvalues),
        "llf": logit.llf,
        "llnull": logit.llnull,
    }
    event = p["cause"] > 0
    reg = sm.PHReg(p["time"], x, status=event.astype(int), ties="efron").fit(disp=0)
    out["cox"] = {"b": list(reg.params), "se": list(reg.bse), "llf": reg.llf}
    frame = pd.DataFrame(
        {"age": p["age"], "sex": p["sex"], "bmi": p["bmi"], "time": p["time"], "event": event}
    )
    cph = lifelines.CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-12})
    out["cox_lifelines"] = {
        "b": list(cph.params_),
        "se": list(cph.standard_errors_),
        "llf": cph.log_likelihood_,
    }
    out["ph"] = {}
    for transform in ("identity", "rank", "km"):
        t = proportional_hazard_test(cph, frame, time_transform=transform)
        out["ph"][transform] = dict(zip(t.name, map(float, t.test_statistic), strict=True))  # type: ignore[index]
    km = lifelines.KaplanMeierFitter().fit(p["time"], event)
    at = [1.0, 3.0, 6.0, 9.0]
    ci = km.confidence_interval_
    out["km"] = {
        "at": at,
        "s": [float(km.predict(t)) for t in at],
        "low": [float(ci.loc[:t].iloc[-1, 0]) for t in at],
        "high": [float(ci.loc[:t].iloc[-1, 1]) for t in at],
        "median": float(km.median_survival_time_),
    }
    s = sm.SurvfuncRight(p["time"], event.astype(int))
    out["km_se"] = [float(s.surv_prob_se[np.searchsorted(s.surv_times, t, "right") - 1]) for t in at]
    lr = multivariate_logrank_test(p["time"], p["group"], event)
    out["logrank"] = {"chi": float(lr.test_statistic), "p": float(lr.p_value)}
    chi, pval = sm.duration.survdiff(p["time"], event.astype(int), p["group"])
    out["logrank_sm"] = {"chi": float(chi), "p": float(pval)}
    aj = lifelines.AalenJohansenFitter(jitter_level=0.0, calculate_variance=True)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            aj.fit(p["time"], p["cause"], event_of_interest=1)
        except ValueError as error:
            print(error)
    ci_sm = CumIncidenceRight(p["time"], p["cause"])
    out["aj"] = {
        "at": at,
        "cif": [float(ci_sm.cinc[0][np.searchsorted(ci_sm.times, t, "right") - 1]) for t in at],
        "se": [float(ci_sm.cinc_se[0][np.searchsorted(ci_sm.times, t, "right") - 1]) for t in at],
    }
    # Untied times: lifelines jitters ties, and its variance is the formula that is taken here.
    rng = np.random.default_rng(3)
    untied = p["time"] + rng.uniform(0, 1e-3, len(p["time"]))
    aj.fit(untied, p["cause"], event_of_interest=1)
    var = aj.variance_ if isinstance(aj.variance_, pd.Series) else aj.variance_.iloc[:, 0]
    cum = aj.cumulative_density_.iloc[:, 0]
    out["aj_untied"] = {
        "cif": [float(cum.loc[:t].iloc[-1]) for t in at],
        "var": [float(var.loc[:t].iloc[-1]) for t in at],
    }
    rng = np.random.default_rng(12)
    x = np.concatenate([[30.0, 80.0], rng.uniform(30, 80, 118)])
    y = np.sin(x / 9) + rng.normal(0, 0.2, len(x))
    knots = [30.0, 45.0, 62.0, 80.0]
    basis = patsy.dmatrix("cr(x, knots=[45.0, 62.0])", {"x": x})
    fitted = np.asarray(basis) @ np.linalg.lstsq(np.asarray(basis), y, rcond=None)[0]
    out["spline"] = {"x": x.tolist(), "y": y.tolist(), "knots": knots, "fitted": fitted[:20].tolist()}
    path = Path(__file__).parent / "data" / "oracles.json"
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
