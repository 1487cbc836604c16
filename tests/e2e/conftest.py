"""A running product, a browser, and a real CT as a hospital gives it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sarcoscope.imaging.reader import read_volume
from sarcoscope.samples.dicom_series import SeriesSettings, write_volume_series
from tests.conftest import REPOSITORY

SCREENS = Path(__file__).parent / "screens"
AXE = REPOSITORY / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Site:
    """A server over a data folder; it can be killed and started again at the same address."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.one_time = ""
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "sarcoscope.cli.main", "serve"]
        self.process = subprocess.Popen(
            [*command, "--data", str(self.data), "--port", str(self.port)],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = re.search(r"one-time password (\S+)", line)
            self.one_time = found.group(1) if found else self.one_time
            if "Sarcoscope is at" in line:
                break
        for _ in range(200):
            try:
                httpx.get(f"{self.url}/api/v1/health")
                return
            except httpx.ConnectError:
                time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut ends it; its workers end by themselves."""
        self.process.kill()
        self._over()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self._over()

    def _over(self) -> None:
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process.wait(20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A product that was just installed."""
    running = Site(tmp_path_factory.mktemp("serve") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    shutil.rmtree(SCREENS, ignore_errors=True)
    SCREENS.mkdir()
    program = shutil.which("chromium")
    assert program is not None, "Chromium is missing: make tools"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield found
        found.close()


def new_page(browser: Browser, url: str, locale: str = "en-US", *, has_touch: bool = False) -> Page:
    """A page of a fresh browser; what goes wrong in its scripts is collected in ``faults``."""
    context = browser.new_context(
        base_url=url, viewport={"width": 1280, "height": 720}, locale=locale, has_touch=has_touch
    )
    one = context.new_page()
    one.faults = []  # type: ignore[attr-defined]
    one.on("pageerror", lambda error: one.faults.append(str(error)))  # type: ignore[attr-defined]
    return one


@pytest.fixture(scope="module")
def page(site: Site, browser: Browser) -> Iterator[Page]:
    one = new_page(browser, site.url)
    yield one
    one.context.close()


@pytest.fixture(scope="session")
def ct_zip(ct_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real abdominal CT as a hospital gives it: DICOM with an identity, in a zip."""
    folder = tmp_path_factory.mktemp("ct")
    settings = SeriesSettings(
        patient_id="H-20251", patient_name="Kim^Minsu", sex="M", age="066Y", size_m=None, weight_kg=None,
        more={"PatientBirthDate": "19590105"},
    )  # fmt: skip
    paths = write_volume_series(
        read_volume(ct_data / "volumes" / "abd_totalseg.nii.gz"), folder / "in", settings
    )
    out = folder / "study.zip"
    with zipfile.ZipFile(out, "w") as archive:
        for path in paths:
            archive.write(path, f"CT/{path.name}")
    return out


def shot(page: Page, name: str) -> None:
    page.screenshot(path=SCREENS / f"{name}.png", full_page=True)


def check_access(page: Page) -> None:
    """axe finds nothing serious."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})"
        ".then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"
    )
    assert found == []
