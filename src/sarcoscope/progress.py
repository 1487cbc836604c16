"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Hears the name of a stage and the fraction of it that is done (0..1)."""
