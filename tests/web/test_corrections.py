"""Readers correct levels and masks over the API: versions, drafts, conflicts, numbers that follow.

The tests are one piece of work, in their order (files are not taken apart: ``make test``).
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from sarcoscope.store.store import Store
from sarcoscope.study.result import StudyResult
from tests.web.server import Client, add_users, client, phantom_zip, running, upload, work_off

MASKS = "/studies/1/masks"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    """A server with one analysed phantom study."""
    root = tmp_path_factory.mktemp("corrections")
    store = Store.open(root / "data")
    add_users(store)
    with running(store) as url:
        one = client(url, "annotator")
        upload(one, phantom_zip(root / "ct"))
        assert one.put("/studies/1/body", json={"height_cm": 170, "weight_kg": 70}).status_code == 200
        assert one.post("/studies/1/process", json={}).status_code == 202
        work_off(store)
        assert viewer(one)["shown"] is not None
        yield store, url
    store.close()


def viewer(browser: Client) -> dict[str, Any]:
    answer = browser.get("/studies/1/viewer")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def labels(browser: Client, path: str) -> dict[int, NDArray[np.uint8]]:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    _, rows, columns = viewer(browser)["shape"]
    indices = [int(i) for i in answer.headers["X-Slices"].split(",") if i]
    planes = np.frombuffer(answer.content, np.uint8).reshape(len(indices), rows, columns)
    return dict(zip(indices, planes, strict=True))


def hu(browser: Client) -> NDArray[np.int16]:
    n, rows, columns = viewer(browser)["shape"]
    parts = [
        browser.get("/studies/1/volume", params={"low": low, "count": 8}).content for low in range(0, n, 8)
    ]
    return np.frombuffer(b"".join(parts), "<i2").reshape(n, rows, columns)


def draw(browser: Client, index: int, plane: NDArray[np.uint8], base: int | None) -> dict[str, Any]:
    answer = browser.put(
        f"/studies/1/draft/{index}",
        params={"base": base},
        content=gzip.compress(plane.tobytes()),
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def save(browser: Client, base: int | None, key: str, **more: Any) -> Any:
    return browser.post(MASKS, json={"reason": "a test", "base": base, "key": key, **more})


def test_the_volume_is_that_of_the_images(place: tuple[Store, str]) -> None:
    one = client(place[1], "viewer")
    page, volume = viewer(one), hu(one)
    answer = one.get("/studies/1/slices.zip", params={"low": 0, "high": page["shape"][0] - 1})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        for n, name in enumerate(archive.namelist()):
            image = pydicom.dcmread(io.BytesIO(archive.read(name)))
            assert image.PatientIdentityRemoved == "YES"
            expected = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
            index = int(name.split(".")[0])
            assert np.array_equal(volume[index], expected), n
            assert np.allclose(page["slice_positions_mm"][index], image.ImagePositionPatient, atol=1e-3)
    assert one.get("/studies/1/volume", params={"low": 99_000}).status_code == 422


def test_numbers_follow_a_stroke_and_the_saved_version(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    page, volume = viewer(one), hu(one)
    base = page["shown"]
    before = labels(one, f"{MASKS}/{base}")
    index = page["indices"][len(page["indices"]) // 2]
    plane = before[index].copy()
    rows, columns = np.nonzero(plane == 1)
    plane[rows[:40], columns[:40]] = 0
    old = one.get("/studies/1").json()["result"]
    said = draw(one, index, plane, base)
    pixel = page["spacing_mm"][1] * page["spacing_mm"][2] / 100.0
    entry = next(s for s in said["slices"] if s["index"] == index)
    assert entry["tissues"]["muscle"]["area_cm2"] == pytest.approx((plane == 1).sum() * pixel, abs=2e-3)
    assert entry["tissues"]["muscle"]["mean_hu"] == pytest.approx(volume[index][plane == 1].mean(), abs=0.01)
    sma = next(i["value"] for i in said["indices"] if i["name"] == "SMA")
    was = next(i["value"] for i in old["indices"] if i["name"] == "SMA")
    assert sma == pytest.approx(was - 40 * pixel / len(page["indices"]), abs=5e-3)
    # Nothing of it counts before it is saved.
    assert one.get("/studies/1").json()["result"] == old
    assert viewer(client(url, "reviewer"))["others"][0]["name"] == "annotator"
    answer = save(one, base, "first-save")
    assert answer.status_code == 201, answer.text
    version = answer.json()["id"]
    # The answer was lost: the same save again is the same version.
    assert save(one, base, "first-save").json()["id"] == version
    work_off(store)
    page = viewer(one)
    assert (page["shown"], page["analysed"], page["draft"]) == (version, version, None)
    result = one.get("/studies/1").json()["result"]
    now = next(i["value"] for i in result["indices"] if i["name"] == "SMA")
    assert now == pytest.approx(sma, abs=2e-3)
    assert result["provenance"]["settings"]["corrections"]["mask"]["version"] == version
    assert "mask_corrected" in [f["code"] for f in result["flags"]]
    assert result["levels"] == old["levels"]
    # The file of the result is the mask on the screen.
    image: Any = nib.Nifti1Image.from_bytes(
        gzip.decompress(one.get("/studies/1/files/segmentation.nii.gz").content)
    )
    whole = np.asarray(image.dataobj).transpose(2, 1, 0)
    after = labels(one, f"{MASKS}/{version}")
    assert np.array_equal(after[index], plane)
    assert all(np.array_equal(whole[i], after[i]) for i in after)


def test_a_segmentation_is_read_by_highdicom_as_it_is_on_the_screen(place: tuple[Store, str]) -> None:
    one = client(place[1], "viewer")
    page = viewer(one)
    low, high = page["indices"][0], page["indices"][-1]
    answer = one.get("/studies/1/segmentation.dcm", params={"low": low, "high": high})
    assert answer.status_code == 200, answer.text
    seg = highdicom.seg.segread(io.BytesIO(answer.content))
    shown = labels(one, f"{MASKS}/{page['shown']}")
    uids = {}
    images = one.get("/studies/1/slices.zip", params={"low": low, "high": high})
    with zipfile.ZipFile(io.BytesIO(images.content)) as archive:
        for name in archive.namelist():
            header = pydicom.dcmread(io.BytesIO(archive.read(name)), stop_before_pixels=True)
            uids[int(name.split(".")[0])] = str(header.SOPInstanceUID)
    numbers = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers}
    names = {"Skeletal muscle": 1, "Subcutaneous fat": 2, "Visceral fat": 3, "IMAT": 4}
    assert numbers
    for label, number in numbers.items():
        frames = seg.get_pixels_by_source_instance(
            [uids[i] for i in range(low, high + 1)], segment_numbers=[number],
            ignore_spatial_locations=True, assert_missing_frames_are_empty=True,
        )  # fmt: skip
        expected = np.stack([shown[i] == names[label] for i in range(low, high + 1)])
        assert np.array_equal(frames[..., 0] > 0, expected), label


def test_nobody_overwrites_silently(place: tuple[Store, str]) -> None:
    store, url = place
    one, two = client(url, "annotator"), client(url, "reviewer")
    base = viewer(one)["shown"]
    planes = labels(one, f"{MASKS}/{base}")
    first, second = sorted(planes)[:2]
    mine, theirs = planes[first].copy(), planes[second].copy()
    mine[:2], theirs[:3] = 1, 2
    draw(one, first, mine, base)
    draw(two, second, theirs, base)
    newer = save(two, base, "theirs-1").json()["id"]
    refused = save(one, base, "mine-0001")
    assert refused.status_code == 409
    assert refused.json()["newer"] == newer
    assert "reviewer" in refused.json()["detail"]
    # The unsaved work is still there, and what the other changed elsewhere stays.
    assert viewer(one)["draft"] == 1
    last = save(one, base, "mine-0001", over=newer)
    assert last.status_code == 201, last.text
    both = labels(one, f"{MASKS}/{last.json()['id']}")
    assert np.array_equal(both[first], mine)
    assert np.array_equal(both[second], theirs)
    assert last.json()["parent"] == newer
    work_off(store)
    assert viewer(one)["analysed"] == last.json()["id"]


def test_difference_and_restore(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    page = viewer(one)
    newest, oldest = page["versions"][0]["id"], page["versions"][-1]["id"]
    a, b = labels(one, f"{MASKS}/{newest}"), labels(one, f"{MASKS}/{oldest}")
    said = one.get(f"{MASKS}/{newest}/difference", params={"other": oldest}).json()
    assert said["pixels"] == sum(int((a[i] != b[i]).sum()) for i in a)
    muscle = next(t for t in said["tissues"] if t["tissue"] == "muscle")
    mine, theirs = (np.stack([m[i] == 1 for i in sorted(m)]) for m in (a, b))
    assert muscle["dice"] == pytest.approx(2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()), abs=1e-4)
    refused = one.post(f"{MASKS}/{oldest}/restore", json={"reason": "back", "base": oldest})
    assert refused.status_code == 409
    back = one.post(f"{MASKS}/{oldest}/restore", json={"reason": "back", "base": newest}).json()
    assert back["id"] > newest
    assert one.get(f"{MASKS}/{back['id']}/difference", params={"other": oldest}).json()["pixels"] == 0
    work_off(store)
    assert viewer(one)["analysed"] == back["id"]


def test_a_moved_level_computes_only_what_lies_downstream(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    page = viewer(one)
    before = labels(one, f"{MASKS}/{page['shown']}")
    l3 = next(r for r in page["levels"] if r["level"] == "L3")
    low, high = l3["index_low"] + 1, l3["index_high"] + 2
    move = {"level": "L3", "index_low": low, "index_high": high, "reason": "endplates"}
    assert one.post("/studies/1/levels", json={**move, "index_high": 9999}).status_code == 422
    assert one.post("/studies/1/levels", json=move).status_code == 202
    work_off(store)
    page, result = viewer(one), one.get("/studies/1").json()["result"]
    found = next(r for r in result["levels"] if r["level"] == "L3")
    assert (found["index_low"], found["index_high"], found["confidence"]) == (low, high, 1.0)
    assert page["indices"] == list(range(low, high + 1))
    after = labels(one, f"{MASKS}/{page['shown']}")
    assert sorted(after) == list(range(l3["index_low"], high + 1))
    # What a reader had is untouched; only new slices were drawn, by the model.
    assert all(np.array_equal(after[i], before[i]) for i in before)
    assert page["versions"][0]["by_hand"]
    assert page["versions"][0]["reader"].startswith("annotator, tissue")
    assert page["versions"][0]["parent"] == page["versions"][1]["id"]
    record = result["provenance"]["settings"]["corrections"]
    assert record["levels"][-1]["reader"] == "annotator"
    assert "level_corrected" in [f["code"] for f in result["flags"]]


def test_processing_again_keeps_corrections_unless_told_otherwise(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    corrected = one.get("/studies/1").json()["result"]
    one.post("/studies/1/process", json={"protocol": "mid"})
    work_off(store)
    again = one.get("/studies/1").json()["result"]
    assert again["levels"] == corrected["levels"]
    assert again["provenance"]["protocol"] == "mid"
    one.post("/studies/1/process", json={"scratch": True})
    work_off(store)
    fresh = one.get("/studies/1").json()["result"]
    assert fresh["provenance"]["settings"].get("corrections") is None
    assert fresh["levels"] != corrected["levels"]
    assert len(viewer(one)["versions"]) > 5


def test_choices_and_body_values_outlive_a_correction(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    one.put("/studies/1/body", json={"height_cm": 170, "weight_kg": 70, "fluid": True})
    one.post("/studies/1/process", json={"levels": ["L2"], "protocol": "two-adjacent"})
    work_off(store)
    page = viewer(one)
    index = page["indices"][0]
    plane = labels(one, f"{MASKS}/{page['shown']}")[index].copy()
    plane[:3] = 2
    draw(one, index, plane, page["shown"])
    assert save(one, page["shown"], "outlives-1").status_code == 201
    # Another height is typed while the job of the correction writes its files.
    real = StudyResult.write

    def slow(*given: Any, **more: Any) -> StudyResult:
        one.put("/studies/1/body", json={"height_cm": 150, "weight_kg": 70, "fluid": True})
        return real(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyResult, "write", slow)
        work_off(store)
    work_off(store)
    result = one.get("/studies/1").json()["result"]
    assert result["measurements"][0]["level"] == "L2"
    assert result["provenance"]["protocol"] == "two-adjacent"
    assert result["body"]["height_cm"]["value"] == 150
    assert "fluid_entered" in [f["code"] for f in result["flags"]]
    one.put("/studies/1/body", json={"height_cm": 170, "weight_kg": 70})
    one.post("/studies/1/process", json={"scratch": True})
    work_off(store)


def test_a_second_tab_never_drops_a_draft(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    base = viewer(one)["shown"]
    planes = labels(one, f"{MASKS}/{base}")
    first, second = sorted(planes)[:2]
    changed = planes[first].copy()
    changed[:2] = 1
    draw(one, first, changed, base)
    newer = save(one, base, "second-tab").json()["id"]
    draw(one, first, planes[first], newer)
    stale = one.put(f"/studies/1/draft/{second}", params={"base": base}, content=planes[second].tobytes())
    assert stale.status_code == 409
    assert viewer(one)["draft"] == 1
    assert viewer(one)["draft_base"] == newer
    assert one.delete("/studies/1/draft").status_code == 204
    work_off(store)


def test_import_of_another_tools_mask(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "annotator")
    base = viewer(one)["shown"]
    nifti = one.get("/studies/1/files/segmentation.nii.gz").content
    seg = one.get("/studies/1/files/segmentation.dcm").content
    shown = labels(one, f"{MASKS}/{base}")
    for kind, content in (("nifti", nifti), ("dicom", seg)):
        base = viewer(one)["shown"]
        answer = one.post(
            f"{MASKS}/import", params={"kind": kind, "reason": "other tool", "base": base}, content=content
        )
        assert answer.status_code == 201, answer.text
        taken = labels(one, f"{MASKS}/{answer.json()['id']}")
        assert all(np.array_equal(taken[i], shown[i]) for i in shown)
    for kind in ("nifti", "dicom"):
        for bad in (b"", b"\x1f\x8bnonsense", b"DICM" * 99):
            answer = one.post(
                f"{MASKS}/import", params={"kind": kind, "reason": "bad", "base": base}, content=bad
            )
            assert answer.status_code == 422, answer.text
    work_off(store)


def test_bad_drafts_are_refused(place: tuple[Store, str]) -> None:
    one = client(place[1], "annotator")
    base = viewer(one)["shown"]
    _, rows, columns = viewer(one)["shape"]
    right = np.zeros((rows, columns), np.uint8)
    for content, kind in ((b"short", ""), (right.tobytes() + b"x", ""), (b"\x1f\x8bbroken", "gzip"),
                          ((right + 9).tobytes(), "")):  # fmt: skip
        answer = one.put("/studies/1/draft/3", params={"base": base}, content=content,
                         headers={"Content-Encoding": kind} if kind else {})  # fmt: skip
        assert answer.status_code == 422, answer.text
    bomb = gzip.compress(bytes(200_000_000), 9)
    answer = one.put("/studies/1/draft/3", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 422
    assert one.put("/studies/1/draft/99999", content=right.tobytes()).status_code == 422
    assert save(one, base, "nothing-there").status_code == 422
    assert viewer(one)["draft"] is None


def test_the_cache_may_be_emptied(place: tuple[Store, str]) -> None:
    store, url = place
    one = client(url, "viewer")
    before = hu(one)
    for path in (store.data / "cache").iterdir():
        path.unlink()
    assert np.array_equal(hu(one), before)


def test_a_deleted_study_leaves_nothing(place: tuple[Store, str]) -> None:
    store, url = place
    assert client(url, "manager").delete("/studies/1").status_code == 204
    assert not list((store.data / "cache").glob("1-*"))
