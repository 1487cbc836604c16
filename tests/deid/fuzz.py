"""Mutated DICOM files through de-identification and the mask reader: an answer or one sentence, and soon."""

from __future__ import annotations

import resource
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from sarcoscope.deid.folder import Choices, deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.profile import Profile, default_options
from sarcoscope.errors import SarcoscopeError
from sarcoscope.exports.dicom_objects import study_objects
from sarcoscope.exports.rtstruct import make_rtstruct
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.foreign_masks import read_mask
from sarcoscope.imaging.reader import ReadStudy, read_study
from sarcoscope.study import analyze
from tests.imaging.fuzz import mutated
from tests.imaging.kinds import edited, korean, series

SLOWEST_S = 5.0
MOST_BYTES = 2_000_000_000
OPTIONS = default_options() | {"clean_structured_content", "clean_graphics", "retain_safe_private"}


@cache
def seeds() -> tuple[ReadStudy, tuple[bytes, ...]]:
    """A study, and objects of every kind: CT in several syntaxes, SEG, SR, RTSTRUCT."""
    found = []
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(temporary)
        for syntax in ("implicit", "deflated", "rle", "jpeg-ls", "jpeg2000"):
            found.append(sorted(series(root / syntax, syntax=syntax).glob("*.dcm"))[4].read_bytes())
        folder = edited(root, korean)
        found.append(sorted(folder.glob("*.dcm"))[4].read_bytes())
        study = read_study(folder)
        result = analyze(folder, assume_level="L3")
        assert result.mask is not None
        found += [o for o in study_objects(result.record, result.images, result.mask) if o is not None]
        mask = result.mask
        structures = make_rtstruct(study.images, study.volume.geometry, mask.indices[:2], mask.labels[:2])
        found.append(to_bytes(structures))
    return study, tuple(found)


def fuzz_objects(count: int, seed: int = 0) -> dict[str, int]:
    """Try ``count`` mutated objects; any other exception than the package's own is a failure."""
    study, contents = seeds()
    outcomes = {"written": 0, "set aside": 0, "refused": 0, "masks": 0}
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(temporary)
        source = root / "in"
        source.mkdir()
        with FileMapping(root / "map.sqlite") as mapping:
            for n in range(count):
                rng = np.random.default_rng([seed, n])
                (source / "one.dcm").write_bytes(mutated(contents[n % len(contents)], rng))
                begin = time.monotonic()
                try:
                    choices = Choices(Profile(OPTIONS), dry_run=n % 3 != 0)
                    report = deidentify_folder(source, root / "out", mapping, choices)
                    outcomes["written" if report.written else "set aside"] += 1
                except SarcoscopeError:
                    outcomes["refused"] += 1
                if n % len(contents) >= 6:
                    try:
                        read_mask(source / "one.dcm", study.volume)
                        outcomes["masks"] += 1
                    except SarcoscopeError:
                        pass
                took = time.monotonic() - begin
                if took > SLOWEST_S:
                    raise AssertionError(f"case {seed}.{n} took {took:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak > MOST_BYTES:
        raise AssertionError(f"{peak / 1e9:.1f} GB of memory")
    return outcomes
