"""Speed of the viewer: ``python -m benchmarks.viewer``. Prints a table; nothing is asserted.

A study of 300 slices of 512 x 512 in headless Chromium with software rendering, on a real server.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright
from tests.web.server import PASSWORD, add_users, client, running, upload_folder, work_off

from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.store import Store

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SLICES: Final = 300
_AXIAL: Final = "canvas[data-view=axial]"
_WAIT_FOR_PICTURE: Final = """() => new Promise(done => {
  const look = () => {
    const canvas = document.querySelector('canvas[data-view=axial]');
    if (canvas && canvas.width > 300) {
      const [x, y] = [canvas.width / 2 - 40, canvas.height / 2 - 40];
      const data = canvas.getContext('2d').getImageData(x, y, 80, 80).data;
      if (data.some((v, i) => i % 4 < 3 && v > 40)) return done(performance.now());
    }
    requestAnimationFrame(look);
  };
  look();
})"""
_SCROLL: Final = """async (steps) => {
  const canvas = document.querySelector('canvas[data-view=axial]'), times = [];
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  for (let k = 0; k < steps; k++) {
    const begin = performance.now();
    const deltaY = k % 20 < 10 ? 100 : -100;
    canvas.dispatchEvent(new WheelEvent('wheel', {deltaY, bubbles: true, cancelable: true}));
    await frame(); await frame();
    times.push(performance.now() - begin);
  }
  return times;
}"""
_BRUSH: Final = """async (steps) => {
  const canvas = document.querySelector('canvas[data-view=axial]'), box = canvas.getBoundingClientRect();
  canvas.setPointerCapture = () => {};
  const send = (kind, k) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 1, button: 0, clientX: box.left + box.width * (0.35 + 0.3 * k / steps),
    clientY: box.top + box.height * 0.5, bubbles: true, cancelable: true}));
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const times = [];
  send('pointerdown', 0);
  for (let k = 0; k < steps; k++) {
    const begin = performance.now();
    send('pointermove', k);
    await frame();
    times.push(performance.now() - begin);
  }
  const text = () => document.querySelector('[data-index=SMA]').textContent;
  const before = text(), begin = performance.now();
  send('pointerup', steps);
  while (text() === before && performance.now() - begin < 5000) await frame();
  return [times, performance.now() - begin];
}"""


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        store = Store.open(root / "data")
        add_users(store)
        phantom = make_phantom(
            PhantomSettings(seed=3, matrix=512, pixel_mm=0.8, slice_spacing_mm=1.0, noise_hu=14.0)
        )
        for path in write_dicom_series(phantom, root / "ct", SeriesSettings())[SLICES:]:
            path.unlink()
        with running(store) as url:
            reader = client(url, "annotator")
            upload_folder(reader, root / "ct")
            reader.post("/studies/1/process", json={})
            work_off(store)
            rows += _page(url)
        store.close()
    for name, value in rows:
        print(f"| {name} | {value} |")


def _page(url: str) -> list[tuple[str, str]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(base_url=url, viewport={"width": 1280, "height": 720}).new_page()
        page.goto("/")
        page.locator("input").first.fill("annotator")
        page.locator("input[type=password]").fill(PASSWORD)
        page.locator("form button").click()
        page.locator("nav").wait_for()
        first = _first_picture(page)
        begin = time.perf_counter()
        page.get_by_text("Loading", exact=False).wait_for(state="detached", timeout=60_000)
        rest = time.perf_counter() - begin
        scroll = page.evaluate(_SCROLL, 60)
        page.keyboard.press("b")
        for _ in range(10):
            page.keyboard.press("]")
        frames, numbers = [], []
        for _ in range(5):
            times, waited = page.evaluate(_BRUSH, 40)
            frames += times
            numbers.append(waited)
            page.keyboard.press("z")
            page.wait_for_timeout(1500)
        memory = _largest_renderer()
        browser.close()
    return [
        (f"first axial picture of a {SLICES}-slice study (from the click; median, worst of {len(first)})",
         f"{statistics.median(first):.2f} s, {max(first):.2f} s"),
        ("the rest of it loaded after that", f"{rest:.1f} s"),
        ("scrolling, a slice (median, 95 %)", f"{statistics.median(scroll):.0f} ms, {_p95(scroll):.0f} ms"),
        ("brush: frames (median, slowest 5 %)",
         f"{1000 / statistics.median(frames):.0f}/s, {1000 / _p95(frames):.0f}/s"),
        ("end of a stroke to new numbers (median, worst of 5)",
         f"{statistics.median(numbers):.0f} ms, {max(numbers):.0f} ms"),
        ("memory of the page's process", f"{memory / 1e6:.0f} MB"),
    ]  # fmt: skip


def _first_picture(page: Page) -> list[float]:
    """Seconds from opening the viewer to its first picture, several times."""
    found = []
    for _ in range(5):
        page.goto("/studies/1")
        page.get_by_role("link", name="Look and correct").wait_for()
        begin = time.perf_counter()
        page.get_by_role("link", name="Look and correct").click()
        page.evaluate(_WAIT_FOR_PICTURE)
        found.append(time.perf_counter() - begin)
    return found


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


def _largest_renderer() -> int:
    """Resident bytes of the largest renderer of Chromium."""
    sizes = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                sizes.append(int((folder / "statm").read_text().split()[1]) * 4096)
        except OSError:
            continue
    return max(sizes)


if __name__ == "__main__":
    main()
