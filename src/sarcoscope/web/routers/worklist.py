"""The worklist: search, filter, sort, bulk actions, saved views, live status; and the contact sheet."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from sarcoscope.errors import NotFoundError
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.store.tables import (
    Centre,
    JobRow,
    MeasurementRow,
    Person,
    Project,
    SavedView,
    Study,
    User,
)
from sarcoscope.web.access import Access, AccessDep, Number
from sarcoscope.web.scope import Code

router = APIRouter(tags=["worklist"])
SORTS = {
    "number": Study.id,
    "day": Study.day,
    "pseudonym": Person.pseudonym,
    "age": Study.age_years,
    "sex": Study.sex,
    "result": Study.result,
    "t_score": Study.t_score,
    "doubt": Study.doubt,
    "phase": Study.phase,
    "review": Study.review,
    "disease": Study.disease,
    "modality": Study.modality,
    "status": JobRow.state,
}
Sort = Literal[
    "number", "day", "pseudonym", "age", "sex", "result", "t_score", "doubt", "phase", "review", "disease",
    "modality", "status",
]  # fmt: skip
Status = Literal["new", "queued", "running", "waiting", "done", "failed", "cancelled"]
Review = Literal["open", "accepted", "reader", "excluded"]
_PSEUDONYM = re.compile(r"SC[A-Z0-9]{3,}", re.IGNORECASE)
"""What is searched among the pseudonyms alone."""
_FORMULA = tuple("=+-@\t\r")
_BUSY = ("queued", "running", "waiting")


class Filters(BaseModel):
    """Which studies, in which order."""

    project: Code | None = None
    centre: Code | None = None
    search: Annotated[str, Field(max_length=100)] = ""
    status: Status | None = None
    result: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,20}$")] = ""
    review: Review | None = None
    phase: Annotated[str, Field(pattern=r"^[a-z]{0,20}$")] = ""
    sex: Literal["M", "F"] | None = None
    age_from: Annotated[float | None, Field(ge=0, le=150)] = None
    age_to: Annotated[float | None, Field(ge=0, le=150)] = None
    disease: Annotated[str, Field(max_length=100)] = ""
    flag: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,40}$")] = ""
    mine: bool = Field(False, description="Assigned to who asks.")
    day_from: date | None = None
    day_to: date | None = None
    sort: Sort = "number"
    descending: bool = True
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Field(ge=1, le=200)] = 50


class StatusEntry(BaseModel):
    """Where the processing of a study stands."""

    state: str = Field(examples=["running"])
    stage: str = Field("", examples=["tissues"])
    progress: float = 0.0
    error: str | None = None


class Row(BaseModel):
    """A line of the worklist."""

    id: int
    pseudonym: str = Field(examples=["SCABCDEFGH23"])
    person: int = Field(description="Number of the person in this installation.")
    patient_id: str | None = Field(None, description="Of the hospital; only with the right to the mapping.")
    project: str
    centre: str
    day: date | None = Field(description="Shifted like every date of the person.")
    modality: str
    description: str
    disease: str
    sex: str | None
    age_years: float | None
    phase: str
    flags: list[str]
    status: StatusEntry
    result: str = Field(examples=["class_2"])
    t_score: float | None
    doubt: float
    review: Review
    review_reason: str
    assigned: str | None
    analysed: bool
    n_images: int


class Page(BaseModel):
    """A page of the worklist."""

    total: int
    page: int
    size: int
    rows: list[Row]


class Chosen(BaseModel):
    """Some studies."""

    studies: Annotated[list[Annotated[int, Field(ge=1, le=2**31 - 1)]], Field(min_length=1, max_length=5000)]


class Assigned(Chosen):
    """Studies for a reader."""

    user: Annotated[str | None, Field(max_length=60, description="null: nobody")]


class Reviewed(Chosen):
    """What the human check of studies says."""

    review: Review
    reason: Annotated[str, Field(max_length=200)] = ""


class Done(BaseModel):
    """How many studies an action changed."""

    changed: int


class View(BaseModel):
    """Filters and columns under a name."""

    id: int = 0
    name: Annotated[str, Field(min_length=1, max_length=100)]
    content: dict[str, Any]


class Tile(BaseModel):
    """A study on the contact sheet."""

    id: int
    pseudonym: str
    result: str
    t_score: float | None
    doubt: float
    flags: list[str]
    picture: str | None = Field(description="Name of the picture among the study's files.")
    muscle_cm2: float | None
    review: Review


def _conditions(filters: Filters, access: Access) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [access.visible()]
    exact: tuple[tuple[Any, object], ...] = (
        (Study.result, filters.result),
        (Study.review, filters.review),
        (Study.phase, filters.phase),
        (Study.sex, filters.sex),
        (Study.disease, filters.disease),
    )
    for column, value in exact:
        if value:
            found.append(column == value)
    if filters.age_from is not None:
        found.append(Study.age_years >= filters.age_from)
    if filters.age_to is not None:
        found.append(Study.age_years <= filters.age_to)
    if filters.day_from is not None:
        found.append(Study.day >= filters.day_from)
    if filters.day_to is not None:
        found.append(Study.day <= filters.day_to)
    found += _places(filters)
    if filters.flag:
        found.append(Study.flags.contains(f" {filters.flag} ", autoescape=True))
    if filters.mine:
        found.append(Study.assigned_id == access.user.id)
    found += _status(filters.status)
    if filters.search.strip():
        found.append(_search(filters.search.strip()))
    return found


def _status(status: str | None) -> list[ColumnElement[bool]]:
    if status is None:
        return []
    if status == "new":
        return [Study.job_key.is_(None)]
    if status == "done":
        # Nearly every job is done: the few others are looked up instead.
        others = select(JobRow.key).where(JobRow.state != "done")
        return [Study.job_key.is_not(None), Study.job_key.not_in(others)]
    return [Study.job_key.in_(select(JobRow.key).where(JobRow.state == status))]


def _places(filters: Filters) -> list[ColumnElement[bool]]:
    pairs = (
        (Study.project_id, select(Project.id).where(Project.code == filters.project), filters.project),
        (Study.centre_id, select(Centre.id).where(Centre.code == filters.centre), filters.centre),
    )
    return [column == wanted.scalar_subquery() for column, wanted, code in pairs if code]


def _search(text: str) -> ColumnElement[bool]:
    people = select(Person.id).where(Person.pseudonym.contains(text.upper(), autoescape=True))
    parts: list[ColumnElement[bool]] = [Study.person_id.in_(people)]
    if not _PSEUDONYM.fullmatch(text):
        parts.append(Study.description.icontains(text, autoescape=True))
        parts.append(Study.disease.icontains(text, autoescape=True))
    if text.isdecimal() and len(text) < 10:
        parts.append(Study.id == int(text))
    return or_(*parts)


def listed() -> Select[Any]:
    """Studies with what their lines show."""
    query: Any = (
        select(Study, Person.pseudonym, Project.code, Centre.code, JobRow, User.name)
        .join(Person, Person.id == Study.person_id)
        .join(Project, Project.id == Study.project_id)
        .join(Centre, Centre.id == Study.centre_id)
        .outerjoin(JobRow, JobRow.key == Study.job_key)
        .outerjoin(User, User.id == Study.assigned_id)
    )
    return cast("Select[Any]", query)


def status_of(job: JobRow | None) -> StatusEntry:
    """Where a study's job stands."""
    if job is None:
        return StatusEntry(state="new")
    return StatusEntry(state=job.state, stage=job.stage, progress=job.progress, error=job.error)


def row_of(found: Any) -> Row:
    """A line from a row of :func:`listed`."""
    study, pseudonym, project, centre, job, assigned = found
    return Row(
        id=study.id,
        pseudonym=pseudonym,
        person=study.person_id,
        project=project,
        centre=centre,
        day=study.day,
        modality=study.modality,
        description=study.description,
        disease=study.disease,
        sex=study.sex,
        age_years=study.age_years,
        phase=study.phase,
        flags=study.flags.split(),
        status=status_of(job),
        result=study.result,
        t_score=study.t_score,
        doubt=study.doubt,
        review=study.review,
        review_reason=study.review_reason,
        assigned=assigned,
        analysed=study.analysis_id is not None,
        n_images=study.n_images,
    )


def list_rows(session: Session, access: Access, filters: Filters) -> Page:
    """A page of the worklist."""
    conditions = _conditions(filters, access)
    total = session.scalar(select(func.count()).select_from(Study).where(*conditions)) or 0
    column: Any = SORTS[filters.sort]
    first = column.desc() if filters.descending else column.asc()
    order = [first] if filters.sort == "number" else [first.nulls_last(), Study.id.desc()]
    # The numbers of the page are found first, without the joins that only its rows need.
    numbers: Select[Any] = select(Study.id).where(*conditions)
    if filters.sort == "pseudonym":
        numbers = numbers.join(Person, Person.id == Study.person_id)
    if filters.sort == "status":
        numbers = numbers.outerjoin(JobRow, JobRow.key == Study.job_key)
    offset = (filters.page - 1) * filters.size
    wanted = list(session.scalars(numbers.order_by(*order).limit(filters.size).offset(offset)))
    rows = {r[0].id: r for r in session.execute(listed().where(Study.id.in_(wanted)))}
    shown = [row_of(rows[n]) for n in wanted if n in rows]
    return Page(total=total, page=filters.page, size=filters.size, rows=shown)


@router.get("/studies")
def worklist(access: AccessDep, filters: Annotated[Filters, Query()], identity: bool = False) -> Page:
    """A page of the worklist; with ``identity`` also the patient IDs that one has a right to."""
    with access.store.database.reading() as session:
        page = list_rows(session, access, filters)
        places = {(r.project, r.centre): _place(session, r) for r in page.rows} if identity else {}
    for codes, numbers in places.items():
        if numbers in access.mappings:
            _name(access, page.rows, codes)
    if page.rows:
        with access.store.database.writing() as session:
            access.audit(session, "list", studies=[r.id for r in page.rows], identity=identity)
    return page


def _place(session: Session, row: Row) -> tuple[int, int]:
    found = session.execute(select(Study.project_id, Study.centre_id).where(Study.id == row.id)).one()
    return found[0], found[1]


def _name(access: Access, rows: list[Row], codes: tuple[str, str]) -> None:
    project, centre = codes
    with access.store.mapping(centre, project) as mapping:
        for row in rows:
            if (row.project, row.centre) == codes:
                person = mapping.person_of(row.pseudonym)
                row.patient_id = person.identity.patient_id if person else None


@router.get("/studies/status")
def statuses(
    access: AccessDep,
    ids: Annotated[str, Query(pattern=r"^\d{1,9}(,\d{1,9}){0,199}$", examples=["1,2,3"])],
) -> dict[int, StatusEntry]:
    """Where the processing of some studies stands (no patient is read)."""
    numbers = [int(n) for n in ids.split(",")]
    with access.store.database.reading() as session:
        rows = session.execute(
            select(Study.id, JobRow)
            .outerjoin(JobRow, JobRow.key == Study.job_key)
            .where(Study.id.in_(numbers), access.visible())
        ).all()
        return {number: status_of(job) for number, job in rows}


@router.get("/studies.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def export(access: AccessDep, filters: Annotated[Filters, Query()]) -> Response:
    """The whole filtered worklist with areas and indices as CSV (pseudonyms only)."""
    columns = [c for c in Row.model_fields if c not in ("status", "patient_id", "flags")]
    columns += ["state", "flags", "level", "protocol"]
    columns += [
        f"{tissue}_{value}"
        for tissue in ("muscle", "sat", "vat", "imat")
        for value in ("area_cm2", "mean_hu")
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    with access.store.database.reading() as session:
        found = session.execute(listed().where(*_conditions(filters, access)).order_by(Study.id)).all()
        areas = _areas(session, [f[0].analysis_id for f in found if f[0].analysis_id])
        for f in found:
            row = row_of(f)
            values = {
                **row.model_dump(),
                "state": row.status.state,
                "flags": " ".join(row.flags),
                **areas.get(f[0].analysis_id or 0, {}),
            }
            writer.writerow({name: harmless(value) for name, value in values.items()})
    with access.store.database.writing() as session:
        access.audit(session, "export_worklist", studies=len(found))
    headers = {"Content-Disposition": 'attachment; filename="worklist.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def harmless(value: object) -> object:
    """A text that a spreadsheet would run as a formula, as a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value


def _areas(session: Session, analyses: list[int]) -> dict[int, dict[str, object]]:
    """Areas and mean HU of the first measured level of some analyses."""
    found: dict[int, dict[str, object]] = {}
    for k in range(0, len(analyses), 500):
        rows = session.scalars(
            select(MeasurementRow)
            .where(MeasurementRow.analysis_id.in_(analyses[k : k + 500]))
            .order_by(MeasurementRow.id)
        )
        for m in rows:
            entry = found.setdefault(m.analysis_id, {"level": m.level, "protocol": m.protocol})
            if entry["level"] == m.level:
                entry[f"{m.tissue}_area_cm2"], entry[f"{m.tissue}_mean_hu"] = m.area_cm2, m.mean_hu
    return found


def _some(session: Session, access: Access, numbers: list[int], role: str) -> list[Study]:
    """Some studies that the user may change.

    Raises:
        NotFoundError: one of them is not there, or not theirs.
        AccessError: the role is too low for one of them.
    """
    found = list(
        session.scalars(select(Study).where(Study.id.in_(numbers), access.visible()).order_by(Study.id))
    )
    if len(found) != len(set(numbers)):
        raise NotFoundError("One of the studies is not there, or not yours to see.")
    for study in found:
        access.require(study.project_id, study.centre_id, role)
    return found


@router.post("/studies/process")
def process(given: Chosen, access: AccessDep) -> Done:
    """Queue the analysis of studies (role annotator); those that are queued already are left."""
    with access.store.database.writing() as session:
        changed = 0
        for study in _some(session, access, given.studies, "annotator"):
            state = session.scalar(select(JobRow.state).where(JobRow.key == study.job_key))
            if state in _BUSY:
                continue
            queue_study(session, access.store, study)
            access.audit(session, "process", study)
            changed += 1
        return Done(changed=changed)


@router.post("/studies/cancel")
def cancel(given: Chosen, access: AccessDep) -> Done:
    """Cancel the processing of studies (role annotator)."""
    with access.store.database.writing() as session:
        changed = 0
        for study in _some(session, access, given.studies, "annotator"):
            job = session.scalar(
                select(JobRow).where(JobRow.key == study.job_key, JobRow.state.in_(_BUSY)).with_for_update()
            )
            if job is not None:
                job.state, job.worker = "cancelled", None
                access.audit(session, "cancel", study)
                changed += 1
        return Done(changed=changed)


@router.post("/studies/assign")
def assign(given: Assigned, access: AccessDep) -> Done:
    """Give studies to a reader (role reviewer)."""
    with access.store.database.writing() as session:
        reader = None
        if given.user is not None:
            reader = session.scalar(select(User).where(User.name == given.user, User.active))
            if reader is None:
                raise NotFoundError("There is no such reader.")
        for study in _some(session, access, given.studies, "reviewer"):
            study.assigned_id = reader.id if reader else None
            access.audit(session, "assign", study, user=given.user)
        return Done(changed=len(set(given.studies)))


@router.post("/studies/review")
def review(given: Reviewed, access: AccessDep) -> Done:
    """Accept studies, send them to a reader, or exclude them with a reason (role reviewer)."""
    with access.store.database.writing() as session:
        for study in _some(session, access, given.studies, "reviewer"):
            study.review, study.review_reason = given.review, given.reason
            access.audit(session, "review", study, review=given.review, reason=given.reason)
        return Done(changed=len(set(given.studies)))


@router.get("/contact-sheet")
def contact_sheet(
    access: AccessDep,
    filters: Annotated[Filters, Query()],
    seed: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> list[Tile]:
    """Studies with their pictures, the most doubtful first, or at random by a seed."""
    conditions = [*_conditions(filters, access), Study.analysis_id.is_not(None)]
    # A number that looks random and is the same for the same seed.
    mixed = ((Study.id + (seed or 0)) * 7919 % 10007) * 31 % 9973
    order = Study.doubt.desc() if seed is None else mixed.asc()
    with access.store.database.reading() as session:
        offset = (filters.page - 1) * filters.size
        found = session.execute(
            select(Study, Person.pseudonym)
            .join(Person, Person.id == Study.person_id)
            .where(and_(*conditions))
            .order_by(order, Study.id)
            .limit(filters.size)
            .offset(offset)
        ).all()
        areas = _areas(session, [s.analysis_id for s, _ in found if s.analysis_id])
        tiles = [_tile(study, pseudonym, areas.get(study.analysis_id or 0, {})) for study, pseudonym in found]
    with access.store.database.writing() as session:
        access.audit(session, "contact_sheet", studies=[t.id for t in tiles])
    return tiles


def _tile(study: Study, pseudonym: str, areas: dict[str, Any]) -> Tile:
    return Tile(
        id=study.id,
        pseudonym=pseudonym,
        result=study.result,
        t_score=study.t_score,
        doubt=study.doubt,
        flags=study.flags.split(),
        picture=f"overlay_{areas['level']}.png" if "level" in areas else None,
        muscle_cm2=areas.get("muscle_area_cm2"),
        review=study.review,
    )


@router.get("/views")
def views(access: AccessDep) -> list[View]:
    """One's saved views."""
    with access.store.database.reading() as session:
        rows = session.scalars(
            select(SavedView).where(SavedView.user_id == access.user.id).order_by(SavedView.name)
        )
        return [View(id=v.id, name=v.name, content=v.content) for v in rows]


@router.post("/views", status_code=201)
def save_view(given: View, access: AccessDep) -> View:
    """Save a view; one of the same name is replaced."""
    with access.store.database.writing() as session:
        view = session.scalar(
            select(SavedView).where(SavedView.user_id == access.user.id, SavedView.name == given.name)
        )
        if view is None:
            view = SavedView(user_id=access.user.id, name=given.name, content=given.content)
            session.add(view)
        view.content = given.content
        session.flush()
        return View(id=view.id, name=view.name, content=view.content)


@router.delete("/views/{number}", status_code=204)
def remove_view(number: Number, access: AccessDep) -> None:
    """Remove a saved view."""
    with access.store.database.writing() as session:
        view = session.get(SavedView, number)
        if view is None or view.user_id != access.user.id:
            raise NotFoundError("You have no such view.")
        session.delete(view)
