"""Tables of a cohort against numbers counted by hand, scipy and numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import decade_names, decade_of
from sarcoscope.cohort.compare import group_models, group_tests
from sarcoscope.cohort.distribution import distributions
from sarcoscope.cohort.prevalence import classify_all, prevalences, standard_weights, standardised, trends
from sarcoscope.cohort.stats.logistic import logistic
from sarcoscope.diagnosis import find_sets
from sarcoscope.errors import InputError
from tests.cohort.make import cohort, person, study

P0 = find_sets(("p0",))
KIM = find_sets(("kim2021",))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    rng = np.random.default_rng(5)
    studies, people = [], []
    for k in range(400):
        sex = "M" if k % 2 else "F"
        cirrhosis, fibrosis = int(rng.uniform() < 0.3), int(rng.uniform() < 0.3)
        age = float(rng.uniform(25, 75))
        area = (150 if sex == "M" else 105) - 0.6 * (age - 50) - 10 * cirrhosis + rng.normal(0, 18)
        row = study(k, f"P{k}", sex=sex, age_years=round(age, 1), muscle_area_cm2=round(area, 3))
        studies.append(row | ({"flags": "ascites_suspected"} if k % 50 == 0 else {}))
        people.append(person(f"P{k}", sex=sex, cirrhosis=cirrhosis, fibrosis=fibrosis))
    return cohort(tmp_path_factory.mktemp("c"), studies, people)


def test_distribution_equals_numpy(found: Cohort) -> None:
    rows = distributions(found)
    age, sex, sma = found.frame.number("age_years"), found.frame.text("sex"), found.frame.number("SMA")
    row = next(
        r
        for r in rows
        if (r["group"], r["sex"], r["decade"], r["index"]) == ("cirrhosis", "M", "50-59", "SMA")
    )
    own = sma[(found.frame.number("cirrhosis") > 0) & (sex == "M") & (age >= 50) & (age < 60)]
    assert row["n"] == len(own)
    assert row["mean"] == pytest.approx(own.mean(), abs=1e-9)
    assert row["sd"] == pytest.approx(own.std(ddof=1), abs=1e-9)
    assert [row["q1"], row["median"], row["q3"]] == pytest.approx(np.percentile(own, [25, 50, 75]).tolist())
    assert row["small"] == (len(own) < 10)


def test_prevalence_counts_everybody_once_and_apart(found: Cohort) -> None:
    answers = classify_all(found, P0)
    for row in prevalences(found, answers):
        parts = row["not_comparable"] + row["comparable"]
        assert parts == row["n"]
        assert row["comparable"] == row["indeterminate"] + row["low"] + row["not_low"]
        if row["comparable"]:
            assert row["prevalence_certain"] <= row["prevalence"] <= row["prevalence_possible"]
            assert row["prevalence_low"] <= row["prevalence"] <= row["prevalence_high"]
    whole = prevalences(found, answers)[0]
    value, sex = found.frame.number("SMA_BMI"), found.frame.text("sex")
    wet = found.frame.number("fluid") > 0
    limit = np.where(sex == "M", 5.18, 4.01)
    assert whole["not_comparable"] == int(wet.sum()) == 8
    assert whole["low_by_value"] == int((value < limit)[~wet].sum())
    assert answers[0].reasons == {"fluid": 8}


def test_class_one_is_given_where_a_set_has_mean_and_sd(found: Cohort) -> None:
    sets = find_sets(("fhs_women",))
    rows = prevalences(found, classify_all(found, sets))
    women = next(
        r for r in rows if (r["index"], r["group"], r["sex"], r["decade"]) == ("SMA", "all", "F", "all")
    )
    age, sex, sma = found.frame.number("age_years"), found.frame.text("sex"), found.frame.number("SMA")
    t = (sma - 120.9) / 18.4
    young = (sex == "F") & (age < 45)
    assert women["comparable"] == int(young.sum())
    assert women["low_by_value"] == int((t[young] < -2).sum())
    assert women["class_1_by_value"] == int(((t >= -2) & (t < -1))[young].sum())
    assert women["not_comparable"] == 0  # older women have a z-score: no class, yet not "not comparable"


def test_standardised_to_the_cohort_and_to_a_file(found: Cohort, tmp_path: Path) -> None:
    answers = classify_all(found, KIM)
    rows = standardised(found, answers, standard_weights(found, tmp_path))
    everybody = next(r for r in rows if (r["index"], r["group"], r["sex"]) == ("SMA", "all", "all"))
    assert everybody["standardised"] == pytest.approx(everybody["crude"])
    analysis = found.definition.analysis.model_copy(update={"standard": "standard.csv"})
    named = Cohort(
        found.definition.model_copy(update={"analysis": analysis}),
        found.frame,
        found.flow,
        found.members,
        found.mixes,
        found.notes,
        found.clinical,
    )
    names = decade_names(analysis.decades)
    lines = ["sex,decade,weight", *(f"{s},{d},{1 + k}" for s in "MF" for k, d in enumerate(names))]
    (tmp_path / "standard.csv").write_text("\n".join(lines), encoding="utf-8")
    weights = standard_weights(named, tmp_path)
    rows = standardised(named, answers, weights)
    row = next(r for r in rows if (r["index"], r["group"], r["sex"]) == ("SMA", "cirrhosis", "M"))
    decade, sex = decade_of(found.frame, analysis.decades), found.frame.text("sex")
    own = found.members["cirrhosis"] & (sex == "M")
    low = found.frame.number("SMA") < 119.3
    shares = [low[own & (decade == k)].mean() for k in range(len(names))]
    assert row["standardised"] == pytest.approx(np.average(shares, weights=[1, 2, 3, 4]))
    (tmp_path / "standard.csv").write_text("sex,decade,weight\nM,0-9,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"standard\.csv"):
        standard_weights(named, tmp_path)


def test_trend_rises_with_age_and_is_corrected(found: Cohort) -> None:
    rows = trends(found, classify_all(found, KIM))
    men = next(r for r in rows if (r["index"], r["group"], r["sex"]) == ("SMA", "all", "M"))
    assert men["z"] > 0
    assert men["p"] == pytest.approx(2 * stats.norm.sf(men["z"]))
    assert men["p_corrected"] >= men["p"]


def test_overlapping_groups_get_no_table_but_a_model(found: Cohort) -> None:
    answers = classify_all(found, P0)
    assert group_tests(found, answers) == []
    rows = [r for r in group_models(found, answers) if r["model"] == "groups"]
    assert [r["term"] for r in rows] == ["cirrhosis", "fibrosis"]
    wet = found.frame.number("fluid") > 0
    x = np.column_stack([found.frame.number(d) for d in ("cirrhosis", "fibrosis")])[~wet]
    low = (found.frame.number("SMA_BMI") < np.where(found.frame.text("sex") == "M", 5.18, 4.01))[~wet]
    fit = logistic(x, low, ("a", "b"))
    assert [r["odds_ratio"] for r in rows] == pytest.approx(fit.ratios[1:].tolist())
    warned = {
        r["index"]: r["warning"]
        for r in group_models(found, classify_all(found, KIM))
        if r["model"] == "adjusted" and not r["problem"]
    }
    assert warned == {
        "SMA": "",
        "SMA_Ht2": "",
        "SMA_Wt": "index_contains_body",
        "SMA_BMI": "index_contains_body",
    }


def test_disjoint_groups_get_the_chi_square_of_scipy(tmp_path: Path) -> None:
    studies = [study(k, f"P{k}", muscle_area_cm2=110.0 if k % 3 else 150.0) for k in range(90)]
    people = [person(f"P{k}", cirrhosis=int(k < 50), fibrosis=int(20 <= k < 70)) for k in range(90)]
    found = cohort(tmp_path, studies, people, kind="hierarchical")
    row = next(
        r for r in group_tests(found, classify_all(found, KIM)) if (r["index"], r["sex"]) == ("SMA", "all")
    )
    low = np.array([bool(k % 3) for k in range(90)])
    parts = (slice(0, 50), slice(50, 70), slice(70, 90))
    table = [[low[p].sum(), (~low[p]).sum()] for p in parts]
    assert row["p"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert (row["test"], row["groups"]) == ("chi-square", 3)
