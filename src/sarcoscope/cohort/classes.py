"""Classes of many people at once: the same answers as :func:`sarcoscope.diagnosis.diagnose` gives to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.cohort.frame import Flags, Floats, Frame, Ints, Texts
from sarcoscope.diagnosis import Case, ReferenceSet
from sarcoscope.diagnosis.diagnose import CLASS_1_T, CLASS_2_T, TINY
from sarcoscope.diagnosis.fit import ADULT_YEARS, reason_against
from sarcoscope.diagnosis.reference_set import LimitRow
from sarcoscope.measures.measurement import IndexValue

CLASSES: Final = (
    "not_comparable", "indeterminate", "class_2", "class_1", "not_low", "not_class_2", "low", "z_score",
)  # fmt: skip
"""Answers, by their number in :class:`Classified`; ``z_score``: a population not young gives no class."""
CODE: Final = {name: k for k, name in enumerate(CLASSES)}
LOW: Final = (CODE["class_2"], CODE["low"])
"""Below the limit of the set."""


@dataclass(frozen=True)
class Subjects:
    """What comparisons depend on, one element a person."""

    sex: Texts
    age: Floats
    bmi: Floats
    phase: Texts
    kvp: Floats
    fluid: Flags
    level: str
    protocol: str
    values: dict[str, Floats]
    """Index -> value; NaN: not known."""
    errors: dict[str, Floats]
    """Index -> half-width of the 95 % interval; NaN: not known."""


@dataclass(frozen=True)
class Classified:
    """Answers of one set for one index."""

    reference: str
    index: str
    answer: NDArray[np.uint8]
    """Numbers of :data:`CLASSES`; within measurement error of a limit: ``indeterminate``."""
    by_value: NDArray[np.uint8]
    """The same without regard to measurement error."""
    score: Floats
    """T- or z-score where the set has mean and SD."""
    reasons: dict[str, int]
    """Why people are not comparable, and how many."""


def classify(people: Subjects, reference: ReferenceSet, index: str) -> Classified:
    """Compare everybody with one set.

    Whether a set fits a person depends on a few facts (sex, bins of age and BMI, phase, voltage, fluid):
    people who share them are asked about once.
    """
    value, error = people.values[index], people.errors[index]
    group, first = _alike(people, reference, index)
    n = len(value)
    answer = np.zeros(n, np.uint8)
    by_value = np.zeros(n, np.uint8)
    score = np.full(n, np.nan)
    reasons: dict[str, int] = {}
    for number, person in enumerate(first):
        own = group == number
        found = IndexValue(index, people.level, people.protocol, float(value[person]), "", None)
        case = _case(people, person, found)
        sound = next((i for i in case.indices), None)
        reason, row = reason_against(reference, case, index, sound)
        if reason is not None or row is None:
            code = reason.code if reason is not None else "index_missing"
            reasons[code] = reasons.get(code, 0) + int(own.sum())
            continue
        if row.mean is not None and row.sd is not None:
            score[own] = (value[own] - row.mean) / row.sd
        by_value[own] = _answers(row, reference, value[own], np.zeros(int(own.sum())))
        answer[own] = _answers(row, reference, value[own], error[own])
    return Classified(reference.name, index, answer, by_value, score, dict(sorted(reasons.items())))


def _case(people: Subjects, k: int, value: IndexValue) -> Case:
    def known(number: float) -> float | None:
        return None if np.isnan(number) else float(number)

    return Case(
        sex=people.sex[k] or None,
        age_years=known(people.age[k]),
        bmi=known(people.bmi[k]),
        level=people.level,
        protocol=people.protocol,
        phase=people.phase[k],
        indices=(value,),
        kvp=known(people.kvp[k]),
        fluid=bool(people.fluid[k]),
    )


def _alike(people: Subjects, reference: ReferenceSet, index: str) -> tuple[Ints, Ints]:
    """(number of each person's group, a person of every group)."""
    ages = {ADULT_YEARS, 0.0, np.nextafter(130.0, 131.0)}
    bmis = {0.0, np.nextafter(200.0, 201.0)}
    for span in (reference.ages, *(r.ages for r in reference.rows)):
        ages |= {edge for edge in (span.low, span.high) if edge is not None}
    for row in reference.rows:
        bmis |= {edge for edge in (row.bmis.low, row.bmis.high) if edge is not None}
    value = people.values[index]
    sound = np.isfinite(value) & ((value >= 0) | (index == "SMD"))
    keys = np.column_stack(
        [
            np.unique(people.sex.astype(str), return_inverse=True)[1],
            _bins(people.age, ages),
            _bins(people.bmi, bmis),
            np.unique(people.phase.astype(str), return_inverse=True)[1],
            np.unique(np.where(np.isnan(people.kvp), -1.0, people.kvp), return_inverse=True)[1],
            people.fluid.astype(np.int64),
            sound.astype(np.int64),
        ]
    )
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return group.reshape(-1), first


def _bins(values: Floats, edges: set[float]) -> Ints:
    """Number of the half-open bin [edge, next edge); -1 where nothing is known."""
    return np.where(np.isnan(values), -1, np.digitize(values, sorted(edges)))


def _answers(row: LimitRow, reference: ReferenceSet, value: Floats, error: Floats) -> NDArray[np.uint8]:
    limit, operator = row.limit, reference.operator
    upper: float | None = None
    if row.kind == "population" and row.mean is not None and row.sd is not None:
        limit, operator = row.mean + CLASS_2_T * row.sd, "<"
        upper = row.mean + CLASS_1_T * row.sd
    if row.kind == "population_not_young" or limit is None:
        return np.full(len(value), CODE["z_score"], np.uint8)
    bounds = [limit] if upper is None else [limit, upper]
    below = value < limit - TINY
    if operator == "<=":
        below |= value <= limit + TINY
    if upper is not None:
        out = np.where(value < upper - TINY, CODE["class_1"], CODE["not_low"])
        out = np.where(below, CODE["class_2"], out)
    elif row.kind == "t_limit":
        out = np.where(below, CODE["class_2"], CODE["not_class_2"])
    else:
        out = np.where(below, CODE["low"], CODE["not_low"])
    sure = np.where(np.isfinite(error) & (error > 0), error, -1.0)
    near = np.any([(np.abs(value - b) <= sure + TINY) & (sure > 0) for b in bounds], axis=0)
    return np.where(near, CODE["indeterminate"], out).astype(np.uint8)


def subjects_of(frame: Frame, level: str, protocol: str) -> Subjects:
    """People of a cohort's table (columns of ``batch``, indices already in it)."""
    names = ("SMA", "SMA_Ht2", "SMA_Wt", "SMA_BMI", "SMD")
    return Subjects(
        sex=frame.text("sex"),
        age=frame.number("age_years"),
        bmi=frame.number("bmi"),
        phase=frame.text("phase"),
        kvp=frame.number("kvp"),
        fluid=frame.number("fluid") > 0,
        level=level,
        protocol=protocol,
        values={name: frame.number(name) for name in names},
        errors={name: frame.number(f"{name}_error") for name in names},
    )
