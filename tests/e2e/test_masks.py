"""Undo and redo of the viewer's labels: nothing differs, little is kept. The module runs in Node as it is built."""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.conftest import REPOSITORY

FRONTEND = REPOSITORY / "frontend"
STROKES = """
const fs = require("node:fs"), ts = require("typescript");
const load = (path) => {
  const text = ts.transpileModule(fs.readFileSync(path, "utf8"), { compilerOptions: { module: "esnext", target: "es2022" } });
  return import("data:text/javascript," + encodeURIComponent(text.outputText));
};
(async () => {
  const { Masks } = await load("src/viewer/masks.ts"), { disk, paint } = await load("src/viewer/tools.ts");
  const plane = { rows: 512, columns: 512 }, size = 512 * 512, hu = new Int16Array(size);
  let state = 7;
  const random = (n) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % n;
  const sum = (masks) => [0, 1].map((z) => {
    let h = 17;
    for (const v of masks.get(z)) h = Math.imul(h, 31) + v | 0;
    return h;
  }).join();
  const masks = new Masks(size);
  masks.given(0, Uint8Array.from({ length: size }, (_, i) => ((i >> 3) + (i >> 11)) % 5));
  for (let i = 0; i < size; i++) hu[i] = i % 7 ? 40 : -90;
  const used = () => { gc(); const m = process.memoryUsage(); return m.heapUsed + m.arrayBuffers; };
  const sums = [sum(masks)], places = Array.from({ length: 1001 }, () => ({ x: random(512), y: random(512) }));
  masks.begin(); masks.edit(1); masks.commit();
  const before = used();
  for (let n = 0; n < 1000; n++) {
    masks.begin();
    paint(masks.edit(n % 4 ? 0 : 1), hu, disk(plane, places[n], places[n + 1], 6), n % 5, { band: n % 3 ? [-29, 150] : null, spare: false });
    masks.commit();
    sums.push(sum(masks));
  }
  const bytes = used() - before, steps = [];
  let undone = 0, redone = 0;
  sums.filter((s, k) => !k || s !== sums[k - 1]).forEach((s) => steps.push(s));
  while (masks.canUndo) { masks.undo(); undone += sum(masks) === steps[steps.length - 2 - undone] ? 1 : 1e6; }
  const touched = masks.touched.size;
  while (masks.canRedo) { masks.redo(); redone += sum(masks) === steps[redone + 1] ? 1 : 1e6; }
  masks.begin(); masks.edit(0).fill(3); masks.drop();
  console.log(JSON.stringify({ bytes, steps: steps.length - 1, undone, redone, touched, dropped: sum(masks) === steps.at(-1) }));
})();
"""


def test_a_thousand_strokes_are_undone_and_done_again_from_little_memory() -> None:
    node = shutil.which("node")
    assert node is not None, "Node is missing: make tools"
    done = subprocess.run(
        [node, "--expose-gc", "-e", STROKES], cwd=FRONTEND, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["steps"] > 900
    assert found["undone"] == found["redone"] == found["steps"]
    assert found["touched"] == 0
    assert found["dropped"]
    assert found["bytes"] < 30e6
