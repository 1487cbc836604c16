"""The centre's own reference from its healthy people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.builder import bootstrap_limits, build, normality, young_people
from sarcoscope.cohort.definition import Condition, OwnReference
from sarcoscope.diagnosis import Case, diagnose
from sarcoscope.diagnosis.own import own_sets, save_reference
from sarcoscope.errors import InputError, SettingError
from sarcoscope.measures.measurement import IndexValue
from tests.cohort.make import cohort, person, study

PART = OwnReference(
    name="ours", where=(Condition(column="group_rest", op="==", value=1),), young=(20, 44), draws=200
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    rng = np.random.default_rng(8)
    studies, people = [], []
    for k in range(600):
        sex = "M" if k % 2 else "F"
        age = round(float(rng.uniform(20, 80)), 1)
        area = (170 if sex == "M" else 110) - 0.7 * max(age - 40, 0) + rng.normal(0, 15)
        studies.append(study(k, f"P{k}", sex=sex, age_years=age, muscle_area_cm2=round(area, 3)))
        people.append(person(f"P{k}", sex=sex, cirrhosis=int(k % 5 == 0)))
    return cohort(tmp_path_factory.mktemp("c"), studies, people)


def test_mean_sd_and_cutoffs(found: Cohort) -> None:
    built = build(found, PART)
    sex, age = found.frame.text("sex"), found.frame.number("age_years")
    healthy = found.frame.number("cirrhosis") == 0
    own = found.frame.number("SMA")[healthy & (sex == "M") & (age >= 20) & (age < 45)]
    row = next(r for r in built.cutoffs if (r["index"], r["sex"]) == ("SMA", "M"))
    assert (row["n"], built.healthy) == (len(own), int(healthy.sum()))
    assert row["mean"] == pytest.approx(own.mean())
    assert row["t_minus_2"] == pytest.approx(own.mean() - 2 * own.std(ddof=1))
    assert row["t_minus_2_low"] < row["t_minus_2"] < row["t_minus_2_high"]
    assert row["p5"] == pytest.approx(np.quantile(own, 0.05))
    limit = next(r for r in built.reference.rows if (r.index, r.sex) == ("SMA", "M"))
    assert (limit.mean, limit.sd) == (pytest.approx(own.mean()), pytest.approx(own.std(ddof=1)))
    assert (built.reference.hu_band, built.reference.muscle_set, built.reference.phase) == (
        (-29, 150),
        "all",
        "portal",
    )


def test_ages_are_completed_years(found: Cohort) -> None:
    ages = np.array([19.9, 20.0, 44.0, 44.9, 45.0, np.nan])
    frame = found.frame.take(np.arange(6)).adding({"age_years": ages})
    some = Cohort(found.definition, frame, found.flow, {}, {}, (), None)
    assert young_people(some, (20, 44)).tolist() == [False, True, True, True, False, False]


def test_diagnosis_uses_the_saved_reference_and_versions_are_kept(found: Cohort, tmp_path: Path) -> None:
    built = build(found, PART)
    path = save_reference(built.reference, tmp_path, built.details())
    assert save_reference(built.reference, tmp_path, built.details()) == path
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == 1
    other = build(found, PART.model_copy(update={"young": (20, 39)}))
    save_reference(other.reference, tmp_path, other.details())
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == 2
    assert (tmp_path / "versions" / "ours.v1.json").is_file()
    (kept,) = own_sets(tmp_path)
    assert kept == other.reference
    mean = next(r for r in kept.rows if (r.index, r.sex) == ("SMA", "F"))
    value = IndexValue("SMA", "L3", "range", mean.mean - 2.5 * mean.sd, "", 0.0)
    case = Case("F", 60.0, 24.0, "L3", "range", "portal", (value,), 120.0)
    answer = next(d for d in diagnose(case, (kept,)) if d.index == "SMA")
    assert (answer.class_, round(answer.t_score, 6)) == ("class_2", -2.5)


def test_centiles_follow_age_and_sensitivity_stands_side_by_side(found: Cohort) -> None:
    built = build(found, PART)
    men = [r for r in built.centiles if (r["index"], r["sex"]) == ("SMA", "M")]
    assert [r["age"] for r in men] == [float(a) for a in range(25, 80, 5)]
    assert men[-1]["p50"] < men[0]["p50"] - 15
    for row in men:
        assert row["p3"] < row["p10"] < row["p50"] < row["p97"]
    spans = [
        r["young"] for r in built.sensitivity if (r["index"], r["sex"], r["group"]) == ("SMA", "M", "all")
    ]
    assert spans == ["20-39", "20-44", "20-49"]
    low = [
        r["class_2_prevalence"]
        for r in built.sensitivity
        if (r["index"], r["sex"], r["group"]) == ("SMA", "M", "all")
    ]
    assert low[-1] <= low[0]


def test_too_few_and_bad_names(found: Cohort) -> None:
    with pytest.raises(InputError, match="a reference needs"):
        build(found, PART.model_copy(update={"young": (18, 19)}))
    with pytest.raises(SettingError, match="shipped"):
        build(found, PART.model_copy(update={"name": "p0"}))


def test_bootstrap_interval_covers_the_true_limit() -> None:
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = bootstrap_limits(rng.normal(100, 10, 150), 300, rng)
        held += found["t_minus_2_low"] <= 80 <= found["t_minus_2_high"]
    assert held >= 87


def test_normality_names_its_test() -> None:
    rng = np.random.default_rng(0)
    assert normality(rng.normal(size=200))[1] > 0.01
    assert normality(rng.exponential(size=6000)) == ("D'Agostino-Pearson", pytest.approx(0.0))
