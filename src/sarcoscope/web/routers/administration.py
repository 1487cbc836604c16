"""Users, projects, centres, members, jobs, audit, references, models, disk."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import date, datetime
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.sharing import ledger_path, read_ledger
from sarcoscope.diagnosis import default_sets, find_sets, shipped_sets
from sarcoscope.diagnosis.own import own_sets
from sarcoscope.dicomnet.rules import Rules
from sarcoscope.errors import AccessError, InputError, NotFoundError
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.models.registry import installed_packages
from sarcoscope.store.accounts import hashed, one_time_password, renew_password
from sarcoscope.store.tables import (
    Audit,
    Centre,
    JobRow,
    Membership,
    Project,
    ProjectCentre,
    SignIn,
    Study,
    User,
)
from sarcoscope.store.upkeep import room_for
from sarcoscope.study import AnalysisSettings
from sarcoscope.web.access import RANK, Access, AccessDep
from sarcoscope.web.scope import Code

router = APIRouter(tags=["administration"])
POLICY = "data/default_policy.json"
CodePath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", examples=["default"])]
UserName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$", examples=["kim"])]
UserPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$", examples=["kim"])]
Role = Literal["viewer", "annotator", "reviewer", "manager", "administrator"]


class CentreEntry(BaseModel):
    """A hospital."""

    code: Code
    name: Annotated[str, Field(min_length=1, max_length=200, examples=["Seoul Hospital"])]


class ProjectCentreEntry(BaseModel):
    """A centre of a project."""

    centre: Code
    shared: bool = Field(False, description="Members of the project's other centres see its studies.")


class ProjectEntry(BaseModel):
    """A project with its choices."""

    code: Code
    title: Annotated[str, Field(min_length=1, max_length=200, examples=["Liver cohort"])]
    purpose: Annotated[str, Field(max_length=2000)] = ""
    approval: Annotated[str, Field(max_length=100)] = ""
    expires: date | None = None
    keeps: Literal["all", "series", "slices"] = "all"
    levels: Annotated[list[str], Field(min_length=1, max_length=19)] = ["L3"]
    protocol: Literal["range", "mid", "inferior-endplate", "two-adjacent"] = "range"
    references: Annotated[list[Annotated[str, Field(max_length=60)]], Field(max_length=20)] = []
    series_policy: Annotated[str | None, Field(max_length=20000)] = Field(
        None, description="Content of a series policy (JSON); none: the default."
    )
    receiver_rules: Annotated[str | None, Field(max_length=20000)] = Field(
        None, description="CSV of receiver rules: modality,station,description,least_images,action."
    )
    p0_words: bool = False
    process_on_arrival: bool = True
    centres: Annotated[list[ProjectCentreEntry], Field(min_length=1, max_length=100)]


class MemberEntry(BaseModel):
    """What a user may do in a project with a centre's data."""

    project: Code
    centre: Code
    role: Role
    mapping: bool = False


class UserEntry(BaseModel):
    """A user."""

    name: UserName
    full_name: Annotated[str, Field(max_length=200)] = ""
    administrator: bool = False
    active: bool = True
    language: Literal["en", "ko"] = "en"
    memberships: Annotated[list[MemberEntry], Field(max_length=500)] = []


class NewUser(UserEntry):
    """A user that was just made or given a new password."""

    password: str = Field(description="To be changed at the first sign-in; shown once.")


class JobEntry(BaseModel):
    """A job."""

    number: int
    key: str
    state: str
    stage: str
    progress: float
    attempts: int
    error: str | None
    log: str


class AuditEntry(BaseModel):
    """Who did or read what."""

    made: datetime
    user: str
    action: str
    target: str
    details: dict[str, Any]
    address: str


class ReferenceEntry(BaseModel):
    """A reference set."""

    name: str
    title: str
    source: str
    certainty: str
    verified: bool
    own: bool
    default: bool
    levels: list[str]
    indices: list[str]


class ModelEntry(BaseModel):
    """A model package."""

    name: str
    version: str
    task: str
    licence: str


class BundleEntry(BaseModel):
    """A bundle that was given away."""

    id: str
    made: datetime
    recipient: str
    purpose: str
    approval: str
    expires: date
    people: int
    files: int
    destroyed: datetime | None


class RoomEntry(BaseModel):
    """Disk and time that further studies will need."""

    studies: int
    disk_gb: float
    free_gb: float
    hours_one_worker: float
    known_studies: int


@router.get("/centres")
def centres(access: AccessDep) -> list[CentreEntry]:
    """Every centre (administrators), or one's own."""
    with access.store.database.reading() as session:
        rows = session.scalars(select(Centre).order_by(Centre.code)).all()
    own = {c for _, c in (*access.roles, *access.shared)}
    return [CentreEntry(code=c.code, name=c.name) for c in rows if access.user.administrator or c.id in own]


@router.put("/centres/{code}", status_code=204)
def save_centre(code: CodePath, given: CentreEntry, access: AccessDep) -> None:
    """Make or rename a centre."""
    access.require_administrator()
    if given.code != code:
        raise InputError("The code of a centre cannot be changed.")
    with access.store.database.writing() as session:
        row = session.scalar(select(Centre).where(Centre.code == code))
        if row is None:
            session.add(Centre(code=code, name=given.name))
        else:
            row.name = given.name
        access.audit(session, "save_centre", target=code)


def _project_entry(session: Session, row: Project) -> ProjectEntry:
    pairs = session.execute(
        select(Centre.code, ProjectCentre.shared)
        .join(Centre, Centre.id == ProjectCentre.centre_id)
        .where(ProjectCentre.project_id == row.id)
        .order_by(Centre.code)
    ).all()
    names = [n for n in ProjectEntry.model_fields if n != "centres"]
    return ProjectEntry(
        **{n: getattr(row, n) for n in names},
        centres=[ProjectCentreEntry(centre=c, shared=s) for c, s in pairs],
    )


@router.get("/projects")
def projects(access: AccessDep) -> list[ProjectEntry]:
    """Every project (administrators), or one's own."""
    own = {p for p, _ in access.roles}
    with access.store.database.reading() as session:
        rows = session.scalars(select(Project).order_by(Project.code)).all()
        return [_project_entry(session, p) for p in rows if access.user.administrator or p.id in own]


@router.put("/projects/{code}", status_code=204)
def save_project(code: CodePath, given: ProjectEntry, access: AccessDep) -> None:
    """Make a project (administrators) or change one (its managers; its centres: administrators)."""
    if given.code != code:
        raise InputError("The code of a project cannot be changed.")
    _check_project(given)
    with access.store.database.writing() as session:
        row = session.scalar(select(Project).where(Project.code == code))
        if row is None:
            access.require_administrator()
            row = Project(code=code, title=given.title)
            session.add(row)
        elif not access.user.administrator:
            _require_manager(access, row.id)
        for name in ProjectEntry.model_fields:
            if name not in ("centres", "code"):
                setattr(row, name, getattr(given, name))
        session.flush()
        _set_centres(session, access, row, given)
        access.audit(session, "save_project", target=code, project_id=row.id)


def _check_project(given: ProjectEntry) -> None:
    """Raises SettingError for a level, set or policy that is not known."""
    AnalysisSettings(levels=tuple(given.levels), protocol=given.protocol)
    find_sets(tuple(given.references), own_sets())
    if given.series_policy:
        with tempfile.TemporaryDirectory() as folder:
            path = FilePath(folder) / "policy.json"
            path.write_text(given.series_policy, encoding="utf-8")
            SeriesPolicy.load(path)
    if given.receiver_rules:
        Rules.parse(given.receiver_rules)


def _require_manager(access: Access, project_id: int) -> None:
    ranks = [access.rank(p, c) for p, c in access.roles if p == project_id]
    if not ranks:
        raise NotFoundError("It is not there, or not yours to see.")
    if max(ranks) < RANK["manager"]:
        raise AccessError("This needs the role of a manager.")


def _set_centres(session: Session, access: Access, row: Project, given: ProjectEntry) -> None:
    wanted: dict[int, bool] = {}
    for entry in given.centres:
        centre = session.scalar(select(Centre.id).where(Centre.code == entry.centre))
        if centre is None:
            raise InputError(f"There is no centre '{entry.centre}'.")
        wanted[centre] = entry.shared
    rows = session.scalars(select(ProjectCentre).where(ProjectCentre.project_id == row.id))
    held = {pc.centre_id: pc for pc in rows}
    changed = {c: pc.shared for c, pc in held.items()} != wanted
    if changed and not access.user.administrator:
        raise AccessError("Only an administrator changes the centres of a project and their sharing.")
    for centre_id, pc in held.items():
        if centre_id not in wanted:
            used = select(Study.id).where(Study.project_id == row.id, Study.centre_id == centre_id).limit(1)
            if session.scalar(used) is not None:
                raise InputError("A centre with studies cannot be taken out of a project.")
            session.delete(pc)
    for centre_id, shared in wanted.items():
        if centre_id in held:
            held[centre_id].shared = shared
        else:
            session.add(ProjectCentre(project_id=row.id, centre_id=centre_id, shared=shared))


@router.get("/projects/{code}/readers")
def readers(code: CodePath, access: AccessDep, centre: Code | None = None) -> list[str]:
    """Names of those who can be given studies of a project."""
    with access.store.database.reading() as session:
        project = session.scalar(select(Project).where(Project.code == code))
        if project is None or all(p != project.id for p, _ in access.roles):
            raise NotFoundError("It is not there, or not yours to see.")
        rows = session.scalars(
            select(User.name)
            .join(Membership, Membership.user_id == User.id)
            .join(Centre, Centre.id == Membership.centre_id)
            .where(
                Membership.project_id == project.id,
                User.active,
                Membership.role != "viewer",
                *(() if centre is None else (Centre.code == centre,)),
            )
            .distinct()
            .order_by(User.name)
        )
        return list(rows)


def _user_entry(session: Session, user: User) -> UserEntry:
    rows = session.execute(
        select(Membership, Project.code, Centre.code)
        .join(Project, Project.id == Membership.project_id)
        .join(Centre, Centre.id == Membership.centre_id)
        .where(Membership.user_id == user.id)
        .order_by(Project.code, Centre.code)
    ).all()
    return UserEntry(
        name=user.name,
        full_name=user.full_name,
        administrator=user.administrator,
        active=user.active,
        language=user.language,
        memberships=[MemberEntry(project=p, centre=c, role=m.role, mapping=m.mapping) for m, p, c in rows],
    )


@router.get("/users")
def users(access: AccessDep) -> list[UserEntry]:
    """Every user."""
    access.require_administrator()
    with access.store.database.reading() as session:
        return [_user_entry(session, u) for u in session.scalars(select(User).order_by(User.name))]


@router.post("/users", status_code=201)
def make_user(given: UserEntry, access: AccessDep) -> NewUser:
    """Make a user with a one-time password."""
    access.require_administrator()
    password = one_time_password()
    stored = hashed(password)
    with access.store.database.writing() as session:
        if session.scalar(select(User.id).where(User.name == given.name)) is not None:
            raise InputError("There is a user of this name already.")
        user = User(name=given.name, password=stored, must_change=True)
        session.add(user)
        _change_user(session, user, given)
        access.audit(session, "make_user", target=given.name)
    return NewUser(**given.model_dump(), password=password)


@router.put("/users/{name}", status_code=204)
def save_user(name: UserPath, given: UserEntry, access: AccessDep) -> None:
    """Change a user's rights; the last administrator stays one."""
    access.require_administrator()
    if given.name != name:
        raise InputError("The name of a user cannot be changed.")
    with access.store.database.writing() as session:
        user = session.scalar(select(User).where(User.name == name))
        if user is None:
            raise NotFoundError("There is no such user.")
        others = select(func.count()).where(User.administrator, User.active, User.id != user.id)
        stays = given.administrator and given.active
        if not stays and not session.scalar(others):
            raise InputError("The last administrator cannot be taken away.")
        _change_user(session, user, given)
        if not given.active:
            for entry in session.scalars(select(SignIn).where(SignIn.user_id == user.id)):
                session.delete(entry)
        access.audit(
            session, "save_user", target=name, memberships=[m.model_dump() for m in given.memberships]
        )


@router.post("/users/{name}/password")
def reset_password(name: UserPath, access: AccessDep) -> NewUser:
    """Give a user a new one-time password; their sessions end and a lock is lifted."""
    access.require_administrator()
    with access.store.database.writing() as session:
        user = session.scalar(select(User).where(User.name == name))
        if user is None:
            raise NotFoundError("There is no such user.")
        password = renew_password(session, user)
        access.audit(session, "reset_password", target=name)
        return NewUser(**_user_entry(session, user).model_dump(), password=password)


def _change_user(session: Session, user: User, given: UserEntry) -> None:
    user.full_name, user.administrator = given.full_name, given.administrator
    user.active, user.language = given.active, given.language
    session.flush()
    for row in session.scalars(select(Membership).where(Membership.user_id == user.id)):
        session.delete(row)
    session.flush()
    seen = set()
    for m in given.memberships:
        found = session.execute(
            select(ProjectCentre.project_id, ProjectCentre.centre_id)
            .join(Project, Project.id == ProjectCentre.project_id)
            .join(Centre, Centre.id == ProjectCentre.centre_id)
            .where(Project.code == m.project, Centre.code == m.centre)
        ).first()
        if found is None or found in seen:
            raise InputError(
                f"There is no centre '{m.centre}' in a project '{m.project}', or it stands twice."
            )
        seen.add(found)
        session.add(
            Membership(
                user_id=user.id, project_id=found[0], centre_id=found[1], role=m.role, mapping=m.mapping
            )
        )


@router.get("/jobs")
def jobs(
    access: AccessDep,
    state: Literal["queued", "running", "waiting", "done", "failed", "cancelled"] | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[JobEntry]:
    """The newest jobs (managers: those of their projects' studies; administrators: all)."""
    where: list[ColumnElement[bool]] = [] if state is None else [JobRow.state == state]
    if not access.user.administrator:
        managed = [(p, c) for p, c in access.roles if access.rank(p, c) >= RANK["manager"]]
        if not managed:
            raise AccessError("This needs the role of a manager.")
        own = or_(*((Study.project_id == p) & (Study.centre_id == c) for p, c in managed))
        where.append(JobRow.key.in_(select(Study.job_key).where(own)))
    with access.store.database.reading() as session:
        rows = session.scalars(select(JobRow).where(*where).order_by(JobRow.number.desc()).limit(limit))
        names = JobEntry.model_fields
        return [JobEntry(**{n: getattr(r, n) for n in names}) for r in rows]


@router.get("/audit")
def audit(
    access: AccessDep,
    user: Annotated[str, Query(max_length=60)] = "",
    action: Annotated[str, Query(max_length=40)] = "",
    study: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    before: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[AuditEntry]:
    """Who did or read what, newest first (administrators: all; managers: their projects' centres)."""
    where: list[ColumnElement[bool]] = []
    if not access.user.administrator:
        managed = [(p, c) for p, c in access.roles if access.rank(p, c) >= RANK["manager"]]
        if not managed:
            raise AccessError("This needs the role of a manager.")
        where.append(or_(*((Audit.project_id == p) & (Audit.centre_id == c) for p, c in managed)))
    if user:
        where.append(Audit.user_name == user)
    if action:
        where.append(Audit.action == action)
    if study is not None:
        where.append(Audit.target == f"study {study}")
    if before is not None:
        where.append(Audit.made < (before if before.tzinfo else before.astimezone()))
    with access.store.database.reading() as session:
        rows = session.scalars(select(Audit).where(*where).order_by(Audit.id.desc()).limit(limit))
        return [
            AuditEntry(
                made=a.made,
                user=a.user_name,
                action=a.action,
                target=a.target,
                details=a.details,
                address=a.address,
            )
            for a in rows
        ]


@router.get("/references")
def references(_access: AccessDep) -> list[ReferenceEntry]:
    """Reference populations and cut-off sets, with their sources."""
    defaults = {s.name for level in ("L3", "T12") for s in default_sets(level)}
    return [
        ReferenceEntry(
            name=s.name,
            title=s.title.replace(" ({stratum})", ""),
            source=s.source,
            certainty=s.certainty,
            verified=s.verified,
            own=s.own,
            default=s.name in defaults,
            levels=list(s.levels),
            indices=list(s.indices),
        )
        for s in (*shipped_sets(), *own_sets())
    ]


@router.get("/series-policy")
def default_series_policy(_access: AccessDep) -> dict[str, Any]:
    """The series policy of projects that have none of their own: a start for one."""
    content: dict[str, Any] = json.loads(files("sarcoscope.imaging").joinpath(POLICY).read_text("utf-8"))
    return content


@router.get("/sharing")
def sharing(access: AccessDep) -> list[BundleEntry]:
    """Every bundle of de-identified data that was given away (administrators)."""
    access.require_administrator()
    entries = read_ledger(ledger_path())
    return [BundleEntry(**{**e, **e["terms"]}) for e in reversed(entries)]


@router.get("/models")
def models(_access: AccessDep) -> list[ModelEntry]:
    """The models that are installed."""
    return [
        ModelEntry(name=m.name, version=m.version, task=m.kind, licence=str(m.card.get("licence", "")))
        for m in installed_packages()
    ]


@router.get("/room")
def room(access: AccessDep, studies: Annotated[int, Query(ge=1, le=10_000_000)] = 1000) -> RoomEntry:
    """How much disk and time further studies will need."""
    found = room_for(access.store, studies)
    return RoomEntry(
        studies=studies,
        disk_gb=round(found.disk_bytes / 1e9, 2),
        free_gb=round(shutil.disk_usage(access.store.data).free / 1e9, 2),
        hours_one_worker=round(found.seconds_one_worker / 3600, 2),
        known_studies=found.known_studies,
    )


@router.get("/mapping-log")
def mapping_log(access: AccessDep, project: Code, centre: Code) -> list[dict[str, Any]]:
    """Who used the mapping of pseudonyms for what (needs the right to it)."""
    with access.store.database.reading() as session:
        p = session.scalar(select(Project.id).where(Project.code == project)) or 0
        c = session.scalar(select(Centre.id).where(Centre.code == centre)) or 0
    access.require_mapping(p, c)
    path = access.store.mapping_path(centre)
    if not path.exists():
        return []
    with FileMapping(path, project=project) as mapping:
        return mapping.audit()
