"""The fonts of reports and pictures: Pretendard (OFL-1.1), Latin and Korean."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def font_path(*, bold: bool = False) -> Path:
    """File of the regular or bold font."""
    name = "Pretendard-Bold.ttf" if bold else "Pretendard-Regular.ttf"
    return Path(str(files("sarcoscope.language").joinpath("fonts", name)))
