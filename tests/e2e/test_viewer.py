"""The reader's work in a real browser: levels, strokes, numbers, versions, accidents, two readers at once.

The tests are one piece of work, in their order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, expect

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.imaging.volume import Volume
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Study
from sarcoscope.store.volumes import open_volume
from tests.e2e.conftest import Site, check_access, new_page, shot
from tests.web.server import PASSWORD, Client, add_users, client, upload, upload_folder

AXIAL, SAGITTAL, CORONAL = (f"canvas[data-view={view}]" for view in ("axial", "sagittal", "coronal"))
BUSY = ("queued", "running", "waiting")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ct_zip: Path) -> Iterator[Site]:
    """A product with its users and a processed study: 1 is a real CT, 2 tilted, 3 uneven."""
    root = tmp_path_factory.mktemp("viewer")
    store = Store.open(root / "data")
    add_users(store)
    store.close()
    running = Site(root / "data")
    reader = client(running.url, "annotator")
    upload(reader, ct_zip.read_bytes())
    for seed, more in (("2", {"tilt_degrees": 12.0}), ("3", {})):
        phantom = make_phantom(
            PhantomSettings(seed=3, matrix=128, pixel_mm=3.2, top_level="T12", bottom_level="L5", **more)
        )
        paths = write_dicom_series(phantom, root / seed, SeriesSettings(patient_id=f"P-{seed}", seed=seed))
        if seed == "3":
            # Every second slice of the upper half is missing.
            for path in sorted(paths, key=lambda p: p.name)[len(paths) // 2 :: 2]:
                path.unlink()
        upload_folder(reader, root / seed)
    reader.put("/studies/1/body", json={"height_cm": 171, "weight_kg": 74})
    for number in (1, 2, 3):
        assert reader.post(f"/studies/{number}/process", json={}).status_code == 202
    for number in (1, 2, 3):
        wait_done(reader, number)
    yield running
    running.stop()


def wait_done(reader: httpx.Client, number: int) -> None:
    for _ in range(400):
        state = reader.get("/studies/status", params={"ids": number}).json()[str(number)]["state"]
        if state not in BUSY:
            assert state == "done"
            return
        time.sleep(0.2)
    raise AssertionError("the study was not processed")


@pytest.fixture(scope="module")
def reader(site: Site, browser: Browser) -> Iterator[Page]:
    page = signed_in(browser, site, "annotator")
    yield page
    page.context.close()


def signed_in(
    browser: Browser, site: Site, name: str, locale: str = "en-US", *, has_touch: bool = False
) -> Page:
    page = new_page(browser, site.url, locale, has_touch=has_touch)
    page.goto("/")
    page.locator("input").first.fill(name)
    page.locator("input[type=password]").fill(PASSWORD)
    page.locator("form button").click()
    expect(page.locator("nav")).to_be_visible()
    return page


def open_viewer(page: Page, number: int) -> None:
    page.goto(f"/studies/{number}/viewer")
    expect(page.locator(AXIAL)).to_be_visible()
    expect(page.get_by_text("Loading", exact=False)).to_have_count(0)


def volume_of(site: Site, number: int) -> Volume:
    store = Store.open(site.data)
    with store.database.reading() as session:
        volume = open_volume(store, session, session.get_one(Study, number))
    store.close()
    return volume


def labels_of(api: Client, path: str, volume: Volume) -> dict[int, NDArray[np.uint8]]:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    indices = [int(i) for i in answer.headers["X-Slices"].split(",") if i]
    planes = np.frombuffer(answer.content, np.uint8).reshape(len(indices), *volume.hu.shape[1:])
    return dict(zip(indices, planes, strict=True))


class Fitted:
    """Where pixels lie on a pane that shows everything: the patient's millimetres, 96 % of the pane."""

    def __init__(self, page: Page, volume: Volume, view: str, nth: int = 0) -> None:
        self.volume, self.view = volume, view
        box = page.locator(f"canvas[data-view={view}]").nth(nth).bounding_box()
        assert box is not None
        self.box = box
        n = [s - 1 for s in volume.hu.shape]
        ends = [(-0.5, k + 0.5) for k in n]
        corners = np.array([self.mm(z, y, x) for z in ends[0] for y in ends[1] for x in ends[2]])
        low, high = corners.min(axis=0), corners.max(axis=0)
        self.scale = 0.96 * min(box["width"] / (high[0] - low[0]), box["height"] / (high[1] - low[1]))
        self.middle = (low + high) / 2

    def mm(self, z: float, y: float, x: float) -> tuple[float, float]:
        g = self.volume.geometry
        if self.view == "axial":
            return x * g.spacing_mm[2], y * g.spacing_mm[1]
        at = g.slice_positions_mm
        low = int(np.clip(np.floor(z), 0, len(at) - 2))
        start = at[low] + (z - low) * (at[low + 1] - at[low])
        if self.view == "sagittal":
            point = start + y * g.spacing_mm[1] * g.direction[:, 1]
            return float(point[1]), -float(point[2])
        point = start + x * g.spacing_mm[2] * g.direction[:, 0]
        return float(point[0]), -float(point[2])

    def place(self, z: float, y: float, x: float) -> tuple[float, float]:
        u, v = self.mm(z, y, x)
        return (
            self.box["x"] + self.box["width"] / 2 + self.scale * (u - self.middle[0]),
            self.box["y"] + self.box["height"] / 2 + self.scale * (v - self.middle[1]),
        )


def colour_at(page: Page, view: str, x: float, y: float, nth: int = 0) -> tuple[int, int, int]:
    found = page.evaluate(
        """([view, x, y, nth]) => {
          const canvas = document.querySelectorAll(`canvas[data-view=${view}]`)[nth], box = canvas.getBoundingClientRect();
          const k = canvas.width / box.width;
          return [...canvas.getContext('2d').getImageData((x - box.left) * k, (y - box.top) * k, 1, 1).data];
        }""",
        [view, x, y, nth],
    )
    return found[0], found[1], found[2]


COLOURS = {1: (214, 69, 65), 2: (63, 136, 197), 3: (244, 196, 48), 4: (62, 178, 127)}


def far_from_borders(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours have their label."""
    same = np.zeros(labels.shape, bool)
    inner = np.ones((labels.shape[0] - 2, labels.shape[1] - 2), bool)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            inner &= labels[1:-1, 1:-1] == labels[dy : dy + inner.shape[0], dx : dx + inner.shape[1]]
    same[1:-1, 1:-1] = inner
    return same


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_mask_lies_on_its_pixel(site: Site, reader: Page, number: int) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, number)
    shown = api.get(f"/studies/{number}/viewer").json()
    labels = labels_of(api, f"/studies/{number}/masks/{shown['shown']}", volume)
    open_viewer(reader, number)
    reader.get_by_label("Opacity").fill("1")
    reader.get_by_label("Level bands").uncheck()
    middle = shown["indices"][len(shown["indices"]) // 2]
    rng = np.random.default_rng(number)
    fitted = Fitted(reader, volume, "axial")
    checked = set()
    candidates = np.argwhere(far_from_borders(labels[middle]) & (labels[middle] > 0))
    for y, x in rng.permutation(candidates)[:60]:
        place = fitted.place(middle, y, x)
        value = int(labels[middle][y, x])
        if abs(place[0] - fitted.place(0, 0, volume.hu.shape[2] / 2)[0]) < 12:
            continue  # under the cross-hair
        if abs(place[1] - fitted.place(0, volume.hu.shape[1] / 2, 0)[1]) < 12:
            continue
        assert colour_at(reader, "axial", *place) == COLOURS[value], (y, x)
        checked.add(value)
    assert {1, 2} <= checked
    # The same in the other planes: a column (sagittal) or a row (coronal) of every labelled slice.
    reader.get_by_label("Layout").select_option("three")
    expect(reader.locator(CORONAL)).to_be_visible()
    drawn_again = (
        "new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(d))))"
    )
    reader.evaluate(drawn_again)
    y, x = (n // 2 for n in volume.hu.shape[1:])
    for view in ("sagittal", "coronal"):
        fitted = Fitted(reader, volume, view)
        seen = 0
        for z in shown["indices"][1:-1]:
            lines = {k: labels[k][:, x] if view == "sagittal" else labels[k][y] for k in (z - 1, z, z + 1)}
            for n in rng.permutation(np.arange(2, len(lines[z]) - 2))[:25]:
                around = np.stack([line[n - 2 : n + 3] for line in lines.values()])
                place = fitted.place(z, *((int(n), x) if view == "sagittal" else (y, int(n))))
                if z == middle or not around.all() or (around != lines[z][n]).any():
                    continue
                if abs(place[0] - fitted.place(middle, y, x)[0]) < 12:
                    continue  # under the cross-hair
                assert colour_at(reader, view, *place) == COLOURS[int(lines[z][n])], (view, z, n)
                seen += 1
        assert seen > 3
    reader.get_by_label("Layout").select_option("two")
    reader.evaluate(drawn_again)
    fitted = Fitted(reader, volume, "sagittal")
    # And a click shows the slice that lies there.
    for z in rng.permutation(volume.n_slices)[:6]:
        reader.mouse.click(*fitted.place(int(z), volume.hu.shape[1] * 0.4, x))
        expect(reader.get_by_text(f"Slice {z} of {volume.n_slices}")).to_be_visible()
    assert reader.faults == []  # type: ignore[attr-defined]


def value(page: Page, name: str) -> float:
    return float(page.locator(f"[data-index={name}]").first.inner_text().split()[0])


def test_a_range_is_dragged_and_processed_again(site: Site, reader: Page) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 1)
    before = next(r for r in api.get("/studies/1/viewer").json()["levels"] if r["level"] == "L3")
    open_viewer(reader, 1)
    reader.get_by_role("tab", name="Level").click()
    reader.get_by_role("button", name="L3", exact=True).click()
    fitted = Fitted(reader, volume, "sagittal")
    y, x = volume.hu.shape[1] * 0.3, volume.hu.shape[2] // 2
    reader.mouse.move(*fitted.place(before["index_low"] - 0.5, y, x))
    reader.mouse.down()
    reader.mouse.move(*fitted.place(before["index_low"] + 1.5, y, x), steps=8)
    reader.mouse.up()
    low = before["index_low"] + 2
    expect(reader.get_by_label("Lowest slice")).to_have_value(str(low))
    shot(reader, "40_viewer_level")
    reader.get_by_label("Why").fill("the lower endplate lies higher")
    reader.get_by_role("button", name="Process with this").click()
    expect(reader.get_by_role("button", name="Process with this")).to_be_disabled()
    wait_done(api, 1)
    page = api.get("/studies/1/viewer").json()
    assert page["indices"] == list(range(low, before["index_high"] + 1))
    record = api.get("/studies/1").json()["result"]["provenance"]["settings"]["corrections"]
    assert record["levels"][-1]["reason"] == "the lower endplate lies higher"


def test_a_stroke_changes_numbers_and_statement_then_a_version(site: Site, reader: Page) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 1)
    page = api.get("/studies/1/viewer").json()
    middle = page["indices"][len(page["indices"]) // 2]
    before = labels_of(api, f"/studies/1/masks/{page['shown']}", volume)
    open_viewer(reader, 1)
    reader.keyboard.press("b")
    reader.keyboard.press("1")
    for _ in range(12):
        reader.keyboard.press("]")
    fitted = Fitted(reader, volume, "axial")
    rows, columns = volume.hu.shape[1:]
    was = value(reader, "SMA")
    reader.mouse.move(*fitted.place(middle, rows * 0.42, columns * 0.4))
    reader.mouse.down()
    reader.mouse.move(*fitted.place(middle, rows * 0.42, columns * 0.6), steps=20)
    reader.mouse.up()
    expect(reader.locator("[data-unsaved=yes]")).to_be_visible()
    expect(reader.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    drawn = labels_of(api, "/studies/1/draft", volume)[middle]
    changed = drawn != before[middle]
    assert changed.sum() > 50
    # The brush was limited to the HU band of muscle.
    band = default_bands()["muscle"]
    assert band.contains(volume.hu[middle][changed]).all()
    pixel = volume.geometry.pixel_area_mm2 / 100.0
    after = {**before, middle: drawn}
    sma = float(np.mean([(after[i] == 1).sum() for i in page["indices"]])) * pixel
    assert value(reader, "SMA") == pytest.approx(sma, abs=0.011)
    assert value(reader, "SMA") > was
    bmi = 74 / 1.71**2
    assert value(reader, "SMA_BMI") == pytest.approx(sma / bmi, abs=0.011)
    shot(reader, "41_viewer_unsaved")
    # Erase muscle until the statement changes to class II: SMA/BMI below 5.18.
    reader.keyboard.press("e")
    for _ in range(26):
        reader.keyboard.press("]")
    for index in page["indices"]:
        reader.get_by_role("slider", name="slice").fill(str(index))
        for row in (0.55, 0.62, 0.7, 0.78):
            reader.mouse.move(*fitted.place(index, rows * row, columns * 0.25))
            reader.mouse.down()
            reader.mouse.move(*fitted.place(index, rows * row, columns * 0.75), steps=6)
            reader.mouse.up()
    expect(reader.get_by_text("Low muscle mass, class II", exact=False).first).to_be_visible(timeout=15000)
    shot(reader, "42_viewer_class_2")
    # Everything undone, the first stroke redone: the numbers are those of before.
    for _ in range(4 * len(page["indices"]) + 1):
        reader.keyboard.press("z")
    expect(reader.get_by_role("button", name="Undo")).to_be_disabled()
    reader.keyboard.press("y")
    expect(reader.locator("[data-index=SMA]").first).to_contain_text(f"{sma:.2f}"[:-1], timeout=15000)
    reader.get_by_role("slider", name="slice").fill(str(middle))
    reader.get_by_label("Why").fill("muscle was missing")
    reader.get_by_role("button", name="Save as a version").click()
    expect(reader.get_by_text("Unsaved changes", exact=False)).to_have_count(0, timeout=15000)
    wait_done(api, 1)
    reader.reload()
    expect(reader.locator("[data-unsaved=no]")).to_be_visible()
    assert value(reader, "SMA") == pytest.approx(sma, abs=0.011)
    page = api.get("/studies/1/viewer").json()
    kept = labels_of(api, f"/studies/1/masks/{page['shown']}", volume)
    assert all(np.array_equal(kept[i], after[i]) for i in after)


def test_interpolation_carries_on_only_what_was_drawn(site: Site, reader: Page) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 1)
    page = api.get("/studies/1/viewer").json()
    before = labels_of(api, f"/studies/1/masks/{page['shown']}", volume)
    open_viewer(reader, 1)
    fitted = Fitted(reader, volume, "axial")
    rows, columns = volume.hu.shape[1:]
    low = page["indices"][1]
    reader.keyboard.press("b")
    reader.keyboard.press("1")
    for index in (low, low + 3):
        reader.get_by_role("slider", name="slice").fill(str(index))
        reader.mouse.move(*fitted.place(index, rows * 0.45, columns * 0.3))
        reader.mouse.down()
        reader.mouse.move(*fitted.place(index, rows * 0.45, columns * 0.36), steps=6)
        reader.mouse.up()
    reader.keyboard.press("i")
    expect(reader.get_by_text("Filled on slices", exact=False)).to_be_visible()
    expect(reader.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    drawn = labels_of(api, "/studies/1/draft", volume)
    ends = (drawn[low] != before[low]) | (drawn[low + 3] != before[low + 3])
    y, x = np.nonzero(ends)
    assert any((drawn[i] != before[i]).any() for i in (low + 1, low + 2) if i in drawn)
    for index in {low + 1, low + 2} & set(drawn):
        changed = drawn[index] != before[index]
        assert (drawn[index][changed] == 1).all()
        inside = np.zeros_like(changed)
        inside[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        assert not (changed & ~inside).any()
        assert default_bands()["muscle"].contains(volume.hu[index][changed]).all()
    # Everything undone: nothing is unsaved any more, on the page and on the server.
    for _ in range(3):
        reader.keyboard.press("z")
    expect(reader.get_by_text("Unsaved changes", exact=False)).to_have_count(0)
    expect(reader.locator("[data-unsaved=no]")).to_be_visible()
    assert api.get("/studies/1/viewer").json()["draft"] is None


def test_a_stroke_on_a_slice_that_is_still_loading_is_answered(site: Site, browser: Browser) -> None:
    page, volume = signed_in(browser, site, "annotator"), volume_of(site, 1)
    held: list[Route] = []
    page.route("**/volume?low=*&count=8", lambda route: held.append(route))
    page.goto("/studies/1/viewer")
    expect(page.locator(AXIAL)).to_be_visible()
    page.keyboard.press("ArrowUp")
    stroke(page, Fitted(page, volume, "axial"), 0.5)
    expect(page.get_by_text("The pixels of this slice are still being loaded.", exact=False)).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    for one in held:
        one.abort()
    page.unroute("**/volume?low=*&count=8")
    expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
    stroke(page, Fitted(page, volume, "axial"), 0.5)
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    page.keyboard.press("z")
    expect(page.locator("[data-unsaved=no]")).to_be_visible()
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_history_difference_and_restore(site: Site, reader: Page) -> None:
    api = client(site.url, "annotator")
    open_viewer(reader, 1)
    reader.get_by_role("tab", name="Versions").click()
    newest = api.get("/studies/1/viewer").json()["versions"][0]
    item = reader.get_by_role("listitem").filter(has_text="muscle was missing")
    expect(item).to_contain_text("annotator")
    reader.get_by_role("button", name="Compare").first.click()
    expect(reader.get_by_text("Dice")).to_be_visible()
    shot(reader, "43_viewer_difference")
    reader.get_by_role("button", name="Stop comparing").click()
    reader.once("dialog", lambda dialog: dialog.accept("it was right before"))
    reader.get_by_role("button", name="Restore").first.click()
    expect(reader.get_by_text("it was right before", exact=False)).to_be_visible()
    wait_done(api, 1)
    page = api.get("/studies/1/viewer").json()
    assert page["shown"] == page["analysed"] > newest["id"]
    difference = api.get(f"/studies/1/masks/{page['shown']}/difference", params={"other": newest["parent"]})
    assert difference.json()["pixels"] == 0


def stroke(page: Page, fitted: Fitted, row: float, from_: float = 0.4, to: float = 0.5) -> None:
    rows, columns = fitted.volume.hu.shape[1:]
    page.keyboard.press("e")
    page.mouse.move(*fitted.place(0, rows * row, columns * from_))
    page.mouse.down()
    page.mouse.move(*fitted.place(0, rows * row, columns * to), steps=5)
    page.mouse.up()


def test_nothing_said_to_be_kept_is_lost(site: Site, reader: Page) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 1)
    page = api.get("/studies/1/viewer").json()
    middle = page["indices"][len(page["indices"]) // 2]
    before = labels_of(api, f"/studies/1/masks/{page['shown']}", volume)[middle]
    open_viewer(reader, 1)
    fitted = Fitted(reader, volume, "axial")
    # The network is cut: the page says so, the browser keeps the stroke, a reload offers it.
    reader.context.set_offline(True)
    stroke(reader, fitted, 0.3)
    expect(reader.get_by_text("The server cannot be reached", exact=False)).to_be_visible()
    assert api.get("/studies/1/viewer").json()["draft"] is None
    reader.once("dialog", lambda dialog: dialog.accept())
    reader.goto("about:blank")
    reader.context.set_offline(False)
    open_viewer(reader, 1)
    expect(reader.get_by_text("never reached the server", exact=False)).to_be_visible()
    shot(reader, "44_viewer_offered")
    reader.get_by_role("button", name="Take them up").click()
    expect(reader.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    drawn = labels_of(api, "/studies/1/draft", volume)[middle]
    assert (drawn != before).sum() > 5
    assert (drawn[drawn != before] == 0).all()
    # A reload goes on with the draft.
    reader.reload()
    expect(reader.get_by_text("Unsaved changes, slices: 1", exact=False)).to_be_visible()
    # The server is killed in the middle of a save, and started again.
    reader.get_by_label("Why").fill("server was killed")
    reader.get_by_role("button", name="Save as a version").click(no_wait_after=True)
    site.kill()
    site.start()
    api = client(site.url, "annotator")
    open_viewer(reader, 1)
    found = api.get("/studies/1/viewer").json()
    if found["draft"]:  # the save had not begun
        reader.get_by_label("Why").fill("server was killed")
        reader.get_by_role("button", name="Save as a version").click()
        expect(reader.get_by_text("Unsaved changes", exact=False)).to_have_count(0, timeout=15000)
        found = api.get("/studies/1/viewer").json()
    saved = [v for v in found["versions"] if v["reason"] == "server was killed"]
    assert len(saved) == 1
    assert np.array_equal(labels_of(api, f"/studies/1/masks/{saved[0]['id']}", volume)[middle], drawn)
    wait_done(api, 1)
    assert api.get("/studies/1/viewer").json()["analysed"] == saved[0]["id"]


def test_strokes_that_the_server_refuses_can_be_discarded(site: Site, browser: Browser) -> None:
    page, volume = signed_in(browser, site, "reviewer"), volume_of(site, 3)
    open_viewer(page, 3)
    refusal = '{"status": 422, "title": "InputError", "detail": "No such slice."}'
    page.route(
        "**/draft/*",
        lambda route: route.fulfill(status=422, content_type="application/problem+json", body=refusal),
    )
    stroke(page, Fitted(page, volume, "axial"), 0.5)
    expect(page.get_by_role("alert")).to_have_text("No such slice.")
    expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("Unsaved changes", exact=False)).to_have_count(0)
    page.context.close()


def test_a_range_that_was_typed_outlives_a_saved_version(site: Site, browser: Browser) -> None:
    page, volume = signed_in(browser, site, "annotator"), volume_of(site, 3)
    open_viewer(page, 3)
    page.get_by_role("tab", name="Level").click()
    low = page.get_by_label("Lowest slice")
    wanted = str(int(low.input_value()) - 1)
    low.fill(wanted)
    page.locator(AXIAL).focus()
    stroke(page, Fitted(page, volume, "axial"), 0.5)
    expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    page.locator("#why").fill("a stroke")
    page.get_by_role("button", name="Save as a version").click()
    expect(page.get_by_text("The result is up to date.")).to_be_visible(timeout=30_000)
    expect(low).to_have_value(wanted)
    page.context.close()


def test_two_readers_at_once(site: Site, reader: Page, browser: Browser) -> None:
    volume = volume_of(site, 1)
    other = signed_in(browser, site, "reviewer")
    open_viewer(reader, 1)
    open_viewer(other, 1)
    fitted = Fitted(reader, volume, "axial")
    stroke(reader, fitted, 0.35)
    expect(reader.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    open_viewer(other, 1)
    expect(other.get_by_text("Unsaved work of others on this study: annotator", exact=False)).to_be_visible()
    stroke(other, Fitted(other, volume, "axial"), 0.72)
    expect(other.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    for page, why in ((other, "mine first"), (reader, "mine second")):
        page.get_by_label("Why").fill(why)
        page.get_by_role("button", name="Save as a version").click()
    expect(reader.get_by_role("alert")).to_contain_text("reviewer saved another version")
    shot(reader, "45_viewer_conflict")
    reader.get_by_role("button", name="Save mine after version").click()
    expect(reader.get_by_role("alert")).to_have_count(0)
    api = client(site.url, "annotator")
    versions = api.get("/studies/1/viewer").json()["versions"]
    assert [v["reason"] for v in versions[:2]] == ["mine second", "mine first"]
    assert versions[0]["parent"] == versions[1]["id"]
    other.context.close()


def test_the_next_study_is_another_one(site: Site, reader: Page) -> None:
    open_viewer(reader, 1)
    reader.get_by_role("button", name="Next study").click()
    expect(reader).to_have_url(re.compile(r"/studies/[23]/viewer$"))


def test_what_the_deciding_model_saw(site: Site, reader: Page) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 1)
    told = api.get("/studies/1/explanation").json()
    level = next(r for r in api.get("/studies/1/viewer").json()["levels"] if r["level"] == "T12")
    # A slice classifier of the site's; what its map holds is tested at the API.
    classifier = {"name": "heart", "version": "1.0"}
    reader.route("**/explanation", lambda r: r.fulfill(json={**told, "classifiers": [classifier]}))
    open_viewer(reader, 1)
    reader.get_by_role("tab", name="Level").click()
    reader.get_by_role("button", name="Why these levels?").click()
    picture = reader.get_by_role("button", name="Go to the slice of a row")
    expect(picture).to_be_visible()
    expect(reader.get_by_role("button", name="Close")).to_be_focused()
    expect(reader.get_by_text("Decided by spine-canal", exact=False).first).to_be_visible()
    assert (
        reader.locator("section img").evaluate("i => i.decode().then(() => i.naturalWidth)") == told["width"]
    )
    shot(reader, "viewer-why")
    # A click on the rows of T12 goes to its slices, and the line stands there.
    middle = (level["index_low"] + level["index_high"]) // 2
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(told["width"] / told["height"], rel=0.02)
    y = box["height"] * told["slice_y"][middle] / told["height"]
    picture.click(position={"x": box["width"] / 2, "y": y})
    expect(reader.get_by_text(f"Slice {middle} of", exact=False)).to_be_visible()
    line = reader.locator("section .line").bounding_box()
    assert line is not None
    assert line["y"] == pytest.approx(box["y"] + y, abs=1.5)
    check_access(reader)
    # Nothing is drawn under the picture.
    reader.keyboard.press("Delete")
    reader.keyboard.press("Escape")
    expect(picture).to_have_count(0)
    expect(reader.get_by_role("button", name="Why these levels?")).to_be_focused()
    expect(reader.get_by_role("button", name="Undo")).to_be_disabled()
    # Grad-CAM lies on its pixels under the name of its model, and only on its slice.
    rows, columns = volume.hu.shape[1:]
    heat = [0] * 64
    heat[8 * 2 + 5] = 255
    answer = {
        "model": classifier, "index": middle, "level": "T12", "named": "T12", "share": 0.8, "rows": 8, "columns": 8,
        "heat": heat, "on_spine": 0.6, "by_chance": 0.1,
    }  # fmt: skip
    reader.route("**/grad-cam?**", lambda r: r.fulfill(json=answer))
    fitted = Fitted(reader, volume, "axial")
    hot = fitted.place(middle, rows * 2.5 / 8 - 0.5, columns * 5.5 / 8 - 0.5)
    cold = fitted.place(middle, rows * 5.5 / 8 - 0.5, columns * 2.5 / 8 - 0.5)
    before = colour_at(reader, "axial", *hot), colour_at(reader, "axial", *cold)
    reader.get_by_role("button", name="Grad-CAM of heart 1.0").click()
    expect(
        reader.get_by_text("On the spine: 60 % of the attention (10 % by chance).", exact=False)
    ).to_be_visible()
    expect(reader.get_by_text("Grad-CAM heart 1.0: T12", exact=False)).to_be_visible()
    shot(reader, "viewer-grad-cam")
    warm = colour_at(reader, "axial", *hot)
    assert warm[0] - warm[2] > before[0][0] - before[0][2] + 60
    assert colour_at(reader, "axial", *cold) == before[1]
    reader.keyboard.press("ArrowUp")
    expect(reader.get_by_text("Grad-CAM heart 1.0: T12", exact=False)).to_have_count(0)


def test_korean_help_and_access(site: Site, reader: Page, browser: Browser) -> None:
    page = signed_in(browser, site, "viewer", "ko-KR")
    page.set_viewport_size({"width": 1024, "height": 768})
    open_viewer(page, 2)
    expect(page.get_by_role("button", name="브러시", exact=True)).to_be_disabled()
    check_access(page)
    shot(page, "46_viewer_korean")
    page.get_by_role("tab", name="버전").click()
    expect(page.get_by_role("listitem").first).to_contain_text(
        re.compile(r"20\d\d\. \d+\. \d+\. \d+:\d\d:\d\d")
    )
    open_viewer(reader, 1)
    reader.keyboard.press("?")
    expect(reader.get_by_role("dialog")).to_contain_text("HU band")
    check_access(reader)
    shot(reader, "47_viewer_help")
    faults: list[Any] = [*page.faults, *reader.faults]  # type: ignore[attr-defined]
    assert faults == []
    page.context.close()


def test_measurements_stay_on_their_slice_until_they_are_cleared(site: Site, browser: Browser) -> None:
    page, volume = signed_in(browser, site, "annotator"), volume_of(site, 2)
    open_viewer(page, 2)
    fitted = Fitted(page, volume, "axial")
    rows, columns = volume.hu.shape[1:]
    made = page.locator(".pane", has=page.locator(AXIAL)).locator(".measured")
    page.keyboard.press("m")
    for row in (0.4, 0.6):
        drag(
            page,
            [fitted.place(0, rows * row, columns * 0.3), fitted.place(0, rows * row, columns * 0.3 + 20)],
        )
    page.keyboard.press("a")
    corners = [(0.4, 0.4), (0.4, 0.6), (0.6, 0.6), (0.6, 0.4)]
    drag(page, [fitted.place(0, rows * a, columns * b) for a, b in corners])
    expect(made).to_have_count(3)
    expect(made.nth(0)).to_have_text(f"{20 * volume.geometry.spacing_mm[2]:.1f} mm")
    expect(made.nth(2)).to_contain_text("cm²")
    shot(page, "48_viewer_measurements")
    check_access(page)
    page.keyboard.press("ArrowUp")
    expect(made).to_have_count(0)
    page.keyboard.press("ArrowDown")
    expect(made).to_have_count(3)
    page.get_by_role("button", name="Clear measurements (3)").click()
    expect(made).to_have_count(0)
    page.keyboard.press("m")
    drag(page, [fitted.place(0, rows * 0.4, columns * 0.3), fitted.place(0, rows * 0.4, columns * 0.5)])
    expect(made).to_have_count(1)
    page.keyboard.press("Escape")
    expect(made).to_have_count(0)
    page.context.close()


def drag(page: Page, places: list[tuple[float, float]]) -> None:
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_tools_that_do_not_paint_take_no_tissue(site: Site, reader: Page) -> None:
    open_viewer(reader, 1)
    muscle, band = reader.get_by_role("button", name="Muscle"), reader.get_by_label("Only HU", exact=False)
    for key, paints in (("n", False), ("b", True), ("e", False), ("p", True), ("m", False), ("a", False)):
        reader.keyboard.press(key)
        for one in (muscle, band):
            expect(one).to_be_enabled(enabled=paints)
    expect(muscle).to_have_attribute("title", re.compile("^Area and HU: the tissue.* do not apply"))


@pytest.mark.parametrize("size", [(1024, 768), (1280, 800), (1920, 1080)])
def test_everything_fits_the_window(site: Site, browser: Browser, size: tuple[int, int]) -> None:
    page, volume = signed_in(browser, site, "annotator"), volume_of(site, 1)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    # Every banner: another reader's draft, strokes that never reached the server, a comparison.
    other = client(site.url, "reviewer")
    empty = np.zeros(volume.hu.shape[1:], np.uint8).tobytes()
    assert other.put("/studies/1/draft/0", content=empty).status_code == 200
    open_viewer(page, 1)
    page.context.set_offline(True)
    stroke(page, Fitted(page, volume, "axial"), 0.5)
    expect(page.get_by_text("The server cannot be reached", exact=False)).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.goto("about:blank")
    page.context.set_offline(False)
    open_viewer(page, 1)
    expect(page.get_by_text("never reached the server", exact=False)).to_be_visible()
    expect(page.get_by_text("Unsaved work of others", exact=False)).to_be_visible()
    page.get_by_role("tab", name="Versions").click()
    page.get_by_role("button", name="Compare").first.click()
    expect(page.get_by_text("Dice")).to_be_visible()
    page.get_by_role("tab", name="Numbers").click()
    page.keyboard.press("?")
    parts = page.evaluate(
        """() => ['header', '.bar', '.tools', '.panes', '.scrub', 'aside', 'aside table', '.help', 'footer'].map(s => {
          const e = document.querySelector(s), b = e.getBoundingClientRect();
          return [s, b.top >= 0 && b.left >= 0 && b.right <= innerWidth && b.bottom <= innerHeight,
                  s === 'aside' || e.scrollHeight <= e.clientHeight + 1];
        })"""
    )
    assert [name for name, inside, whole in parts if not (inside and whole)] == []
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    # A short answer lies below everything that one operates.
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("c")
    notice = page.locator("footer p")
    expect(notice).to_have_text("Stop comparing first.")
    top, scrub = notice.bounding_box(), page.get_by_role("slider", name="slice").bounding_box()
    assert top is not None
    assert scrub is not None
    assert top["y"] >= scrub["y"] + scrub["height"]
    shot(page, f"49_viewer_{size[0]}")
    page.get_by_role("button", name="Drop").click()
    other.delete("/studies/1/draft")
    page.context.close()


class Fingers:
    """Fingers on the glass, as Chromium gives them to a page."""

    def __init__(self, page: Page) -> None:
        self.page, self.session = page, page.context.new_cdp_session(page)

    def send(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *ways: tuple[tuple[float, float], tuple[float, float]], steps: int = 8) -> None:
        """Every finger goes its way; the second comes down after the first."""
        for n in range(len(ways)):
            self.send("touchStart", *(way[0] for way in ways[: n + 1]))
        for k in range(1, steps + 1):
            share = k / steps
            self.send(
                "touchMove", *((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])) for a, b in ways)
            )
        self.page.wait_for_timeout(100)  # a finger that is lifted while it moves would fling the page
        self.send("touchEnd")


def test_fingers(site: Site, browser: Browser) -> None:
    api, volume = client(site.url, "annotator"), volume_of(site, 2)
    page = signed_in(browser, site, "annotator", has_touch=True)
    open_viewer(page, 2)
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    found = api.get("/studies/2/viewer").json()
    middle = found["indices"][len(found["indices"]) // 2]
    before = labels_of(api, f"/studies/2/masks/{found['shown']}", volume)[middle]
    for button in page.get_by_role("toolbar").get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 40
    fingers, fitted = Fingers(page), Fitted(page, volume, "axial")
    rows, columns = volume.hu.shape[1:]
    # One finger paints with the brush.
    page.get_by_role("button", name="Brush", exact=True).tap()
    page.get_by_label("Only HU", exact=False).uncheck()
    ways = fitted.place(0, rows * 0.5, columns * 0.4), fitted.place(0, rows * 0.5, columns * 0.6)
    fingers.drag(ways)
    expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    drawn = labels_of(api, "/studies/2/draft", volume)[middle]
    y, x = np.nonzero(drawn != before)
    assert len(y) > 30
    assert abs(y.mean() - rows * 0.5) < 2
    assert (x >= columns * 0.4 - 8).all()
    assert (x <= columns * 0.6 + 8).all()
    page.get_by_role("button", name="Undo").tap()
    expect(page.get_by_text("Unsaved changes", exact=False)).to_have_count(0)
    # Two fingers zoom and move, and paint nothing: what was 40 pixels apart is now 80 apart, around the new middle.
    centre, shift = fitted.place(0, rows * 0.5, columns * 0.5), 15
    fingers.drag(
        ((centre[0] - 40, centre[1]), (centre[0] - 80 + shift, centre[1])),
        ((centre[0] + 40, centre[1]), (centre[0] + 80 + shift, centre[1])),
    )
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.wait_for_timeout(300)
    assert api.get("/studies/2/viewer").json()["draft"] is None
    # The zoom is measured where it shows: the middle of the picture and its left border.
    page.keyboard.press("o")
    page.keyboard.press("n")
    page.touchscreen.tap(centre[0] + shift + 30, centre[1])
    cross = float(page.locator(SAGITTAL).get_attribute("aria-label").split()[-1])  # type: ignore[union-attr]
    assert cross == pytest.approx(columns * 0.5 + 15 / fitted.scale / volume.geometry.spacing_mm[2], abs=1)
    # A green line follows one finger that came down 18 pixels beside it.
    page.get_by_role("button", name="Fit").tap()
    page.get_by_role("tab", name="Level").tap()
    page.get_by_role("button", name="L3", exact=True).tap()
    level = next(r for r in found["levels"] if r["level"] == "L3")
    fitted = Fitted(page, volume, "sagittal")
    low = fitted.place(level["index_low"] - 0.5, rows * 0.3, 0)
    to = fitted.place(level["index_low"] - 3.5, rows * 0.3, 0)
    fingers.drag(((low[0], low[1] + 18), to))
    expect(page.get_by_label("Lowest slice")).to_have_value(str(level["index_low"] - 3))
    shot(page, "4a_viewer_touch")
    check_access(page)
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()
