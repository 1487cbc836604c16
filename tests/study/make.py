"""Phantom studies for tests, made once a session of tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import Phantom, PhantomSettings, make_phantom


@cache
def abdomen() -> Phantom:
    """T10 to the sacrum, 256 pixels a side."""
    return make_phantom(PhantomSettings(seed=11, matrix=256, pixel_mm=1.6, noise_hu=8.0))


@cache
def chest() -> Phantom:
    """T1 to T9: no lumbar spine in view."""
    return make_phantom(
        PhantomSettings(seed=12, matrix=256, pixel_mm=1.7, top_level="T1", bottom_level="T9", noise_hu=8.0)
    )


def series(phantom: Phantom, **settings: Any) -> Path:
    """A folder with the phantom as a DICOM series."""
    folder = Path(mkdtemp(prefix="sarcoscope-test-")) / "ct"
    write_dicom_series(phantom, folder, SeriesSettings(**settings))
    return folder
