"""Classes of many people equal the diagnosis of each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.cohort.classes import CLASSES, Classified, Subjects, classify
from sarcoscope.cohort.frame import texts
from sarcoscope.diagnosis import Case, ReferenceSet, diagnose, find_sets, shipped_sets
from sarcoscope.diagnosis.reference_set import LimitRow, Span
from sarcoscope.measures.measurement import IndexValue

TABLE = Path(__file__).parents[1] / "diagnosis" / "data" / "statement_table.csv"
OWN = ReferenceSet(
    name="own",
    title="own",
    operator="<",
    source="",
    certainty="own",
    rows=tuple(
        LimitRow(i, "L3", s, Span(), Span(), "population", mean=m, sd=sd)
        for i, s, m, sd in (("SMA", "M", 170.0, 20.0), ("SMA", "F", 110.0, 13.0), ("SMA_BMI", "F", 4.9, 0.6))
    ),
)


def _one(case: Case, reference: ReferenceSet, index: str) -> str:
    answers = diagnose(case, (reference,))
    answer = next((a for a in answers if a.index == index), answers[0])
    return answer.class_ or "z_score"


def _classified(case: Case, reference: ReferenceSet, index: str) -> Classified:
    def array(value: float | None) -> np.ndarray:
        return np.array([np.nan if value is None else value])

    found = next((i for i in case.indices if i.name == index), None)
    people = Subjects(
        texts([case.sex or ""]),
        array(case.age_years),
        array(case.bmi),
        texts([case.phase]),
        array(case.kvp),
        np.array([case.fluid]),
        case.level,
        case.protocol,
        {index: array(found.value if found else None)},
        {index: array(found.error if found else None)},
    )
    return classify(people, reference, index)


def test_the_whole_statement_table() -> None:
    with TABLE.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    seen = 0
    for row in rows:
        if row["muscle_set"] != "all" or (row["hu_low"], row["hu_high"]) != ("-29", "150"):
            continue
        number = {k: float(row[k]) if row[k] else None for k in ("value", "error", "age", "bmi", "kvp")}
        values = ()
        if number["value"] is not None:
            values = (
                IndexValue(row["index"], row["level"], row["protocol"], number["value"], "", number["error"]),
            )
        case = Case(
            row["sex"] or None,
            number["age"],
            number["bmi"],
            row["level"],
            row["protocol"],
            row["phase"],
            values,
            number["kvp"],
            fluid=row["fluid"] == "yes",
        )
        (reference,) = find_sets((row["reference"],))
        found = _classified(case, reference, row["index"])
        assert CLASSES[found.answer[0]] == (row["class"] or "z_score"), row["id"]
        seen += 1
    assert seen > 150


number = st.one_of(st.none(), st.floats(0, 130))
SETS = (*shipped_sets(), OWN)


@settings(max_examples=300)
@given(
    st.sampled_from(SETS),
    st.sampled_from(("M", "F", None)),
    number,
    st.one_of(st.none(), st.floats(10, 60)),
    st.sampled_from(("portal", "unenhanced", "unknown")),
    st.sampled_from((None, 100.0, 120.0)),
    st.booleans(),
    st.floats(0.5, 250),
    st.one_of(st.none(), st.floats(0, 8)),
    st.data(),
)
def test_any_person_and_set(
    reference: ReferenceSet,
    sex: str | None,
    age: float | None,
    bmi: float | None,
    phase: str,
    kvp: float | None,
    fluid: bool,
    value: float,
    error: float | None,
    data: st.DataObject,
) -> None:
    index = data.draw(st.sampled_from(reference.indices))
    near = [r.limit for r in reference.rows if r.index == index and r.limit is not None]
    if near and data.draw(st.booleans()):
        value = data.draw(st.sampled_from(near)) + data.draw(st.sampled_from((-1e-6, 0.0, 1e-6)))
    case = Case(
        sex,
        age,
        bmi,
        "L3",
        "range",
        phase,
        (IndexValue(index, "L3", "range", value, "", error),),
        kvp,
        fluid=fluid,
    )
    found = _classified(case, reference, index)
    assert CLASSES[found.answer[0]] == _one(case, reference, index)
    sure = Case(
        sex,
        age,
        bmi,
        "L3",
        "range",
        phase,
        (IndexValue(index, "L3", "range", value, "", 0.0),),
        kvp,
        fluid=fluid,
    )
    assert CLASSES[found.by_value[0]] == _one(sure, reference, index)


@pytest.mark.parametrize(
    "reference",
    [
        s
        for s in shipped_sets()
        if s.name in ("kim2021", "p0", "vanderwerf2018", "martin2013", "yoon2021_p5", "prado2008")
    ],
    ids=lambda s: s.name,
)
def test_printed_limits_at_just_above_and_just_below(reference: ReferenceSet) -> None:
    """Every printed limit, for a person of its own stratum."""
    for row in reference.rows:
        if row.kind not in ("t_limit", "cutoff") or row.limit is None:
            continue
        age = 50.0 if row.ages.low is None else row.ages.low
        bmi = 24.0
        if row.bmis.low is not None:
            bmi = row.bmis.low
        elif row.bmis.high is not None:
            bmi = row.bmis.high - 0.1
        for step, low in ((-1e-6, True), (0.0, reference.operator == "<="), (1e-6, False)):
            case = Case(
                row.sex or "F", age, bmi, row.level, "range", reference.phase or "portal",
                (IndexValue(row.index, row.level, "range", row.limit + step, "", None),), 120.0,
            )  # fmt: skip
            found = CLASSES[_classified(case, reference, row.index).answer[0]]
            if row.index == "SMD" and found == "not_comparable":
                continue
            assert (found in ("class_2", "low")) == low, (row, step)


def test_groups_are_told_apart_and_counted() -> None:
    people = Subjects(
        texts(["M", "F", "", "M"]),
        np.array([40.0, 40.0, 40.0, 12.0]),
        np.array([24.0] * 4),
        texts(["portal"] * 4),
        np.array([120.0] * 4),
        np.array([False] * 4),
        "L3",
        "range",
        {"SMA_BMI": np.array([5.0, 5.0, 5.0, 5.0])},
        {"SMA_BMI": np.array([0.0, 0.0, 0.0, 0.0])},
    )
    found = classify(people, find_sets(("p0",))[0], "SMA_BMI")
    assert [CLASSES[k] for k in found.answer] == [
        "class_2",
        "not_class_2",
        "not_comparable",
        "not_comparable",
    ]
    assert found.reasons == {"age_outside": 1, "sex_missing": 1}
