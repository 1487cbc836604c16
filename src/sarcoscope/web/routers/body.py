"""Body values of many people from one table: sent once to see the matches, and again to keep them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from sarcoscope.jobs.study_job import queue_judgement
from sarcoscope.store.body_import import BodyRow, Columns, keep_rows, match_rows, read_body_table
from sarcoscope.store.tables import Study
from sarcoscope.web.access import Access, AccessDep
from sarcoscope.web.problems import TooLargeError
from sarcoscope.web.scope import Code, place

router = APIRouter(tags=["body info"])
MOST_BYTES = 20 * 1024 * 1024
_SHOWN = 1000
_TABLE_NAME = r"^[^\x00/\\]{1,200}\.([cC][sS][vV]|[xX][lL][sS][xXmM]|[tT][xX][tT])$"
_BODY = {
    "requestBody": {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    }
}


class BodyRowEntry(BaseModel):
    """A row of the table: whom it means, and whether it can be taken."""

    line: int = Field(description="Row of the table; the heading is 1.")
    problem: str = Field(description="Why it is not taken; empty when it is.", examples=["nobody"])
    column: str
    pseudonym: str
    studies: int
    days: int | None = Field(description="From the values to the nearest study.")
    day: date | None
    height_cm: float | None
    weight_kg: float | None
    age_years: float | None
    dry: bool
    fluid: bool


class BodyImport(BaseModel):
    """What a table holds, or what was kept of it."""

    key: str = Field(description="The column that says who.", examples=["patient_id"])
    columns: dict[str, str] = Field(description="Field -> name of its column.")
    ignored: list[str]
    rows: list[BodyRowEntry] = Field(description=f"The first {_SHOWN}, those with a problem first.")
    taken: int = Field(description="Rows that can be taken, or were.")
    people: int
    problems: dict[str, int] = Field(description="Problem -> rows.")
    kept: bool
    queued: int = Field(description="Analysed studies whose result follows the new values.")


@router.post("/body-table", openapi_extra=_BODY)
async def body_table(
    request: Request,
    access: AccessDep,
    project: Annotated[Code, Query()],
    centre: Annotated[Code, Query()],
    name: Annotated[
        str, Query(pattern=r"(?i)^[^\x00/\\]{1,200}\.(csv|xlsx|xlsm|txt)$", examples=["body.csv"])
    ],
    keep: Annotated[bool, Query(description="Keep the values; without it they are only matched.")] = False,
) -> BodyImport:
    """Match a CSV or XLSX of body values to people, by pseudonym, or by hospital numbers (needs the right to
    the mapping; its dates are then moved like the person's studies). Role annotator."""
    content = bytearray()
    async for block in request.stream():
        content += block
        if len(content) > MOST_BYTES:
            raise TooLargeError("A table is at most 20 MB.")
    return await to_thread.run_sync(_imported, access, project, centre, name, bytes(content), keep)


def _imported(access: Access, project: str, centre: str, name: str, content: bytes, keep: bool) -> BodyImport:
    store = access.store
    with store.database.reading() as session:
        where = tuple(r.id for r in place(session, access, project, centre, "annotator"))
    with store.work_folder() as folder:
        path = folder / f"table{name[name.rindex('.') :].lower()}"
        path.write_bytes(content)
        columns, table = read_body_table(path)
    ids = (where[0], where[1])
    with ExitStack() as stack:
        mapping = None
        if columns.needs_mapping:
            access.require_mapping(*ids)
            mapping = stack.enter_context(store.mapping(centre, project))
            mapping.record("body_table", {"rows": len(table), "user": access.user.name})
        if not keep:
            with store.database.reading() as session:
                return _entry(columns, match_rows(session, ids, columns, table, mapping), 0, kept=False)
        with store.database.writing() as session:
            rows = match_rows(session, ids, columns, table, mapping)
            studies = keep_rows(session, rows, access.user.id)
            for number in studies:
                queue_judgement(session, store, session.get_one(Study, number))
            entry = _entry(columns, rows, len(studies), kept=True)
            access.audit(session, "import_body", project_id=ids[0], centre_id=ids[1], rows=entry.taken)
    return entry


def _entry(columns: Columns, rows: list[BodyRow], queued: int, *, kept: bool) -> BodyImport:
    problems: dict[str, int] = {}
    for row in rows:
        if row.problem:
            problems[row.problem] = problems.get(row.problem, 0) + 1
    good = [r for r in rows if not r.problem]
    shown = sorted(rows, key=lambda r: (not r.problem or r.problem == "known", r.line))[:_SHOWN]
    return BodyImport(
        key=columns.key,
        columns=dict(columns.known),
        ignored=list(columns.ignored),
        rows=[BodyRowEntry(**_fields(r)) for r in shown],
        taken=len(good),
        people=len({r.person for r in good}),
        problems=problems,
        kept=kept,
        queued=queued,
    )


def _fields(row: BodyRow) -> Mapping[str, Any]:
    return {name: getattr(row, name) for name in BodyRowEntry.model_fields}
