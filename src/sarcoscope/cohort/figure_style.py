"""How figures look, and how they are written so that the same data give the same bytes."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure

from sarcoscope.language.fonts import font_path

FORMATS: Final = ("png", "svg", "pdf")
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind people too."""
HATCHES: Final = ("", "///", "...", "\\\\\\", "xx", "++", "", "")
_METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_SETTINGS: Final[Any] = {
    "font.family": "Pretendard",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "text.parse_math": False,
    "grid.color": "#e4e4e7",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "sarcoscope",
    "pdf.fonttype": 42,
    "hatch.linewidth": 0.5,
}


@contextmanager
def style() -> Iterator[None]:
    """Everything drawn inside has the house's style and font."""
    _add_font()
    with mpl.rc_context(_SETTINGS):
        yield


@cache
def _add_font() -> None:
    """Makes the house's font known to matplotlib, for this process.

    A copy without tables of typesetting rules, which figures do not use: every PDF embeds a subset, and those
    tables are most of the time that it takes.
    """
    font = TTFont(font_path(), recalcTimestamp=False)
    for table in ("GSUB", "GPOS", "GDEF"):
        if table in font:
            del font[table]
    folder = Path(tempfile.mkdtemp(prefix="sarcoscope-font-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / font_path().name
    font.save(path)
    font_manager.fontManager.addfont(str(path))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def saved(figure: Figure, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Format -> bytes, without times or names of programs."""
    out = {}
    figure.draw_without_rendering()
    # The layout is found once and not again for each format.
    figure.set_layout_engine("none")
    for kind in formats:
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=180, metadata=_METADATA[kind])
        out[kind] = stream.getvalue()
    return out
