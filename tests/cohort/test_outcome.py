"""Outcome by low muscle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cutpoint import cut_points
from sarcoscope.cohort.definition import Outcome
from sarcoscope.cohort.outcome import follow
from sarcoscope.cohort.stats.cox import check_proportional, cox
from sarcoscope.diagnosis import find_sets
from sarcoscope.errors import InputError, SettingError
from tests.cohort.make import cohort, person, study

KIM = find_sets(("kim2021",))
PART = Outcome(
    time="followup_years",
    status="status",
    title={"en": "Death"},
    exposure={"reference": "kim2021", "index": "SMA"},
    adjust=("age_years",),
    spline="age_years",
    landmarks=(1.0,),
    cutpoint="SMA",
)


def _cohort(folder: Path, *, effect: float = 1.2, n: int = 500, seed: int = 2) -> Cohort:
    rng = np.random.default_rng(seed)
    studies, people = [], []
    for k in range(n):
        age, area = float(rng.uniform(40, 80)), float(rng.normal(125, 12))
        hazard = 0.08 * np.exp(effect * (area < 119.3) + 0.03 * (age - 60))
        death, other, end = rng.exponential(1 / hazard), rng.exponential(30), rng.uniform(0.5, 8)
        years = min(death, other, end)
        status = 1 if years == death else 2 if years == other else 0
        studies.append(study(k, f"P{k}", age_years=round(age, 1), muscle_area_cm2=round(area, 3)))
        blank = {"years": "", "status": ""} if k == 0 else {"years": 0.0, "status": 1} if k == 1 else {}
        people.append(person(f"P{k}", **{"years": round(years, 3) + 0.001, "status": status, **blank}))
    return cohort(folder, studies, people)


def test_models_curves_and_what_was_left_out(tmp_path: Path) -> None:
    found = _cohort(tmp_path)
    result = follow(found, PART, KIM)
    crude = next(r for r in result.models if r["model"] == "crude" and not r["landmark"])
    assert crude["n"] == 498
    time, status = found.frame.number("followup_years"), found.frame.number("status")
    used = np.isfinite(time) & (time > 0)
    low = (found.frame.number("SMA") < 119.3)[used]
    fit = cox(low[:, None].astype(float), time[used], status[used] == 1, ("low",))
    assert crude["hazard_ratio"] == pytest.approx(float(fit.ratios[0]))
    assert crude["low"] < np.exp(1.2) < crude["high"]
    landmark = next(r for r in result.models if r["model"] == "crude" and r["landmark"] == 1.0)
    late = time[used] > 1
    fit = cox(low[late][:, None].astype(float), time[used][late] - 1, status[used][late] == 1, ("low",))
    assert landmark["hazard_ratio"] == pytest.approx(float(fit.ratios[0]))
    codes = {n.code: n.values for n in result.notes}
    assert codes["cohort_note_no_followup"] == {"n": 1}
    assert codes["cohort_note_followup_not_after"] == {"n": 1}
    assert "cohort_note_competing" in codes
    one = next(r for r in result.at if r["muscle"] == "low" and r["time"] == 3.0)
    assert 1 - one["survival"] > one["incidence"]  # what competes makes one minus survival too large
    assert result.spline is not None
    assert [t["test"] for t in result.tests] == ["log-rank", "spline of age_years", "log-rank"]


def test_a_found_cut_point_is_validated_and_called_exploratory(tmp_path: Path) -> None:
    """Where nothing is to be found, the best cut flatters itself and the validated ratio does not."""
    found = _cohort(tmp_path, effect=0.0, n=400, seed=9)
    (men, women) = follow(found, PART, KIM).cut_points
    assert men["label"] == "exploratory"
    assert women["label"] == "too_few_events"
    flattering, honest = abs(np.log(men["hazard_ratio_found"])), abs(np.log(men["hazard_ratio_validated"]))
    assert flattering > honest
    assert men["hr_low"] < 1 < men["hr_high"]
    again = follow(found, PART, KIM).cut_points
    assert again == (men, women)


def test_no_sex_with_events_and_unknown_columns(tmp_path: Path) -> None:
    found = _cohort(tmp_path, n=60)
    rows = np.arange(len(found))
    time = np.ones(len(found))
    (men, _) = cut_points(found, "SMA", rows, time, np.zeros(len(found), np.bool_))
    assert men["label"] == "too_few_events"
    with pytest.raises(SettingError, match="no column 'odd'"):
        follow(found, PART.model_copy(update={"time": "odd"}), KIM)
    with pytest.raises(SettingError, match="asks for 'kim2021'"):
        follow(found, PART, find_sets(("p0",)))
    with pytest.raises(SettingError, match="no column 'odd' to adjust"):
        follow(found, PART.model_copy(update={"adjust": ("odd",)}), KIM)


def test_time_from_the_day_of_the_index_study(tmp_path: Path) -> None:
    found = _cohort(tmp_path, n=80)
    last = found.frame.columns["day"] + np.arange(80) * 50
    dated = Cohort(
        found.definition, found.frame.adding({"last_date": last}), found.flow, found.members, {}, (), None
    )
    part = PART.model_copy(update={"time": "last_date", "landmarks": (), "cutpoint": "", "spline": ""})
    result = follow(dated, part, KIM)
    assert max(float(t.max()) for t in result.times.values()) == pytest.approx(79 * 50 / 365.25)
    assert "cohort_note_time_origin" not in {n.code for n in result.notes}


def test_nobody_followed_and_columns_without_numbers(tmp_path: Path) -> None:
    found = cohort(tmp_path / "a", [study(1, "a")], [person("a", years="", status="")])
    with pytest.raises(InputError, match="no outcome to follow"):
        follow(found, PART, KIM)
    found = _cohort(tmp_path / "b", n=60)
    for change in ({"spline": "nothing"}, {"spline": "sex"}, {"cutpoint": "nothing"}, {"status": "day"}):
        with pytest.raises(SettingError, match="for the outcome"):
            follow(found, PART.model_copy(update=change), KIM)


def test_all_events_at_one_time_and_nobody_left() -> None:
    x, time = np.array([[0.0], [1.0], [1.0], [0.0], [1.0]]), np.full(5, 2.0)
    event = np.array([True, True, False, True, False])
    fit = cox(x, time, event, ("low",))
    assert np.isnan(check_proportional(x, time, event, fit).terms[0][1].p)
    assert cox(np.empty((0, 1)), np.empty(0), np.empty(0, np.bool_), ("low",)).problem == "no_events"


def test_nobody_has_the_covariate_of_the_spline(tmp_path: Path) -> None:
    found = _cohort(tmp_path, n=60)
    ages = {"age_years": np.full(len(found), np.nan)}
    found = replace(found, frame=found.frame.adding(ages))
    result = follow(found, PART, KIM)
    assert result.spline is None
    assert {r["n"] for r in result.models if r["model"] == "adjusted"} == {0}
