"""The cells of a cohort: groups by sex by tens of years."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.frame import Flags, Frame, Ints

ALL: Final = "all"
SEXES: Final = ("M", "F")


@dataclass(frozen=True)
class Cell:
    """Some people of a cohort; ``all`` where nothing is asked of sex, age or group."""

    group: str
    sex: str
    decade: str
    people: Flags

    @property
    def place(self) -> dict[str, object]:
        """The columns that say which cell it is."""
        return {"group": self.group, "sex": self.sex, "decade": self.decade}


def decade_names(edges: tuple[int, ...]) -> tuple[str, ...]:
    """``30-39`` and so on."""
    return tuple(f"{a}-{b - 1}" for a, b in pairwise(edges))


def decade_of(frame: Frame, edges: tuple[int, ...]) -> Ints:
    """Number of everybody's decade; -1 outside of all or without an age."""
    age = frame.number("age_years")
    place = np.digitize(np.nan_to_num(age, nan=-1.0), edges) - 1
    return np.where((place < 0) | (place >= len(edges) - 1), -1, place)


def group_masks(cohort: Cohort) -> dict[str, Flags]:
    """Everybody, then every group."""
    return {ALL: np.ones(len(cohort), np.bool_), **cohort.members}


def cells(cohort: Cohort) -> Iterator[Cell]:
    """Every cell, the coarse ones first."""
    edges = cohort.definition.analysis.decades
    decade = decade_of(cohort.frame, edges)
    sex = cohort.frame.text("sex")
    everybody = np.ones(len(cohort), np.bool_)
    by_sex = {ALL: everybody, **{s: np.asarray(sex == s, np.bool_) for s in SEXES}}
    by_age = {ALL: everybody, **{name: decade == k for k, name in enumerate(decade_names(edges))}}
    for group, members in group_masks(cohort).items():
        for sex_name, of_sex in by_sex.items():
            for age_name, of_age in by_age.items():
                yield Cell(group, sex_name, age_name, members & of_sex & of_age)
