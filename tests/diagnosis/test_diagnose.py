from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.diagnosis import Case, best_level, default_sets, diagnose, find_sets, shipped_sets
from sarcoscope.diagnosis.own import (
    OwnOptions,
    build_reference,
    own_sets,
    remove_reference,
    save_reference,
)
from sarcoscope.errors import InputError, SettingError
from sarcoscope.language.catalogue import messages
from sarcoscope.measures.measurement import IndexValue

ORDER = {"class_2": 0, "low": 0, "class_1": 1, "indeterminate": 1.5, "not_low": 2, "not_class_2": 2}


def case(index: str, value: float, error: float | None = None, **more: object) -> Case:
    base: dict[str, object] = {
        "sex": "F",
        "age_years": 40.0,
        "bmi": 24.0,
        "level": "L3",
        "protocol": "range",
        "phase": "unenhanced",
        "indices": (IndexValue(index, "L3", "range", value, "", error),),
        "kvp": 120.0,
    }
    return Case(**{**base, **more})  # type: ignore[arg-type]


@given(st.floats(1, 250), st.floats(0, 30))
def test_a_larger_muscle_is_never_classed_lower(value: float, more: float) -> None:
    for name in ("kim2021", "yoon2021_p5", "fhs_women", "derstine2018"):
        sets = find_sets((name,))
        low = next(d for d in diagnose(case("SMA", value), sets) if d.index == "SMA")
        high = next(d for d in diagnose(case("SMA", value + more), sets) if d.index == "SMA")
        assert ORDER[str(low.class_)] <= ORDER[str(high.class_)]


@given(st.floats(50, 110), st.floats(0.01, 20))
def test_indeterminate_exactly_where_the_error_reaches_the_limit(value: float, error: float) -> None:
    (answer, *_) = diagnose(case("SMA", value, error), find_sets(("kim2021",)))
    reached = value - error <= 74.2 <= value + error
    near = min(abs(value - error - 74.2), abs(value + error - 74.2)) < 1e-8
    assert near or (answer.class_ == "indeterminate") == reached


def test_every_answer_has_both_languages_and_never_names_a_disease() -> None:
    for s in shipped_sets():
        for level in s.levels:
            c = case(
                s.indices[0], 30.0, level=level, indices=(IndexValue(s.indices[0], level, "range", 30.0, ""),)
            )
            for answer in diagnose(c, (s,)):
                for text in answer.statement.values():
                    assert text
                    assert "sarcopeni" not in text.lower()
                    assert "normal" not in text.lower()
                    assert "근감소증" not in text
                    assert "정상" not in text


def test_unverified_sets_are_never_defaults() -> None:
    for level in ("L3", "T12", "T4", "L1"):
        assert all(s.verified for s in default_sets(level))
    assert [s.name for s in default_sets("L3")] == ["p0", "kim2021"]
    assert [s.name for s in default_sets("L1")] == ["lim2022"]
    assert default_sets("T12") == ()  # two sources contradict each other, and neither names its muscles


@pytest.mark.parametrize(
    ("in_view", "best"),
    [
        (["T11", "T12", "L1", "L2"], "L1"),
        (["T12", "T11"], "T12"),
        (["T5", "T6"], "T6"),
        (["T2", "T3"], "T3"),
        (["Sacral", "L5"], "L5"),
    ],
)
def test_substitute_level(in_view: list[str], best: str) -> None:
    assert best_level(in_view) == best


def test_every_shipped_number_is_in_the_reference_page() -> None:
    """The clinical page lies beside the checkout in the workplace; elsewhere its numbers are not at hand."""
    page = Path(__file__).parents[3] / "shared" / "reference" / "clinical.md"
    if not page.is_file():
        pytest.skip("the clinical reference page is not beside this checkout")
    text = page.read_text(encoding="utf-8")
    for s in shipped_sets():
        for row in s.rows:
            for number in (row.limit, row.mean, row.sd):
                if number is not None:
                    forms = {f"{number:g}", f"{number:.1f}", f"{number:.2f}"}
                    assert any(form in text for form in forms), (s.name, number)


def _table(path: Path, rows: list[str], head: str = "sex,age,sma_cm2,height_cm,weight_kg") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_own_reference_gives_t_scores(tmp_path: Path) -> None:
    rows = [f"F,{20 + k % 25},{100 + (k % 5) * 10},160,55" for k in range(40)]
    rows += ["F,70,60,150,60"]
    reference, notes = build_reference(_table(tmp_path / "t.csv", rows), OwnOptions("ours"))
    sma = next(r for r in reference.rows if r.index == "SMA")
    assert sma.mean == pytest.approx(120.0)
    assert sma.sd == pytest.approx(14.3223, abs=1e-3)  # of 40 values 100..140, n - 1
    assert any("1 people outside" in n for n in notes)
    save_reference(reference, tmp_path / "sets")
    (kept,) = own_sets(tmp_path / "sets")
    assert kept.rows == reference.rows
    answer = next(d for d in diagnose(case("SMA", 80.0), (kept,)) if d.index == "SMA")
    assert answer.t_score == pytest.approx(-2.793, abs=1e-3)
    assert answer.class_ == "class_2"
    remove_reference("ours", tmp_path / "sets")
    assert own_sets(tmp_path / "sets") == ()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["X,30,100,160,55"], "neither M nor F"),
        (["F,thirty,100,160,55"], "is no number"),
        (["F,30,,160,55"], "no index value"),
        (["F,30,-5,160,55"], "cannot be true"),
        (["F,30,100,160,55"] * 5, "fewer than 10"),
    ],
)
def test_bad_tables_are_refused_with_the_line(rows: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        build_reference(_table(tmp_path / "t.csv", rows), OwnOptions("ours"))


def test_bad_names_and_columns(tmp_path: Path) -> None:
    good = _table(tmp_path / "t.csv", ["F,30,100,160,55"])
    for name in ("p0", "../x", "", "A"):
        with pytest.raises(SettingError):
            build_reference(good, OwnOptions(name))
    with pytest.raises(InputError, match="lacks the column"):
        build_reference(_table(tmp_path / "u.csv", ["1"], head="sma_cm2"), OwnOptions("ours"))
    with pytest.raises(SettingError):
        find_sets(("nobody",))


def test_every_code_of_fit_has_its_sentence() -> None:
    source = (Path(__file__).parents[2] / "src" / "sarcoscope" / "diagnosis" / "fit.py").read_text(
        encoding="utf-8"
    )

    codes = re.findall(r'Caution\("([a-z_]+)"', source)
    assert codes
    known = messages()
    for code in codes:
        assert f"reason_{code}" in known or f"caution_{code}" in known, code


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.0])
def test_a_value_that_is_none_gets_no_class(value: float) -> None:
    (answer, *_) = diagnose(case("SMA_BMI", value), find_sets(("p0",)))
    assert answer.class_ == "not_comparable"
    assert answer.reason is not None
    assert answer.reason.code == "index_missing"


def test_a_person_whose_facts_are_none_is_not_guessed() -> None:
    nan = float("nan")
    (answer, *_) = diagnose(case("SMA_BMI", 3.0, age_years=nan), find_sets(("p0",)))
    assert "age_not_given" in {c.code for c in answer.cautions}
    (answer, *_) = diagnose(case("SMA_Ht2", 40.0, sex="M", bmi=nan), find_sets(("martin2013",)))
    assert answer.reason is not None
    assert answer.reason.code == "bmi_missing"
    (answer, *_) = diagnose(case("SMA_BMI", 3.0, sex="O"), find_sets(("p0",)))
    assert answer.reason is not None
    assert answer.reason.code == "sex_missing"
    for error in (nan, -1.0):
        (answer, *_) = diagnose(case("SMA_BMI", 5.5, error), find_sets(("p0",)))
        assert "error_unknown" in {c.code for c in answer.cautions}


def test_doubts_of_the_measurement_stand_before_the_fit() -> None:
    (answer, *_) = diagnose(case("SMA_BMI", 5.5, 0.1, doubts=("level_doubtful",)), find_sets(("p0",)))
    assert answer.cautions[0].code == "level_doubtful"
