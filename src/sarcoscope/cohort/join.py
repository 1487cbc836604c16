"""Joins the clinical table to the index studies: whose row, how many days away, what is too old to count."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.cohort.clinical import Clinical
from sarcoscope.cohort.definition import ClinicalPart
from sarcoscope.cohort.frame import Flags, Floats, Frame, Ints, Texts
from sarcoscope.cohort.studies import SHOWN, Note, named_in, with_errors
from sarcoscope.errors import InputError

BODY: Final = ("height_cm", "weight_kg")
_TIMELESS: Final = ("followup_years", "age_years", "status", "height_cm")
"""Numbers that do not grow old."""


def clinical_keys(clinical: Clinical, studies: Frame) -> tuple[Texts, Texts]:
    """(key of every clinical row, key of every study): the pseudonym, with the centre where both have it.

    Raises:
        InputError: the table names no centre, and two centres have the same pseudonym.
    """
    rows = clinical.frame.text("pseudonym")
    if "centre" in clinical.frame:
        where = clinical.frame.text("centre")
        return named_in(where, rows), studies.text("person")
    pseudonym = studies.text("pseudonym")
    people = len(set(studies.text("person")))
    if len(set(pseudonym)) < people:
        raise InputError(
            "Several centres have the same pseudonym: the clinical table needs a column that says the centre."
        )
    return rows, pseudonym


def rows_of(keys: Texts, days: NDArray[Any] | None, wanted: Texts, near: NDArray[Any]) -> Ints:
    """The row of every wanted key, the nearest in time where there are several; -1: there is none."""
    first: dict[str, list[int]] = {}
    for k, key in enumerate(keys):
        first.setdefault(key, []).append(k)
    out = np.full(len(wanted), -1, np.int64)
    for k, key in enumerate(wanted):
        rows = first.get(key)
        if rows is None:
            continue
        if len(rows) == 1 or days is None or np.isnat(near[k]):
            out[k] = rows[0]
            continue
        away = np.abs((days[rows] - near[k]).astype("timedelta64[D]").astype(np.float64))
        away[np.isnat(days[rows])] = np.inf
        out[k] = rows[int(np.argmin(away))]
    return out


def join_clinical(people: Frame, clinical: Clinical, part: ClinicalPart) -> tuple[Frame, list[Note]]:
    """One row a person with the clinical columns; diseases count when any row of the person has them.

    Raises:
        InputError: the sex of the table and of the CT differ.
    """
    keys, wanted = clinical_keys(clinical, people)
    days = clinical.frame.columns.get("day")
    row = rows_of(keys, days, wanted, people.columns["day"])
    found = row >= 0
    notes: list[Note] = []
    columns: dict[str, NDArray[Any]] = {}
    for name, column in clinical.frame.columns.items():
        if name not in ("pseudonym", "centre"):
            columns[name] = _taken(column, row, found)
    if clinical.visits:
        columns |= _any_row(clinical, keys, wanted)
    away = np.full(len(people), np.nan)
    if days is not None:
        gap = columns.pop("day") - people.columns["day"]
        away = np.where(np.isnat(gap), np.nan, gap.astype("timedelta64[D]").astype(np.float64))
    columns["clinical_days"] = away
    _check_sex(people, columns)
    if part.max_days is not None:
        notes += _forget_old(columns, clinical, away, part.max_days)
    columns, more = _bodies(people, columns, part, away)
    return with_errors(people.adding(columns), str(people.text("level")[0])), [*notes, *more]


def _taken(column: NDArray[Any], row: Ints, found: Flags) -> NDArray[Any]:
    out = column[np.where(found, row, 0)].copy()
    if column.dtype == object:
        out[~found] = ""
    elif column.dtype.kind == "M":
        out[~found] = np.datetime64("NaT")
    else:
        out[~found] = np.nan
    return out


def _any_row(clinical: Clinical, keys: Texts, wanted: Texts) -> dict[str, NDArray[Any]]:
    """Diseases over all rows of a person."""
    names, group = np.unique(keys.astype(str), return_inverse=True)
    place = np.searchsorted(names, wanted.astype(str))
    place = np.minimum(place, len(names) - 1)
    known = names[place] == wanted.astype(str)
    out: dict[str, NDArray[Any]] = {}
    for name, field in clinical.fields.items():
        if field.kind == "disease":
            most = np.full(len(names), -1.0)
            np.maximum.at(most, group, np.nan_to_num(clinical.frame.columns[name], nan=-1.0))
            out[name] = np.where(known & (most[place] >= 0), most[place], np.nan)
    return out


def _check_sex(people: Frame, columns: dict[str, NDArray[Any]]) -> None:
    if "sex" not in columns:
        return
    ct, table = people.text("sex"), columns["sex"]
    differ = np.asarray((ct != "") & (table != "") & (ct != table), np.bool_)
    if differ.any():
        who = ", ".join(str(p) for p in people.text("person")[differ][:SHOWN])
        raise InputError(
            f"The sex of {int(differ.sum())} people differs between CT and clinical table: {who}. "
            "Check the columns and the join."
        )
    columns["sex"] = np.where(ct != "", ct, table).astype(object)


def _forget_old(
    columns: dict[str, NDArray[Any]], clinical: Clinical, away: Floats, most: float
) -> list[Note]:
    """Empties values that were taken too long before or after the CT."""
    old = np.abs(np.nan_to_num(away, nan=0.0)) > most
    for name, field in clinical.fields.items():
        if field.kind == "number" and name in columns and name not in _TIMELESS:
            columns[name] = np.where(old, np.nan, columns[name])
    notes = [Note("cohort_note_old", {"n": int(old.sum()), "days": f"{most:g}"})] if old.any() else []
    undated = int(np.isnan(away).sum())
    if undated:
        notes.append(Note("cohort_note_undated", {"n": undated}))
    return notes


def _bodies(
    people: Frame, columns: dict[str, NDArray[Any]], part: ClinicalPart, away: Floats
) -> tuple[dict[str, NDArray[Any]], list[Note]]:
    """Height, weight and age from both tables; indices follow where the body is not that of the results."""
    filled = np.zeros(len(people), np.bool_)
    for name in BODY:
        mine, theirs = people.number(name), columns.get(name, np.full(len(people), np.nan))
        first, second = (theirs, mine) if part.body == "clinical" else (mine, theirs)
        value = np.where(np.isnan(first), second, first)
        filled |= ~np.isnan(value) & ~np.isclose(value, mine, rtol=1e-12, atol=0, equal_nan=True)
        columns[name] = value
    age = people.number("age_years")
    theirs = columns.get("age_years", np.full(len(people), np.nan))
    columns["age_years"] = np.where(np.isnan(age), theirs - np.nan_to_num(away, nan=0.0) / 365.25, age)
    squared = (columns["height_cm"] / 100) ** 2
    bmi = columns["weight_kg"] / squared
    area = people.number("muscle_area_cm2")
    columns["bmi"] = np.where(filled, bmi, people.number("bmi"))
    for name, divisor in (("SMA_Ht2", squared), ("SMA_Wt", columns["weight_kg"]), ("SMA_BMI", bmi)):
        columns[name] = np.where(filled, area / divisor, people.number(name))
    notes = [Note("cohort_note_filled", {"n": int(filled.sum())})] if filled.any() else []
    return columns, notes
