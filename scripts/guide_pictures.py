"""Make the pictures of ``docs/guide`` again: ``python -m scripts.guide_pictures`` (or ``make guide``).

The real server and workers run on an empty store in a temporary folder, and headless Chromium visits them
as the readers of the guide do. The studies are synthetic phantoms under invented names: no picture shows a
person.
Pseudonyms, shifted dates and times differ from run to run, and so do the pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.web.cohort_store import fill_with_cohort

from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.accounts import hashed
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Membership, Study, User

PICTURES: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
MOST_BYTES: Final = 150_000
COLOURS: Final = 128
SIZE: Final = {"width": 1280, "height": 720}
_PASSWORD: Final = "a password for pictures"
_READERS = ("first", "second")
_FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_UPLOAD_MS: Final = 180_000
_ANALYSIS_MS: Final = 600_000


@dataclass(frozen=True)
class Person:
    """Somebody who does not exist."""

    number: str
    name: str
    born: str
    age: str
    height_m: float
    weight_kg: float
    phantom: dict[str, Any]


PEOPLE: Final = (
    Person("H-1041", "Invented^Ara", "19610312", "063Y", 1.58, 55.0,
           {"sex": "F", "seed": 21, "sat_mm": 22.0, "imat": 0.08, "muscle_hu": 45.0}),
    Person("H-1042", "Invented^Bora", "19530822", "071Y", 1.56, 61.0,
           {"sex": "F", "seed": 12, "muscle": 0.75, "imat": 0.12, "muscle_hu": 38.0}),
    Person("H-1043", "Invented^Chul", "19560505", "068Y", 1.69, 88.0,
           {"sex": "M", "seed": 13, "muscle": 0.72, "vat_mm": 24.0, "sat_mm": 26.0}),
    Person("H-1044", "Invented^Dami", "19691130", "055Y", 1.60, 66.0,
           {"sex": "F", "seed": 14, "ascites": True}),
    Person("H-1045", "Invented^Eun", "19750617", "049Y", 1.77, 80.0,
           {"sex": "M", "seed": 15, "bottom_level": "T8", "top_level": "T3"}),
)  # fmt: skip
"""The first one is uploaded alone and looked at; the others fill the worklist."""


def write_study(person: Person, folder: Path) -> list[Path]:
    """A phantom as a hospital's scanner would write it."""
    shape = PhantomSettings(matrix=512, pixel_mm=0.8, noise_hu=8.0, blur_mm=0.6, **person.phantom)
    settings = SeriesSettings(
        patient_id=person.number, patient_name=person.name, age=person.age, size_m=person.height_m,
        weight_kg=person.weight_kg, seed=f"guide {person.number}",
        more={
            "PatientBirthDate": person.born, "AccessionNumber": f"A{person.number[2:]}77",
            "InstitutionName": "Invented Hospital", "ReferringPhysicianName": "Invented^Doctor",
            "StudyDescription": "CT abdomen and pelvis",
        },
    )  # fmt: skip
    return write_dicom_series(make_phantom(shape), folder, settings)


def save(
    png: bytes, name: str, crop: tuple[int, int, int, int] | None = None, width: int | None = None
) -> None:
    """Keep a picture, small.

    Args:
        png: the picture.
        name: of its file, without the ending.
        crop: what of it is kept.
        width: to which it is made smaller.

    Raises:
        ValueError: it is larger than a picture of the guide may be.
    """
    picture = Image.open(BytesIO(png)).convert("RGB")
    if crop is not None:
        picture = picture.crop(crop)
    if width is not None:
        picture = picture.resize((width, round(picture.height * width / picture.width)))
    path = PICTURES / f"{name}.png"
    # k-means keeps the colours of the tissues, which few pixels have
    picture.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size >= MOST_BYTES:
        raise ValueError(f"{path.name} has {size} bytes; at most {MOST_BYTES} are allowed")
    print(f"{path.name}  {size // 1000} kB", flush=True)


def shot(page: Page, name: str) -> None:
    """Keep what the window shows."""
    page.wait_for_load_state("networkidle")
    expect(page.locator(".notice p")).to_have_count(0, timeout=15_000)
    save(page.screenshot(), name)


def scroll(place: Locator, above: int = 20) -> None:
    """Scroll so that something stands near the top."""
    place.evaluate("(e, a) => window.scrollTo(0, e.getBoundingClientRect().top + window.scrollY - a)", above)


@contextmanager
def served(data: Path) -> Iterator[tuple[str, str]]:
    """The product on an empty store; gives its address and the administrator's one-time password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sarcoscope.cli.main", "serve", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    assert process.stderr is not None
    one_time = ""
    try:
        for line in process.stderr:
            found = re.search(r"one-time password (\S+)", line)
            one_time = found.group(1) if found else one_time
            if "Sarcoscope is at" in line:
                break
        yield f"http://127.0.0.1:{port}", one_time
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.close()
        process.wait(30)


def sign_in(page: Page, one_time: str) -> None:
    """The first sign-in of the administrator."""
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("User name").fill("admin")
    shot(page, "sign_in")
    page.get_by_label("Password").fill(one_time)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("New password (10 characters or more)").fill(_PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("There is no study here yet")).to_be_visible()


def upload(page: Page, files: Sequence[Path]) -> None:
    """Upload files and wait until they are stored."""
    page.get_by_role("link", name="Upload").first.click()
    page.get_by_label("Choose files").set_input_files(files)
    expect(page.get_by_text("studies were stored")).to_be_visible(timeout=_UPLOAD_MS)
    expect(page.get_by_role("link", name="Open the study").first).to_be_visible()


def upload_pictures(page: Page, folder: Path) -> None:
    """One study alone, with its report; then the others in a zip; then a table of body values."""
    upload(page, write_study(PEOPLE[0], folder / "alone"))
    page.get_by_text("What de-identification did").first.click()
    scroll(page.get_by_role("link", name="Open the study"), 240)
    shot(page, "upload")
    packed = folder / "others.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for person in PEOPLE[1:]:
            for path in write_study(person, folder / person.number):
                archive.write(path, f"{person.number}/{path.name}")
    upload(page, [packed])


def worklist_pictures(page: Page) -> None:
    """All studies analysed; columns as a reader may choose them."""
    page.get_by_role("link", name="Worklist").click()
    expect(page.get_by_role("cell", name="Analyzed")).to_have_count(len(PEOPLE), timeout=_ANALYSIS_MS)
    page.get_by_text("Columns", exact=True).click()
    for name in ("Patient ID", "Person ID", "Modality", "Viewer"):
        page.get_by_label(name, exact=True).uncheck()
    page.get_by_text("Columns", exact=True).click()
    shot(page, "worklist")


def study_pictures(page: Page) -> None:
    """The study page from top to bottom, and another reference."""
    page.get_by_role("row").filter(has=page.get_by_role("cell", name="1", exact=True)).get_by_role(
        "link", name=re.compile("^SC")
    ).click()
    expect(page.get_by_role("heading", name=re.compile("Quantities"))).to_be_visible()
    for picture in page.locator("figure img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("e => e.decode()")
    page.evaluate("window.scrollTo(0, 0)")
    shot(page, "study")
    heading = page.get_by_role("heading", name=re.compile("Quantities"))
    save(page.locator(".card").filter(has=heading).screenshot(), "quantities")
    page.evaluate("window.scrollTo(0, 0)")
    page.get_by_role("combobox", name="Reference").select_option("martin2013")
    expect(page.get_by_text("Shown with another choice")).to_be_visible()
    shot(page, "reference")


def report_picture(page: Page, browser: Browser, folder: Path) -> None:
    """The first page of the report, as Chromium shows it."""
    answer = page.request.get("/api/v1/studies/1/report?lang=en")
    path = folder / "report.pdf"
    path.write_bytes(answer.body())
    width, height = 780, 1100
    sheet = browser.new_page(viewport={"width": width, "height": height})
    sheet.goto(f"{path.as_uri()}#toolbar=0&navpanes=0&view=Fit")
    sheet.wait_for_timeout(4000)  # the viewer of Chromium says nowhere that it is ready
    save(sheet.screenshot(), "report", (8, 8, width - 8, height - 16))
    sheet.close()


def explanation_picture(folder: Path) -> None:
    """What ``sarcoscope explain`` shows of the first study."""
    out = folder / "explanation"
    command = [sys.executable, "-m", "sarcoscope.cli.main", "explain", str(folder / "alone"), "--quiet"]
    subprocess.run([*command, "--out", str(out)], check=True)
    save((out / "explanation.png").read_bytes(), "explanation", width=640)


def review_pictures(page: Page) -> None:
    """The contact sheet."""
    page.get_by_role("link", name="Contact sheet").click()
    expect(page.get_by_role("listitem")).to_have_count(len(PEOPLE))
    for picture in page.locator(".tiles img").all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("e => e.decode()")
    page.evaluate("window.scrollTo(0, 0)")
    page.get_by_role("listitem").last.get_by_role("button").first.focus()
    page.keyboard.press("a")
    expect(page.get_by_text("accepted", exact=False).first).to_be_visible()
    page.get_by_role("listitem").first.get_by_role("button").first.focus()
    page.evaluate("window.scrollTo(0, 0)")
    shot(page, "contact_sheet")


def data_pictures(page: Page) -> None:
    """Body values from a table, administration, tokens."""
    page.get_by_role("link", name="Upload").first.click()
    rows = "patient_id,date,height_cm,weight_kg\n" + "".join(
        f"{p.number},2025-01-{n + 1:02d},{p.height_m * 100:.0f},{p.weight_kg - 1:.1f}\n"
        for n, p in enumerate(PEOPLE[:3])
    )
    table = (rows + "H-9999,2025-01-02,170,70\n").encode()
    page.get_by_label("Choose a table").set_input_files(
        {"name": "body.csv", "mimeType": "text/csv", "buffer": table}
    )
    expect(page.get_by_text("can be taken")).to_be_visible()
    scroll(page.get_by_role("heading", name="Body values from a table"), 60)
    page.locator(".scroll").last.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    shot(page, "body_table")
    page.get_by_role("link", name="Administration").click()
    page.get_by_role("textbox", name="User name").fill("reader1")
    page.get_by_role("textbox", name="Full name").fill("First reader")
    page.get_by_role("button", name="Add").first.click()
    expect(page.get_by_role("alert")).to_contain_text("One-time password of reader1")
    shot(page, "users")
    for tab, text in (("Projects", "Series policy"), ("Audit log", "make_user"), ("Models", "level-chain")):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_text(text).first).to_be_visible()
        shot(page, tab.lower().replace(" ", "_"))
    page.get_by_role("link", name="admin", exact=True).click()
    page.get_by_label("What the token is for").fill("cohort script")
    scroll(page.get_by_role("heading", name="Tokens for scripts"), 60)
    shot(page, "tokens")


def viewer_pictures(page: Page) -> None:
    """The viewer: an unsaved stroke, the level, two versions beside each other."""
    page.goto("/studies/1/viewer")
    canvas = page.locator("canvas[data-view=axial]")
    expect(canvas).to_be_visible()
    expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
    page.keyboard.press("b")
    page.keyboard.press("1")
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.36, box["y"] + box["height"] * 0.44
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 10, steps=10)
    page.mouse.up()
    expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    shot(page, "viewer")
    page.get_by_label("Why").fill("muscle was missing")
    page.get_by_role("button", name="Save as a version").click()
    expect(page.get_by_text("Unsaved changes", exact=False)).to_have_count(0)
    page.keyboard.press("n")
    page.get_by_label("Layout").select_option("three")
    page.get_by_role("tab", name="Level").click()
    page.wait_for_timeout(500)
    shot(page, "viewer_level")
    page.get_by_role("button", name="Why these levels?").click()
    expect(page.get_by_role("button", name="Go to the slice of a row")).to_be_visible(timeout=30000)
    page.locator("section img").evaluate("i => i.decode()")
    shot(page, "viewer_why")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Versions").click()
    page.get_by_role("button", name="Compare").first.click()
    expect(page.get_by_text("Dice")).to_be_visible()
    page.wait_for_timeout(500)
    shot(page, "viewer_versions")


def add_readers(data: Path) -> None:
    """Two annotators of the first study's project and centre."""
    store = Store.open(data)
    with store.database.writing() as session:
        study = session.get_one(Study, 1)
        for name in _READERS:
            user = User(name=name, password=hashed(_PASSWORD))
            session.add(user)
            session.flush()
            session.add(
                Membership(
                    user_id=user.id,
                    project_id=study.project_id,
                    centre_id=study.centre_id,
                    role="annotator",
                )
            )
    store.close()


def reading_pictures(page: Page, browser: Browser, url: str, data: Path) -> None:
    """A reader study of two readers; the second erases a little."""
    add_readers(data)
    page.goto("/readings?studies=1-4")
    page.get_by_label("Title").fill("L3, two readers")
    for name in _READERS:
        page.get_by_label(name, exact=True).check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("cell", name="0 / 8")).to_be_visible()
    for name in _READERS:
        context = browser.new_context(base_url=url, viewport=SIZE, locale="en-US", color_scheme="light")
        own = context.new_page()
        own.on("dialog", lambda dialog: dialog.accept())  # not every slice was looked at
        own.goto("/")
        own.get_by_label("User name").fill(name)
        own.get_by_label("Password").fill(_PASSWORD)
        own.get_by_role("button", name="Sign in").click()
        own.get_by_role("link", name="Reading").click()
        own.get_by_role("link", name="Read the next one").click()
        for left in (3, 2, 1, 0):
            read_one(own, left, erase=name == _READERS[1])
        context.close()
    page.goto("/readings")
    page.get_by_role("button", name="Readings and agreement").click()
    expect(page.get_by_text(" – ".join(_READERS), exact=False)).to_be_visible()
    scroll(page.get_by_role("heading", name="Agreement"), 20)
    shot(page, "agreement")


def read_one(page: Page, left: int, *, erase: bool) -> None:
    """One reading."""
    canvas = page.locator("canvas[data-view=axial]")
    expect(canvas).to_be_visible()
    expect(page.get_by_text("Loading", exact=False)).to_have_count(0)
    if erase:
        page.keyboard.press("e")
        box = canvas.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] * 0.42, box["y"] + box["height"] * 0.5
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 8 * left, y + 6, steps=6)
        page.mouse.up()
        expect(page.get_by_text("A draft is kept on the server.", exact=False)).to_be_visible()
    page.get_by_label("How acceptable was the model's answer?").select_option("4" if erase else "5")
    if erase and left == 3:
        shot(page, "reading")
    page.get_by_role("button", name="Finish the reading").click()
    expect(page.get_by_text(f"The reading is kept. {left} left.")).to_be_visible()


def cohort_pictures(page: Page, folder: Path, data: Path) -> None:
    """A cohort of synthetic people: its table, who is in it, what came out."""
    store = Store.open(data)
    fill_with_cohort(store, folder / "cohort", 3000)
    store.close()
    page.goto("/cohorts/new")
    page.get_by_label("Table", exact=True).set_input_files(folder / "cohort" / "clinical.csv")
    page.get_by_role("button", name="Check every row").click()
    expect(page.get_by_text("with a measured CT.", exact=False)).to_be_visible(timeout=60_000)
    scroll(page.get_by_role("heading", name="2. Clinical table"))
    shot(page, "cohort_table")
    page.get_by_label("Short name").fill("liver")
    page.get_by_label("Title (English)").fill("Liver disease and muscle (synthetic)")
    page.get_by_label("overlapping: a person counts in each disease").check()
    page.get_by_role("button", name="Show who is in it").click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".plot svg").first).to_be_visible(timeout=_ANALYSIS_MS)
    page.get_by_label("Sex").select_option("F")
    scroll(page.get_by_role("heading", name="Distribution of the indices"))
    shot(page, "cohort")


def main() -> None:
    """Make all pictures."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("Chromium is missing: make tools")
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory(prefix="sarcoscope-guide-") as temporary,
        served(Path(temporary) / "data") as (url, one_time),
        sync_playwright() as playwright,
    ):
        folder = Path(temporary)
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        context = browser.new_context(base_url=url, viewport=SIZE, locale="en-US", color_scheme="light")
        page = context.new_page()
        sign_in(page, one_time)
        upload_pictures(page, folder)
        worklist_pictures(page)
        study_pictures(page)
        report_picture(page, browser, folder)
        explanation_picture(folder)
        review_pictures(page)
        data_pictures(page)
        viewer_pictures(page)
        reading_pictures(page, browser, url, Path(temporary) / "data")
        cohort_pictures(page, folder, Path(temporary) / "data")
        browser.close()


if __name__ == "__main__":
    main()
