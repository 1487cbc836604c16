"""What level finding answers: for every vertebral body in view, its slices and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVEL_INDEX

BORDER_SPREAD_MM: Final = 2.5
"""SD of a border's place: 95 % of endplates lie within 5 mm of the reference (``docs/validation.md``)."""


@dataclass(frozen=True)
class LevelRange:
    """The slices of one level, endplate to endplate (disc slices belong to no level)."""

    level: str
    index_low: int
    """Most inferior slice of the body (index 0 = most inferior slice of the volume)."""
    index_high: int
    """Most superior slice, included."""
    confidence: float
    """0..1: how likely the *name* is right."""
    complete: bool
    """Both endplates are in view."""
    runner_up: str | None = None
    """The next likeliest name."""

    @property
    def index_mid(self) -> int:
        """The middle slice."""
        return (self.index_low + self.index_high) // 2


@dataclass(frozen=True)
class LevelFlag:
    """Something about the levels that a reader must know; ``code`` is a key of the message catalogue."""

    code: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LevelMap:
    """All levels in view, inferior to superior."""

    ranges: tuple[LevelRange, ...]
    flags: tuple[LevelFlag, ...] = ()
    models: tuple[tuple[str, str, str], ...] = ()
    """(name, version, sha256) of every model that took part."""
    spine: tuple[tuple[float, float], ...] = ()
    """Per slice (y, x) in pixels of the spinal canal; empty: not known."""

    def find(self, level: str) -> LevelRange | None:
        """The range of a level, or None when it is not in view."""
        return next((r for r in self.ranges if r.level == level), None)

    def name_of(self, index: int) -> str | None:
        """The level of a slice; a slice in no range counts as the nearest range's level."""
        if not self.ranges:
            return None

        def gap(r: LevelRange) -> tuple[int, int]:
            return max(r.index_low - index, index - r.index_high, 0), LEVEL_INDEX[r.level]

        return min(self.ranges, key=gap).level

    def name_confidence(self, index: int, offsets_mm: Sequence[float] | NDArray[np.float64]) -> float:
        """0..1: how likely :meth:`name_of` is right for a slice; least where the name changes.

        Args:
            index: the slice.
            offsets_mm: [z] place of every slice along the normal.
        """
        name = self.name_of(index)
        if name is None:
            return 0.0
        k = next(k for k, r in enumerate(self.ranges) if r.level == name)
        inside = 1.0
        for low, high in pairwise(self.ranges[max(k - 1, 0) : k + 2]):
            change = (offsets_mm[low.index_high] + offsets_mm[high.index_low]) / 2
            distance = abs(offsets_mm[index] - change)
            inside *= 0.5 + 0.5 * math.erf(distance / (BORDER_SPREAD_MM * math.sqrt(2.0)))
        return self.ranges[k].confidence * float(inside)
