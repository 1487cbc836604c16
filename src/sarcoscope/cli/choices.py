"""Helpers for values typed on the command line."""

from __future__ import annotations

from sarcoscope.anatomy.levels import LEVELS

_LEVEL_NAMES = {level.lower(): level for level in LEVELS}


def split_names(text: str) -> tuple[str, ...]:
    """Names of a comma-separated list, in their order, each once."""
    names = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def level_name(text: str) -> str:
    """A level's name whatever the case it was typed in; unknown names are returned as they are."""
    return _LEVEL_NAMES.get(text.strip().lower(), text.strip())
