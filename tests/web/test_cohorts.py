"""Cohorts over the API: the store's studies give what ``sarcoscope cohort run`` gives on a batch's files."""

from __future__ import annotations

import base64
import io
import json
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from sarcoscope.cohort.run import run_cohort
from sarcoscope.deid.mapping import Identity
from sarcoscope.diagnosis import find_sets
from sarcoscope.diagnosis.own import own_sets
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Centre, CohortFile, Membership, Person, Project, User
from sarcoscope.store.upkeep import check_store
from tests.web.cohort_store import fill_with_cohort, table_of
from tests.web.server import Client, add_users, client, running, work_off

PLACE = {"project": "liver", "centres": ["here"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, Path]]:
    """A server over 1,500 synthetic people, and the files that they came from."""
    root = tmp_path_factory.mktemp("cohorts")
    store = Store.open(root / "data")
    add_users(store)
    folder = fill_with_cohort(store, root / "sample", 1500)
    with running(store) as url:
        yield store, url, folder
    store.close()


@pytest.fixture
def manager(place: tuple[Store, str, Path]) -> Client:
    return client(place[1], "manager")


def given(folder: Path, **more: Any) -> dict[str, Any]:
    definition = tomllib.loads((folder / "cohort.toml").read_text(encoding="utf-8"))
    mapping = tomllib.loads((folder / "mapping.toml").read_text(encoding="utf-8"))
    return {
        **PLACE,
        "definition": definition,
        "table": table_of(folder / "clinical.csv"),
        "mapping": mapping,
        **more,
    }


def test_a_table_is_understood_checked_and_matched(manager: Client, place: tuple[Store, str, Path]) -> None:
    table = table_of(place[2] / "clinical.csv")
    found = manager.post("/cohorts/table", json={**PLACE, "table": table})
    assert found.status_code == 200, found.text
    told = found.json()
    assert told["suggestion"]["columns"]["pseudonym"] == "pseudonym"
    assert told["suggestion"]["codes"]["columns"] == ["icd10"]
    checked = manager.post(
        "/cohorts/table/check", json={**PLACE, "table": table, "mapping": told["suggestion"]}
    )
    assert checked.status_code == 200, checked.text
    said = checked.json()
    assert (said["n_problems"], said["problems"]) == (0, [])
    assert said["matched"] > 1400
    assert {"fatty_liver", "cirrhosis"} <= set(said["diseases"])
    # A height in metres and a doubled person are named by their row; nothing is kept.
    lines = (place[2] / "clinical.csv").read_text(encoding="utf-8-sig").splitlines()
    heading = lines[0].split(",")
    wrong = lines[5].split(",")
    wrong[heading.index("height_cm")] = "1.7"
    bad = "\n".join([*lines[:5], ",".join(wrong), *lines[6:], lines[7]]).encode()
    table = {"name": "bad.csv", "content": base64.b64encode(bad).decode()}
    said = manager.post(
        "/cohorts/table/check", json={**PLACE, "table": table, "mapping": told["suggestion"]}
    ).json()
    assert {p["row"] for p in said["problems"]} >= {6}
    assert said["n_problems"] >= 2
    assert manager.get("/cohorts").json() == []


def test_a_preview_counts_nobody_twice(manager: Client, place: tuple[Store, str, Path]) -> None:
    answer = manager.post("/cohorts/preview", json=given(place[2]))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["persons"] == said["flow"][-1]["persons_left"] == said["flow"][-1]["studies_left"]
    left = (said["flow_persons"], said["flow_studies"])
    for step in said["flow"]:
        left = (left[0] - step["persons_out"], left[1] - step["studies_out"])
        assert left == (step["persons_left"], step["studies_left"])
    assert said["titles"]["cirrhosis"]["ko"] == "간경변"
    assert any("group" in n["en"].lower() or "disease" in n["en"].lower() for n in said["notes"])


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"definition": {"version": 1}}, 422, "cohort file"),
        ({"mapping": {"columns": {"sex": "sex"}}}, 422, "mapping"),
        ({"centres": ["there"]}, 404, "not yours"),
        ({"table": {"name": "x.csv", "content": "@@@@"}}, 422, "arrive"),
        ({"table": {"name": "x.csv", "content": base64.b64encode(b"a,b\n1,2\n").decode()}}, 422, "whose"),
    ],
)
def test_what_cannot_be_used_is_said(
    manager: Client, place: tuple[Store, str, Path], change: dict[str, Any], status: int, text: str
) -> None:
    answer = manager.post("/cohorts", json=given(place[2], **change))
    assert answer.status_code == status, answer.text
    assert text in answer.json()["detail"]
    assert manager.get("/cohorts").json() == []


def test_paths_of_a_cohort_file_are_set_aside(manager: Client, place: tuple[Store, str, Path]) -> None:
    asked = given(place[2])
    asked["definition"]["studies"]["results"] = "../../../etc/passwd"
    asked["definition"]["studies"]["people"] = "/etc/passwd"
    asked["definition"]["clinical"]["table"] = "/etc/passwd"
    assert manager.post("/cohorts/preview", json=asked).status_code == 200
    asked["definition"]["analysis"]["standard"] = "/etc/passwd"
    assert manager.post("/cohorts/preview", json=asked).status_code == 422


def test_the_job_gives_what_the_command_gives(
    manager: Client, place: tuple[Store, str, Path], tmp_path: Path
) -> None:
    store, url, folder = place
    done = manager.post("/cohorts", json=given(folder, reason="first look"))
    assert done.status_code == 201, done.text
    number = done.json()["id"]
    assert done.json()["versions"][0]["status"] == "queued"
    work_off(store)
    cohort = client(url, "viewer").get(f"/cohorts/{number}").json()
    (version,) = cohort["versions"]
    assert (version["status"], version["error"], version["reason"]) == ("done", None, "first look")
    run_cohort(folder / "cohort.toml", tmp_path / "out")
    home = f"/cohorts/{number}/versions/1"
    for name in ("prevalence", "distribution", "group_models", "outcome_models", "reference_cutoffs"):
        content = (tmp_path / "out" / "tables" / f"{name}.csv").read_bytes()
        assert manager.get(f"{home}/files/en/tables/{name}.csv").content == content, name
        table = manager.get(f"{home}/tables/{name}").json()
        assert len(table["rows"]) == content.count(b"\r\n") - 1
    report = manager.get(f"{home}/files/ko/report.html")
    assert report.headers["content-type"].startswith("text/html")
    assert "간경변" in report.text
    figure = manager.get(f"{home}/files/en/figures/flow.svg")
    assert figure.headers["content-type"] == "image/svg+xml"
    with zipfile.ZipFile(io.BytesIO(manager.get(f"{home}/export.zip").content)) as archive:
        names = set(archive.namelist())
        assert {"cohort.json", "en/report.html", "ko/report.html", "en/manifest.json"} <= names
        assert not any(n.startswith("in/") for n in names), "rows of persons are not exported"
        assert json.loads(archive.read("cohort.json"))["name"] == "liver"
    assert manager.get(f"{home}/files/in/table").status_code == 404
    assert check_store(store).sound
    assert check_store(store).unnamed == []


def test_an_own_reference_is_kept_for_analyses(
    manager: Client, place: tuple[Store, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARCOSCOPE_HOME", str(tmp_path))
    with place[0].database.writing() as session:
        root = session.scalars(select(User).where(User.name == "root")).one()
        project, centre = session.scalars(select(Project)).one(), session.get_one(Centre, 1)
        session.add(Membership(user_id=root.id, project_id=project.id, centre_id=centre.id, role="viewer"))
    assert manager.post("/cohorts/1/versions/1/reference").status_code == 403
    administrator = client(place[1], "root")
    kept = administrator.post("/cohorts/1/versions/1/reference")
    assert (kept.status_code, kept.json()) == (201, {"name": "own_liver_free", "version": 1})
    assert "own_liver_free" in administrator.get("/cohorts/choices").json()["references"]
    (reference,) = find_sets(["own_liver_free"], own_sets())
    table = administrator.get("/cohorts/1/versions/1/tables/reference_cutoffs").json()
    rows = [dict(zip(table["columns"], cells, strict=True)) for cells in table["rows"]]
    for row in reference.rows:
        same = next(r for r in rows if (r["index"], r["sex"]) == (row.index, row.sex))
        assert (row.mean, row.sd) == pytest.approx((float(same["mean"]), float(same["sd"])), rel=1e-9)


def test_hospital_numbers_and_true_dates_are_never_kept(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data")
    add_users(store)
    fill_with_cohort(store, tmp_path / "sample", 100)
    with store.mapping("here", "liver") as mapping, store.database.writing() as session:
        for k, row in enumerate(session.scalars(select(Person).order_by(Person.id).limit(20))):
            row.pseudonym = mapping.person(Identity("here", f"H-47{k:02d}", name=f"Hong^{k}")).pseudonym
    rows = ["patient_id,visit date,seen,cirrhosis,note"]
    rows += [f"H-47{k:02d},2020. 1. 3.,{'2020-01-03' if k < 9 else '?'},{k % 2},x" for k in range(20)]
    rows.insert(1, "H-9999,2020. 1. 3.,?,1,x")
    definition = {
        "version": 1, "name": "linked", "title": {"en": "Linked"}, "studies": {}, "analysis": {"indices": ["SMA"]},
        "groups": {"kind": "overlapping", "list": [{"name": "cirrhosis", "title": {"en": "Cirrhosis"}}]},
    }  # fmt: skip
    columns = {"pseudonym": "pseudonym", "day": "visit date", "cirrhosis": "cirrhosis"}
    with running(store) as url:
        manager = client(url, "manager")

        def sent(lines: list[str], path: str, columns: dict[str, str]) -> Any:
            table = {"name": "t.csv", "content": base64.b64encode("\n".join(lines).encode()).decode()}
            body = {**PLACE, "table": table, "mapping": {"columns": columns}, "definition": definition}
            return manager.post(path, json=body)

        bad = [*rows[:3], rows[3].replace(",1,x", ",7,x"), *rows[4:]]
        said = sent(bad, "/cohorts/table/check", columns).json()
        assert [p["row"] for p in said["problems"]] == [4], "the row of the table that was sent"
        said = sent(rows, "/cohorts/table/check", {**columns, "last_date": "seen"})
        assert (said.status_code, "could not be moved" in said.json()["detail"]) == (422, True)
        both = ["pseudonym,patient_id,cirrhosis", "P1,H-4700,1"]
        said = sent(both, "/cohorts/table", columns)
        assert (said.status_code, "take these out" in said.json()["detail"]) == (422, True)
        assert sent(rows, "/cohorts", columns).status_code == 201
    with store.database.reading() as session:
        (kept,) = session.scalars(select(CohortFile)).all()
        text = store.files.read(kept.sha256).decode("utf-8-sig")
    store.close()
    assert text.splitlines()[0] == "pseudonym,visit date,cirrhosis"
    assert len(text.splitlines()) == 21
    for word in ("H-47", "H-9999", "Hong", "2020-01-03", "2020. 1. 3", "2020. 01. 03"):
        assert word not in text


def test_versions_rights_and_the_end(manager: Client, place: tuple[Store, str, Path]) -> None:
    store, url, folder = place
    again = given(folder, reason="other decades")
    again["definition"]["analysis"]["decades"] = [40, 60, 80]
    assert manager.post("/cohorts", json=again).json()["versions"][0]["number"] == 2
    work_off(store)
    first, second = (manager.get(f"/cohorts/1/versions/{v}/tables/prevalence").json()["rows"] for v in (1, 2))
    assert first != second
    viewer, stranger = client(url, "viewer"), client(url, "stranger")
    assert viewer.get("/cohorts/1").status_code == 200
    assert viewer.post("/cohorts", json=again).status_code == 403
    assert viewer.delete("/cohorts/1").status_code == 403
    assert stranger.get("/cohorts").json() == []
    for path in (
        "",
        "/versions/1/tables/prevalence",
        "/versions/1/files/en/report.html",
        "/versions/1/export.zip",
    ):
        assert stranger.get(f"/cohorts/1{path}").status_code == 404
    assert manager.delete("/cohorts/1").status_code == 204
    assert manager.get("/cohorts").json() == []
    assert check_store(store).unnamed == []
