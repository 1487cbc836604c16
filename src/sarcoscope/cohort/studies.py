"""The measured studies of a cohort: read from ``batch``, whose they are, and what is odd about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.cohort.definition import Definition
from sarcoscope.cohort.frame import Flags, Frame, Texts, read_frame, texts
from sarcoscope.errors import InputError
from sarcoscope.imaging.kernels import is_sharp
from sarcoscope.measures.error import measurement_error
from sarcoscope.study.judge import FLUID_FLAGS

TEXT: Final = (
    "id",
    "person",
    "centre",
    "date",
    "sex",
    "level",
    "protocol",
    "phase",
    "kernel",
    "flags",
    "disease",
)
NUMBERS: Final = (
    "age_years", "height_cm", "weight_kg", "bmi", "muscle_area_cm2", "muscle_area_error_cm2",
    "sat_area_cm2", "vat_area_cm2", "imat_area_cm2", "SMA", "SMA_Ht2", "SMA_Wt", "SMA_BMI", "SMD",
    "kvp", "slice_thickness_mm", "level_confidence",
)  # fmt: skip
AGE_SLACK_YEARS: Final = 2.0
"""The ages of two studies of one person may differ from their dates by so much."""
SHOWN: Final = 5
PERSON: Final = "person"
"""Column of ``batch`` that says whose a study is; it may be missing."""


@dataclass(frozen=True)
class Note:
    """Something to know about a cohort: a code of the message catalogue with its values."""

    code: str
    values: Mapping[str, object]


def read_studies(definition: Definition, base: Path) -> tuple[Frame, list[Note]]:
    """Every study of ``results.csv``, one row each, with ``person`` (centre and pseudonym) and ``fluid``.

    Raises:
        InputError: a column is missing, or a study stands there twice.
    """
    part = definition.studies
    path = base / part.results
    raw = read_frame(path, (*TEXT, *NUMBERS, part.person))
    for name in ("id", "sex", "level", "protocol", "muscle_area_cm2"):
        if name not in raw:
            raise InputError(f"'{path.name}' has no column '{name}': is it the results.csv of a batch?")
    columns: dict[str, NDArray[Any]] = {name: raw.text(name) for name in TEXT}
    columns |= {name: raw.number(name) for name in NUMBERS}
    notes: list[Note] = []
    pseudonym = _persons(definition, base, raw, notes)
    columns["pseudonym"] = pseudonym
    columns["person"] = named_in(columns["centre"], pseudonym)
    columns["day"] = days_of(raw.text("date"))
    failures = path.with_name("failures.csv")
    failed = len(read_frame(failures, ("id",))) if failures.is_file() else 0
    if failed:
        notes.append(Note("cohort_note_failures", {"n": failed}))
    split = {text: text.split() for text in set(columns["flags"])}
    columns["fluid"] = np.array(
        [any(f in FLUID_FLAGS for f in split[t]) for t in columns["flags"]], np.float64
    )
    columns["sex"] = texts(s if s in ("M", "F") else "" for s in columns["sex"])
    frame = Frame({k: v for k, v in columns.items() if k != "date"})
    return with_errors(frame, part.level), notes


def with_errors(frame: Frame, level: str) -> Frame:
    """With the measurement error of every index beside it."""
    area, error = frame.number("SMA"), frame.number("muscle_area_error_cm2")
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(area > 0, error / area, np.nan)
    found = {f"{n}_error": frame.number(n) * share for n in ("SMA", "SMA_Ht2", "SMA_Wt", "SMA_BMI")}
    density = measurement_error(level, "muscle").mean_hu
    found["SMD_error"] = np.full(len(frame), np.nan if density is None else density)
    return frame.adding(found)


def _persons(definition: Definition, base: Path, raw: Frame, notes: list[Note]) -> Texts:
    part = definition.studies
    if part.people:
        table = read_frame(base / part.people, ("id", "person"))
        who = dict(zip(table.text("id"), table.text("person"), strict=True))
        found = texts(who.get(i, "") for i in raw.text("id"))
    elif part.person not in raw and part.person != PERSON:
        raise InputError(f"'{part.results}' has no column '{part.person}' that says whose a study is.")
    else:
        found = raw.text(part.person)
    alone = np.asarray(found == "", np.bool_)
    if alone.all():
        notes.append(Note("cohort_note_no_person", {"n": len(raw)}))
    elif alone.any():
        raise InputError(
            f"{int(alone.sum())} studies do not say whose they are, the first is "
            f"'{raw.text('id')[alone][0]}': fill the column '{part.person}'."
        )
    return np.where(alone, raw.text("id"), found).astype(object)


def named_in(centres: Texts, pseudonyms: Texts) -> Texts:
    """Who a pseudonym means: of a centre, where it is known."""
    return texts(f"{c}/{p}" if c else p for c, p in zip(centres, pseudonyms, strict=True))


def days_of(dates: Texts) -> np.ndarray:
    """Days as the results write them (YYYY-MM-DD or YYYYMMDD); NaT where there is none.

    Raises:
        InputError: one that is no date.
    """
    out = np.full(len(dates), np.datetime64("NaT", "D"))
    for k, text in enumerate(dates):
        if len(text) == 8 and text.isdigit():
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        try:
            out[k] = np.datetime64(text[:10], "D") if text else out[k]
        except ValueError:
            raise InputError(f"'{text}' in the column date of the results is no date.") from None
    return out


def check_studies(frame: Frame, name: str) -> list[Note]:
    """Odd things among the studies of one level and protocol.

    Raises:
        InputError: a study stands there twice, or one person has two sexes.
    """
    ids, counts = np.unique(frame.text("id").astype(str), return_counts=True)
    if (counts > 1).any():
        raise InputError(f"The study '{ids[counts > 1][0]}' stands twice in '{name}'.")
    order = np.lexsort((frame.columns["day"].astype("int64"), frame.text("person").astype(str)))
    told = order[frame.text("sex")[order] != ""]
    who, sex = frame.text("person")[told], frame.text("sex")[told]
    two = (who[1:] == who[:-1]) & (sex[1:] != sex[:-1])
    if two.any():
        first = np.flatnonzero(two)[0]
        raise InputError(
            f"'{who[first]}' is a man in one study and a woman in another ("
            f"{frame.text('id')[told][first]}, {frame.text('id')[told][first + 1]})."
        )
    person = frame.text("person")[order]
    same = person[1:] == person[:-1]
    age, day = frame.number("age_years")[order], frame.columns["day"][order]
    years = (day[1:] - day[:-1]).astype("timedelta64[D]").astype(np.float64) / 365.25
    years[np.isnat(day[1:]) | np.isnat(day[:-1])] = np.nan
    with np.errstate(invalid="ignore"):
        odd = same & (np.abs(np.diff(age) - years) > AGE_SLACK_YEARS)
    notes = []
    if odd.any():
        notes.append(Note("cohort_note_ages", {"n": int(odd.sum()), "who": _some(person[1:], odd)}))
    twins = _twins(frame)
    if twins.any():
        notes.append(
            Note("cohort_note_twins", {"n": int(twins.sum()), "who": _some(frame.text("id"), twins)})
        )
    return notes


def _twins(frame: Frame) -> Flags:
    """Studies of different persons with the same day, sex and area: perhaps one person under two names."""
    day = frame.columns["day"].astype("int64")
    area, age = frame.number("muscle_area_cm2").view(np.int64), frame.number("age_years").view(np.int64)
    keys = np.column_stack([day, area, age, (frame.text("sex") == "M").astype(np.int64)])
    _, group, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    twice = np.asarray((counts[group] > 1) & ~np.isnat(frame.columns["day"]), np.bool_)
    several = {g for g in set(group[twice]) if len(set(frame.text("person")[group == g])) > 1}
    return np.array([bool(t) and g in several for t, g in zip(twice, group, strict=True)], np.bool_)


def _some(names: Texts, mask: Flags) -> str:
    found = [str(n) for n in names[mask][:SHOWN]]
    return ", ".join(found) + (" …" if int(mask.sum()) > SHOWN else "")


def doubtful(frame: Frame, definition: Definition, base: Path) -> Flags:
    """Studies with a doubtful flag, or judged so by people who looked; their ``ok`` beats the flags."""
    part = definition.studies
    bad = {t: bool(set(t.split()) & set(part.doubtful_flags)) for t in set(frame.text("flags"))}
    found = np.array([bad[t] for t in frame.text("flags")], np.bool_)
    if not part.verdicts:
        return found
    table = read_frame(base / part.verdicts, ("id", "verdict"))
    verdicts = {i: v.strip().casefold() for i, v in zip(table.text("id"), table.text("verdict"), strict=True)}
    unknown = sorted(set(verdicts.values()) - {"ok", "doubtful", "bad", ""})
    if unknown:
        raise InputError(f"'{unknown[0]}' in '{part.verdicts}' is no verdict; they are ok, doubtful and bad.")
    said = [verdicts.get(i, "") for i in frame.text("id")]
    return np.array([f if not v else v != "ok" for f, v in zip(found, said, strict=True)], np.bool_)


def policy_steps(definition: Definition) -> list[tuple[str, dict[str, object], Callable[[Frame], Flags]]]:
    """What the series policy asks: (code of the reason, its values, who stays)."""
    policy = definition.policy
    steps: list[tuple[str, dict[str, object], Callable[[Frame], Flags]]] = [
        (
            "cohort_flow_phase",
            {"phases": ", ".join(policy.phases)},
            lambda f: np.isin(f.text("phase").astype(str), policy.phases),
        )
    ]
    for code, name, span in (
        ("cohort_flow_kvp", "kvp", policy.kvp),
        ("cohort_flow_thickness", "slice_thickness_mm", policy.thickness_mm),
    ):
        if span is not None:
            values: dict[str, object] = {"low": f"{span[0]:g}", "high": f"{span[1]:g}"}
            steps.append((code, values, partial(_inside, name=name, span=span)))
    if not policy.sharp_kernel:
        steps.append(("cohort_flow_kernel", {}, _soft))
    return steps


def _inside(frame: Frame, name: str, span: tuple[float, float]) -> Flags:
    """Within the span, or not known."""
    value = frame.number(name)
    return np.isnan(value) | ((value >= span[0]) & (value <= span[1]))


def _soft(frame: Frame) -> Flags:
    sharp = {k: is_sharp(k) for k in set(frame.text("kernel"))}
    return np.array([not sharp[k] for k in frame.text("kernel")], np.bool_)
