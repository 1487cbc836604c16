"""Cohorts: a clinical table matched, a cohort file tried, run as a job, its versions and what came out."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import mimetypes
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.cohort.assemble import assemble
from sarcoscope.cohort.clinical import import_clinical
from sarcoscope.cohort.column_map import ColumnMap, sentence_of, suggest
from sarcoscope.cohort.definition import Definition
from sarcoscope.cohort.dictionary import data_dictionary
from sarcoscope.cohort.fields import field_of_column, fields, plain
from sarcoscope.cohort.import_files import matches
from sarcoscope.cohort.studies import NUMBERS, TEXT
from sarcoscope.deid.link import KEYS, LinkSettings, identifying_columns, link_table, read_table
from sarcoscope.diagnosis import find_sets, shipped_sets
from sarcoscope.diagnosis.own import own_sets, reference_of, save_reference
from sarcoscope.errors import ConflictError, InputError, NotFoundError, SettingError
from sarcoscope.files import csv_text, write_bytes
from sarcoscope.jobs.cohort_job import queue_cohort
from sarcoscope.language.catalogue import say_all
from sarcoscope.store.cohorts import (
    RESULTS,
    TABLE,
    file_of,
    lay_out_cohort,
    settled,
    table_file,
    write_results,
)
from sarcoscope.store.results import named
from sarcoscope.store.tables import Centre, CohortFile, CohortRow, CohortVersion, JobRow, Project, User
from sarcoscope.study.settings import PHASES
from sarcoscope.web.access import RANK, Access, AccessDep, Number
from sarcoscope.web.archives import zip_answer
from sarcoscope.web.scope import Code, place

router = APIRouter(prefix="/cohorts", tags=["cohorts"])
MOST_BYTES: Final = 20 * 1024 * 1024
_SHOWN: Final = 200
_ZIP: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/zip": {}}}}
_ANY: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/octet-stream": {}}}}
Text2 = dict[str, str]
"""Language -> text."""


class TableGiven(BaseModel):
    """A clinical table as the researcher has it; hospital numbers in it are never stored."""

    name: Annotated[str, Field(pattern=r"(?i)^[^\x00/\\]{1,200}\.(csv|xlsx|txt)$", examples=["clinical.csv"])]
    content: Annotated[str, Field(max_length=MOST_BYTES * 4 // 3 + 4, description="Base64.")]


class CohortPlace(BaseModel):
    """Whose studies."""

    project: Code
    centres: Annotated[list[Code], Field(min_length=1, max_length=200)]


class TableShown(CohortPlace):
    """A table to be looked at."""

    table: TableGiven


class TableMapped(TableShown):
    """A table with what its columns say."""

    mapping: dict[str, Any]


class CohortTried(CohortPlace):
    """A cohort file to be tried."""

    definition: dict[str, Any] = Field(
        description="As docs/cohort.md says; the files it names are set aside."
    )
    table: TableGiven | None = None
    mapping: dict[str, Any] | None = None


class CohortGiven(CohortTried):
    """A cohort file to be run."""

    reason: Annotated[str, Field(max_length=200)] = ""


class FieldEntry(BaseModel):
    """A field that a clinical table may have."""

    name: str
    kind: str
    title: Text2
    units: list[str]


class CohortChoices(BaseModel):
    """What can be chosen."""

    levels: list[str]
    phases: list[str]
    references: dict[str, str] = Field(description="Name -> title.")
    columns: list[str] = Field(description="Columns of the studies that a rule may name.")
    fields: list[FieldEntry]


class TableEntry(BaseModel):
    """What a table seems to hold."""

    columns: list[str]
    rows: int
    first: list[dict[str, str]]
    suggestion: dict[str, Any] = Field(description="A mapping, to be confirmed.")
    key: str = Field(description="Column of hospital numbers that was replaced by pseudonyms; empty: none.")
    linked: int
    unmatched: int


class ProblemEntry(BaseModel):
    """Something wrong in a table."""

    row: int = Field(description="The heading is 1; 0: the whole column.")
    column: str
    code: str
    text: str


class TableChecked(BaseModel):
    """A table under a mapping."""

    problems: list[ProblemEntry] = Field(description=f"The first {_SHOWN}.")
    n_problems: int
    rows: int
    people: int
    matched: int = Field(description="People with a measured CT.")
    days_median: float | None
    days_most: int | None
    unverified_codes: list[str]
    unknown_codes: list[str]
    diseases: list[str]
    dictionary: list[dict[str, Any]]


class FlowStep(BaseModel):
    """What a rule took away."""

    title: Text2
    persons_out: int
    studies_out: int
    persons_left: int
    studies_left: int


class CohortPreview(BaseModel):
    """Who would be in it."""

    persons: int
    flow_persons: int
    flow_studies: int
    flow: list[FlowStep]
    groups: dict[str, int]
    titles: dict[str, Text2]
    mixes: dict[str, dict[str, int]]
    notes: list[Text2]
    columns: list[str]


class CohortVersionEntry(BaseModel):
    """A version of a cohort."""

    number: int
    made: datetime
    user: str
    reason: str
    table: str
    status: str
    stage: str
    progress: float
    error: str | None
    files: list[str]
    definition: dict[str, Any]
    mapping: dict[str, Any] | None


class CohortEntry(BaseModel):
    """A cohort."""

    id: int
    project: str
    name: str
    title: Text2
    centres: list[str]
    versions: list[CohortVersionEntry] = Field(description="Newest first.")
    can_manage: bool


class CohortTable(BaseModel):
    """A table that came out."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class _Where:
    """A project and centres of it."""

    project: int
    centres: tuple[int, ...]
    project_code: str
    centre_codes: tuple[str, ...]


def _where(session: Session, access: Access, given: CohortPlace) -> _Where:
    found = [place(session, access, given.project, code, "manager") for code in dict.fromkeys(given.centres)]
    project = found[0][0]
    return _Where(project.id, tuple(c.id for _, c in found), project.code, tuple(c.code for _, c in found))


@dataclass(frozen=True)
class _Table:
    """A clinical table by pseudonym."""

    name: str
    content: bytes
    key: str = ""
    linked: int = 0
    unmatched: int = 0
    dates: tuple[str, ...] = ()
    """Columns whose dates were moved."""
    rows: tuple[int, ...] = ()
    """Of a table of hospital numbers: the rows that were sent, for each row that is left."""

    def check_dates(self, mapping: ColumnMap) -> None:
        """See that every date of a table of hospital numbers was moved.

        Raises:
            InputError: a column that is mapped as a date held too few dates to be taken as one.
        """
        kinds = {c: fields()[f].kind for f, c in mapping.columns.items()}
        kinds |= {o.column: o.kind for o in mapping.other.values()}
        still = [c for c, kind in kinds.items() if kind == "date" and c not in self.dates]
        if self.key and still:
            raise InputError(
                f"The dates of '{still[0]}' could not be moved with their patients: fewer than four fifths "
                "of its filled cells are dates (as 2020-01-31). Mend the column, or leave it out."
            )

    def needed(self, mapping: ColumnMap) -> _Table:
        """Of a table of hospital numbers, only the columns that are asked for are kept."""
        if not self.key:
            return self
        wanted = {*mapping.columns.values(), *(o.column for o in mapping.other.values())}
        wanted |= set(mapping.codes.columns)
        rows = list(csv.DictReader(io.StringIO(self.content.decode("utf-8-sig"), newline="")))
        names = [name for name in (rows[0] if rows else ()) if name in wanted]
        kept = csv_text(names, [{n: r[n] for n in names} for r in rows])
        return replace(self, content=kept.encode() if names else self.content)

    def row(self, number: int) -> int:
        """The row of the table that was sent."""
        return self.rows[number - 2] if self.rows and number >= 2 else number


def _linked(access: Access, where: _Where, given: TableGiven, folder: Path) -> _Table:
    """The table by pseudonym: hospital numbers are replaced, dates moved, by the centre's own mapping.

    Raises:
        InputError: it cannot be read, nobody is named, or hospital numbers of several centres.
        AccessError: hospital numbers without the right to the mapping.
    """
    try:
        content = base64.b64decode(given.content, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("The table did not arrive whole: send it again.") from None
    path = folder / f"given{Path(given.name).suffix.lower()}"
    write_bytes(path, content)
    heading, _ = read_table(path)
    who = [name for name in heading if field_of_column().get(plain(name)) == "pseudonym"]
    if who:
        named = [name for name in identifying_columns(heading) if name not in who]
        if named:
            raise InputError(
                f"The table has pseudonyms and columns that name people ({', '.join(named)}): take these out."
            )
        return _Table(given.name, content)
    column = next((h for h in heading if h.strip().casefold().replace(" ", "_") in KEYS), None)
    if column is None:
        raise InputError(f"No column says whose a row is: name one 'pseudonym', or {', '.join(KEYS)}.")
    if len(where.centres) > 1:
        raise InputError("A table with hospital numbers belongs to one centre: choose one, or link it first.")
    access.require_mapping(where.project, where.centres[0])
    out = folder / "linked.csv"
    with access.store.mapping(where.centre_codes[0], where.project_code) as mapping:
        mapping.record("cohort_table", {"user": access.user.name})
        key = column.strip().casefold().replace(" ", "_")
        report = link_table(path, mapping, out, LinkSettings(key=key, key_column=column))
    name = f"{Path(given.name).stem}.csv"
    gone = report.unmatched + report.ambiguous
    content, rows = out.read_bytes(), tuple(report.linked_rows)
    return _Table(name, content, column, report.linked, gone, report.date_columns, rows)


def _mapping(given: Mapping[str, Any] | None) -> ColumnMap:
    try:
        return ColumnMap.model_validate({**(given or {}), "confirmed": True})
    except ValidationError as error:
        raise SettingError(f"The mapping cannot be used: {sentence_of(error)}.") from error


@contextmanager
def _laid_out(access: Access, given: TableShown) -> Iterator[tuple[_Where, _Table, Path]]:
    """Where, the table by pseudonym, and its path."""
    with access.store.database.reading() as session:
        where = _where(session, access, given)
    with access.store.work_folder() as folder:
        table = _linked(access, where, given.table, folder)
        path = folder / table_file(table.name)
        write_bytes(path, table.content)
        yield where, table, path


@router.get("/choices")
def cohort_choices(access: AccessDep) -> CohortChoices:
    """Levels, phases, references, and the fields of clinical tables."""
    sets = {s.name: s.title for s in (*shipped_sets(), *own_sets())}
    return CohortChoices(
        levels=list(LEVELS),
        phases=list(PHASES),
        references=sets,
        columns=[*TEXT, *NUMBERS],
        fields=[
            FieldEntry(name=f.name, kind=f.kind, title=dict(f.title), units=[f.unit, *f.factors])
            for f in fields().values()
        ],
    )


@router.post("/table")
def look_at_table(given: TableShown, access: AccessDep) -> TableEntry:
    """A clinical table, and what its columns seem to say (role manager); nothing is stored."""
    with _laid_out(access, given) as (_, table, path):
        heading, rows = read_table(path)
        return TableEntry(
            columns=heading,
            rows=len(rows),
            first=rows[:5],
            suggestion=tomllib.loads(suggest(heading, rows)),
            key=table.key,
            linked=table.linked,
            unmatched=table.unmatched,
        )


@router.post("/table/check")
def check_table(given: TableMapped, access: AccessDep) -> TableChecked:
    """Every row of a clinical table checked and matched with studies (role manager); nothing is stored."""
    store = access.store
    with _laid_out(access, given) as (where, table, path):
        columns = _mapping(given.mapping)
        table.check_dates(columns)
        found = import_clinical(path, columns)
        with store.database.reading() as session:
            write_results(store, session, where.project, where.centres, path.with_name(RESULTS))
        matched = matches(found, path.with_name(RESULTS))
    days = sorted(abs(r["days"]) for r in matched if r["days"] is not None)
    return TableChecked(
        problems=[ProblemEntry(**{**vars(p), "row": table.row(p.row)}) for p in found.problems[:_SHOWN]],
        n_problems=len(found.problems),
        rows=len(found.frame),
        people=len(set(found.frame.text("pseudonym"))),
        matched=len({r["person"] for r in matched if r["row"]}),
        days_median=float(days[len(days) // 2]) if days else None,
        days_most=days[-1] if days else None,
        unverified_codes=[c.prefix for c in found.codes_used if not c.verified],
        unknown_codes=list(found.codes_unknown)[:50],
        diseases=[name for name, f in found.fields.items() if f.kind in ("flag", "disease")],
        dictionary=[{k: v for k, v in row.items() if v not in (None, "")} for row in data_dictionary(found)],
    )


@contextmanager
def _cohort_folder(
    access: Access, given: CohortTried
) -> Iterator[tuple[_Where, Definition, _Table | None, Path]]:
    """A tried cohort file with all of its tables in a folder."""
    store = access.store
    with store.database.reading() as session:
        where = _where(session, access, given)
    with store.work_folder() as folder:
        table = None if given.table is None else _linked(access, where, given.table, folder)
        definition = settled(given.definition, table.name if table else "")
        find_sets(definition.analysis.references, own_sets())
        mapping = None
        if table:
            columns = _mapping(given.mapping)
            table.check_dates(columns)
            table = table.needed(columns)
            mapping = columns.model_dump(mode="json")
        with store.database.reading() as session:
            content = table.content if table else None
            path = lay_out_cohort(
                store, session, where.project, where.centres, definition, content, mapping, folder
            )
        yield where, definition, table, path


@router.post("/preview")
def preview_cohort(given: CohortTried, access: AccessDep) -> CohortPreview:
    """Who would be in a cohort: flow chart, groups, how the series were made, warnings (role manager)."""
    with _cohort_folder(access, given) as (_, definition, _, path):
        cohort = assemble(definition, path.parent)
    english, korean = cohort.titles("en"), cohort.titles("ko")
    return CohortPreview(
        persons=len(cohort),
        flow_persons=cohort.flow.persons,
        flow_studies=cohort.flow.studies,
        flow=[
            FlowStep(
                title={lang: s.title.say(lang) for lang in ("en", "ko")},
                persons_out=s.persons_out,
                studies_out=s.studies_out,
                persons_left=s.persons_left,
                studies_left=s.studies_left,
            )
            for s in cohort.flow.steps
        ],
        groups={name: int(members.sum()) for name, members in cohort.members.items()},
        titles={name: {"en": english[name], "ko": korean[name]} for name in cohort.members},
        mixes={column: dict(mix) for column, mix in cohort.mixes.items()},
        notes=[say_all(n.code, n.values) for n in cohort.notes],
        columns=list(cohort.frame.columns),
    )


@router.post("", status_code=201)
def run_cohort_file(given: CohortGiven, access: AccessDep) -> CohortEntry:
    """Keep a cohort file as the next version of the cohort of its name, and run it (role manager)."""
    store = access.store
    with _cohort_folder(access, given) as (where, definition, table, path):
        assemble(definition, path.parent)  # what cannot be used is said now, not by the job
        kept = store.files.put(table.content) if table else ""
    with store.database.writing() as session:
        cohort = session.scalar(
            select(CohortRow).filter_by(project_id=where.project, name=definition.name).with_for_update()
        )
        if cohort is None:
            cohort = CohortRow(project_id=where.project, name=definition.name, centres=list(where.centres))
            session.add(cohort)
            session.flush()
        elif set(cohort.centres) != set(where.centres):
            raise ConflictError(
                f"'{definition.name}' is a cohort of other centres: give this one another name."
            )
        version = CohortVersion(
            cohort_id=cohort.id,
            number=1 + max((v.number for v in cohort.versions), default=0),
            definition=definition.model_dump(mode="json"),
            table_name=table.name if table else "",
            mapping=_mapping(given.mapping).model_dump(mode="json") if table else None,
            user_id=access.user.id,
            reason=given.reason,
        )
        if table is not None:
            version.files = [CohortFile(name=TABLE, sha256=kept, size=len(table.content))]
        cohort.versions.append(version)
        session.flush()
        queue_cohort(session, store, version)
        access.audit(
            session,
            "run_cohort",
            target=f"cohort {cohort.id} version {version.number}",
            project_id=where.project,
        )
        return _entry(session, access, cohort)


def _cohort(session: Session, access: Access, number: int, role: str = "viewer") -> CohortRow:
    """A cohort of which the user may see (or do) something in every one of its centres."""
    cohort = session.get(CohortRow, number)
    if cohort is None:
        raise NotFoundError("There is no such cohort.")
    for centre in cohort.centres:
        access.require(cohort.project_id, centre, role)
    return cohort


def _entry(session: Session, access: Access, cohort: CohortRow) -> CohortEntry:
    keys = [v.job_key for v in cohort.versions if v.job_key]
    jobs = {j.key: j for j in session.scalars(select(JobRow).where(JobRow.key.in_(keys)))}
    users = {v.user_id for v in cohort.versions}
    asked = select(User.id, User.name).where(User.id.in_(users))
    names = {user: name for user, name in session.execute(asked)}
    newest = cohort.versions[-1].definition if cohort.versions else {}
    return CohortEntry(
        id=cohort.id,
        project=session.get_one(Project, cohort.project_id).code,
        name=cohort.name,
        title=newest.get("title", {"en": cohort.name}),
        centres=_codes(session, cohort),
        versions=[_version(v, jobs.get(v.job_key or ""), names) for v in reversed(cohort.versions)],
        can_manage=all(access.rank(cohort.project_id, c) >= RANK["manager"] for c in cohort.centres),
    )


def _codes(session: Session, cohort: CohortRow) -> list[str]:
    return list(
        session.scalars(select(Centre.code).where(Centre.id.in_(cohort.centres)).order_by(Centre.code))
    )


def _version(version: CohortVersion, job: JobRow | None, names: Mapping[int, str]) -> CohortVersionEntry:
    return CohortVersionEntry(
        number=version.number,
        made=version.made,
        user=names.get(version.user_id, ""),
        reason=version.reason,
        table=version.table_name,
        status=job.state if job else "done",
        stage=job.stage if job else "",
        progress=job.progress if job else 1.0,
        error=job.error if job else None,
        files=[f.name for f in version.files if f.name != TABLE],
        definition=version.definition,
        mapping=version.mapping,
    )


@router.get("")
def list_cohorts(access: AccessDep) -> list[CohortEntry]:
    """Cohorts of one's projects and centres, newest first."""
    with access.store.database.reading() as session:
        rows = session.scalars(select(CohortRow).order_by(CohortRow.id.desc())).all()
        return [
            _entry(session, access, c)
            for c in rows
            if all(access.rank(c.project_id, centre) >= 0 for centre in c.centres)
        ]


@router.get("/{number}")
def show_cohort(number: Number, access: AccessDep) -> CohortEntry:
    """A cohort with its versions."""
    with access.store.database.reading() as session:
        cohort = _cohort(session, access, number)
        entry = _entry(session, access, cohort)
    with access.store.database.writing() as session:
        access.audit(session, "view_cohort", target=f"cohort {number}", project_id=cohort.project_id)
    return entry


@router.delete("/{number}", status_code=204)
def remove_cohort(number: Number, access: AccessDep) -> None:
    """Delete a cohort with everything of it (role manager)."""
    store = access.store
    with store.database.writing() as session:
        cohort = _cohort(session, access, number, "manager")
        names = {f.sha256 for v in cohort.versions for f in v.files}
        access.audit(session, "delete_cohort", target=f"cohort {number}", project_id=cohort.project_id)
        session.delete(cohort)
        session.flush()
        gone = names - named(session, names)
    for name in gone:
        store.files.remove(name)


def _one(session: Session, access: Access, number: int, version: int) -> CohortVersion:
    cohort = _cohort(session, access, number)
    found = next((v for v in cohort.versions if v.number == version), None)
    if found is None:
        raise NotFoundError("The cohort has no such version.")
    return found


@router.get("/{number}/versions/{version}/tables/{name}")
def cohort_table(number: Number, version: Number, name: str, access: AccessDep) -> CohortTable:
    """A table of a version that was run."""
    with access.store.database.reading() as session:
        content = file_of(access.store, _one(session, access, number, version), f"en/tables/{name}.csv")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    return CohortTable(columns=rows[0], rows=rows[1:])


@router.get("/{number}/versions/{version}/files/{path:path}", response_class=Response, responses=_ANY)
def cohort_file(number: Number, version: Number, path: str, access: AccessDep) -> Response:
    """A file of a version that was run: ``en/report.html``, ``ko/figures/flow.svg``, …"""
    with access.store.database.reading() as session:
        if path == TABLE:
            raise NotFoundError("The cohort has no such file.")
        content = file_of(access.store, _one(session, access, number, version), path)
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers={"Cache-Control": "private, no-store"})


class KeptReference(BaseModel):
    """A reference that analyses may ask for from now on."""

    name: str
    version: int


@router.post("/{number}/versions/{version}/reference", status_code=201)
def keep_reference(number: Number, version: Number, access: AccessDep) -> KeptReference:
    """Keep the own reference of a version for the analyses of this installation (its administrator); a set of
    the name that was there before stays as an earlier version."""
    access.require_administrator()
    store = access.store
    with store.database.reading() as session:
        found = _one(session, access, number, version)
        part = found.definition.get("reference")
        if part is None:
            raise NotFoundError("This version builds no own reference.")
        raw = json.loads(file_of(store, found, f"en/reference_{part['name']}.json"))
        project = session.get_one(CohortRow, number).project_id
    path = save_reference(reference_of(raw), details=raw.get("details"))
    with store.database.writing() as session:
        target = f"reference {part['name']} of cohort {number} version {version}"
        access.audit(session, "keep_reference", target=target, project_id=project)
    return KeptReference(name=part["name"], version=json.loads(path.read_text(encoding="utf-8"))["version"])


@router.get("/{number}/versions/{version}/export.zip", response_class=Response, responses=_ZIP)
def export_cohort(number: Number, version: Number, access: AccessDep) -> Response:
    """Everything of a version: report, tables, figures in both languages, cohort file (role viewer)."""
    store = access.store
    with store.database.reading() as session:
        found = _one(session, access, number, version)
        said = json.dumps(found.definition, ensure_ascii=False, indent=1)
        files = {f.name: f.sha256 for f in found.files if f.name != TABLE}
        project = session.get_one(CohortRow, number).project_id
    answer = zip_answer(store, f"cohort-{number}-{version}.zip", {"cohort.json": said}, files)
    target = f"cohort {number} version {version}"
    with store.database.writing() as session:
        access.audit(session, "export_cohort", target=target, project_id=project)
    return answer
