"""Reader studies over the API: blind readings, repeats, verdicts, agreement, freezing and export.

The tests are one reader study, in their order (files are not taken apart: ``make test``).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcoscope.imaging.label_files import OUR_VALUES
from sarcoscope.store.store import Store
from sarcoscope.store.training_set import write_training_set
from sarcoscope.training.manifest import LabelOptions, load_row, read_manifest
from tests.web.server import Client, add_users, client, phantom_zip, running, upload, work_off
from tests.web.test_corrections import hu, labels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    root = tmp_path_factory.mktemp("readings")
    store = Store.open(root / "data")
    add_users(store)
    with running(store) as url:
        one = client(url, "manager")
        for seed in ("1", "2"):
            upload(one, phantom_zip(root / "ct", number=f"H-{seed}", seed=seed))
        one.post("/studies/process", json={"studies": [1, 2]})
        work_off(store)
        yield store, url
    store.close()


def planned(browser: Client, **more: Any) -> Any:
    given = {
        "project": "liver", "centre": "here", "title": "Two readers", "arms": ["edit"],
        "readers": ["annotator", "reviewer"], "studies": [1, 2], "repeat_days": 0, "seed": 5, **more,
    }  # fmt: skip
    return browser.post("/reader-studies", json=given)


def read(browser: Client, *, shift: int = 0, erase: int = 0) -> int:
    """Read what is next: the model's range moved, some pixels of muscle erased on its slices."""
    task = browser.get("/readings/next").json()["task"]
    home = f"/readings/{task}"
    page = browser.get(f"{home}/viewer").json()
    _, rows, columns = page["shape"]
    answer = browser.get(f"{home}/start")
    indices = [int(i) for i in answer.headers["X-Slices"].split(",")]
    planes = np.frombuffer(answer.content, np.uint8).reshape(len(indices), rows, columns)
    low, high = page["indices"][0] + shift, page["indices"][-1]
    for index, plane in zip(indices, planes, strict=True):
        if erase and low <= index <= high:
            changed = plane.copy()
            y, x = np.nonzero(changed == 1)
            changed[y[:erase], x[:erase]] = 0
            said = browser.put(
                f"{home}/draft/{index}", content=gzip.compress(changed.tobytes()),
                headers={"Content-Encoding": "gzip"},
            )  # fmt: skip
            assert said.status_code == 200, said.text
            assert (said.json()["measurements"], said.json()["slices"][0]["level"]) == ([], None)
    done = browser.post(
        f"{home}/finish",
        json={"index_low": low, "index_high": high, "seconds": 60, "rating": 4, "comment": "=1+1"},
    )
    assert done.status_code == 200, done.text
    return int(task)


def test_only_a_manager_plans_and_only_what_was_analysed(place: tuple[Store, str]) -> None:
    manager = client(place[1], "manager")
    assert planned(client(place[1], "reviewer")).status_code == 403
    assert planned(manager, readers=["ghost"]).status_code == 422
    assert planned(manager, readers=["viewer"]).status_code == 422
    assert planned(manager, studies=[1, 99]).status_code == 404
    assert planned(manager, arms=[]).status_code == 422
    answer = planned(manager)
    assert answer.status_code == 201, answer.text
    assert answer.json()["tasks"] == 2 * 2 * 2


def test_a_reader_sees_nothing_but_the_pictures(place: tuple[Store, str]) -> None:
    one = client(place[1], "annotator")
    for path in ("", "/viewer", "/masks/1", "/report", "/files/segmentation.nii.gz"):
        answer = one.get(f"/studies/1{path}")
        assert answer.status_code == 403, path
        assert "blind" in answer.json()["detail"]
    assert one.get("/studies").json()["rows"] == []
    assert one.get("/contact-sheet").json() == []
    task = one.get("/readings/next").json()["task"]
    page = one.get(f"/readings/{task}/viewer").json()
    assert (page["versions"], page["shown"], page["measured"], page["others"]) == ([], None, [], [])
    assert [r["level"] for r in page["levels"]] == ["L3"]
    assert one.get(f"/readings/{task}/volume", params={"low": 0, "count": 2}).status_code == 200
    # Another reader's task, and readings of a study that one still reads in, are closed.
    assert client(place[1], "reviewer").get(f"/readings/{task}/viewer").status_code == 404
    assert client(place[1], "reviewer").get("/reader-studies/1/tasks").status_code == 403


def test_the_order_is_each_readers_own_and_a_reading_is_final(place: tuple[Store, str]) -> None:
    one = client(place[1], "annotator")
    task = one.get("/readings/next").json()["task"]
    bad = one.post(f"/readings/{task}/finish", json={"index_low": 0, "index_high": 3, "seconds": 1})
    assert bad.status_code == 422
    assert "no mask" in bad.json()["detail"]
    read(one)
    answer = one.post(f"/readings/{task}/finish", json={"index_low": 1, "index_high": 2, "seconds": 1})
    assert answer.status_code == 403


def test_agreement_equals_an_independent_computation(place: tuple[Store, str]) -> None:
    url = place[1]
    one, two = client(url, "annotator"), client(url, "reviewer")
    for _ in range(3):
        read(one)
    for _ in range(4):
        read(two, shift=1, erase=30)
    assert one.get("/readings/next").json() == {
        "task": None, "title": "", "arm": "", "level": "", "left": 0,
    }  # fmt: skip
    found = two.get("/reader-studies/1/agreement").json()
    (between,) = found["between"]
    (pair,) = between["pairs"]
    assert pair["readers"] == ["annotator", "reviewer"]
    assert pair["level"]["slices_mean"] == pytest.approx(0.5)
    tasks = two.get("/reader-studies/1/tasks").json()
    manager = client(url, "manager")
    dice, areas = [], []
    for number in (1, 2):
        first = {t["reader"]: t for t in tasks if t["study"] == number and t["repeat"] == 0 and t["finished"]}
        masks = {name: reading_masks(manager, number, t["id"]) for name, t in first.items()}
        both = sorted(set(masks["annotator"]) & set(masks["reviewer"]))
        a, b = (np.stack([masks[r][i] == 1 for i in both]) for r in ("annotator", "reviewer"))
        dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        page = manager.get(f"/studies/{number}/viewer").json()
        pixel = page["spacing_mm"][1] * page["spacing_mm"][2] / 100
        areas.append(
            [
                np.mean([(masks[r][i] == 1).sum() for i in range(t["index_low"], t["index_high"] + 1)])
                * pixel
                for r, t in sorted(first.items())
            ]
        )
    muscle = pair["masks"][0]
    assert muscle["dice_mean"] == pytest.approx(np.mean(dice))
    difference = np.array(areas)[:, 0] - np.array(areas)[:, 1]
    assert muscle["bland_altman_cm2"]["bias"] == pytest.approx(difference.mean())
    assert {w["reader"] for w in found["within"]} == {"annotator", "reviewer"}
    assert all(w["pairs"][0]["masks"][0]["dice_mean"] == pytest.approx(1.0) for w in found["within"])


def reading_masks(browser: Client, number: int, task: int) -> Any:
    answer = browser.get(f"/readings/{task}/mask")
    _, rows, columns = browser.get(f"/studies/{number}/viewer").json()["shape"]
    indices = [int(i) for i in answer.headers["X-Slices"].split(",") if i]
    planes = np.frombuffer(answer.content, np.uint8).reshape(len(indices), rows, columns)
    return dict(zip(indices, planes, strict=True))


def test_a_verifier_approves_and_a_reading_becomes_the_result(
    place: tuple[Store, str], tmp_path: Path
) -> None:
    store, url = place
    verifier = client(url, "manager")
    tasks = verifier.get("/reader-studies/1/tasks").json()
    mine = next(t for t in tasks if t["reader"] == "reviewer" and t["study"] == 1)
    assert client(url, "reviewer").post(
        f"/readings/{mine['id']}/verdict", json={"approve": True}
    ).status_code == 403  # fmt: skip
    answer = verifier.post(
        f"/readings/{mine['id']}/verdict", json={"approve": True, "comment": "good", "adopt": True}
    )
    assert answer.status_code == 204, answer.text
    again = verifier.post(f"/readings/{mine['id']}/verdict", json={"approve": False})
    assert again.status_code == 409
    assert verifier.get(f"/studies/1/masks/{mine['version']}").status_code == 404
    assert verifier.delete("/studies/1").status_code == 409
    work_off(store)
    page = verifier.get("/studies/1/viewer").json()
    assert page["indices"] == list(range(mine["index_low"], mine["index_high"] + 1))
    drawn = reading_masks(verifier, 1, mine["id"])
    shown = labels(verifier, f"/studies/1/masks/{page['shown']}")
    assert all(np.array_equal(shown[i], drawn[i]) for i in drawn)
    assert verifier.get("/studies/1").json()["row"]["review"] == "accepted"
    # What was accepted and drawn by a person is training data.
    said = write_training_set(store, tmp_path)
    (row,) = read_manifest(tmp_path / "manifest.csv")
    assert (row.level, row.centre, said["masks"][0]["version"]) == ("L3", "here", page["shown"])
    cases = load_row(row, tmp_path, LabelOptions(OUR_VALUES))
    volume = hu(verifier)
    assert len(cases) == len(page["indices"])
    for case, index in zip(cases, page["indices"], strict=True):
        assert np.array_equal(case.hu, volume[index])
        assert case.mask is not None
        assert np.array_equal(case.mask == 1, shown[index] == 1)
    other = next(t for t in tasks if t["reader"] == "annotator" and t["study"] == 2)
    verifier.post(f"/readings/{other['id']}/verdict", json={"approve": False, "comment": "kidney"})
    assert verifier.get("/studies/2").json()["row"]["review"] == "open"


def test_frozen_and_exported(place: tuple[Store, str]) -> None:
    manager = client(place[1], "manager")
    assert manager.post("/reader-studies/1/freeze").status_code == 204
    assert manager.post("/reader-studies/1/freeze").status_code == 422
    task = manager.get("/reader-studies/1/tasks").json()[0]["id"]
    assert manager.post(f"/readings/{task}/verdict", json={"approve": True}).status_code == 422
    answer = manager.get("/reader-studies/1/export.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("readings.csv").decode())))
        assert len(rows) == 8
        assert {r["comment"] for r in rows} == {"'=1+1"}
        assert json.loads(archive.read("agreement.json"))["between"][0]["arm"] == "edit"
        assert len([n for n in archive.namelist() if n.startswith("masks/")]) == 8


def test_a_repeat_waits_for_its_wash_out(place: tuple[Store, str]) -> None:
    manager, one = client(place[1], "manager"), client(place[1], "annotator")
    assert planned(manager, readers=["annotator"], studies=[2], repeat_days=14).status_code == 201
    read(one)
    said = one.get("/readings/next").json()
    assert (said["task"], said["left"]) == (None, 1)
    assert planned(manager, readers=["annotator"], studies=[1], arms=["scratch"], repeat_days=None).json()
    task = one.get("/readings/next").json()["task"]
    page = one.get(f"/readings/{task}/viewer").json()
    assert (page["levels"], page["indices"]) == ([], [])
    assert one.get(f"/readings/{task}/start").headers["X-Slices"] == ""


def test_who_reads_a_study_elsewhere_sees_no_reading_of_it(place: tuple[Store, str]) -> None:
    """Readings of the first reader study would tell what others saw of the studies of the second."""
    manager, reviewer = client(place[1], "manager"), client(place[1], "reviewer")
    assert reviewer.get("/reader-studies/1/tasks").status_code == 200
    second = planned(manager, readers=["reviewer"], studies=[1], title="Again").json()["id"]
    task = next(t for t in manager.get("/reader-studies/1/tasks").json() if t["study"] == 1 and t["version"])
    closed = (
        "/reader-studies/1/tasks", "/reader-studies/1/agreement", "/reader-studies/1/studies/1/readings",
        f"/readings/{task['id']}/mask",
    )  # fmt: skip
    assert [reviewer.get(path).status_code for path in closed] == [403] * 4
    assert "blind" in reviewer.get(closed[0]).json()["detail"]
    assert [manager.get(path).status_code for path in closed] == [200] * 4
    assert manager.post(f"/reader-studies/{second}/freeze").status_code == 204
    assert [reviewer.get(path).status_code for path in closed] == [200] * 4
