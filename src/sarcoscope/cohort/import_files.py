"""``cohort import``: a suggested mapping, and then the checked table with its dictionary and matches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from sarcoscope.cohort.clinical import Clinical, day_text, import_clinical
from sarcoscope.cohort.column_map import read_column_map, suggest
from sarcoscope.cohort.dictionary import COLUMNS, data_dictionary
from sarcoscope.cohort.frame import Frame, read_frame, texts
from sarcoscope.cohort.join import rows_of
from sarcoscope.cohort.sheets import Sheet, sheet_bytes
from sarcoscope.cohort.studies import days_of, named_in
from sarcoscope.deid.link import read_table
from sarcoscope.files import make_folder, write_bytes

MATCH_COLUMNS: Final = ("id", "person", "date", "row", "days")


@dataclass(frozen=True)
class Imported:
    """What came of an import."""

    rows: int
    people: int
    matched: int | None
    """People with a CT; None where no results were given."""
    days: str
    warnings: tuple[str, ...]


def suggest_mapping(table: Path, out: Path) -> Path:
    """Write ``mapping.toml`` for a table; returns it.

    Raises:
        InputError: the table cannot be read, or says of nobody.
    """
    text = suggest(*read_table(table))
    make_folder(out)
    path = out / "mapping.toml"
    write_bytes(path, text.encode())
    return path


def import_table(table: Path, mapping: Path, out: Path, results: Path | None = None) -> Imported:
    """Check a table; when nothing is wrong write ``clinical.csv``, ``dictionary.csv`` and ``matches.csv``.

    When anything is wrong only ``problems.csv`` is written, with every problem by its row.

    Raises:
        InputError: the table has problems, or cannot be read.
        SettingError: the mapping is not confirmed or does not fit.
    """
    found = import_clinical(table, read_column_map(mapping))
    make_folder(out)
    problems = out / "problems.csv"
    problems.unlink(missing_ok=True)
    if found.problems:
        wrong = [
            {"row": p.row or "", "column": p.column, "code": p.code, "text": p.text} for p in found.problems
        ]
        write_bytes(problems, sheet_bytes(Sheet("problems", ("row", "column", "code", "text"), wrong), {}))
        found.checked(table.name)
    names = tuple(found.frame.columns)
    written = Frame({n: _text(c) for n, c in found.frame.columns.items()})
    cells = [dict(zip(names, values, strict=True)) for values in zip(*written.columns.values(), strict=True)]
    write_bytes(out / "clinical.csv", sheet_bytes(Sheet("clinical", names, cells), {}))
    write_bytes(out / "dictionary.csv", sheet_bytes(Sheet("dictionary", COLUMNS, data_dictionary(found)), {}))
    warnings = [
        f"The code {c.prefix} ({c.meaning or 'own'}: {c.disease}) was not checked against a source."
        for c in found.codes_used
        if not c.verified
    ]
    if found.codes_unknown:
        codes = ", ".join(list(found.codes_unknown)[:10])
        warnings.append(f"Codes of no disease of the table: {codes}.")
    people = len(set(found.frame.text("pseudonym")))
    matched, days = None, ""
    if results is not None:
        rows = matches(found, results)
        write_bytes(out / "matches.csv", sheet_bytes(Sheet("matches", MATCH_COLUMNS, rows), {}))
        matched = len({r["person"] for r in rows if r["row"]})
        gaps = [abs(r["days"]) for r in rows if r["days"] is not None]
        days = f"median {np.median(gaps):g}, most {max(gaps)}" if gaps else "not known (no dates)"
    return Imported(len(found.frame), people, matched, days, tuple(warnings))


def _text(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "M":
        return texts(day_text(d) for d in column)
    return column


def matches(clinical: Clinical, results: Path) -> list[dict[str, Any]]:
    """A row a study: which row of the table is nearest in time, and how many days after the CT it lies."""
    studies = read_frame(results, ("id", "person", "centre", "date"))
    _, first = np.unique(studies.text("id").astype(str), return_index=True)
    studies = studies.take(np.sort(first))
    days = clinical.frame.columns.get("day")
    when = days_of(studies.text("date"))
    keys, wanted = clinical.frame.text("pseudonym"), studies.text("person")
    if "centre" in clinical.frame:
        keys = named_in(clinical.frame.text("centre"), keys)
        wanted = named_in(studies.text("centre"), wanted)
    row = rows_of(keys, days, wanted, when)
    out: list[dict[str, Any]] = []
    for k, place in enumerate(row.tolist()):
        gap: dict[str, Any] = {"days": None}
        if place >= 0 and days is not None and not np.isnat(days[place]) and not np.isnat(when[k]):
            gap = {"days": int((days[place] - when[k]).astype(int))}
        study = {name: studies.text(name)[k] for name in ("id", "person", "date")}
        out.append({**study, "row": place + 2 if place >= 0 else "", **gap})
    return out
