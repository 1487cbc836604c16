"""From upload to report, over a real server; what comes out is read by independent readers."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import nibabel as nib
import openpyxl
import pydicom
import pypdf
import pytest

from sarcoscope.store.store import Store
from tests.web.server import Client, add_users, client, phantom_zip, running, upload, work_off


class Site:
    """One server with one analysed study."""

    def __init__(self, url: str, store: Store, upload_: dict) -> None:  # type: ignore[type-arg]
        self.url, self.store, self.upload = url, store, upload_
        self.study = upload_["report"]["study_numbers"][0]

    def as_(self, name: str) -> Client:
        return client(self.url, name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    store = Store.open(folder / "data")
    add_users(store)
    with running(store) as url:
        browser = client(url, "annotator")
        taken = upload(browser, phantom_zip(folder))
        assert taken["state"] == "done", taken
        browser.post("/studies/process", json={"studies": taken["report"]["study_numbers"]})
        work_off(store)
        yield Site(url, store, taken)
    store.close()


def test_upload_says_what_was_done_and_names_nobody(site: Site) -> None:
    report = site.upload["report"]
    assert report["images"] > 20
    assert report["studies"][0]["pseudonym"].startswith("SC")
    names = {a["name"] for a in report["studies"][0]["attributes"]}
    assert {"Patient's Name", "Patient ID", "Patient's Birth Date"} <= names
    assert list((site.store.data / "incoming").iterdir()) == []
    # In a process of its own: to open and close SQLite's file here would drop the server's locks.
    for word in ("Gildong", "H-4711"):
        found = subprocess.run(["grep", "-rl", word, str(site.store.data)], capture_output=True, text=True)
        assert found.stdout == ""


def test_worklist_shows_the_result(site: Site) -> None:
    page = site.as_("viewer").get("/studies", params={"project": "liver"}).json()
    assert page["total"] == 1
    row = page["rows"][0]
    assert row["status"]["state"] == "done"
    assert row["result"] in ("class_2", "not_class_2", "indeterminate")
    assert row["patient_id"] is None
    named = site.as_("manager").get("/studies", params={"identity": True}).json()["rows"][0]
    assert named["patient_id"] == "H-4711"
    unnamed = site.as_("reviewer").get("/studies", params={"identity": True}).json()["rows"][0]
    assert unnamed["patient_id"] is None


def test_another_reference_and_protocol_change_the_statement(site: Site) -> None:
    browser = site.as_("annotator")
    first = browser.get(f"/studies/{site.study}/judged").json()
    other = browser.get(f"/studies/{site.study}/judged", params={"reference": "martin2013"}).json()
    assert {d["reference"] for d in first["diagnosis"]} != {d["reference"] for d in other["diagnosis"]}
    stored = browser.get(f"/studies/{site.study}").json()["result"]
    assert first["measurements"] == stored["measurements"]
    for now, then in zip(first["indices"], stored["indices"], strict=True):
        assert now["value"] == pytest.approx(then["value"], abs=0.01)  # HU are stored with two decimals
    assert [d["class"] for d in first["diagnosis"]] == [d["class"] for d in stored["diagnosis"]]
    mid = browser.get(f"/studies/{site.study}/judged", params={"protocol": "mid"}).json()
    assert mid["measurements"][0]["protocol"] == "mid"
    assert len(mid["measurements"][0]["indices"]) == 1
    unknown = browser.get(f"/studies/{site.study}/judged", params={"reference": "none-such"})
    assert unknown.status_code == 422


def test_body_values_change_what_rests_on_them_and_only_that(site: Site) -> None:
    browser = site.as_("annotator")
    before = browser.get(f"/studies/{site.study}").json()
    after = browser.put(f"/studies/{site.study}/body", json={"height_cm": 180, "weight_kg": 95}).json()
    assert after["result"]["slices"] == before["result"]["slices"]
    assert after["result"]["body"]["bmi"]["value"] == pytest.approx(95 / 1.8**2, abs=0.01)
    assert after["result"]["body"]["weight_kg"]["origin"] == "given"
    index = {i["name"]: i["value"] for i in after["result"]["indices"]}
    area = after["result"]["measurements"][0]["tissues"]["muscle"]["area_cm2"]
    assert index["SMA_BMI"] == pytest.approx(area / (95 / 1.8**2), rel=1e-3)
    assert len(after["runs"]) == len(before["runs"]) + 1
    assert len(after["masks"]) == len(before["masks"]) == 1
    bad = browser.put(f"/studies/{site.study}/body", json={"height_cm": 1.8})
    assert bad.status_code == 422
    assert bad.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("lang", "word"), [("en", "Muscle"), ("ko", "근육")])
def test_report_in_both_languages(site: Site, lang: str, word: str) -> None:
    answer = site.as_("viewer").get(f"/studies/{site.study}/report", params={"lang": lang})
    assert answer.headers["content-type"] == "application/pdf"
    text = pypdf.PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()
    assert word in text
    assert "Gildong" not in text


def test_identified_report_needs_right_and_two_identifiers(site: Site) -> None:
    path = f"/studies/{site.study}/identified-report"
    who = {"name": "Hong Gildong", "birth_date": "1964-02-03"}
    assert site.as_("reviewer").post(path, json=who).status_code == 403
    wrong = site.as_("manager").post(path, json={**who, "birth_date": "1964-02-04"})
    assert wrong.status_code == 409
    assert site.as_("manager").post(path, json={"name": "Hong Gildong"}).status_code == 409
    right = site.as_("manager").post(path, json=who)
    assert "Gildong" in pypdf.PdfReader(io.BytesIO(right.content)).pages[0].extract_text()
    log = site.as_("manager").get("/audit", params={"action": "identified_report"}).json()
    assert [e["user"] for e in log] == ["manager"]


def test_downloads_are_read_by_others(site: Site, tmp_path: Path) -> None:
    browser = site.as_("viewer")
    files = {f["name"] for f in browser.get(f"/studies/{site.study}").json()["files"]}
    assert {"result.json", "segmentation.dcm", "segmentation.nii.gz", "report.pdf", "overlay_L3.png"} <= files
    for name in files:
        content = browser.get(f"/studies/{site.study}/files/{name}").content
        (tmp_path / name).write_bytes(content)
    seg = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert str(seg.PatientID).startswith("SC")
    mask = nib.load(tmp_path / "segmentation.nii.gz")
    assert set(map(int, {1, 2}) if mask.get_fdata().any() else set()) == {1, 2}
    assert json.loads((tmp_path / "result.json").read_text())["schema"] == "1.0"
    assert browser.get(f"/studies/{site.study}/files/..%2f..%2fsecret").status_code in (404, 422)


def test_contact_sheet_review_and_assignment(site: Site) -> None:
    browser = site.as_("reviewer")
    (tile,) = browser.get("/contact-sheet").json()
    assert tile["picture"] == "overlay_L3.png"
    assert len(browser.get("/contact-sheet", params={"seed": 7}).json()) == 1
    body = {"studies": [site.study], "review": "excluded", "reason": "motion"}
    assert browser.post("/studies/review", json=body).json() == {"changed": 1}
    assert browser.get("/studies", params={"review": "excluded"}).json()["total"] == 1
    assert (
        browser.post("/studies/assign", json={"studies": [site.study], "user": "annotator"}).status_code
        == 200
    )
    assert site.as_("annotator").get("/studies", params={"mine": True}).json()["total"] == 1
    assert browser.post("/studies/review", json={**body, "review": "open"}).status_code == 200


def test_the_same_files_again_change_nothing(site: Site, tmp_path: Path) -> None:
    browser = site.as_("annotator")
    again = upload(browser, phantom_zip(tmp_path))
    assert again["report"]["study_numbers"] == []
    assert browser.get("/studies").json()["total"] == 1


def test_a_broken_connection_goes_on(site: Site) -> None:
    browser = site.as_("annotator")
    number = browser.post("/uploads", json={"project": "liver", "centre": "here"}).json()["id"]
    path, name = f"/uploads/{number}/files", {"name": "a/b.zip"}
    assert browser.put(path, params=name, content=b"x" * 1000).json()["received"] == 1000
    assert browser.get(path, params=name).json()["received"] == 1000
    assert browser.put(path, params={**name, "offset": 1000}, content=b"y" * 24).json()["received"] == 1024
    assert browser.put(path, params={**name, "offset": 5000}, content=b"z").status_code == 422
    end = browser.post(f"/uploads/{number}/finish", params={"wait": 30}).json()
    assert end["state"] == "failed"
    assert "damaged" in end["error"] or "No DICOM" in end["error"]


def test_worklist_as_csv(site: Site) -> None:
    text = site.as_("viewer").get("/studies.csv").text
    head, line = text.splitlines()
    values = dict(zip(head.split(","), line.split(","), strict=True))
    assert values["pseudonym"].startswith("SC")
    assert float(values["muscle_area_cm2"]) > 20
    assert "H-4711" not in text


TABLE = """환자번호,날짜,키,체중,복수,이름
H-4711,2024-12-03,171,70.5,,홍길동
H-4711,2024-12-03,1.71,70,,홍길동
H-4711,2024-12-03,abc,70,,홍길동
H-4711,soon,171,70,,홍길동
H-4711,2024-12-03,171,70,maybe,홍길동
H-4711,2024-12-03,,,,홍길동
H-9999,2024-12-03,171,70,,아무개
H-4711,2024-12-03,171,70.5,,홍길동
"""


def test_body_values_of_a_table_are_matched_shown_and_kept(site: Site) -> None:
    manager, annotator = site.as_("manager"), site.as_("annotator")
    where = {"project": "liver", "centre": "here", "name": "body.csv"}
    assert annotator.post("/body-table", params=where, content=TABLE.encode()).status_code == 403
    found = manager.post("/body-table", params=where, content=TABLE.encode("cp949")).json()
    problems = {r["line"]: (r["problem"], r["column"]) for r in found["rows"]}
    assert problems == {
        2: ("", ""),
        3: ("impossible", "키"),
        4: ("no_number", "키"),
        5: ("no_date", "날짜"),
        6: ("unclear", "복수"),
        7: ("no_values", ""),
        8: ("nobody", ""),
        9: ("known", ""),
    }
    assert (found["taken"], found["people"], found["ignored"], found["kept"]) == (1, 1, ["이름"], False)
    assert "길동" not in json.dumps(found["rows"], ensure_ascii=False)
    before = manager.get(f"/studies/{site.study}").json()
    assert len(before["body"]) == len(manager.get(f"/studies/{site.study}").json()["body"])
    # The day of the values and the study's own (2025-01-02) were moved alike.
    assert [r["days"] for r in found["rows"] if r["line"] == 2] == [-30]
    kept = manager.post("/body-table", params={**where, "keep": True}, content=TABLE.encode()).json()
    assert (kept["taken"], kept["queued"], kept["kept"]) == (1, 1, True)
    work_off(site.store)
    after = manager.get(f"/studies/{site.study}").json()
    assert after["body"][-1]["origin"] == "imported"
    assert after["body"][-1]["day"] != "2024-12-03"
    again = manager.post("/body-table", params={**where, "keep": True}, content=TABLE.encode()).json()
    assert (again["taken"], again["problems"]["known"]) == (0, 2)


def test_body_values_by_pseudonym_count_and_are_judged(site: Site) -> None:
    annotator = site.as_("annotator")
    page = annotator.get(f"/studies/{site.study}").json()
    book = openpyxl.Workbook()
    book.active.append(["pseudonym", "date", "Height (cm)", "Dry weight (kg)"])
    book.active.append([page["row"]["pseudonym"], date.fromisoformat(page["row"]["day"]), 180, 90])
    content = io.BytesIO()
    book.save(content)
    where = {"project": "liver", "centre": "here", "name": "body.xlsx", "keep": True}
    kept = annotator.post("/body-table", params=where, content=content.getvalue()).json()
    assert (kept["taken"], kept["queued"], kept["rows"][0]["days"]) == (1, 1, 0)
    work_off(site.store)
    body = annotator.get(f"/studies/{site.study}").json()["result"]["body"]
    assert body["bmi"]["value"] == pytest.approx(90 / 1.8**2, abs=0.01)
    assert body["weight_kg"]["dry"] is True


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"height,weight\n170,70\n", "says who"),
        (b"pseudonym,disease\nA,b\n", "body value"),
        (b"pseudonym,height,Ht (cm)\nA,170,170\n", "say the same"),
        (b"\xff\xfe\x00", ""),
        (b"", "empty"),
    ],
    ids=("who", "value", "twice", "bytes", "empty"),
)
def test_a_table_that_cannot_be_used(site: Site, content: bytes, said: str) -> None:
    where = {"project": "liver", "centre": "here", "name": "body.csv"}
    answer = site.as_("annotator").post("/body-table", params=where, content=content)
    assert 400 <= answer.status_code < 500
    assert said in answer.json()["detail"]


def test_refused_files_are_named_by_their_numbers(site: Site) -> None:
    browser = site.as_("annotator")
    number = browser.post("/uploads", json={"project": "liver", "centre": "here"}).json()["id"]
    damaged = b"\0" * 128 + b"DICM" + b"\xff" * 200
    letters = io.BytesIO()
    with zipfile.ZipFile(letters, "w") as archive:
        archive.writestr("Kim Chulsoo/readme.txt", "hello")
        archive.writestr("Kim Chulsoo/x.dcm", damaged)
    sent = {"0.dcm": damaged, "1.txt": b"no image", "2.zip": letters.getvalue(), "Lee Younghee.dcm": damaged}
    for name, content in sent.items():
        browser.put(f"/uploads/{number}/files", params={"name": name}, content=content)
    found = browser.post(f"/uploads/{number}/finish", params={"wait": 30}).json()
    assert found["report"]["not_taken"] == [
        {"file": 0, "reason": "unreadable", "files": 1},
        {"file": 1, "reason": "no_dicom", "files": 1},
        {"file": 2, "reason": "no_dicom", "files": 1},
        {"file": 2, "reason": "unreadable", "files": 1},
    ]
    assert "Chulsoo" not in str(found)
    assert "Younghee" not in str(found)


@pytest.mark.parametrize(
    ("field", "text", "fits"),
    [
        ("receiver_rules", "modality,action\nCT,analyze\n", True),
        ("receiver_rules", "modality,action\nCT,eat\n", False),
        ("receiver_rules", "description,action\n[,analyze\n", False),
        ("series_policy", "{}", False),
        ("series_policy", "no JSON", False),
    ],
)
def test_policies_and_rules_are_checked_before_they_count(
    site: Site, field: str, text: str, fits: bool
) -> None:
    manager = site.as_("manager")
    (project,) = manager.get("/projects").json()
    answer = manager.put("/projects/liver", json={**project, field: text})
    assert (answer.status_code == 204) is fits, answer.text
    assert fits or 400 <= answer.status_code < 500
    policy = json.dumps(manager.get("/series-policy").json())
    whole = {**project, "series_policy": policy, "receiver_rules": None}
    assert manager.put("/projects/liver", json=whole).status_code == 204
    assert manager.get("/projects").json()[0]["series_policy"] == policy
    assert manager.put("/projects/liver", json=project).status_code == 204


def test_sharing_ledger_is_shown_to_administrators(site: Site, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SARCOSCOPE_HOME", str(tmp_path))
    root = site.as_("root")
    assert root.get("/sharing").json() == []
    (tmp_path / "sharing").mkdir()
    terms = {"recipient": "Univ", "purpose": "study", "approval": "IRB-1", "expires": "2030-01-02"}
    line = {"id": "ab", "made": "2026-01-02T03:04:05+00:00", "terms": terms, "people": 3, "files": 90}
    lines = [line | {"destroyed": None}, {"id": "ab", "destroyed": "2029-01-02T03:04:05+00:00"}]
    ledger = tmp_path / "sharing" / "ledger.jsonl"
    ledger.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    (entry,) = root.get("/sharing").json()
    assert (entry["recipient"], entry["people"], entry["destroyed"][:4]) == ("Univ", 3, "2029")


def test_no_formula_in_the_exported_worklist(site: Site) -> None:
    annotator = site.as_("annotator")
    annotator.put(f"/studies/{site.study}/disease", json={"disease": "=1+1"})
    assert ",'=1+1," in annotator.get("/studies.csv").text
    annotator.put(f"/studies/{site.study}/disease", json={"disease": ""})
