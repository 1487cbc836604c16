"""The product as its users see it: real headless Chromium, real server and workers, a real CT.

The tests are one visit, in their order: they run in one process (``make test`` runs them apart).

Pictures are kept in ``tests/e2e/screens`` (not committed) to be looked at.
"""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pypdf
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site, check_access, shot

PASSWORD = "a long new password"


def test_1_first_sign_in(page: Page, site: Site) -> None:
    page.goto("/")
    shot(page, "01_sign_in")
    check_access(page)
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill(site.one_time)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Change your password")).to_be_visible()
    page.get_by_label("New password (10 characters or more)").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("There is no study here yet")).to_be_visible()
    shot(page, "02_empty_worklist")
    check_access(page)


def test_2_upload_a_zip(page: Page, ct_zip: Path) -> None:
    page.get_by_role("link", name="Upload").first.click()
    shot(page, "03_upload")
    check_access(page)
    page.get_by_label("Choose files").set_input_files(ct_zip)
    expect(page.get_by_text("images of 1 studies were stored")).to_be_visible(timeout=60_000)
    page.get_by_text("What de-identification did").first.click()
    expect(page.get_by_text("Patient's Name").first).to_be_visible()
    shot(page, "04_uploaded")
    check_access(page)


def test_3_live_status_to_the_result(page: Page) -> None:
    page.get_by_role("link", name="Worklist").click()
    expect(page.get_by_role("cell", name="Analyzed")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Studies: 1")).to_be_visible()
    page.get_by_label("Show patient IDs").check()
    expect(page.get_by_role("cell", name="H-20251")).to_be_visible()
    shot(page, "05_worklist")
    for width in (1024, 1280):
        page.set_viewport_size({"width": width, "height": 720})
        assert page.locator(".scroll").evaluate("e => e.scrollWidth - e.clientWidth") == 0
    check_access(page)


def test_4_body_values_then_another_reference(page: Page) -> None:
    page.get_by_role("link", name=re.compile("^SC")).click()
    expect(page.get_by_role("heading", name=re.compile("Quantities"))).to_be_visible()
    expect(page.locator(".statements article").first).to_contain_text("Not comparable")
    page.get_by_label("Height (cm)").fill("172")
    page.get_by_label("Weight (kg)").fill("70")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Muscle area / BMI").first).to_be_visible()
    for picture in page.locator("figure img").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("e => e.complete && e.naturalWidth") > 100
    before = page.locator(".statements").inner_text()
    assert "Not comparable" not in before.split("Source")[0]
    shot(page, "06_study")
    check_access(page)
    page.get_by_role("combobox", name="Reference").select_option("martin2013")
    expect(page.get_by_text("Shown with another choice")).to_be_visible()
    expect(page.locator(".statements")).to_contain_text("Martin")
    assert page.locator(".statements").inner_text() != before
    page.get_by_role("button", name="Keep this choice").click()
    expect(page.get_by_text("Shown with another choice")).to_be_hidden()
    expect(page.locator(".statements")).to_contain_text("Martin")


def test_5_downloads(page: Page, tmp_path: Path) -> None:
    for name in ("segmentation.dcm", "report.pdf", "measurements.csv"):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=name, exact=True).click()
        waiting.value.save_as(tmp_path / name)
    seg = pydicom.dcmread(tmp_path / "segmentation.dcm")
    assert seg.Modality == "SEG"
    assert seg.PatientIdentityRemoved == "YES"
    text = pypdf.PdfReader(tmp_path / "report.pdf").pages[0].extract_text()
    assert "Martin" in text
    assert "Minsu" not in text
    assert (tmp_path / "measurements.csv").read_text().startswith("level,scope,index")


def test_6_korean_dark_and_tablet(page: Page) -> None:
    page.get_by_label("Language").select_option("ko")
    expect(page.get_by_role("heading", name=re.compile("정량 분석"))).to_be_visible()
    page.get_by_label("화면 색").select_option("dark")
    shot(page, "07_study_korean_dark")
    check_access(page)
    page.set_viewport_size({"width": 820, "height": 1180})
    shot(page, "08_tablet")
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 821)"
    assert page.evaluate(f"{wide}.map(e => e.outerHTML.slice(0, 200))") == []
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_role("link", name="한눈에 보기").click()
    expect(page.get_by_role("listitem").first).to_be_visible()
    check_access(page)  # with a study that is still open
    page.get_by_role("listitem").first.get_by_role("button").first.focus()
    page.keyboard.press("a")
    expect(page.get_by_text("승인", exact=False).first).to_be_visible()
    shot(page, "09_contact_sheet")
    check_access(page)
    page.get_by_label("화면 색").select_option("light")
    page.get_by_label("언어").select_option("en")


def test_7_body_values_from_a_table(page: Page) -> None:
    page.get_by_role("link", name="Upload").first.click()
    rows = b"patient_id,date,height_cm,weight_kg\nH-20251,2025-01-02,174,71\nnobody,2025-01-02,170,70\n"
    page.get_by_label("Choose a table").set_input_files(
        {"name": "body.csv", "mimeType": "text/csv", "buffer": rows}
    )
    expect(page.get_by_text("1 rows of 1 people can be taken.")).to_be_visible()
    expect(page.get_by_text("nobody here has this number")).to_be_visible()
    shot(page, "10_body_table")
    check_access(page)
    page.get_by_role("button", name="Keep these values").click()
    expect(page.get_by_text("1 results are judged again", exact=False)).to_be_visible()


def test_8_administration_and_account(page: Page) -> None:
    page.get_by_role("link", name="Administration").click()
    tabs = (
        "Users",
        "Projects",
        "Centres",
        "Jobs",
        "Audit log",
        "References",
        "Models",
        "Sharing",
        "Disk and time",
    )
    for tab in tabs:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_load_state("networkidle")
        for closed in page.locator("details:not([open]) > summary", has_text="rules").all():
            closed.click()
        shot(page, f"11_admin_{tab.lower().replace(' ', '_')}")
        check_access(page)
    page.get_by_role("tab", name="Users").click()
    page.get_by_label("User name").fill("reader1")
    page.get_by_role("button", name="Add").first.click()
    expect(page.get_by_role("alert")).to_contain_text("One-time password of reader1")
    page.get_by_role("link", name="admin", exact=True).click()
    expect(page.get_by_role("heading", name="Tokens for scripts")).to_be_visible()
    check_access(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.faults == []  # type: ignore[attr-defined]
