"""From a cohort file to people: nobody twice, nobody lost, every step told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarcoscope.cohort.assemble import assemble
from sarcoscope.cohort.definition import Condition, read_definition
from sarcoscope.cohort.table_one import table_one
from sarcoscope.errors import InputError, SettingError
from tests.cohort.make import cohort, person, study, write


def _codes(found: object) -> set[str]:
    return {n.code for n in found.notes}  # type: ignore[attr-defined]


def test_first_last_and_nearest_index_study(tmp_path: Path) -> None:
    studies = [
        study(1, "A", date="2020-01-01"),
        study(2, "A", date="2021-01-01", age_years=56),
        study(3, "A", date="2022-01-01", age_years=57),
        study(4, "B", date="2020-05-01"),
    ]
    people = [person("A", diagnosed="2021-02-01", cirrhosis=1), person("B")]
    for how, wanted in (("first", "S1"), ("last", "S3")):
        found = cohort(tmp_path, studies, people, studies_part=f'index_study = "{how}"\n')
        assert list(found.frame.text("id")) == [wanted, "S4"]
        last = found.flow.steps[-1]
        assert (found.flow.persons, found.flow.studies) == (2, 4)
        assert (last.persons_out, last.studies_out, last.persons_left, last.studies_left) == (0, 2, 2, 2)
    near = 'index_study = "nearest"\nnearest_to = "diagnosis_date"\n'
    found = cohort(tmp_path, studies, people, studies_part=near)
    assert list(found.frame.text("id")) == ["S2"]
    assert [s.persons_out for s in found.flow.steps][-2:] == [1, 0]


def test_two_phases_of_one_day_count_once_by_the_order_of_phases(tmp_path: Path) -> None:
    studies = [study(1, "A", phase="arterial"), study(2, "A", phase="portal"), study(3, "A", phase="delayed")]
    found = cohort(tmp_path, studies)
    assert list(found.frame.text("id")) == ["S2"]
    found = cohort(tmp_path, studies, tail='[policy]\nphases = ["delayed", "portal"]\n')
    assert list(found.frame.text("id")) == ["S3"]


def test_policy_and_doubtful_studies(tmp_path: Path) -> None:
    studies = [
        study(1, "A", kvp=140),
        study(2, "B", slice_thickness_mm=10),
        study(3, "C", kernel="B70f"),
        study(4, "D", flags="level_confidence_low thick_slices"),
        study(5, "E", kvp=None),
        study(6, "F", level="T12"),
    ]
    policy = "[policy]\nkvp = [100, 120]\nthickness_mm = [1, 7]\nsharp_kernel = false\n"
    found = cohort(tmp_path, studies, tail=policy)
    assert list(found.frame.text("id")) == ["S5"]
    assert [s.persons_out for s in found.flow.steps] == [1, 0, 1, 1, 1, 1, 0]
    (tmp_path / "verdicts.csv").write_text("id,verdict\nS4,ok\nS5,bad\n", encoding="utf-8")
    found = cohort(tmp_path, studies, tail=policy, studies_part='verdicts = "verdicts.csv"\n')
    assert list(found.frame.text("id")) == ["S4"]
    found = cohort(tmp_path, studies, tail=policy, studies_part='doubtful = "keep"\n')
    assert list(found.frame.text("id")) == ["S4", "S5"]
    assert "cohort_note_doubtful_kept" in _codes(found)


def test_overlapping_and_hierarchical_groups(tmp_path: Path) -> None:
    studies = [study(k, p) for k, p in enumerate("ABCD")]
    people = [
        person("A", cirrhosis=1, fibrosis=1),
        person("B", fibrosis=1),
        person("C"),
        person("D", cirrhosis=1),
    ]
    found = cohort(tmp_path, studies, people)
    assert {g: int(m.sum()) for g, m in found.members.items()} == {"cirrhosis": 2, "fibrosis": 2, "rest": 1}
    assert not found.disjoint
    assert {n.code: n.values for n in found.notes}["cohort_note_overlapping"] == {"n": 1}
    found = cohort(tmp_path, studies, people, kind="hierarchical")
    assert {g: int(m.sum()) for g, m in found.members.items()} == {"cirrhosis": 2, "fibrosis": 1, "rest": 1}
    assert found.disjoint
    assert "cohort_note_hierarchical" in _codes(found)
    several = next(r for r in table_one(found) if r["characteristic"] == "several")
    assert several["all"] == "1 (25.0 %)"


def test_rules_and_missing_values(tmp_path: Path) -> None:
    studies = [
        study(1, "A"),
        study(2, "B", age_years=17),
        study(3, "C", age_years=None),
        study(4, "D", sex=""),
    ]
    rule = """[[rules]]
action = "{action}"
column = "age_years"
op = "{op}"
value = {value}
reason = {{ en = "adults" }}
{missing}
"""
    for action, op, value, missing, wanted in (
        ("include", ">=", "18", "", ["S1", "S4"]),
        ("exclude", "<", "18", "", ["S1", "S3", "S4"]),
        ("include", "between", "[18, 55]", 'missing = "keep"', ["S3"]),
        ("include", "in", "[55]", "", ["S1", "S4"]),
        ("exclude", "<", "18", 'missing = "exclude"', ["S1", "S4"]),
    ):
        text = rule.format(action=action, op=op, value=value, missing=missing)
        assert list(cohort(tmp_path, studies, tail=text).frame.text("id")) == wanted, (action, op)
    with pytest.raises(SettingError, match="no column 'shoe'"):
        cohort(
            tmp_path,
            studies,
            tail=rule.format(action="include", op="<", value="1", missing="").replace("age_years", "shoe"),
        )
    with pytest.raises(SettingError, match="cannot be compared"):
        cohort(tmp_path, studies, tail=rule.format(action="include", op="<", value='"x"', missing=""))
    with pytest.raises(InputError, match="Nobody is left"):
        cohort(tmp_path, studies, tail=rule.format(action="include", op=">", value="99", missing=""))


def test_clinical_values_join_by_person_and_time(tmp_path: Path) -> None:
    studies = [study(1, "A", date="2020-01-01"), study(2, "B", date="2020-01-01", height_cm=None)]
    people = [
        person("A", date="2019-12-01", albumin=4.0),
        person("A", date="2020-06-01", albumin=3.0, fibrosis=1),
        person("B", date="2020-01-11", albumin=3.5, height=180, weight=70),
        person("Z", date="2020-01-11", albumin=3.5),
    ]
    found = cohort(tmp_path, studies, people, rows="visits")
    assert found.frame.number("albumin").tolist() == [4.0, 3.5]
    assert found.frame.number("clinical_days").tolist() == [-31, 10]
    assert found.frame.number("fibrosis").tolist() == [1, 0]  # ever, whichever visit is nearest
    assert found.frame.number("SMA_Ht2")[1] == pytest.approx(152 / 1.8**2)
    assert {"cohort_note_no_ct", "cohort_note_filled"} <= _codes(found)
    path = write(tmp_path, studies, people, rows="visits")
    path.write_text(path.read_text().replace("[clinical]", "[clinical]\nmax_days = 20"), encoding="utf-8")
    found = assemble(read_definition(path), tmp_path)
    assert np.isnan(found.frame.number("albumin")[0])
    assert found.frame.number("albumin")[1] == 3.5
    assert "cohort_note_old" in _codes(found)


def test_what_cannot_be_is_refused_and_what_is_odd_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a man in one study and a woman"):
        cohort(tmp_path, [study(1, "A"), study(2, "A", sex="F", date="2021-01-01")])
    with pytest.raises(InputError, match="stands twice"):
        cohort(tmp_path, [study(1, "A"), study(1, "A")])
    with pytest.raises(InputError, match="sex of 1 people differs"):
        cohort(tmp_path, [study(1, "A", sex="F")], [person("A")])
    with pytest.raises(InputError, match="do not say whose"):
        cohort(tmp_path, [study(1, "A"), study(2, "")])
    with pytest.raises(InputError, match=r"Nothing of 'clinical.csv' was imported: row 3"):
        cohort(tmp_path, [study(1, "A")], [person("A"), person("A")])
    found = cohort(tmp_path, [study(1, "A", age_years=30), study(2, "A", date="2021-01-01", age_years=70)])
    assert "cohort_note_ages" in _codes(found)
    found = cohort(tmp_path, [study(1, "A", muscle_area_cm2=150.5), study(2, "B", muscle_area_cm2=150.5)])
    assert "cohort_note_twins" in _codes(found)
    found = cohort(tmp_path, [study(1, ""), study(2, "")])
    assert "cohort_note_no_person" in _codes(found)


def test_body_of_the_clinical_table_first_and_failures_told(tmp_path: Path) -> None:
    path = write(tmp_path, [study(1, "A"), study(2, "B")], [person("A", height=180, weight=90), person("B")])
    path.write_text(path.read_text().replace("[clinical]", '[clinical]\nbody = "clinical"'), encoding="utf-8")
    (tmp_path / "failures.csv").write_text("id,path,reason,attempts\nS9,x,y,1\n", encoding="utf-8")
    found = assemble(read_definition(path), tmp_path)
    assert found.frame.number("bmi")[0] == pytest.approx(90 / 1.8**2)
    assert found.frame.number("SMA_BMI")[0] == pytest.approx(151 / (90 / 1.8**2))
    assert found.frame.number("SMA_BMI_error")[0] == pytest.approx(0.042 * 151 / (90 / 1.8**2))
    assert found.frame.number("bmi")[1] == pytest.approx(70 / 1.7**2)
    assert {n.code: n.values for n in found.notes}["cohort_note_failures"] == {"n": 1}


def test_people_of_two_centres_are_never_one(tmp_path: Path) -> None:
    studies = [study(1, "A", centre="X"), study(2, "A", centre="Y", sex="F")]
    found = cohort(tmp_path, studies)
    assert len(found) == 2
    with pytest.raises(InputError, match="Several centres have the same pseudonym"):
        cohort(tmp_path, studies, [person("A")])


def test_a_table_says_whose_studies_they_are(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,person\nS1,A\nS2,A\n", encoding="utf-8")
    found = cohort(tmp_path, [study(1, ""), study(2, "")], studies_part='people = "people.csv"\n')
    assert len(found) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("version = 1", "version = 2"), "version"),
        (('name = "test"', 'name = "../x"'), "name"),
        (("[studies]", '[studies]\nlevel = "L9"'), "is no level"),
        (("[studies]", '[studies]\nindex_study = "nearest"'), "go together"),
        (('kind = "overlapping"', ""), "kind is missing"),
        (('name = "fibrosis"', 'name = "men"'), "must differ"),
        (("[groups]", "[odd]\na = 1\n[groups]"), "odd is unknown"),
        (("[groups]", '[policy]\nphases = ["late"]\n[groups]'), "is no phase"),
        (("[groups]", "[analysis]\ndecades = [30]\n[groups]"), "two or more"),
        (("[groups]", '[analysis]\nindices = ["SMI"]\n[groups]'), "is no index"),
        (("[groups]", '[[rules]]\naction = "include"\ncolumn = "a"\nop = "<"\nreason = { en = "r" }\n[groups]'), "does not fit its operator"),
    ],
)  # fmt: skip
def test_faulty_cohort_files(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, [study(1, "A")])
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(SettingError, match=words):
        read_definition(path)


def test_json_says_the_same_as_toml(tmp_path: Path) -> None:
    definition = read_definition(write(tmp_path, [study(1, "A")]))
    (tmp_path / "c.json").write_text(definition.model_dump_json(), encoding="utf-8")
    assert read_definition(tmp_path / "c.json") == definition


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("ABCDE"),
            st.sampled_from(["portal", "arterial", "delayed"]),
            st.sampled_from(["", "level_cut_off"]),
            st.sampled_from(["2020-01-01", "2020-06-01", "2021-01-01", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_flow_never_loses_or_doubles_anybody(
    rows: list[tuple[str, str, str, str]], tmp_path: Path
) -> None:
    studies = [study(k, p, phase=f, flags=d, date=day) for k, (p, f, d, day) in enumerate(rows)]
    try:
        found = cohort(tmp_path, studies, tail='[policy]\nphases = ["portal", "delayed"]\n')
    except InputError:
        return
    persons, number = found.flow.persons, found.flow.studies
    assert (persons, number) == (len({r[0] for r in rows}), len(rows))
    for step in found.flow.steps:
        persons, number = persons - step.persons_out, number - step.studies_out
        assert (persons, number) == (step.persons_left, step.studies_left)
    assert len(set(found.frame.text("person"))) == len(found) == persons == number
    usable = {p for p, f, d, _ in rows if f != "arterial" and not d}
    assert set(found.frame.text("person")) == usable


def test_a_sex_that_changes_is_seen_across_a_study_without_one(tmp_path: Path) -> None:
    days = ("2020-01-01", "2020-02-01", "2020-03-01")
    rows = [study(k, "a", sex=s, date=d) for k, (s, d) in enumerate(zip(("M", "", "F"), days, strict=True))]
    with pytest.raises(InputError, match="a man in one study"):
        cohort(tmp_path, rows)


def test_nearest_to_a_date_that_only_a_later_visit_has(tmp_path: Path) -> None:
    studies = [
        study(1, "a", date="2019-01-01", age_years=54.0),
        study(2, "a", date="2022-01-01", age_years=57.0),
    ]
    visits = [person("a", date="2019-01-02"), person("a", date="2022-01-02", diagnosed="2022-01-03")]
    part = 'index_study = "nearest"\nnearest_to = "diagnosis_date"'
    found = cohort(tmp_path / "a", studies, visits, rows="visits", studies_part=part)
    assert found.frame.text("id").tolist() == ["S2"]
    with pytest.raises(InputError, match="Nobody has a date"):
        cohort(tmp_path / "b", studies, visits[:1], studies_part=part)


def test_what_is_not_known_is_told(tmp_path: Path) -> None:
    found = cohort(tmp_path / "a", [study(1, "a", date=""), study(2, "a")])
    assert "cohort_note_index_undated" in _codes(found)
    assert "cohort_note_index_undated" not in _codes(cohort(tmp_path / "b", [study(1, "a", date="")]))
    # Nobody asked about this person's cirrhosis: without a word it would be a person without liver disease.
    people = [person("a"), person("b", cirrhosis="")]
    found = cohort(tmp_path / "c", [study(1, "a"), study(2, "b")], people)
    told = [n for n in found.notes if n.code == "cohort_note_rest_unknown"]
    assert [n.values for n in told] == [{"n": 1}]


def test_visits_that_disagree_about_the_outcome_are_told(tmp_path: Path) -> None:
    visits = [
        person("a", date="2020-01-02", years=2.0, status=0),
        person("a", date="2021-01-02", years=2.0, status=1),
        person("b", date="2020-01-02", years=1.0, status=0),
    ]
    path = write(tmp_path, [study(1, "a"), study(2, "b")], visits, rows="visits")
    outcome = """
[outcome]
time = "followup_years"
status = "status"
title = { en = "Death" }
exposure = { reference = "kim2021", index = "SMA" }
"""
    path.write_text(path.read_text(encoding="utf-8") + outcome, encoding="utf-8")
    found = assemble(read_definition(path), tmp_path)
    told = [n for n in found.notes if n.code == "cohort_note_outcome_visits"]
    assert [n.values for n in told] == [{"n": 1, "columns": "followup_years, status"}]


def test_bounds_in_the_wrong_order_are_refused() -> None:
    for value in ([90, 20], [20, 20], ["20", 90]):
        with pytest.raises(ValueError, match="lower and a higher"):
            Condition(column="age_years", op="between", value=value)
    assert Condition(column="day", op="between", value=["2020-01-01", "2021-01-01"]).value
