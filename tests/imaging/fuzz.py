"""Mutated files: the readers answer with a volume or with one sentence, and soon."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from sarcoscope.errors import SarcoscopeError
from sarcoscope.imaging import read_study
from tests.imaging.kinds import KINDS

SEEDS = (
    "dicom-folder",
    "jpeg2000",
    "jpeg-ls",
    "rle",
    "deflated",
    "zip",
    "nifti",
    "nifti-uncompressed",
    "enhanced-multi-frame",
)
SLOWEST_S = 20.0


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, cut out, doubled, or the file cut short; headers are hit most."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 12))):
        where = int(rng.integers(min(len(data), 2000) if rng.random() < 0.7 else len(data)))
        kind = rng.integers(4)
        if kind == 0:
            data[where] = int(rng.integers(256))
        elif kind == 1:
            data[where : where + 4] = rng.bytes(4)
        elif kind == 2:
            del data[where : where + int(rng.integers(1, 40))]
        else:
            data[where:where] = data[where : where + int(rng.integers(1, 40))]
        if len(data) < 10:
            break
    if rng.random() < 0.15:
        del data[int(rng.integers(len(data))) :]
    return bytes(data)


def fuzz(count: int, seed: int = 0) -> dict[str, int]:
    """Try ``count`` mutated inputs; any other exception than the package's own is a failure."""
    outcomes = {"read": 0, "refused": 0}
    kinds = {k.name: k for k in KINDS}
    with tempfile.TemporaryDirectory() as temporary:
        for n in range(count):
            rng = np.random.default_rng([seed, n])
            name = SEEDS[n % len(SEEDS)]
            root = Path(temporary) / name
            if not root.exists():
                root.mkdir()
                kinds[name].make(root)
            files = sorted(p for p in root.rglob("*") if p.is_file() and "truth" not in p.name)
            victim = files[int(rng.integers(len(files)))]
            content = victim.read_bytes()
            source = root / "ct" if (root / "ct").is_dir() and name != "zip" else victim
            victim.write_bytes(mutated(content, rng))
            begin = time.monotonic()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read_study(source)
                outcomes["read"] += 1
            except SarcoscopeError:
                outcomes["refused"] += 1
            finally:
                victim.write_bytes(content)
            if time.monotonic() - begin > SLOWEST_S:
                raise AssertionError(f"case {n} took {time.monotonic() - begin:.1f} s")
    return outcomes
