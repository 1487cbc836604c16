from __future__ import annotations

from pathlib import Path

import pytest

from sarcoscope.imaging.kernels import is_sharp
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.phases import header_phase
from sarcoscope.imaging.volume import SeriesInfo
from sarcoscope.levels import find_levels
from sarcoscope.measures.phase import PhaseGuess, picture_phase
from sarcoscope.measures.quality import settled_phase


@pytest.mark.parametrize(
    ("name", "sharp"),
    [
        ("B30f", False),
        ("B70f", True),
        ("Br40d\\3", False),
        ("Bl64d", True),
        ("STANDARD", False),
        ("BONEPLUS", True),
        ("LUNG", True),
        ("FC08", False),
        ("FC52", True),
        ("B", False),
        ("YC", True),
        (None, False),
        ("", False),
    ],
)
def test_sharp_kernels(name: str | None, sharp: bool) -> None:
    assert is_sharp(name) == sharp


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        ("Abdomen portal venous 5.0", "portal"),
        ("LIVER ARTERIAL", "arterial"),
        ("Non-contrast", "unenhanced"),
        ("Non Contrast Abd", "unenhanced"),
        ("복부 문맥기", "portal"),
        ("비조영 CT", "unenhanced"),
        ("지연기", "delayed"),
        ("Delayed 3min", "delayed"),
        ("Abdomen 5.0 B30f", "unknown"),
        ("arterial and portal", "unknown"),
        ("CT AP W CONTRAST", "unknown"),
        ("plate", "unknown"),
        ("late arterial", "arterial"),
        ("HAP 1.0", "arterial"),
        ("Abd 5 min", "delayed"),
        ("intravenous", "unknown"),
    ],
)
def test_phase_words(words: str, phase: str) -> None:
    assert header_phase(SeriesInfo(description=words))[0] == phase


def test_stated_phase_first_then_header_then_picture() -> None:
    bright, plain = PhaseGuess("portal", "aorta about 150 HU"), PhaseGuess("unenhanced", "aorta about 40 HU")
    assert settled_phase("arterial", ("portal", "x"), bright)[0].value == "arterial"
    assert settled_phase(None, ("portal", "x"), bright) == (
        settled_phase(None, ("portal", "x"), bright)[0],
        (),
    )
    phase, flags = settled_phase(None, ("portal", "x"), plain)
    assert phase.value == "portal"
    assert [f.code for f in flags] == ["phase_disagrees"]
    assert settled_phase(None, ("unknown", "x"), plain)[0].value == "unenhanced"
    assert [f.code for f in settled_phase(None, ("unknown", "x"), PhaseGuess("unknown", "-"))[1]] == [
        "phase_unknown"
    ]


def test_picture_phase_of_reference_ct(ct_data: Path) -> None:
    """By eye: abd_acrin is an unenhanced PET/CT, abd_totalseg is enhanced."""
    volume = read_nifti(ct_data / "volumes" / "abd_acrin.nii.gz")
    assert picture_phase(volume, find_levels(volume)).value == "unenhanced"
