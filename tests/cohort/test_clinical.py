"""Clinical tables: encodings, columns, units, codes, and every fault named by its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.clinical import Clinical, import_clinical
from sarcoscope.cohort.clinical_cells import read_cell
from sarcoscope.cohort.codes import code_table, disease_of, is_code
from sarcoscope.cohort.column_map import ColumnMap, read_column_map, suggest
from sarcoscope.cohort.dictionary import data_dictionary
from sarcoscope.cohort.fields import RESERVED, fields
from sarcoscope.cohort.import_files import matches
from sarcoscope.cohort.studies import NUMBERS, TEXT
from sarcoscope.deid.link import read_table
from sarcoscope.errors import InputError, SettingError

GOOD = [
    "가명,성별,나이,키,체중,검사일,상병코드,알부민",
    "P1,남,45,172,70,2020-01-02,K76.0;E11.9,4.1",
    "P2,여,61,158,55,2020.03.04,K74.6,3.2",
    "P3,F,33,160,52,20200506,B18.1;K74.0,4.4",
]


def _suggested(path: Path) -> ColumnMap:
    text = suggest(*read_table(path)).replace("confirmed = false", "confirmed = true")
    mapping = path.with_suffix(".toml")
    mapping.write_text(text, encoding="utf-8")
    return read_column_map(mapping)


def _read(path: Path, lines: list[str], encoding: str = "utf-8") -> Clinical:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return import_clinical(path, _suggested(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_korean_tables_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    found = _read(tmp_path / "t.csv", GOOD, encoding)
    assert found.problems == ()
    assert list(found.frame.text("sex")) == ["M", "F", "F"]
    assert list(found.frame.columns["fatty_liver"]) == [1, 0, 0]
    assert list(found.frame.columns["cirrhosis"]) == [0, 1, 0]
    assert str(found.frame.columns["day"][1]) == "2020-03-04"
    assert found.codes_unknown == {"E11.9": 1}


def test_xlsx_says_the_same(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in GOOD:
        book.active.append(line.split(","))
    book.save(tmp_path / "t.xlsx")
    found = import_clinical(tmp_path / "t.xlsx", _suggested(tmp_path / "t.xlsx"))
    assert found.problems == ()
    assert found.frame.number("height_cm").tolist() == [172, 158, 160]


@pytest.mark.parametrize(
    ("line", "row", "code"),
    [
        ("P1,여,50,160,60,2020-01-02,,4", 5, "doubled"),
        ("P4,,50,160,60,2020-01-02,,4", 5, "missing"),
        ("P4,X,50,160,60,2020-01-02,,4", 5, "unclear"),
        ("P4,남,500,160,60,2020-01-02,,4", 5, "impossible"),
        ("P4,남,50,60,168,2020-01-02,,4", 5, "swapped"),
        ("P4,남,50,168,600,2020-01-02,,4", 5, "impossible"),
        ("P4,남,50,168,60,2020-13-02,,4", 5, "no_date"),
        ("P4,남,fifty,168,60,2020-12-02,,4", 5, "no_number"),
        ("P4,남,50,168,60,2020-12-02,liver,4", 5, "no_code"),
        (",남,50,168,60,2020-12-02,,4", 5, "missing"),
        ("P4,남,50,200,25,2020-12-02,,4", 5, "impossible"),
        ("P4,남,50,168,60,2020-12-02,,41", 5, "impossible"),
    ],
)
def test_faults_are_named_by_row_and_nothing_is_imported(
    line: str, row: int, code: str, tmp_path: Path
) -> None:
    found = _read(tmp_path / "t.csv", [*GOOD, line])
    assert (row, code) in {(p.row, p.code) for p in found.problems}
    with pytest.raises(InputError, match=rf"Nothing of 't.csv' was imported: .*row {row}"):
        found.checked("t.csv")


def test_heights_in_metres_are_noticed_and_converted_when_confirmed(tmp_path: Path) -> None:
    lines = ["pseudonym,sex,height,weight", *(f"P{k},M,1.7{k},7{k}" for k in range(6))]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = suggest(*read_table(path))
    assert 'height_cm = "m"' in text
    found = import_clinical(path, _suggested(path))
    assert found.problems == ()
    assert found.frame.number("height_cm")[3] == pytest.approx(173)
    plain = ColumnMap(columns={"pseudonym": "pseudonym", "height_cm": "height"}, confirmed=True)
    assert [p.code for p in import_clinical(path, plain).problems] == ["unit"]


def test_exchanged_columns_are_said_once(tmp_path: Path) -> None:
    lines = ["pseudonym,sex,height_cm,weight_kg", *(f"P{k},M,{60 + k},{170 + k}" for k in range(6))]
    found = _read(tmp_path / "t.csv", lines)
    assert [(p.row, p.code) for p in found.problems] == [(0, "swapped")]
    with pytest.raises(InputError, match="seem to be exchanged"):
        found.checked("t.csv")


def test_codes_and_flags_that_contradict_each_other(tmp_path: Path) -> None:
    lines = ["pseudonym,sex,fatty liver,code", "P1,M,0,K76.0", "P2,M,,K76.0", "P3,M,1,"]
    found = _read(tmp_path / "t.csv", lines)
    assert [(p.row, p.code) for p in found.problems] == [(2, "contradiction")]
    assert found.frame.columns["fatty_liver"].tolist() == [1, 1, 1]


def test_unconfirmed_and_wrong_mappings(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('[columns]\npseudonym = "a"\n', encoding="utf-8")
    with pytest.raises(SettingError, match="is a suggestion"):
        read_column_map(path)
    for text, words in (
        ('confirmed = true\n[columns]\nx = "a"', "there is no field 'x'"),
        ('confirmed = true\n[columns]\nsex = "a"', "no column says who"),
        ('confirmed = true\n[columns]\npseudonym = "a"\nsex = "a"', "given for two fields"),
        ('confirmed = true\nodd = 1\n[columns]\npseudonym = "a"', "odd is unknown here"),
        ('confirmed = true\n[columns]\npseudonym = "a"\n[units]\nsex = "m"', "is no unit"),
        ("confirmed = ", "no TOML file"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SettingError, match=words):
            read_column_map(path)
    with pytest.raises(InputError, match="No column says whose"):
        suggest(["sex"], [{"sex": "M"}])


def test_own_codes_and_meanings(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("pid,g,c\nP1,1,X99.1\nP2,2,K76\n", encoding="utf-8")
    mapping = ColumnMap(
        columns={"pseudonym": "pid", "sex": "g"},
        values={"sex": {"1": "M", "2": "F"}},
        codes={"columns": ["c"], "extra": {"X99": "masld"}},
        confirmed=True,
    )
    found = import_clinical(path, mapping)
    assert found.problems == ()
    assert found.frame.columns["masld"].tolist() == [1, 0]
    assert found.codes_unknown == {"K76": 1}
    assert found.fields["masld"].kind == "disease"


def test_unknown_columns_can_be_taken_as_suggested(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "가명,성별,비고,FIB-4,수술일\nP1,남,가,1.3,2020-01-02\nP2,여,,2.1,2021-01-02\n", encoding="cp949"
    )
    text = suggest(*read_table(path)).replace("confirmed = false", "confirmed = true")
    taken = "\n".join(
        line.removeprefix("# ") if "Not rec" not in line else "" for line in text.splitlines()[1:]
    )
    (tmp_path / "m.toml").write_text(taken, encoding="utf-8")
    mapping = read_column_map(tmp_path / "m.toml")
    assert {o.column: o.kind for o in mapping.other.values()} == {
        "비고": "text",
        "FIB-4": "number",
        "수술일": "date",
    }
    found = import_clinical(path, mapping)
    assert found.problems == ()
    assert found.frame.number("fib4").tolist() == [1.3, 2.1]


def test_visits_keep_all_rows(tmp_path: Path) -> None:
    lines = ["pseudonym,sex,date,weight", "P1,M,2020-01-01,70", "P1,M,2021-01-01,68", "P2,F,2021-01-01,58"]
    found = _read(tmp_path / "t.csv", lines)
    assert (found.visits, len(found.frame), found.problems) == (True, 3, ())


def test_code_table() -> None:
    assert [c.disease for c in map(disease_of, ("K76.0", "k760", "K74.6", "K74.60", "B18.1", "B181"))] == [
        "fatty_liver",
        "fatty_liver",
        "cirrhosis",
        "cirrhosis",
        "hepatitis",
        "hepatitis",
    ]
    assert disease_of("K76") is None
    assert disease_of("K75.8") is None
    assert disease_of("K75.81").disease == "fatty_liver"
    assert all(c.source and c.certainty in ("Q", "Q2", "M") and is_code(c.prefix) for c in code_table())
    assert not any(c.verified for c in code_table() if "memory" in c.source)


def test_dictionary(tmp_path: Path) -> None:
    rows = {r["field"]: r for r in data_dictionary(_read(tmp_path / "t.csv", GOOD))}
    assert rows["height_cm"] | {"unit": "cm", "n": 3, "missing": 0, "median": 160.0} == rows["height_cm"]
    assert rows["sex"]["values"] == "F: 2; M: 1"
    assert rows["day"]["minimum"] == "2020-01-02"
    assert "values" not in rows["pseudonym"]
    assert rows["fatty_liver"]["values"] == "0: 2; 1: 1"


@given(st.lists(st.sampled_from(["1", "0", "", "있음", "없음", "Y", "n", "?"]), min_size=1, max_size=8))
def test_flags_are_one_nought_or_a_problem(values: list[str]) -> None:
    for text in values:
        cell = read_cell(fields()["diabetes"], text)
        assert (cell.problem == "unclear") == (text == "?")
        assert cell.value in (None, 0.0, 1.0)
        assert np.isscalar(cell.value) or cell.value is None


@pytest.mark.parametrize(
    ("field", "text", "want"),
    [
        ("ast", "2,500", (None, "unclear")),
        ("platelets", "150,000", (None, "unclear")),
        ("albumin", "3,5", (3.5, "")),
        ("creatinine", "0,912", (0.912, "")),
        ("status", "inf", (None, "unclear")),
        ("day", "2020-12", (None, "no_date")),
        ("day", "2020. 1. 3.", ("2020-01-03", "")),
        ("day", "20200103", ("2020-01-03", "")),
        ("day", "2020-01-03 오전 9:00", ("2020-01-03", "")),
    ],
)
def test_cells_that_could_be_read_in_two_ways(field: str, text: str, want: tuple[object, str]) -> None:
    cell = read_cell(fields()[field], text)
    assert (cell.value, cell.problem) == want


@pytest.mark.parametrize("name", ["SMA", "phase", "person", "bmi", "flags", "group_rest"])
def test_a_clinical_column_never_stands_in_for_one_of_the_studies(name: str) -> None:
    with pytest.raises(ValueError, match="column of the studies"):
        ColumnMap(columns={"pseudonym": "p"}, other={name: {"column": "x"}})


def test_every_column_of_the_studies_is_reserved() -> None:
    assert {*TEXT, *NUMBERS} - set(fields()) <= RESERVED
    text = suggest(["pseudonym", "phase"], [{"pseudonym": "P1", "phase": "1"}])
    assert "[other.field_1]" in text


def test_matches_by_centre_and_by_dates_without_signs(tmp_path: Path) -> None:
    studies = "id,person,centre,date\nS1,P1,A,20200101\nS2,P1,B,2020-03-01\n"
    (tmp_path / "results.csv").write_text(studies, encoding="utf-8")
    lines = ["pseudonym,centre,date", "P1,B,2020-03-05", "P1,A,2020-01-03"]
    found = matches(_read(tmp_path / "t.csv", lines), tmp_path / "results.csv")
    assert [(r["row"], r["days"]) for r in found] == [(3, 2), (2, 4)]
    (tmp_path / "results.csv").write_text(studies.replace("20200101", "soon"), encoding="utf-8")
    with pytest.raises(InputError, match="no date"):
        matches(_read(tmp_path / "t.csv", lines), tmp_path / "results.csv")


def test_weights_in_pounds_are_noticed(tmp_path: Path) -> None:
    lines = ["pseudonym,height,weight", *(f"P{k},{155 + k},{118 + 4 * k}" for k in range(20))]
    found = _read(tmp_path / "t.csv", lines)
    assert "look like lb" in " ".join(p.text for p in found.problems)
    mapping = _suggested(tmp_path / "t.csv").model_copy(update={"units": {"weight_kg": "lb"}})
    found = import_clinical(tmp_path / "t.csv", mapping)
    assert found.problems == ()
    assert found.frame.number("weight_kg")[0] == pytest.approx(118 * 0.45359237)
    lines[0] = "pseudonym,height,weight kg"
    assert "lb" not in " ".join(p.text for p in _read(tmp_path / "u.csv", lines).problems)
