"""The engine's actions against two tables that others made of PS3.15 Table E.1-1."""

from __future__ import annotations

import io
import json
import random
import sys
import warnings
from functools import cache
from pathlib import Path

import pydicom
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c
from pydicom.dataset import Dataset
from scripts.action_table import DATA, EDITION_2026C, OPTIONS, tables
from scripts.deid_table import PAGE, page

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.engine import Change, Engine
from sarcoscope.deid.mapping import Identity, Person
from sarcoscope.deid.profile import Profile, attribute_rows, method_rows
from sarcoscope.errors import SettingError
from tests.conftest import REPOSITORY
from tests.deid import leaks

STATES = {"X": "absent", "Z": "empty", "D": "changed", "U": "changed", "K": "same", "C": "changed"}
PERSON = Person("SCAAAAAAAAAA", DateShift(-400, 100), Identity("here", "1"))


class Numbered:
    """An identity map that counts."""

    def __init__(self) -> None:
        self.uids: dict[str, str] = {}

    def person(self, identity: Identity) -> Person:
        return PERSON

    def uid(self, original: str) -> str:
        return self.uids.setdefault(original, f"2.25.{len(self.uids) + 1}")

    def add_alias(self, kind: str, value: str, person: Person) -> None:
        raise AssertionError


@cache
def _full() -> bytes:
    """A CT image with every attribute of the table."""
    one = leaks._small(leaks.real_headers(None)[0])
    marker, planted = leaks.Marker(random.Random(1), "x"), leaks.Planted(one)
    for tag, vr in leaks.table_tags():
        leaks._plant(one, tag, vr, marker, planted)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def _before() -> Dataset:
    return pydicom.dcmread(io.BytesIO(_full()))


@cache
def _after(*options: str) -> tuple[Dataset, dict[Change, int]]:
    source = pydicom.dcmread(io.BytesIO(_full()))
    return Engine(Profile(frozenset(options)), Numbered()).deidentify(source, PERSON)


def _state(after: Dataset, tag: str) -> str:
    number = int(tag, 16)
    if number not in after:
        return "absent"
    element = after[number]
    if element.value in ("", None) or (element.VR == "SQ" and not element.value):
        return "empty"
    return "same" if str(element.value) == str(_before()[number].value) else "changed"


def _allowed(action: str) -> set[str]:
    if action == "X/Z/U*":
        return {"absent", "empty", "changed"}
    return {STATES[a] for a in action.split("/")}


def _planted() -> list[str]:
    return [t for t, _ in leaks.table_tags() if int(t, 16) in _before()]


def test_basic_profile_as_edition_2026c_says() -> None:
    theirs = {
        f"{t[0]:04x}{t[1]:04x}": action
        for group, action in EDITION_2026C.items()
        for t in getattr(dicomfields_2026c, group)
        if len(t) == 2
    }
    after, _ = _after()
    wrong = {}
    for tag in _planted():
        state = _state(after, tag)
        if state not in _allowed(theirs[tag]) and tag not in ("00100010", "00100020"):
            wrong[tag] = (attribute_rows()[tag]["name"], theirs[tag], state)
    assert wrong == {}
    assert after.PatientID == after.PatientName == PERSON.pseudonym


def _older() -> list[dict[str, str]]:
    path = Path(sys.prefix) / "standard" / "confidentiality_profile_attributes.json"
    rows: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _documented(heading: str) -> set[str]:
    """Tags of a table of docs/deidentification.md."""
    text = (REPOSITORY / "docs/deidentification.md").read_text(encoding="utf-8")
    part = text.split(f"### {heading}\n")[1].split("\n#")[0]
    return {
        line.split("|")[1].strip()[1:10].replace(",", "").lower()
        for line in part.splitlines()
        if line.startswith("| (")
    }


def test_every_disagreement_with_the_older_table_is_documented() -> None:
    ours = attribute_rows()
    differing = set()
    for row in _older():
        tag = row["id"].lower()
        if len(tag) == 8 and tag in ours and ours[tag]["basic"] != row["basicProfile"]:
            differing.add(tag)
    assert differing == _documented("Where the editions differ")


@pytest.mark.parametrize("column", [c for c in OPTIONS if c != "rtnSafePrivOpt"])
def test_options_as_the_older_table_says(column: str) -> None:
    option = OPTIONS[column]
    after, _ = _after(option)
    plain, _ = _after()
    wrong = set()
    planted = set(_planted())
    for row in _older():
        tag = row["id"].lower()
        if tag not in planted or column not in row:
            continue
        vr = attribute_rows()[tag]["vr"]
        state = _state(after, tag)
        expected = {
            "K": {"same"} if vr != "SQ" else {"same", "changed"},
            "C": {"changed", "empty"} if vr not in ("SQ", "OB", "OW") else {"absent", "changed", "empty"},
            "X": {"absent"},
        }[row[column]]
        if state not in expected:
            wrong.add(tag)
        elif row[column] == "K" and vr != "SQ":
            assert _state(plain, tag) != "same", tag
    heading = "Where an option keeps less than the table allows"
    assert wrong == (_documented(heading) & wrong)
    if column == "rtnPatCharsOpt":
        assert wrong, "the deliberate disagreement"


def test_data_files_are_what_the_script_makes() -> None:
    for name, content in tables().items():
        assert (DATA / name).read_text(encoding="utf-8") == content


def test_the_documented_table_is_the_engines() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_methods_are_those_of_cid_7050() -> None:
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr.codedict import codes

    known = {getattr(codes.DCM, n).value: getattr(codes.DCM, n).meaning for n in cid_concepts[7050]["DCM"]}
    ours = {r["code"]: r["meaning"] for r in method_rows().values()}
    assert ours == known


def test_contradicting_and_unknown_options_are_refused() -> None:
    with pytest.raises(SettingError, match="not both"):
        Profile(frozenset({"full_dates", "modified_dates"}))
    with pytest.raises(SettingError, match="options are"):
        Profile(frozenset({"keep_everything"}))
