"""Sarcoscope: muscle and fat from CT, level by level, with the doubts. Research use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sarcoscope._version import __version__

if TYPE_CHECKING:
    from sarcoscope.imaging.reader import read_volume
    from sarcoscope.study import StudyResult, analyze

__all__ = ["StudyResult", "__version__", "analyze", "read_volume"]


def __getattr__(name: str) -> Any:
    """Import the library's functions when they are first used."""
    if name in ("analyze", "StudyResult"):
        from sarcoscope import study

        return getattr(study, name)
    if name == "read_volume":
        from sarcoscope.imaging.reader import read_volume

        return read_volume
    raise AttributeError(f"module 'sarcoscope' has no attribute '{name}'")
