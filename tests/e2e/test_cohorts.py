"""A cohort in a real browser: table matched, people looked at, run, charts and tables, Korean, keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sarcoscope.store.store import Store
from tests.e2e.conftest import Site, check_access, shot
from tests.e2e.test_viewer import signed_in
from tests.web.cohort_store import fill_with_cohort
from tests.web.server import add_users, client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cohort") / "sample"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Site]:
    """A product with 900 synthetic people."""
    data = tmp_path_factory.mktemp("cohorts") / "data"
    store = Store.open(data)
    add_users(store)
    fill_with_cohort(store, folder, 900)
    store.close()
    running = Site(data)
    yield running
    running.stop()


def fill_in(page: Page, folder: Path) -> None:
    page.goto("/cohorts")
    page.get_by_role("link", name="New cohort").click()
    page.get_by_label("Table", exact=True).set_input_files(folder / "clinical.csv")
    expect(page.get_by_label("height_cm: Meaning")).to_have_value("height_cm", timeout=20000)
    expect(page.get_by_label("icd10: Meaning")).to_have_value("codes")
    page.get_by_role("button", name="Check every row").click()
    expect(page.get_by_text("with a measured CT.", exact=False)).to_be_visible(timeout=20000)
    page.get_by_label("Short name").fill("liver")
    page.get_by_label("Title (English)").fill("Liver and muscle")
    page.get_by_label("Title (한국어)").fill("간과 근육")
    expect(page.get_by_label("Fatty liver")).to_be_checked()


def test_from_a_table_to_charts(site: Site, browser: Browser, folder: Path) -> None:
    page = signed_in(browser, site, "manager")
    fill_in(page, folder)
    # Whether diseases overlap must be said before anything is shown.
    expect(page.get_by_role("button", name="Show who is in it")).to_be_disabled()
    page.get_by_label("overlapping: a person counts in each disease").check()
    page.get_by_label("time to an event").check()
    page.get_by_label("build an own reference", exact=False).check()
    page.get_by_label("Name of the reference").fill("own_liver")
    shot(page, "60_cohort_form")
    check_access(page)
    page.get_by_role("button", name="Show who is in it").click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible(timeout=30000)
    shot(page, "61_cohort_preview")
    page.get_by_placeholder("for example: age groups as in the paper").fill("first look")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", name="Liver and muscle")).to_be_visible()
    expect(page.locator(".plot svg").first).to_be_visible(timeout=90000)
    # What is drawn and listed is what came out.
    table = client(site.url, "manager").get("/cohorts/1/versions/1/tables/prevalence").json()
    rows = [dict(zip(table["columns"], cells, strict=True)) for cells in table["rows"]]
    page.get_by_label("Reference").select_option("kim2021")
    page.get_by_label("Sex").select_option("F")
    want = next(
        r for r in rows
        if (r["reference"], r["index"], r["sex"], r["group"], r["decade"])
        == ("kim2021", "SMA_BMI", "F", "cirrhosis", "60-69")
    )  # fmt: skip
    page.get_by_text("percent below the limit", exact=False).first.click()
    row = page.get_by_role("row", name="Cirrhosis 60-69").first
    expect(row).to_contain_text(want["comparable"])
    expect(row).to_contain_text(f"{100 * float(want['prevalence']):.1f}")
    shot(page, "62_cohort")
    check_access(page)
    # The keyboard alone: the index is chosen with it, and the chart says so.
    page.get_by_label("Index").focus()
    page.keyboard.press("Home")
    expect(page.get_by_role("img", name="Box plot: Muscle area, Women", exact=False)).to_be_visible()
    page.get_by_label("Language").select_option("ko")
    expect(page.get_by_role("heading", name="간과 근육")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("ui_")
    shot(page, "63_cohort_ko")
    page.get_by_label("언어").select_option("en")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report").click()
    report = opened.value
    expect(report.get_by_text("Liver and muscle").first).to_be_visible()
    assert report.locator("img").first.evaluate("i => i.decode().then(() => i.naturalWidth)") > 100
    # Changed and run again: a second version, and the first stays.
    page.bring_to_front()
    page.get_by_role("link", name="Change and run again").click()
    expect(page.get_by_label("Cohort file (JSON)")).to_have_value(re.compile('"name": "liver"'))
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()


def test_a_wrong_table_and_a_wrong_file_are_said(
    site: Site, browser: Browser, tmp_path: Path, folder: Path
) -> None:
    page = signed_in(browser, site, "manager")
    lines = (folder / "clinical.csv").read_text(encoding="utf-8-sig").splitlines()
    heading = lines[0].split(",")
    cells = lines[3].split(",")
    cells[heading.index("weight_kg")] = "7"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]), encoding="utf-8")
    page.goto("/cohorts/new")
    page.get_by_label("Table", exact=True).set_input_files(bad)
    page.get_by_role("button", name="Check every row").click()
    expect(page.get_by_text("Row 4:", exact=False).first).to_be_visible(timeout=20000)
    shot(page, "64_cohort_problems")
    page.get_by_role("button", name="As text").click()
    page.get_by_label("Cohort file (JSON)").fill("{")
    page.get_by_role("button", name="Show who is in it").click()
    expect(page.get_by_role("alert").last).to_be_visible()
    assert page.faults == []  # type: ignore[attr-defined]
    page.context.close()
