"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("SARCOSCOPE_RUNTIME", "onnxruntime")
REPOSITORY = Path(__file__).resolve().parents[1]


def find_ct_data() -> Path | None:
    """The folder of reference CT: ``SARCOSCOPE_CT_DATA``, else ``../shared/ct`` beside the checkout."""
    candidates = [os.environ.get("SARCOSCOPE_CT_DATA"), REPOSITORY.parent / "shared" / "ct"]
    return next((Path(c) for c in candidates if c and (Path(c) / "levels.csv").is_file()), None)


@pytest.fixture(scope="session")
def ct_data() -> Path:
    """The folder of reference CT; the test is skipped where it is absent, and fails so in CI."""
    path = find_ct_data()
    if path is None:
        message = "reference CT not found: set SARCOSCOPE_CT_DATA to the folder that holds levels.csv"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
