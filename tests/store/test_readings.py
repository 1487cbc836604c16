"""Reader studies on SQLite and PostgreSQL, over the API; the studies are made without a CT."""

from __future__ import annotations

import tracemalloc
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event, select

from sarcoscope.store import agreement
from sarcoscope.store.readings import MOST_READINGS
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Draft, ReaderTask, Segmentation, Study, now
from sarcoscope.store.versions import Labels, labels_of, new_version
from tests.web.read_studies import HIGH, LOW, add_studies, answer_again, disc, plan, read_all, small_volume
from tests.web.server import Client, client, running


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with running(store) as address:
        yield address


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """The statements that the database was sent."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        sent.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(store.database.engine, "before_cursor_execute", note)


def start(browser: Client, task: int) -> dict[int, NDArray[np.uint8]]:
    """What a reading begins from."""
    answer = browser.get(f"/readings/{task}/start")
    _, rows, columns = browser.get(f"/readings/{task}/viewer").json()["shape"]
    indices = [int(i) for i in answer.headers["X-Slices"].split(",") if i]
    planes = np.frombuffer(answer.content, np.uint8).reshape(len(indices), rows, columns)
    return dict(zip(indices, planes, strict=True))


def finished(browser: Client, task: int, low: int = LOW, high: int = HIGH) -> Any:
    return browser.post(f"/readings/{task}/finish", json={"index_low": low, "index_high": high, "seconds": 1})


@pytest.mark.parametrize("arm", ["assisted", "edit"])
def test_every_reader_begins_from_what_the_model_said_when_it_was_planned(
    store: Store, url: str, arm: str
) -> None:
    (number,) = add_studies(store, 1)
    plan(client(url, "manager"), [number], arms=[arm])
    drawn = {}
    for reader in ("annotator", "reviewer"):
        browser = client(url, reader)
        task = browser.get("/readings/next").json()["task"]
        page = browser.get(f"/readings/{task}/viewer").json()
        drawn[reader] = start(browser, task)
        assert [(r["index_low"], r["index_high"]) for r in page["levels"]] == [(LOW, HIGH)]
        assert (page["indices"], page["shape"]) == (list(range(LOW, HIGH + 1)), [12, 32, 32])
        assert sorted(drawn[reader]) == page["indices"]
        assert all(np.array_equal(plane, disc((32, 32), 8)) for plane in drawn[reader].values())
        answer = browser.put(f"/readings/{task}/draft/{LOW}", content=disc((32, 32), 5).tobytes())
        assert answer.status_code == 200, answer.text
        if arm == "edit":
            assert finished(browser, task).status_code == 200
        # Another series, other levels and masks, between two readers.
        answer_again(store, number, 2, 3, 4.0, uid="1.2.4", shape=(9, 24, 24))


def test_what_was_drawn_on_another_series_is_not_adopted(store: Store, url: str) -> None:
    (number,) = add_studies(store, 1)
    plan(client(url, "manager"), [number], readers=["annotator"])
    browser = client(url, "annotator")
    task = browser.get("/readings/next").json()["task"]
    assert finished(browser, task).status_code == 200
    answer_again(store, number, 2, 3, 4.0, uid="1.2.4", shape=(9, 24, 24))
    answer = client(url, "manager").post(f"/readings/{task}/verdict", json={"approve": True, "adopt": True})
    assert answer.status_code == 409
    assert "other images" in answer.json()["detail"]


def test_reader_studies_of_before_begin_from_the_newest_answer(store: Store, url: str) -> None:
    (number,) = add_studies(store, 1)
    plan(client(url, "manager"), [number], readers=["annotator"])
    with store.database.connected() as connection:
        connection.exec_driver_sql("DELETE FROM reader_study_subject")
    answer_again(store, number, LOW + 1, HIGH, 4.0)
    browser = client(url, "annotator")
    task = browser.get("/readings/next").json()["task"]
    assert sorted(start(browser, task)) == list(range(LOW + 1, HIGH + 1))
    assert finished(browser, task, LOW + 1).status_code == 200


def test_a_study_with_open_readings_can_be_deleted(store: Store, url: str) -> None:
    (number,) = add_studies(store, 1)
    manager = client(url, "manager")
    plan(manager, [number])
    assert manager.delete(f"/studies/{number}").status_code == 204
    assert manager.get("/reader-studies").json()[0]["tasks"] == 0


def test_no_request_asks_the_database_once_a_reading(store: Store, url: str) -> None:
    studies = add_studies(store, 8)
    manager, reader = client(url, "manager"), client(url, "annotator")
    asked = []
    for some in (studies[:2], studies):
        number = plan(manager, some, readers=["annotator"], repeat_days=30)["id"]
        with store.database.writing() as session:
            for task in session.scalars(select(ReaderTask).where(ReaderTask.repeat == 0)):
                task.finished = now()
        counts: dict[str, int] = {}
        for browser, path in (
            (manager, "/reader-studies"),
            (manager, f"/reader-studies/{number}/tasks"),
            (reader, "/readings/next"),
        ):
            with counted(store) as sent:
                found = browser.get(path).json()
            counts[path.replace(str(number), "1")] = len(sent)
            if path == "/readings/next":
                assert (found["task"], found["left"] > 0) == (None, True)
        asked.append(counts)
    assert asked[0] == asked[1]
    assert max(asked[1].values()) < 12


def test_a_repeat_is_due_when_the_wash_out_of_its_first_reading_is_over(store: Store, url: str) -> None:
    studies = add_studies(store, 3)
    number = plan(client(url, "manager"), studies, readers=["annotator"], repeat_days=30)["id"]
    reader = client(url, "annotator")
    with store.database.writing() as session:
        tasks = session.scalars(select(ReaderTask).order_by(ReaderTask.position)).all()
        firsts = {t.study_id: t for t in tasks if t.repeat == 0}
        repeats = [t for t in tasks if t.repeat == 1]
        for first in firsts.values():
            first.finished = now() - timedelta(days=29)
        firsts[repeats[1].study_id].finished = now() - timedelta(days=31)
    said = reader.get("/readings/next").json()
    assert (said["task"], said["left"]) == (repeats[1].id, 3)
    assert reader.get(f"/readings/{repeats[0].id}/viewer").status_code == 403
    assert reader.get(f"/readings/{repeats[1].id}/viewer").status_code == 200
    # The readings of another reader study come after it; a frozen one has no turn.
    later = plan(client(url, "manager"), studies[:1], readers=["annotator"])["id"]
    assert reader.get("/readings/next").json()["task"] == repeats[1].id
    client(url, "manager").post(f"/reader-studies/{number}/freeze")
    with store.database.reading() as session:
        other = session.scalars(select(ReaderTask.id).where(ReaderTask.reader_study_id == later)).one()
    assert reader.get("/readings/next").json()["task"] == other


def test_what_is_read_blind_is_closed_until_it_is_finished(store: Store, url: str) -> None:
    one, two = add_studies(store, 2)
    number = plan(client(url, "manager"), [one], readers=["annotator"])["id"]
    reader = client(url, "annotator")
    assert [r["id"] for r in reader.get("/studies").json()["rows"]] == [two]
    assert reader.get(f"/studies/{one}/viewer").status_code == 403
    assert reader.get(f"/studies/{two}/viewer").status_code == 200
    read_all(store, number)
    assert len(reader.get("/studies").json()["rows"]) == 2
    assert reader.get(f"/studies/{one}/viewer").status_code == 200


def test_who_reads_a_study_blind_sees_no_reading_of_it_in_another_reader_study(
    store: Store, url: str
) -> None:
    studies = add_studies(store, 2)
    manager, reviewer = client(url, "manager"), client(url, "reviewer")
    done = plan(manager, studies[:1], readers=["annotator"])["id"]
    read_all(store, done)
    task = manager.get(f"/reader-studies/{done}/tasks").json()[0]["id"]
    paths = (
        f"/reader-studies/{done}/tasks",
        f"/reader-studies/{done}/studies/{studies[0]}/readings",
        f"/reader-studies/{done}/agreement",
        f"/readings/{task}/mask",
    )
    plan(manager, studies[1:], readers=["reviewer"])
    assert [reviewer.get(p).status_code for p in paths] == [200, 200, 200, 200]
    blind = plan(manager, studies[:1], readers=["reviewer"])["id"]
    assert [reviewer.get(p).status_code for p in paths] == [403, 403, 403, 403]
    assert reviewer.post(f"/readings/{task}/verdict", json={"approve": True}).status_code == 403
    read_all(store, blind)
    assert [reviewer.get(p).status_code for p in paths] == [200, 200, 200, 200]


def test_readings_of_a_series_that_changed_are_not_shown_on_the_new_one(store: Store, url: str) -> None:
    (number,) = add_studies(store, 1)
    manager = client(url, "manager")
    one = plan(manager, [number])["id"]
    read_all(store, one)
    path = f"/reader-studies/{one}/studies/{number}/readings"
    assert manager.get(path).json()["fits"]
    answer_again(store, number, LOW, HIGH, 8, uid="1.2.4")
    assert not manager.get(path).json()["fits"]
    # The same series, but two slices came: no slice is what it was.
    answer_again(store, number, LOW, HIGH, 8, shape=(14, 32, 32))
    assert "not those that were analysed" in manager.get(path).json()["detail"]
    task = manager.get(f"/reader-studies/{one}/tasks").json()[0]["id"]
    answer = manager.post(f"/readings/{task}/verdict", json={"approve": True, "adopt": True})
    assert (answer.status_code, "other images" in answer.json()["detail"]) == (409, True)


def test_agreement_is_computed_study_by_study_and_once(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = add_studies(store, 3)
    manager = client(url, "manager")
    number = plan(manager, studies, arms=["scratch", "edit"], repeat_days=0)["id"]
    read_all(store, number)
    alive: list[weakref.ref[Any]] = []
    most = read = 0

    def watched(given: Store, mask: Segmentation) -> Labels:
        nonlocal most, read
        labels = labels_of(given, mask)
        alive.extend(weakref.ref(plane) for plane in labels.values())
        most, read = max(most, sum(r() is not None for r in alive)), read + 1
        return labels

    monkeypatch.setattr(agreement, "labels_of", watched)
    path = f"/reader-studies/{number}/agreement"
    first = manager.get(path).json()
    per_study = 2 * 2 * 2 * (HIGH - LOW + 1)
    assert (most, read) == (per_study, 3 * 8)
    assert manager.get(path).json() == first
    assert read == 3 * 8
    (store.data / "cache" / "reader-study-1.json").write_text("damaged")
    assert manager.get(path).json() == first
    assert read == 6 * 8


def test_a_new_reading_costs_its_own_study_alone(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = add_studies(store, 3)
    manager = client(url, "manager")
    number = plan(manager, studies)["id"]
    read_all(store, number)
    with store.database.writing() as session:
        last = session.scalars(select(ReaderTask).order_by(ReaderTask.id.desc()).limit(1)).one()
        last.finished, task = None, last.id
    manager.get(f"/reader-studies/{number}/agreement")
    with store.database.writing() as session:
        session.get_one(ReaderTask, task).finished = now()
    read = []
    monkeypatch.setattr(agreement, "labels_of", lambda *given: (read.append(1), labels_of(*given))[1])
    found = manager.get(f"/reader-studies/{number}/agreement").json()
    assert (len(read), found["between"][0]["pairs"][0]["studies"]) == (2, 3)


def test_an_export_is_never_whole_in_memory(store: Store, url: str, tmp_path: Path) -> None:
    shape = (24, 128, 128)
    studies = add_studies(store, 6, shape)
    manager = client(url, "manager")
    number = plan(manager, studies, repeat_days=0)["id"]
    read_all(store, number)
    rng = np.random.default_rng(1)
    with store.database.writing() as session:
        # Masks that cannot be packed: 24 files of 0.15 MB.
        for mask in session.scalars(select(Segmentation).where(Segmentation.blind)):
            study = session.get_one(Study, mask.study_id)
            noise = dict(enumerate(rng.integers(0, 5, shape).astype(np.uint8)))
            mask.sha256 = new_version(store, small_volume(shape), study, noise, reader="", reason="").sha256
    manager.get(f"/reader-studies/{number}/agreement")
    path = tmp_path / "export.zip"
    tracemalloc.start()
    with manager.stream("GET", f"/reader-studies/{number}/export.zip") as answer, path.open("wb") as out:
        assert answer.status_code == 200
        for block in answer.iter_bytes(64 * 1024):
            out.write(block)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert int(answer.headers["Content-Length"]) == path.stat().st_size > 3_000_000
    assert most < 2_000_000
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 2 + 24
    assert list((store.data / "work").iterdir()) == []


def test_a_reading_is_not_adopted_over_a_version_that_was_not_seen(store: Store, url: str) -> None:
    (number,) = add_studies(store, 1)
    manager = client(url, "manager")
    read_all(store, plan(manager, [number], readers=["annotator", "reviewer"])["id"])
    one, two = (t["id"] for t in manager.get("/reader-studies/1/tasks").json())
    seen = manager.get(f"/studies/{number}/viewer").json()["shown"]
    restored = manager.post(f"/studies/{number}/masks/{seen}/restore", json={"reason": "back", "base": seen})
    newer = restored.json()["id"]
    given = {"approve": True, "adopt": True, "base": seen}
    answer = manager.post(f"/readings/{one}/verdict", json=given)
    assert (answer.status_code, answer.json()["newer"]) == (409, newer)
    assert "manager saved another version" in answer.json()["detail"]
    assert [t["verdict"] for t in manager.get("/reader-studies/1/tasks").json()] == ["", ""]
    assert manager.get(f"/studies/{number}").json()["row"]["review"] == "open"
    assert manager.post(f"/readings/{one}/verdict", json={**given, "base": newer}).status_code == 204
    assert manager.post(f"/readings/{two}/verdict", json={"approve": True, "adopt": True}).status_code == 204
    told = manager.get(f"/reader-studies/1/studies/{number}/readings").json()
    assert told["adopted"] == [one, two]


def test_a_manager_withdraws_a_reading(store: Store, url: str) -> None:
    studies = add_studies(store, 2)
    manager, reader = client(url, "manager"), client(url, "annotator")
    number = plan(manager, studies, repeat_days=0)["id"]
    task = reader.get("/readings/next").json()["task"]
    answer = reader.put(f"/readings/{task}/draft/{LOW}", content=disc((32, 32), 5).tobytes())
    assert answer.status_code == 200, answer.text
    assert reader.get(f"/readings/{task}/viewer").json()["draft"] == 1
    assert client(url, "reviewer").delete(f"/readings/{task}").status_code == 403
    assert client(url, "stranger").delete(f"/readings/{task}").status_code == 404
    assert manager.delete(f"/readings/{task}").status_code == 204
    for path in ("viewer", "start", "draft"):
        assert reader.get(f"/readings/{task}/{path}").status_code == 404
    assert finished(reader, task).status_code == 404
    assert manager.delete(f"/readings/{task}").status_code == 404
    (entry,) = manager.get("/reader-studies").json()
    # With its repeat, which would have nothing to be compared with.
    assert (entry["tasks"], entry["by_reader"]) == (6, {"annotator": [0, 2], "reviewer": [0, 4]})
    said = reader.get("/readings/next").json()
    assert (said["task"] != task, said["left"]) == (True, 2)
    (row,) = [a for a in manager.get("/audit").json() if a["action"] == "withdraw_reading"]
    assert (row["details"]["reader"], row["details"]["readings"][0]) == ("annotator", task)
    with store.database.reading() as session:
        assert session.scalars(select(Draft)).all() == []
    read_all(store, number)
    found = manager.get(f"/reader-studies/{number}/agreement").json()
    assert [p["studies"] for p in found["between"][0]["pairs"]] == [1]
    done = manager.get(f"/reader-studies/{number}/tasks").json()[0]["id"]
    assert manager.delete(f"/readings/{done}").status_code == 409
    later = plan(manager, studies)["id"]
    manager.post(f"/reader-studies/{later}/freeze")
    frozen = manager.get(f"/reader-studies/{later}/tasks").json()[0]["id"]
    assert manager.delete(f"/readings/{frozen}").status_code == 422


def test_readings_of_a_study_side_by_side(store: Store, url: str) -> None:
    studies = add_studies(store, 2)
    manager = client(url, "manager")
    number = plan(manager, studies, readers=["annotator", "reviewer", "administrator"])["id"]
    path = f"/reader-studies/{number}/studies/{studies[0]}/readings"
    assert client(url, "reviewer").get(path).status_code == 403
    assert client(url, "annotator").get(path).status_code == 403
    assert client(url, "stranger").get(path).status_code == 404
    assert manager.get(f"/reader-studies/{number}/studies/{studies[1] + 1}/readings").status_code == 404
    nothing = {"title": "Two readers", "level": "L3", "frozen": False, "fits": True, "adopted": []}
    assert manager.get(path).json() == {**nothing, "readings": [], "pairs": []}
    read_all(store, number)
    found = client(url, "reviewer").get(path).json()
    every = manager.get(f"/reader-studies/{number}/tasks").json()
    assert found["readings"] == [t for t in every if t["study"] == studies[0]]
    by_number = {t["id"]: t for t in found["readings"]}
    masks = {}
    for task in by_number:
        answer = manager.get(f"/readings/{task}/mask")
        indices = [int(i) for i in answer.headers["X-Slices"].split(",")]
        masks[task] = dict(
            zip(indices, np.frombuffer(answer.content, np.uint8).reshape(-1, 32, 32), strict=True)
        )
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        one, other = pair["one"], pair["other"]
        common = sorted({*masks[one]} & {*masks[other]})
        a, b = (np.stack([masks[t][i] for i in common]) for t in (one, other))
        assert pair["common"] == len(common)
        differ = {i: int((masks[one][i] != masks[other][i]).sum()) for i in common}
        assert {s["index"]: s["pixels"] for s in pair["slices"]} == {i: n for i, n in differ.items() if n}
        pixels = [s["pixels"] for s in pair["slices"]]
        assert pixels == sorted(pixels, reverse=True)
        muscle, mine, theirs = pair["tissues"][0], a == 1, b == 1
        assert muscle["dice"] == pytest.approx(
            2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()), abs=5e-5
        )
        assert muscle["area_cm2"] == pytest.approx(mine.sum() / len(common) / 100, abs=5e-4)
        assert muscle["other_cm2"] == pytest.approx(theirs.sum() / len(common) / 100, abs=5e-4)
        apart = abs(by_number[one]["index_low"] - by_number[other]["index_low"])
        assert (pair["level_slices"], pair["level_mm"]) == (apart, 5.0 * apart)


def test_a_reader_study_has_an_upper_bound(store: Store, url: str) -> None:
    given = {
        "project": "liver", "centre": "here", "title": "Too many", "arms": ["scratch", "assisted", "edit"],
        "readers": ["annotator", "reviewer"], "studies": list(range(1, 1668)), "repeat_days": 7,
    }  # fmt: skip
    answer = client(url, "manager").post("/reader-studies", json=given)
    assert answer.status_code == 422
    assert f"20,004 readings, and a reader study has at most {MOST_READINGS:,}" in answer.json()["detail"]
