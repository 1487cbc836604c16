"""Import of a clinical table: every row is checked first, and either all of them come in or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.cohort.clinical_cells import Cell, read_cell
from sarcoscope.cohort.codes import DiseaseCode, code_table, disease_of, is_code
from sarcoscope.cohort.column_map import ColumnMap, guess_unit
from sarcoscope.cohort.fields import Field, fields, own_field, plain
from sarcoscope.cohort.frame import Frame, texts
from sarcoscope.deid.link import read_table
from sarcoscope.errors import InputError
from sarcoscope.measures.body_info import BMI_LIMITS

SHOWN: Final = 8
"""Problems that a message names; the rest stand in the table of problems."""
POUNDS_BMI: Final = 45.0
"""A median BMI above this is that of weights in pounds; of people before bariatric surgery it is lower."""
POUNDS_ROWS: Final = 10
NO_DAY: Final = np.datetime64("NaT", "D")


@dataclass(frozen=True)
class Problem:
    """Something wrong in a cell, a row or a column."""

    row: int
    """Row of the table, the heading is 1; 0: the whole column."""
    column: str
    code: str
    text: str
    """A sentence without its full stop."""

    def __str__(self) -> str:
        return f"row {self.row}: {self.text}" if self.row else self.text


@dataclass(frozen=True)
class Clinical:
    """A clinical table that was read."""

    frame: Frame
    """Columns by field: text, numbers, or days (``datetime64[D]``); diseases are 1, 0 or NaN."""
    problems: tuple[Problem, ...]
    fields: Mapping[str, Field]
    columns: Mapping[str, str]
    """Field -> column of the table."""
    codes_used: tuple[DiseaseCode, ...] = ()
    codes_unknown: Mapping[str, int] = field(default_factory=dict)
    """Codes of no disease of the table, and how often they stand there."""
    visits: bool = False

    def checked(self, name: str) -> Clinical:
        """Itself, when nothing is wrong.

        Raises:
            InputError: problems; the first are named.
        """
        if self.problems:
            shown = "; ".join(map(str, self.problems[:SHOWN]))
            more = len(self.problems) - SHOWN
            tail = f"; and {more} more" if more > 0 else ""
            raise InputError(f"Nothing of '{name}' was imported: {shown}{tail}.")
        return self


def import_clinical(path: Path, mapping: ColumnMap) -> Clinical:
    """Read a CSV (UTF-8 or CP949) or XLSX by a mapping; problems are listed, none is mended silently.

    Raises:
        InputError: it cannot be read, or a column of the mapping is not there.
    """
    heading, rows = read_table(path)
    known = {name: fields()[name] for name in mapping.columns} | {
        name: own_field(name, o.kind, o.title, unit=o.unit, low=o.low, high=o.high)
        for name, o in mapping.other.items()
    }
    columns = {**mapping.columns, **{name: o.column for name, o in mapping.other.items()}}
    for column in (*columns.values(), *mapping.codes.columns):
        if column not in heading:
            raise InputError(f"'{path.name}' has no column '{column}'; it has {', '.join(heading)}.")
    problems: list[Problem] = []
    found: dict[str, list[Any]] = {}
    for name, spec in known.items():
        raw = [r[columns[name]].strip() for r in rows]
        found[name] = _column(spec, columns[name], raw, mapping, problems)
    columns_read: dict[str, NDArray[Any]] = {n: _array(known[n], v) for n, v in found.items()}
    used, unknown = _diagnoses(rows, mapping, columns_read, problems)
    _persons(rows, columns, mapping, problems)
    _pounds(columns_read, columns, mapping, problems)
    _bodies(columns_read, columns, problems)
    problems.sort(key=lambda p: (p.row, p.column))
    order = list(fields())
    coded = sorted({c.disease for c in used} - set(known))
    for disease in sorted(coded, key=lambda d: order.index(d) if d in order else len(order)):
        known[disease] = fields().get(disease) or own_field(disease, "disease", {})
    return Clinical(
        Frame(columns_read),
        tuple(problems),
        known,
        {**columns, **{c.disease: "+".join(mapping.codes.columns) for c in used if c.disease not in columns}},
        tuple(used),
        unknown,
        mapping.rows == "visits",
    )


def _column(
    spec: Field, column: str, raw: list[str], mapping: ColumnMap, problems: list[Problem]
) -> list[Any]:
    unit = mapping.units.get(spec.name, spec.unit)
    factor = 1.0 if unit == spec.unit else spec.factors[unit]
    guessed = "" if unit != spec.unit or spec.name not in fields() else guess_unit(spec.name, column, raw)
    words = mapping.values.get(spec.name, {})
    cells: list[Cell] = [read_cell(spec, words.get(text, text), factor) for text in raw]
    wrong = [(k, c.problem) for k, c in enumerate(cells, 2) if c.problem]
    if guessed:
        text = f"the values of '{column}' look like {guessed}, not {spec.unit}: say so under [units]"
        problems.append(Problem(0, column, "unit", text))
        wrong = [(k, p) for k, p in wrong if p != "impossible"]
    for k, code in wrong:
        problems.append(Problem(k, column, code, _sentence(code, spec, column, raw[k - 2], unit)))
    return [c.value for c in cells]


def _sentence(code: str, spec: Field, column: str, text: str, unit: str) -> str:
    if code == "impossible":
        span = (
            f"{spec.low:g} to {spec.high:g}"
            if spec.low is not None and spec.high is not None
            else "its range"
        )
        return f"{text} {unit} in '{column}' cannot be true ({span} {spec.unit})".replace("  ", " ")
    if code == "missing":
        return f"'{column}' is empty"
    what = {"no_number": "no number", "no_date": "no date", "unclear": "not understood"}[code]
    return f"'{text}' in '{column}' is {what}"


def _array(spec: Field, values: list[Any]) -> NDArray[Any]:
    if spec.kind in ("number", "flag", "category", "disease"):
        return np.array([np.nan if v is None else v for v in values], np.float64)
    if spec.kind == "date":
        return np.array([NO_DAY if v is None else np.datetime64(v, "D") for v in values], "datetime64[D]")
    return texts("" if v is None else v for v in values)


def _diagnoses(
    rows: list[dict[str, str]], mapping: ColumnMap, out: dict[str, NDArray[Any]], problems: list[Problem]
) -> tuple[list[DiseaseCode], dict[str, int]]:
    """Adds a column for every disease of the code table that a column of codes may hold."""
    if not mapping.codes.columns:
        return [], {}
    extra = {k.upper().replace(".", ""): v for k, v in mapping.codes.extra.items()}
    diseases = list(dict.fromkeys([c.disease for c in code_table()] + list(extra.values())))
    has = {d: np.zeros(len(rows)) for d in diseases}
    used: dict[str, DiseaseCode] = {}
    unknown: Counter[str] = Counter()
    seen: dict[str, DiseaseCode | None] = {}
    for k, row in enumerate(rows):
        for column in mapping.codes.columns:
            for part in filter(None, (p.strip() for p in row[column].split(mapping.codes.separator))):
                if part not in seen:
                    seen[part] = _meaning(part, extra)
                    if not is_code(part):
                        problems.append(
                            Problem(
                                k + 2, column, "no_code", f"'{part}' in '{column}' is no ICD-10 or KCD code"
                            )
                        )
                code = seen[part]
                if code is None:
                    unknown[part] += 1
                else:
                    has[code.disease][k] = 1.0
                    used[code.prefix] = code
    for name, flags in has.items():
        given = out.get(name)
        if given is None:
            out[name] = flags
            continue
        clash = np.flatnonzero((given == 0) & (flags == 1))
        for k in clash.tolist():
            text = f"the codes say {name} and the column '{mapping.columns.get(name, name)}' says no"
            problems.append(Problem(k + 2, mapping.columns.get(name, name), "contradiction", text))
        out[name] = np.where(np.isnan(given), flags, np.maximum(given, flags))
    return sorted(used.values(), key=lambda c: c.prefix), dict(sorted(unknown.items()))


def _meaning(code: str, extra: Mapping[str, str]) -> DiseaseCode | None:
    short = code.upper().replace(".", "")
    for prefix in sorted(extra, key=len, reverse=True):
        if short.startswith(prefix):
            return DiseaseCode(prefix, extra[prefix], "", "the mapping file", "own")
    return disease_of(code)


def _persons(
    rows: list[dict[str, str]], columns: Mapping[str, str], mapping: ColumnMap, problems: list[Problem]
) -> None:
    who = columns["pseudonym"]
    centre = columns.get("centre")
    sex = columns.get("sex")
    first: dict[tuple[str, str], int] = {}
    for k, row in enumerate(rows, 2):
        key = (row[centre].strip() if centre else "", row[who].strip())
        if not key[1]:
            problems.append(Problem(k, who, "missing", f"'{who}' is empty: the row is nobody's"))
        elif key not in first:
            first[key] = k
        elif mapping.rows == "one":
            text = (
                f"'{key[1]}' stands in row {first[key]} already (say rows = \"visits\" if these are visits)"
            )
            problems.append(Problem(k, who, "doubled", text))
        elif sex and row[sex].strip() != rows[first[key] - 2][sex].strip():
            text = f"'{key[1]}' has another sex than in row {first[key]}"
            problems.append(Problem(k, sex, "contradiction", text))


def _pounds(
    out: Mapping[str, NDArray[Any]], columns: Mapping[str, str], mapping: ColumnMap, problems: list[Problem]
) -> None:
    """Weights in pounds, many of which could be kilograms one by one; a unit that is named is believed."""
    column = columns.get("weight_kg", "")
    if not {"height_cm", "weight_kg"} <= set(out) or "weight_kg" in mapping.units:
        return
    bmi = out["weight_kg"] / (out["height_cm"] / 100) ** 2
    bmi = bmi[np.isfinite(bmi)]
    if len(bmi) < POUNDS_ROWS or plain(column).endswith("kg") or np.median(bmi) <= POUNDS_BMI:
        return
    text = (
        f"the values of '{column}' give a median BMI of {np.median(bmi):.0f} and look like lb: say so under "
        "[units], or end the heading with kg if they are"
    )
    problems.append(Problem(0, column, "unit", text))


def _bodies(out: Mapping[str, NDArray[Any]], columns: Mapping[str, str], problems: list[Problem]) -> None:
    """Height and weight that cannot be of one person; exchanged ones are called so."""
    if "height_cm" not in out or "weight_kg" not in out:
        return
    height, weight = out["height_cm"], out["weight_kg"]
    with np.errstate(invalid="ignore", divide="ignore"):
        bmi, exchanged = weight / (height / 100) ** 2, height / (weight / 100) ** 2
    bad = (bmi < BMI_LIMITS[0]) | (bmi > BMI_LIMITS[1])
    swapped = bad & (exchanged > 15) & (exchanged < 50)
    if bad.sum() > 0.5 * np.isfinite(bmi).sum() and swapped.sum() > 0.5 * bad.sum():
        text = f"the columns '{columns['height_cm']}' and '{columns['weight_kg']}' seem to be exchanged"
        problems[:] = [p for p in problems if p.column not in (columns["height_cm"], columns["weight_kg"])]
        problems.append(Problem(0, columns["height_cm"], "swapped", text))
        return
    for k in np.flatnonzero(bad):
        what = (
            "seem to be exchanged" if swapped[k] else f"give a BMI of {bmi[k]:.1f}, which is hardly possible"
        )
        text = f"height {height[k]:g} cm and weight {weight[k]:g} kg {what}"
        code = "swapped" if swapped[k] else "impossible"
        problems.append(Problem(int(k) + 2, columns["height_cm"], code, text))


def day_text(day: np.datetime64) -> str:
    """A day as YYYY-MM-DD; empty when there is none."""
    return "" if np.isnat(day) else str(day.astype(date))
