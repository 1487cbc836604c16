"""What the deciding model saw, over the API: tied to the slices, kept, and forgotten with the study."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sarcoscope.levels.slice_classifier import SliceReading
from sarcoscope.models.package import ModelPackage, shipped_package
from sarcoscope.store.store import Store
from sarcoscope.store.upkeep import check_store
from sarcoscope.store.volumes import forget_volumes
from tests.web.server import Client, add_users, client, phantom_zip, running, upload, work_off


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A server with one analysed phantom study."""
    root = tmp_path_factory.mktemp("explained")
    store = Store.open(root / "data")
    add_users(store)
    with running(store) as url:
        one = client(url, "annotator")
        upload(one, phantom_zip(root / "ct"))
        assert one.post("/studies/1/process", json={}).status_code == 202
        work_off(store)
        yield store, url
    store.close()


@pytest.fixture
def viewer(place: tuple[Store, str]) -> Client:
    return client(place[1], "viewer")


def picture(browser: Client, language: str) -> NDArray[np.uint8]:
    answer = browser.get(f"/studies/1/evidence.png?lang={language}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def test_the_picture_is_tied_to_the_slices(viewer: Client) -> None:
    told = viewer.get("/studies/1/explanation").json()
    page = viewer.get("/studies/1/viewer").json()
    assert [m["name"] for m in told["models"]] == ["spine-canal", "level-chain"]
    assert told["as_decided"]
    assert told["classifiers"] == []
    rows = told["slice_y"]
    assert len(rows) == page["shape"][0]
    assert (np.diff(rows) < 0).all(), "slice 0 lies lowest"
    shown = picture(viewer, "en")
    assert shown.shape[:2] == (told["height"], told["width"])
    # 2 mm of the spine are the same number of rows everywhere.
    step = np.diff(page["z_mm"]) / -np.diff(rows)
    assert step == pytest.approx(step.mean(), rel=0.05)
    # The share of L3 is brightest on the rows of the slices that were named L3.
    level = next(r for r in page["levels"] if r["level"] == "L3")
    inside = [rows[i] for i in range(level["index_low"], level["index_high"] + 1)]
    column = heat_of(shown, "L3")
    assert column[int(min(inside)) : int(max(inside)) + 1].mean() > 128
    assert column[: int(min(inside)) - 40].mean() < 60


def heat_of(shown: NDArray[np.uint8], level: str) -> NDArray[np.uint8]:
    """The column of a level: grey, between the strips and the curve, in the order C, T1 … L5, S."""
    names = ["Cervical", *(f"T{k}" for k in range(1, 13)), *(f"L{k}" for k in range(1, 6)), "Sacral"]
    scale = (shown.shape[1] - 700) // (3 * 48)
    left = 10 + 3 * (48 * scale + 10) + 20 * names.index(level) + 10
    return np.asarray(shown[:, left, 1])


def test_words_follow_the_language_and_the_picture_is_kept(place: tuple[Store, str], viewer: Client) -> None:
    english, korean = picture(viewer, "en"), picture(viewer, "ko")
    assert english.shape == korean.shape
    assert (english[:60] != korean[:60]).any()
    assert (english[80:-20, :600] == korean[80:-20, :600]).all()
    kept = sorted(p.name for p in (place[0].data / "cache").glob("1-*.evidence.*"))
    assert [name.split(".", 1)[1] for name in kept] == ["evidence.en.png", "evidence.json", "evidence.ko.png"]
    forget_volumes(place[0], 1)
    assert not list((place[0].data / "cache").glob("1-*"))
    assert (picture(viewer, "en") == english).all()


def test_grad_cam_under_its_own_name(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    level = next(r for r in viewer.get("/studies/1/viewer").json()["levels"] if r["level"] == "L3")
    index = (level["index_low"] + level["index_high"]) // 2
    assert viewer.get(f"/studies/1/grad-cam?model=heart&index={index}").status_code == 404
    chain = shipped_package("level-chain")
    classes = [str(c) for c in chain.card["classes"]]
    package = ModelPackage(chain.folder, {**chain.card, "name": "heart", "kind": "slice-levels"})
    named = {"level": "L3"}

    def read(volume: object, indices: list[int], _: ModelPackage, *__: object) -> SliceReading:
        shares = np.zeros((1, len(classes)), np.float32)
        shares[0, classes.index(named["level"])] = 0.8
        maps = np.zeros((1, len(classes), 4, 5), np.float32)
        maps[0, :, 2, 3] = 7.0
        return SliceReading(shares, maps)

    monkeypatch.setattr("sarcoscope.levels.slice_classifier.read_slices", read)
    monkeypatch.setattr("sarcoscope.web.routers.explanation.installed_packages", lambda: (package,))
    told = viewer.get("/studies/1/explanation").json()
    assert [c["name"] for c in told["classifiers"]] == ["heart"]
    found = viewer.get(f"/studies/1/grad-cam?model=heart&index={index}").json()
    assert (found["model"]["name"], found["level"], found["named"], found["share"]) == (
        "heart",
        "L3",
        "L3",
        0.8,
    )
    assert (found["rows"], found["columns"]) == (4, 5)
    assert found["heat"] == [255 if k == 2 * 5 + 3 else 0 for k in range(20)]
    assert 0 <= found["by_chance"] < 1
    # It says nothing about a decision that it does not share.
    named["level"] = "T1"
    hidden = viewer.get(f"/studies/1/grad-cam?model=heart&index={index}").json()
    assert (hidden["named"], hidden["heat"]) == ("T1", None)
    assert viewer.get("/studies/1/grad-cam?model=heart&index=9999").status_code == 422


def test_too_little_in_view(
    place: tuple[Store, str], viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_volumes(place[0], 1)
    monkeypatch.setattr("sarcoscope.levels.find.SHORTEST_MM", 1e6)
    told = viewer.get("/studies/1/explanation").json()
    assert (told["width"], told["slice_y"], told["landmarks"]) == (0, [], [])
    answer = viewer.get("/studies/1/evidence.png")
    assert answer.status_code == 404
    assert "Too little of the spine" in answer.json()["detail"]
    forget_volumes(place[0], 1)


def test_a_damaged_volume_is_taken_out_of_the_cache(place: tuple[Store, str], viewer: Client) -> None:
    before = viewer.get("/studies/1/volume?low=20&count=1").content
    assert check_store(place[0]).volumes_forgotten == 0
    (path,) = (place[0].data / "cache").glob("1-*.npy")
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    found = check_store(place[0])
    assert (found.volumes_forgotten, found.sound) == (1, True)
    assert not list((place[0].data / "cache").glob("1-*"))
    assert viewer.get("/studies/1/volume?low=20&count=1").content == before
