"""What level finding answers: for every vertebral body in view, its slices and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

from sarcoscope.anatomy.levels import LEVEL_INDEX


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
