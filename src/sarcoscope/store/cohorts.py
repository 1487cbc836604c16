"""Cohorts of the store: its studies as the tables that a cohort file names, and what came of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.cohort.column_map import sentence_of
from sarcoscope.cohort.definition import Definition
from sarcoscope.cohort.studies import NUMBERS, TEXT
from sarcoscope.errors import NotFoundError, SettingError
from sarcoscope.exports.result_rows import result_rows
from sarcoscope.files import write_bytes
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Centre, CohortVersion, Person, Study

RESULTS: Final = "results.csv"
VERDICTS: Final = "verdicts.csv"
MAPPING: Final = "mapping.json"
COHORT: Final = "cohort.json"
TABLE: Final = "in/table"
"""File of a version: the clinical table as it was uploaded."""
_COLUMNS: Final = tuple(dict.fromkeys((*TEXT, *NUMBERS)))
_VERDICTS: Final = {"accepted": "ok", "reader": "doubtful", "excluded": "bad"}
_AT_ONCE: Final = 1000


def settled(given: Mapping[str, Any], table: str) -> Definition:
    """A cohort file whose tables are the store's own.

    Args:
        given: the cohort file as a researcher wrote it; the files that it names are set aside.
        table: name of the clinical table; empty: there is none.

    Raises:
        SettingError: it cannot be used.
    """
    studies = {**_part(given, "studies"), "results": RESULTS, "person": "person", "people": "",
               "verdicts": VERDICTS}  # fmt: skip
    wanted = {**given, "studies": studies, "clinical": None}
    if table:
        wanted["clinical"] = {**_part(given, "clinical"), "table": table_file(table), "mapping": MAPPING}
    if _part(given, "analysis").get("standard"):
        raise SettingError("A standard population of one's own can be used by 'sarcoscope cohort run' only.")
    try:
        return Definition.model_validate(wanted)
    except ValidationError as error:
        raise SettingError(f"The cohort file cannot be used: {sentence_of(error)}.") from error


def _part(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = given.get(name) or {}
    if not isinstance(part, dict):
        raise SettingError(f"The part '{name}' of the cohort file is no table.")
    return part


def table_file(name: str) -> str:
    """Name under which a clinical table is laid out."""
    return "clinical.xlsx" if name.lower().endswith(".xlsx") else "clinical.csv"


def lay_out_cohort(
    store: Store,
    session: Session,
    project: int,
    centres: Sequence[int],
    definition: Definition,
    table: bytes | None,
    mapping: Mapping[str, Any] | None,
    folder: Path,
) -> Path:
    """Write the cohort file and every table that it names; returns the cohort file.

    Raises:
        NotFoundError: no study of these centres was measured.
    """
    if not write_results(store, session, project, centres, folder / RESULTS):
        raise NotFoundError("No study of these centres was measured yet.")
    _write_verdicts(session, project, centres, folder / VERDICTS)
    if definition.clinical is not None:
        write_bytes(folder / definition.clinical.table, table or b"")
        write_bytes(folder / MAPPING, json.dumps(dict(mapping or {}), ensure_ascii=False).encode())
    text = definition.model_dump_json(indent=1)
    write_bytes(folder / COHORT, f"{text}\n".encode())
    return folder / COHORT


def write_results(store: Store, session: Session, project: int, centres: Sequence[int], path: Path) -> int:
    """Every measured study as ``batch`` writes it, a row a level; returns how many studies."""
    codes = {c.id: c.code for c in session.scalars(select(Centre).where(Centre.id.in_(centres)))}
    asked = (
        select(
            Study.id, Study.centre_id, Study.day, Study.disease, Person.pseudonym, Analysis.id, Analysis.rows
        )
        .join(Person, Person.id == Study.person_id)
        .join(Analysis, Analysis.id == Study.analysis_id)
        .where(Study.project_id == project, Study.centre_id.in_(centres), Study.sample.is_(False))
        .order_by(Study.id)
    )
    count = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore", restval="", lineterminator="\n")
        writer.writeheader()
        for number, centre, day, disease, pseudonym, analysis, rows in session.execute(
            asked.execution_options(yield_per=_AT_ONCE)
        ):
            count += 1
            study = {"id": str(number), "person": pseudonym, "centre": codes[centre], "disease": disease,
                     "date": day.isoformat() if day else ""}  # fmt: skip
            # Results of before this column was there are read from their file.
            for row in rows if rows is not None else result_rows(result_of(store, session, analysis)):
                writer.writerow({**row, **study})
    return count


def _write_verdicts(session: Session, project: int, centres: Sequence[int], path: Path) -> None:
    """What people who looked at the studies said."""
    asked = select(Study.id, Study.review).where(
        Study.project_id == project, Study.centre_id.in_(centres), Study.review.in_(_VERDICTS)
    )
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("id", "verdict"))
        writer.writerows((number, _VERDICTS[review]) for number, review in session.execute(asked))


def file_of(store: Store, version: CohortVersion, name: str) -> bytes:
    """A file of a version.

    Raises:
        NotFoundError: it has none of that name.
    """
    found = next((f for f in version.files if f.name == name), None)
    if found is None:
        raise NotFoundError("The cohort has no such file.")
    return store.files.read(found.sha256)
