"""Reader studies on SQLite and PostgreSQL, over the API; the studies are made without a CT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sarcoscope.store.store import Store
from tests.web.read_studies import HIGH, LOW, add_studies, answer_again, disc, plan
from tests.web.server import Client, client, running


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with running(store) as address:
        yield address


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
    assert "another series" in answer.json()["detail"]


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
