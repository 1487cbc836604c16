"""Statistics against statsmodels, lifelines, scipy and printed values (1e-6)."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sarcoscope.cohort.stats.centiles import fit_lms
from sarcoscope.cohort.stats.cox import _Data, _transformed, check_proportional, cox
from sarcoscope.cohort.stats.logistic import logistic
from sarcoscope.cohort.stats.proportions import (
    adjusted_p,
    cochran_armitage,
    compare_counts,
    standardise,
    wilson,
)
from sarcoscope.cohort.stats.splines import knots_of, spline_basis
from sarcoscope.cohort.stats.survival import cumulative_incidence, kaplan_meier, log_rank
from tests.cohort.fixed import people

ORACLE = json.loads((Path(__file__).parent / "data" / "oracles.json").read_text(encoding="utf-8"))
P = people()
X = np.column_stack([P["age"], P["sex"], P["bmi"]])
NAMES = ("age", "sex", "bmi")
EVENT = P["cause"] > 0
NEAR = {"rel": 1e-6, "abs": 1e-9}


def test_wilson_equals_statsmodels_and_wilsons_own_interval() -> None:
    o = ORACLE["wilson"]
    low, high = wilson(o["k"], o["n"])
    assert low == pytest.approx(o["low"], **NEAR)
    assert high == pytest.approx(o["high"], **NEAR)
    # Newcombe 1998, table I: 81/263 and 15/148.
    low, high = wilson([81, 15], [263, 148])
    assert np.round(low, 4).tolist() == [0.2553, 0.0624]
    assert np.round(high, 4).tolist() == [0.3662, 0.1605]
    assert np.isnan(wilson(0, 0)[0])


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share_and_mirrors(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    other_low, other_high = wilson(n - k, n)
    assert other_low == pytest.approx(1 - high, abs=1e-12)
    assert other_high == pytest.approx(1 - low, abs=1e-12)


def test_corrections_for_many_tests() -> None:
    o = ORACLE["p"]
    assert adjusted_p(o["raw"], "holm") == pytest.approx(o["holm"], **NEAR)
    assert adjusted_p(o["raw"], "bh") == pytest.approx(o["bh"], **NEAR)
    with_gap = adjusted_p([0.01, float("nan"), 0.04])
    assert np.isnan(with_gap[1])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    with pytest.raises(ValueError, match="unknown"):
        adjusted_p([0.1], "none")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrected_p_keep_the_order_and_never_shrink(raw: list[float]) -> None:
    for method in ("holm", "bh"):
        found = adjusted_p(raw, method)
        assert (found >= np.array(raw) - 1e-12).all()
        assert (found <= 1).all()
        assert (np.diff(found[np.argsort(raw, kind="stable")]) >= -1e-12).all()
    assert (adjusted_p(raw, "bh") <= adjusted_p(raw, "holm") + 1e-12).all()


def test_trend() -> None:
    o = ORACLE["trend"]
    found = cochran_armitage(o["cases"], o["totals"])
    n = sum(o["totals"])
    # statsmodels takes the hypergeometric variance: n - 1 where Armitage has n.
    assert found.statistic == pytest.approx(-o["z"] * np.sqrt(n / (n - 1)), **NEAR)
    two = cochran_armitage([10, 20], [50, 50])
    table = stats.chi2_contingency([[10, 40], [20, 30]], correction=False)
    assert two.statistic**2 == pytest.approx(table.statistic, **NEAR)
    assert two.p == pytest.approx(table.pvalue, **NEAR)
    assert np.isnan(cochran_armitage([0, 0], [5, 5]).p)
    assert np.isnan(cochran_armitage([1], [5]).p)


def test_counts() -> None:
    found = compare_counts([[30, 70], [45, 55], [20, 80]])
    scipy = stats.chi2_contingency([[30, 70], [45, 55], [20, 80]], correction=False)
    assert (found.name, found.p) == ("chi-square", pytest.approx(scipy.pvalue, **NEAR))
    tea = compare_counts([[3, 1], [1, 3]])
    assert tea.name == "Fisher"
    assert tea.p == pytest.approx(0.4857142857, abs=1e-9)  # Fisher's tea, printed
    many = compare_counts([[3, 1], [1, 3], [0, 4]])
    assert many.name.startswith("Fisher-Freeman-Halton")
    assert many.p == compare_counts([[3, 1], [1, 3], [0, 4]]).p
    assert many.p == pytest.approx(_exact([3, 1, 0], [4, 4, 4]), abs=0.015)
    assert compare_counts([[3, 0], [5, 0]]).name == "none"


def _exact(first: list[int], rows: list[int]) -> float:
    """Fisher-Freeman-Halton p of a table of three rows and two columns, all tables counted."""
    weights = {
        (a, b, sum(first) - a - b): comb(rows[0], a) * comb(rows[1], b) * comb(rows[2], sum(first) - a - b)
        for a in range(rows[0] + 1)
        for b in range(rows[1] + 1)
        if 0 <= sum(first) - a - b <= rows[2]
    }
    seen = weights[tuple(first)]
    return sum(w for w in weights.values() if w <= seen) / sum(weights.values())


def test_standardised_share() -> None:
    one = standardise([10], [1000], [7])
    # One stratum is the exact Poisson interval: 10 events, 4.795389 to 18.390356 (printed tables).
    assert (one.share, one.low, one.high) == (
        pytest.approx(0.01),
        pytest.approx(4.795389e-3, rel=1e-6),
        pytest.approx(18.390356e-3, rel=1e-6),
    )
    two = standardise([10, 30], [100, 100], [3, 1])
    assert two.share == pytest.approx(0.75 * 0.1 + 0.25 * 0.3)
    gap = standardise([10, 0], [100, 0], [3, 1])
    assert (gap.share, gap.strata_empty) == (pytest.approx(0.1), 1)
    assert np.isnan(standardise([0], [0], [1]).share)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(40, 90)), min_size=1, max_size=6))
def test_standardised_to_itself_is_the_crude_share(strata: list[tuple[int, int]]) -> None:
    k, n = zip(*strata, strict=True)
    found = standardise(k, n, n)
    assert found.share == pytest.approx(sum(k) / sum(n))
    assert found.low <= found.share <= found.high


def test_logistic_equals_statsmodels() -> None:
    fit = logistic(X, P["answer"], NAMES)
    o = ORACLE["logit"]
    assert fit.problem == ""
    assert fit.coefficients == pytest.approx(o["b"], **NEAR)
    assert fit.errors == pytest.approx(o["se"], **NEAR)
    assert fit.p == pytest.approx(o["p"], **NEAR)
    assert fit.log_likelihood == pytest.approx(o["llf"], **NEAR)
    assert fit.log_likelihood_null == pytest.approx(o["llnull"], **NEAR)


def test_logistic_of_one_flag_is_the_odds_ratio_of_the_table() -> None:
    flag = np.repeat([1.0, 0.0], [40, 60])
    answer = np.concatenate([np.arange(40) < 10, np.arange(60) < 24])
    fit = logistic(flag[:, None], answer, ("flag",))
    assert fit.ratios[1] == pytest.approx((10 * 36) / (30 * 24), rel=1e-9)
    assert fit.errors[1] == pytest.approx(np.sqrt(1 / 10 + 1 / 30 + 1 / 24 + 1 / 36), rel=1e-6)


def test_worthless_regressions_say_why() -> None:
    flag = np.repeat([1.0, 0.0], [20, 20])
    assert logistic(flag[:, None], flag > 0, ("flag",)).problem == "separated"
    assert logistic(flag[:, None], flag > 2, ("flag",)).problem == "no_events"
    assert logistic(np.column_stack([flag, 2 * flag]), P["answer"][:40], ("a", "b")).problem == "collinear"
    assert logistic(X, P["answer"], NAMES).few_events is False
    time = np.arange(1.0, 41)
    assert cox(flag[:, None], time, flag > 2, ("flag",)).problem == "no_events"
    assert cox(np.column_stack([flag, flag]), time, flag > 0, ("a", "b")).problem == "collinear"
    assert cox(flag[:, None], time, flag > 0, ("flag",)).problem == "separated"


def test_cox_equals_statsmodels_and_lifelines() -> None:
    fit = cox(X, P["time"], EVENT, NAMES)
    for oracle in ("cox", "cox_lifelines"):
        o = ORACLE[oracle]
        assert fit.coefficients == pytest.approx(o["b"], **NEAR)
        assert fit.errors == pytest.approx(o["se"], **NEAR)
        assert fit.log_likelihood == pytest.approx(o["llf"], **NEAR)


@pytest.mark.parametrize("transform", ["identity", "rank"])
def test_proportionality_equals_lifelines(transform: str) -> None:
    fit = cox(X, P["time"], EVENT, NAMES)
    found = check_proportional(X, P["time"], EVENT, fit, transform)
    for name, test in found.terms:
        assert test.statistic == pytest.approx(ORACLE["ph"][transform][name], rel=1e-6), name
    assert found.residuals.mean(axis=0) == pytest.approx(fit.coefficients, abs=1e-6)


def test_time_by_survival_is_taken_before_each_death() -> None:
    """As R's cox.zph does (lifelines takes it after the death)."""
    time, event = np.array([1.0, 2, 2, 3, 4]), np.array([True, True, True, True, False])
    data = _Data(np.zeros((5, 1)), time, event)
    assert _transformed(time[event], data, "km") == pytest.approx([0, 0.2, 0.2, 0.6])


def test_kaplan_meier_equals_lifelines_and_statsmodels() -> None:
    curve, o = kaplan_meier(P["time"], EVENT), ORACLE["km"]
    for k, at in enumerate(o["at"]):
        assert curve.at(at) == pytest.approx((o["s"][k], o["low"][k], o["high"][k]), **NEAR)
        place = np.searchsorted(curve.times, at, "right") - 1
        assert np.sqrt(curve.variance[place]) == pytest.approx(ORACLE["km_se"][k], **NEAR)
    assert curve.median[0] == o["median"]
    assert curve.at(0.0) == (1.0, 1.0, 1.0)
    assert kaplan_meier(np.array([1.0, 2.0]), np.array([True, True])).at(0.5)[0] == 1.0
    assert cumulative_incidence(np.array([1.0, 2.0]), np.array([1, 1])).at(0.5)[0] == 0.0


def test_log_rank_equals_lifelines_and_statsmodels() -> None:
    found = log_rank(P["time"], EVENT, P["group"])
    for oracle in ("logrank", "logrank_sm"):
        assert found.statistic == pytest.approx(ORACLE[oracle]["chi"], **NEAR)
        assert found.p == pytest.approx(ORACLE[oracle]["p"], **NEAR)


def test_cox_score_test_of_untied_groups_is_the_log_rank() -> None:
    time = P["time"] + np.linspace(0, 1e-3, len(P["time"]))
    group = (P["group"] > 0).astype(np.int64)
    chi = log_rank(time, EVENT, group).statistic
    fit = cox(group[:, None].astype(float), time, EVENT, ("g",))
    likelihood_ratio = 2 * (fit.log_likelihood - fit.log_likelihood_null)
    assert chi == pytest.approx(likelihood_ratio, rel=0.02)


def test_cumulative_incidence_equals_statsmodels_and_lifelines() -> None:
    curve, o = cumulative_incidence(P["time"], P["cause"]), ORACLE["aj"]
    for k, at in enumerate(o["at"]):
        assert curve.at(at)[0] == pytest.approx(o["cif"][k], **NEAR)
    rng = np.random.default_rng(3)
    untied = P["time"] + rng.uniform(0, 1e-3, len(P["time"]))
    curve, o = cumulative_incidence(untied, P["cause"]), ORACLE["aj_untied"]
    for k, at in enumerate(ORACLE["aj"]["at"]):
        place = np.searchsorted(curve.times, at, "right") - 1
        assert curve.value[place] == pytest.approx(o["cif"][k], **NEAR)
        assert curve.variance[place] == pytest.approx(o["var"][k], **NEAR)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_incidences_and_survival_share_out_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time, cause = rng.integers(1, 30, 80).astype(float), rng.integers(0, 3, 80)
    alive = kaplan_meier(time, cause > 0)
    one, two = (cumulative_incidence(time, cause, c) for c in (1, 2))
    assert one.value + two.value + alive.value == pytest.approx(np.ones(len(alive.times)))
    # Without competition the incidence is one minus survival, and so is its variance.
    lone = cumulative_incidence(time, (cause > 0).astype(int))
    inside = alive.value > 0
    assert lone.variance[inside] == pytest.approx(alive.variance[inside], rel=1e-6, abs=1e-12)


def test_splines_are_linear_outside_and_smooth() -> None:
    knots = knots_of(P["age"], 4)
    beyond = np.array([knots[-1] + 1, knots[-1] + 2, knots[-1] + 3])
    assert np.diff(spline_basis(beyond, knots), 2, axis=0) == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    below = spline_basis(np.array([knots[0] - 5.0]), knots)
    assert below[0, 1:] == pytest.approx([0, 0])
    assert spline_basis(P["age"], knots[:2]).shape == (300, 1)


def test_splines_fit_as_patsys_natural_splines_do() -> None:
    o = ORACLE["spline"]
    x, y = np.array(o["x"]), np.array(o["y"])
    basis = np.column_stack([np.ones(len(x)), spline_basis(x, np.array(o["knots"]))])
    fitted = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    assert fitted[:20] == pytest.approx(o["fitted"], rel=1e-6)


def test_lms_finds_the_curve_it_was_drawn_from() -> None:
    rng = np.random.default_rng(11)
    age = rng.uniform(20, 80, 8000)
    median = 55 - 0.004 * (age - 30) ** 2
    value = median * (1 + 0.5 * 0.14 * rng.normal(size=len(age))) ** 2  # L = 0.5
    fit = fit_lms(age, value)
    assert fit.converged
    at = np.array([30.0, 50.0, 70.0])
    power, m, s = fit.parameters(at)
    assert m == pytest.approx(55 - 0.004 * (at - 30) ** 2, rel=0.01)
    assert s == pytest.approx([0.14] * 3, rel=0.05)
    assert power == pytest.approx(0.5, abs=0.2)
    z = fit.z(age, value)
    assert (z < stats.norm.ppf(0.05)).mean() == pytest.approx(0.05, abs=0.006)
    assert fit.value(at, 0.05) == pytest.approx(m * (1 + power * s * stats.norm.ppf(0.05)) ** (1 / power))
    assert np.isnan(fit.z(np.array([90.0]), np.array([50.0])))[0]


def test_lms_gradient_is_at_its_maximum() -> None:
    """The likelihood of Cole and Green at the fit is not bettered by any small step."""
    fit = fit_lms(P["age"], P["value"])

    def loss(power: float, up: float, wide: float) -> float:
        _, m, s = fit.parameters(P["age"])
        m, s = m * up, s * wide
        z = ((P["value"] / m) ** power - 1) / (power * s)
        return float((0.5 * z**2 + np.log(s) - power * np.log(P["value"] / m)).sum())

    best = loss(fit.power, 1, 1)
    for d in (-1e-3, 1e-3):
        assert loss(fit.power + d, 1, 1) > best
        assert loss(fit.power, 1 + d, 1) > best
        assert loss(fit.power, 1, 1 + d) > best
