"""A reader study in a real browser: planned by a manager, read blind by two, agreement, verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.store import Store
from tests.e2e.conftest import Site, check_access, shot
from tests.e2e.test_viewer import AXIAL, Fitted, colour_at, labels_of, signed_in, volume_of, wait_done
from tests.web.server import add_users, client, upload_folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two processed phantoms."""
    root: Path = tmp_path_factory.mktemp("readings")
    store = Store.open(root / "data")
    add_users(store)
    store.close()
    running = Site(root / "data")
    manager = client(running.url, "manager")
    for seed in ("4", "5"):
        phantom = make_phantom(
            PhantomSettings(seed=int(seed), matrix=128, pixel_mm=3.2, top_level="L1", bottom_level="L5")
        )
        write_dicom_series(phantom, root / seed, SeriesSettings(patient_id=f"P-{seed}", seed=seed))
        upload_folder(manager, root / seed)
    for number in (1, 2):
        manager.post(f"/studies/{number}/process", json={})
        wait_done(manager, number)
    yield running
    running.stop()


def read_all(page: Page, *, erase: bool) -> None:
    # Not every slice is looked at: the page asks whether that is meant.
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("/readings")
    page.get_by_role("link", name="Read the next one").click()
    for left in (1, 0):
        expect(page.locator(AXIAL)).to_be_visible()
        expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
        expect(page.get_by_role("tab", name="Versions")).to_have_count(0)
        if erase:
            page.keyboard.press("e")
            box = page.locator(AXIAL).bounding_box()
            assert box is not None
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(x - 60, y + 40)
            page.mouse.down()
            page.mouse.move(x + 60, y + 40, steps=8)
            page.mouse.up()
            expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
            shot(page, f"50_reading_{left}")
        page.get_by_label("How acceptable was the model's answer?").select_option("4")
        page.get_by_label("Comment").fill("read")
        page.get_by_role("button", name="Finish the reading").click()
        expect(page.get_by_text(f"The reading is kept. {left} left.")).to_be_visible()
    expect(page.get_by_text("Nothing is waiting for you.")).to_be_visible()


def side_by_side(site: Site, page: Page) -> None:
    """Two readings of study 1: what differs is shown where it lies, and one is judged there."""
    page.get_by_role("link", name="Side by side").first.click()
    expect(page.locator(AXIAL)).to_have_count(2)
    expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
    api, study = client(site.url, "manager"), int(page.url.rsplit("/", 1)[1])
    volume = volume_of(site, study)
    sides = [int(page.get_by_label(f"Reading {n}").input_value()) for n in (1, 2)]
    drawn = [labels_of(api, f"/readings/{task}/mask", volume) for task in sides]
    wrong = {i: (drawn[0][i] != 0) & (drawn[1][i] == 0) for i in drawn[0].keys() & drawn[1].keys()}
    gone = {i: int((drawn[0][i] != drawn[1][i]).sum()) for i in wrong}
    worst = max(gone, key=lambda i: gone[i])
    assert gone[worst] > 20
    page.get_by_title(f"{gone[worst]} pixels").first.click()
    expect(page.get_by_text(f"Slice {worst} of", exact=False)).to_be_visible()
    both = {t: [(d[worst] == t).sum() for d in drawn] for t in (1, 2, 3, 4)}
    tissue = max(both, key=lambda t: abs(int(both[t][0]) - int(both[t][1])))
    common = [i for i in drawn[0] if i in drawn[1]]
    one, two = (np.stack([d[i] == tissue for i in common]) for d in drawn)
    dice = 2 * (one & two).sum() / (one.sum() + two.sum())
    name = {1: "Muscle", 2: "SAT", 3: "VAT", 4: "IMAT"}[tissue]
    expect(page.get_by_role("row", name=name)).to_contain_text(f"{dice:.3f}")
    rows, columns = np.nonzero(wrong[worst] if wrong[worst].any() else drawn[0][worst] == 0)
    middle = len(rows) // 2
    at = Fitted(page, volume, "axial", 1).place(worst, float(rows[middle]), float(columns[middle]))
    page.keyboard.press("d")
    expect(page.get_by_text("another tissue")).to_be_visible()
    page.wait_for_timeout(200)
    r, g, b = colour_at(page, "axial", *at, nth=1)
    assert min(r, b) > g + 50, "drawn by the left one only: magenta"
    shot(page, "53_side_by_side")
    check_access(page)
    # Both panes move together.
    box = page.locator(AXIAL).first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    pictures = "[...document.querySelectorAll('canvas[data-view=axial]')].map((c) => c.toDataURL())"
    before = page.evaluate(pictures)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -600)
    page.keyboard.up("Control")
    page.wait_for_timeout(200)
    zoomed = page.evaluate(pictures)
    assert all(a != b for a, b in zip(zoomed, before, strict=True))
    # Another size of the window leaves the zoom alone.
    usual = page.viewport_size
    assert usual is not None
    for size in ({"width": 1100, "height": 700}, usual):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.wait_for_timeout(300)
    assert page.evaluate(pictures) == zoomed
    page.get_by_role("button", name="Fit").click()
    page.wait_for_timeout(200)
    assert page.evaluate(pictures) == before
    second = page.get_by_role("region", name="Verdict on").nth(1)
    second.get_by_label("Comment").fill("too much erased")
    second.get_by_role("button", name="Reject").click()
    expect(second.get_by_text("manager: too much erased")).to_be_visible()
    page.goto("/readings")
    page.get_by_role("button", name="Readings and agreement").click()
    expect(page.get_by_text("rejected · manager: too much erased")).to_be_visible()


def test_a_reader_study(site: Site, browser: Browser) -> None:
    manager = signed_in(browser, site, "manager")
    expect(manager.get_by_role("row")).to_have_count(3)
    for box in manager.get_by_role("row").get_by_role("checkbox").all()[1:3]:
        box.check()
    manager.get_by_role("link", name="Reader study").click()
    expect(manager.get_by_label("Numbers of the studies", exact=False)).to_have_value("1,2")
    manager.get_by_label("Title").fill("Two readers, L3")
    for name in ("annotator", "reviewer"):
        manager.get_by_label(name, exact=True).check()
    shot(manager, "51_reader_study_form")
    check_access(manager)
    manager.get_by_role("button", name="Add").click()
    expect(manager.get_by_role("cell", name="0 / 4")).to_be_visible()
    one, two = signed_in(browser, site, "annotator"), signed_in(browser, site, "reviewer")
    # Blind: neither list nor page shows a study that is still to be read.
    expect(one.get_by_text("Readings that wait for you: 2", exact=False)).to_be_visible()
    one.goto("/studies/1")
    expect(one.get_by_role("status")).to_contain_text("blind")
    read_all(one, erase=False)
    read_all(two, erase=True)
    manager.goto("/readings")
    manager.get_by_role("button", name="Readings and agreement").click()
    expect(manager.get_by_text("annotator – reviewer", exact=False)).to_be_visible()
    expect(manager.get_by_text("kappa (slice in the range or not) 1.000", exact=False)).to_be_visible()
    found = client(site.url, "manager").get("/reader-studies/1/agreement").json()
    expect(manager.get_by_text("Overlap of two masks", exact=False)).to_be_visible()
    muscle = found["between"][0]["pairs"][0]["masks"][0]
    assert muscle["dice_mean"] < 1
    expect(manager.get_by_role("cell", name=f"{muscle['dice_mean']:.3f}").first).to_be_visible()
    shot(manager, "52_agreement")
    check_access(manager)
    side_by_side(site, manager)
    manager.once("dialog", lambda dialog: dialog.accept("well drawn"))
    manager.get_by_role("button", name="Approve", exact=True).first.click()
    expect(manager.get_by_text("approved · manager: well drawn")).to_be_visible()
    for page in (manager, one, two):
        assert page.faults == []  # type: ignore[attr-defined]
        page.context.close()
