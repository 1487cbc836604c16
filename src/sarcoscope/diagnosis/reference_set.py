"""Reference sets: limits and populations from the literature (data files) or built from one's own table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from sarcoscope.anatomy.levels import LEVEL_INDEX, level_distance
from sarcoscope.errors import SettingError
from sarcoscope.files import packaged_rows

ALL_MUSCLES: Final = "all"
SUBSTITUTES: Final = ("L2", "L4", "L5", "L1", "T12", "T11", "T10")
"""Levels to take when L3 is not in view, best first (Derstine 2018, by agreement with L3)."""


@dataclass(frozen=True)
class Span:
    """Half-open range [low, high); None is open."""

    low: float | None = None
    high: float | None = None

    @property
    def bounded(self) -> bool:
        """Is there any limit?"""
        return self.low is not None or self.high is not None

    def holds(self, value: float) -> bool:
        """Does the range contain a value?"""
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)


@dataclass(frozen=True)
class LimitRow:
    """One limit or one population of a set."""

    index: str
    level: str
    sex: str
    """``M``, ``F``, or empty for both."""
    ages: Span
    bmis: Span
    kind: str
    """``t_limit`` (published as T < -2), ``cutoff``, ``population`` (young: T-score),
    ``population_not_young`` (z-score); ``cutoff_age_unknown`` and ``cutoff_bmi_unknown`` serve only persons
    of unknown age or BMI."""
    limit: float | None = None
    mean: float | None = None
    sd: float | None = None
    stratum: str = ""


@dataclass(frozen=True)
class ReferenceSet:
    """A set with everything that it was made for; None is *unknown: the source does not say*."""

    name: str
    title: str
    operator: str
    rows: tuple[LimitRow, ...]
    source: str
    certainty: str
    protocol: str | None = None
    phase: str | None = None
    population: Mapping[str, str] | None = None
    """By language."""
    hu_band: tuple[int, int] | None = None
    muscle_set: str | None = None
    ages: Span = Span()
    """Persons it applies to beyond "adults"."""
    note: str = ""
    """``inferred`` (index deduced from the numbers) or ``inconsistent`` (the source contradicts itself)."""
    default: bool = False
    own: bool = False
    """Built from the user's own table."""

    @property
    def verified(self) -> bool:
        """Were the numbers checked against the source?"""
        return self.certainty != "M"

    @property
    def indices(self) -> tuple[str, ...]:
        """Index names, in the order of the rows."""
        return tuple(dict.fromkeys(r.index for r in self.rows))

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels that it has rows for."""
        return tuple(dict.fromkeys(r.level for r in self.rows))

    def speaks_for(self, level: str) -> bool:
        """May it be taken unasked for an area of all muscles at a level?

        At the chest the sources measured different muscles (limits at T12 differ by 65 %): a set that does
        not say which is used there only when it is asked for.
        """
        known = self.muscle_set == ALL_MUSCLES
        return known or (self.muscle_set is None and not level.startswith("T"))


def _span(low: str, high: str) -> Span:
    return Span(float(low) if low else None, float(high) if high else None)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _rows(name: str) -> list[dict[str, str]]:
    return packaged_rows("sarcoscope.diagnosis", name)


@cache
def shipped_sets() -> tuple[ReferenceSet, ...]:
    """The sets of the literature, as the data files have them."""
    limits: dict[str, list[LimitRow]] = {}
    for r in _rows("limits"):
        row = LimitRow(
            r["index"],
            r["level"],
            r["sex"],
            _span(r["age_low"], r["age_high"]),
            _span(r["bmi_low"], r["bmi_high"]),
            r["kind"],
            _number(r["limit"]),
            _number(r["mean"]),
            _number(r["sd"]),
            r["stratum"],
        )
        limits.setdefault(r["set"], []).append(row)
    return tuple(_shipped(r, limits[r["name"]]) for r in _rows("sets"))


def _shipped(r: Mapping[str, str], rows: Iterable[LimitRow]) -> ReferenceSet:
    population = {"en": r["population"], "ko": r["population_ko"]} if r["population"] else None
    return ReferenceSet(
        name=r["name"],
        title=r["title"],
        operator=r["operator"],
        rows=tuple(rows),
        source=r["source"],
        certainty=r["certainty"],
        protocol=r["protocol"] or None,
        phase=r["phase"] or None,
        population=population,
        hu_band=(int(r["hu_low"]), int(r["hu_high"])) if r["hu_low"] else None,
        muscle_set=r["muscle_set"] or None,
        ages=_span(r["age_low"], r["age_high"]),
        note=r["note"],
        default=r["default"] == "yes",
    )


def find_sets(names: Sequence[str], own: Sequence[ReferenceSet] = ()) -> tuple[ReferenceSet, ...]:
    """Sets by name, one's own before the shipped ones.

    Raises:
        SettingError: a name that no set has.
    """
    known = {s.name: s for s in (*shipped_sets(), *own)}
    for name in names:
        if name not in known:
            raise SettingError(f"There is no reference set '{name}'; 'sarcoscope reference list' shows them.")
    return tuple(known[name] for name in names)


def default_sets(level: str) -> tuple[ReferenceSet, ...]:
    """What a level is compared with by default: at L3 P0 and Kim, elsewhere every fitting set."""
    if level == "L3":
        return tuple(s for s in shipped_sets() if s.default)
    return tuple(s for s in shipped_sets() if level in s.levels and s.verified and s.speaks_for(level))


def best_level(in_view: Sequence[str]) -> str:
    """The level that speaks for L3 when L3 is not in view.

    The first of :data:`SUBSTITUTES` that a reference set fits, else the nearest to L3 with a fitting set,
    else the nearest to L3.
    """
    fitting = [level for level in in_view if default_sets(level)]
    for level in SUBSTITUTES:
        if level in fitting:
            return level
    return min(fitting or in_view, key=lambda level: (level_distance(level, "L3"), LEVEL_INDEX[level]))
