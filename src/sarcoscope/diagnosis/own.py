"""A centre's own reference, built from a table of young healthy people, or from limits of its own."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.diagnosis.reference_set import LimitRow, ReferenceSet, Span, shipped_sets
from sarcoscope.errors import InputError, NotFoundError, SettingError, StorageError, UnreadableError
from sarcoscope.home import user_folder
from sarcoscope.measures.indices import INDEX_UNITS

FEWEST: Final = 10
"""Fewer people of one sex give no mean and SD worth the name."""
ENOUGH: Final = 30
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_RAW: Final = ("sma_cm2", "height_cm", "weight_kg")


@dataclass(frozen=True)
class OwnOptions:
    """How a centre's own reference is built, and what it was made for."""

    name: str
    young: tuple[float, float] = (20.0, 44.0)
    """Ages in completed years that count, both included."""
    level: str = "L3"
    protocol: str | None = "range"
    phase: str | None = None
    title: str = ""
    hu_band: tuple[int, int] | None = None
    """HU of the muscle, where known."""
    muscle_set: str | None = None
    """Which muscles the area counts, where known."""


def sets_folder() -> Path:
    """Where one's own sets are kept: ``SARCOSCOPE_HOME``, else the user's data folder."""
    return user_folder("references")


def own_sets(folder: Path | None = None) -> tuple[ReferenceSet, ...]:
    """All sets that the user has built.

    Raises:
        UnreadableError: a file in the folder is damaged.
    """
    folder = folder or sets_folder()
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(reference_of(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableError(f"The own reference set in '{path.name}' is damaged.") from error
    return tuple(found)


def build_reference(table: Path, options: OwnOptions) -> tuple[ReferenceSet, list[str]]:
    """A young reference from a table of people; returns it with sentences of what to be wary of.

    The table is a CSV with ``sex`` and ``age`` and either index columns (``SMA``, ``SMA_Ht2``, ``SMA_Wt``,
    ``SMA_BMI``, ``SMD``) or the raw values ``sma_cm2``, ``height_cm``, ``weight_kg``. People outside the
    young ages are left out and counted.

    Raises:
        InputError: rows that cannot be read (all of them are named), or too few people of both sexes.
        SettingError: a name that is taken or malformed, or an unknown level.
    """
    check_options(options)
    people, outside = _people(table, options.young)
    values = {
        (sex, index): [v[index] for s, v in people if s == sex and index in v]
        for sex in ("M", "F")
        for index in INDEX_UNITS
    }
    rows, notes = population_rows(values, options.level)
    if not rows:
        raise InputError(
            f"'{table.name}' has fewer than {FEWEST} people of each sex between {options.young[0]:g} and "
            f"{options.young[1]:g} years; no reference can be built."
        )
    if outside:
        notes.append(f"{outside} people outside the young ages were left out.")
    return own_set(rows, options, f"own table '{table.name}'", len(people)), notes


def population_rows(
    values: Mapping[tuple[str, str], Sequence[float]], level: str
) -> tuple[list[LimitRow], list[str]]:
    """Mean and SD of young people by (sex, index), with sentences of what to be wary of.

    Raises:
        InputError: all values of an index are the same.
    """
    rows, notes = [], []
    for (sex, index), numbers in values.items():
        if not len(numbers):
            continue
        if len(numbers) < FEWEST:
            notes.append(f"{index} of sex {sex} has only {len(numbers)} people and was left out.")
            continue
        if len(numbers) < ENOUGH:
            notes.append(f"{index} of sex {sex} rests on only {len(numbers)} people.")
        mean, sd = statistics.fmean(numbers), statistics.stdev(numbers)
        if sd <= 0:
            raise InputError(f"All values of {index} of sex {sex} are the same; there is no spread.")
        stratum = f"n={len(numbers)}"
        rows.append(LimitRow(index, level, sex, Span(), Span(), "population", None, mean, sd, stratum))
    return rows, notes


def own_set(rows: Sequence[LimitRow], options: OwnOptions, origin: str, n: int) -> ReferenceSet:
    """The set of these rows, with what it was made for."""
    low, high = options.young
    return ReferenceSet(
        name=options.name,
        title=options.title or f"Own reference {options.name}",
        operator="<",
        rows=tuple(rows),
        source=f"{origin}, {n} people of {low:g}-{high:g} years",
        certainty="own",
        protocol=options.protocol,
        phase=options.phase,
        population={"en": f"own table, {low:g}-{high:g} years", "ko": f"자체 자료, {low:g}-{high:g}세"},
        hu_band=options.hu_band,
        muscle_set=options.muscle_set,
        own=True,
    )


def is_young(age: float, young: tuple[float, float]) -> bool:
    """Is an age within the span in completed years (20-44: up to the day before the 45th birthday)?"""
    return young[0] <= age and math.floor(age) <= young[1]


def save_reference(
    reference: ReferenceSet, folder: Path | None = None, details: Mapping[str, Any] | None = None
) -> Path:
    """Keep a set for later analyses; returns its file.

    A set of the name that says something else stays as ``versions/<name>.v<number>.json``.

    Args:
        reference: the set.
        folder: where sets are kept.
        details: how it was built, kept beside it.

    Raises:
        StorageError: the folder cannot be written.
    """
    folder = folder or sets_folder()
    path = folder / f"{reference.name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        version = 1
        if path.is_file():
            old = path.read_text(encoding="utf-8")
            version = int(json.loads(old).get("version", 1))
            if old == reference_text(reference, details, version):
                return path
            (folder / "versions").mkdir(exist_ok=True)
            (folder / "versions" / f"{reference.name}.v{version}.json").write_text(old, encoding="utf-8")
            version += 1
        path.write_text(reference_text(reference, details, version), encoding="utf-8")
    except ValueError as error:
        raise StorageError(f"'{path.name}' is damaged; remove it first.") from error
    except OSError as error:
        raise StorageError(f"The reference set cannot be kept: {error.strerror}.") from error
    return path


def reference_text(
    reference: ReferenceSet, details: Mapping[str, Any] | None = None, version: int = 1
) -> str:
    """A set as the text of its file."""
    content = {"version": version, **_to_dict(reference)}
    if details is not None:
        content["details"] = dict(details)
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def remove_reference(name: str, folder: Path | None = None) -> None:
    """Forget one of one's own sets.

    Raises:
        SettingError: there is no own set of that name.
    """
    path = (folder or sets_folder()) / f"{name}.json"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise SettingError(f"There is no own reference set '{name}'.")
    path.unlink()


def check_options(options: OwnOptions) -> None:
    """See that a reference may be built so.

    Raises:
        SettingError: a name that is taken or malformed, an unknown level, or ages that are no span.
    """
    if not _NAME.fullmatch(options.name):
        raise SettingError("The name of a reference set is made of small letters, digits, '-' and '_'.")
    if options.name in {s.name for s in shipped_sets()}:
        raise SettingError(f"'{options.name}' is the name of a shipped reference set; choose another.")
    if options.level not in LEVELS:
        raise SettingError(f"'{options.level}' is no level.")
    if not 0 <= options.young[0] < options.young[1] <= 120:
        raise SettingError("The young ages are two numbers such as 20-44, the lower one first.")


def _people(table: Path, young: tuple[float, float]) -> tuple[list[tuple[str, dict[str, float]]], int]:
    """(sex, indices) of everyone of a young age, and how many were older or younger."""
    people, problems, outside = [], [], 0
    for line, row in _table_rows(table):
        try:
            sex, age, values = _person(row)
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        if is_young(age, young):
            people.append((sex, values))
        else:
            outside += 1
    if problems:
        shown = "; ".join(problems[:8]) + ("" if len(problems) <= 8 else f"; and {len(problems) - 8} more")
        raise InputError(f"'{table.name}' cannot be used: {shown}.")
    return people, outside


def _table_rows(table: Path) -> list[tuple[int, Mapping[str, str]]]:
    if not table.is_file():
        raise NotFoundError(f"There is no table '{table.name}'.")
    try:
        text = table.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(text.splitlines())
        rows = [(reader.line_num, _cleaned(r)) for r in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"'{table.name}' is no table that can be read (CSV, UTF-8).") from error
    columns = {str(c).strip() for c in reader.fieldnames or ()}
    missing = {"sex", "age"} - columns
    if missing:
        raise InputError(f"'{table.name}' lacks the column '{sorted(missing)[0]}'.")
    if not columns & set(INDEX_UNITS) and "sma_cm2" not in columns:
        raise InputError(
            f"'{table.name}' has neither an index column ({', '.join(INDEX_UNITS)}) nor sma_cm2."
        )
    return rows


def _cleaned(row: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(k).strip(): str(v or "").strip() for k, v in row.items() if k}


def _person(row: Mapping[str, str]) -> tuple[str, float, dict[str, float]]:
    sex = row["sex"].upper()[:1]
    if sex not in ("M", "F"):
        raise ValueError(f"the sex '{row['sex']}' is neither M nor F")
    age = _positive(row, "age")
    if age is None:
        raise ValueError("the age is missing")
    values = {name: v for name in INDEX_UNITS if (v := _positive(row, name)) is not None}
    area, height, weight = (_positive(row, name) for name in _RAW)
    if area is not None:
        values.setdefault("SMA", area)
        if height is not None:
            values.setdefault("SMA_Ht2", area / (height / 100) ** 2)
        if weight is not None:
            values.setdefault("SMA_Wt", area / weight)
        if height is not None and weight is not None:
            values.setdefault("SMA_BMI", area / (weight / (height / 100) ** 2))
    if not values:
        raise ValueError("no index value")
    return sex, age, values


def _positive(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"'{text}' in column {name} is no number") from None
    if not 0 < value < 1e5:
        raise ValueError(f"{text} in column {name} cannot be true")
    return value


def _to_dict(reference: ReferenceSet) -> dict[str, Any]:
    return {
        "name": reference.name,
        "title": reference.title,
        "operator": reference.operator,
        "source": reference.source,
        "protocol": reference.protocol,
        "phase": reference.phase,
        "population": dict(reference.population or {}),
        "hu_band": None if reference.hu_band is None else list(reference.hu_band),
        "muscle_set": reference.muscle_set,
        "rows": [
            {
                "index": r.index,
                "level": r.level,
                "sex": r.sex,
                "mean": r.mean,
                "sd": r.sd,
                "stratum": r.stratum,
            }
            for r in reference.rows
        ],
    }


def reference_of(raw: Mapping[str, Any]) -> ReferenceSet:
    """The set of a file's content, as :func:`reference_text` writes it.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    rows: Sequence[LimitRow] = [
        LimitRow(
            r["index"],
            r["level"],
            r["sex"],
            Span(),
            Span(),
            "population",
            mean=float(r["mean"]),
            sd=float(r["sd"]),
            stratum=str(r["stratum"]),
        )
        for r in raw["rows"]
    ]
    return ReferenceSet(
        name=str(raw["name"]),
        title=str(raw["title"]),
        operator=str(raw["operator"]),
        rows=tuple(rows),
        source=str(raw["source"]),
        certainty="own",
        protocol=raw["protocol"],
        phase=raw["phase"],
        population=dict(raw["population"]) or None,
        hu_band=(int(raw["hu_band"][0]), int(raw["hu_band"][1])) if raw.get("hu_band") else None,
        muscle_set=raw.get("muscle_set"),
        own=True,
    )
