"""Reader studies: planned by a manager, read blind, verified, frozen, exported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from typing import Annotated, Any, Final, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import (
    AccessError,
    ConflictError,
    InputError,
    NotFoundError,
)
from sarcoscope.imaging.volume import Geometry, Volume
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.store.agreement import agreement_of, reading_of
from sarcoscope.store.readings import (
    NamedTask,
    check_open,
    check_size,
    left_of,
    masks_of,
    model_answer,
    named_tasks,
    next_task,
    own_task,
    plan,
    progress_of,
    read_volume,
    start_labels,
    subject_of,
    task_draft,
    withdraw,
)
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    Centre,
    LevelCorrection,
    Membership,
    Project,
    ReaderStudy,
    ReaderStudySubject,
    ReaderTask,
    Segmentation,
    Study,
    User,
    now,
)
from sarcoscope.store.versions import (
    check_base,
    checked_labels,
    draft_labels,
    labels_of,
    new_version,
    put_slice,
)
from sarcoscope.validation.overlap import mask_difference
from sarcoscope.validation.readers import Reading, common_slices, ends_apart
from sarcoscope.web.access import RANK, Access, AccessDep, Number
from sarcoscope.web.archives import zip_answer
from sarcoscope.web.routers.corrections import (
    Numbers,
    SliceIndex,
    TissueDifference,
    labels_body,
    measured_slice,
    tissue_differences,
)
from sarcoscope.web.routers.viewer import (
    Count,
    Index,
    LevelEntry,
    ReadingInfo,
    ViewerPage,
    check_slice,
    packed,
    pieces,
    viewer_page,
)
from sarcoscope.web.routers.worklist import harmless
from sarcoscope.web.scope import Code, place

router = APIRouter(tags=["readings"])
Arm = Literal["scratch", "assisted", "edit"]
_BINARY: dict[str, Any] = {
    "requestBody": {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    }
}
_RAW: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}}}
_Rating = Annotated[int, Field(ge=1, le=5)]
_MOST_DIFFERING: Final = 20
_RowNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Planned(BaseModel):
    """A reader study to be made."""

    project: Code
    centre: Code
    title: Annotated[str, Field(min_length=1, max_length=200, examples=["L3, two readers"])]
    level: Annotated[str, Field(pattern=f"^({'|'.join(LEVELS)})$")] = "L3"
    arms: Annotated[list[Arm], Field(min_length=1, max_length=3)]
    readers: Annotated[list[Annotated[str, Field(max_length=60)]], Field(min_length=1, max_length=50)]
    studies: Annotated[list[_RowNumber], Field(min_length=1, max_length=5000)]
    repeat_days: Annotated[int | None, Field(ge=0, le=3650, description="Wash-out; null: read once.")] = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1


class ReaderStudyEntry(BaseModel):
    """A reader study and how far it is."""

    id: int
    project: str
    centre: str
    title: str
    level: str
    arms: list[str]
    repeat_days: int | None
    frozen: datetime | None
    finished: int
    tasks: int
    by_reader: dict[str, list[int]] = Field(description="Reader -> finished, all.")
    can_manage: bool
    can_verify: bool


class TaskEntry(BaseModel):
    """One reading."""

    id: int
    study: int
    pseudonym: str
    reader: str
    arm: str
    repeat: int
    finished: datetime | None
    index_low: int | None
    index_high: int | None
    seconds: int
    rating: int | None
    comment: str
    verdict: str
    verdict_by: str
    verdict_comment: str
    version: int | None


class SliceDifference(BaseModel):
    """A slice that two readings drew."""

    index: int
    pixels: int = Field(description="Pixels that differ.")


class ReadingPair(BaseModel):
    """Two finished readings of a study, compared on the slices that both drew."""

    one: int
    other: int
    common: int = Field(description="Slices that both drew.")
    tissues: list[TissueDifference]
    slices: list[SliceDifference] = Field(description="Where they differ most, the most first; at most 20.")
    level_slices: float = Field(description="Mean distance of the two ends of the level.")
    level_mm: float


class StudyReadings(BaseModel):
    """The finished readings of one study, and every two of them compared."""

    title: str
    level: str
    frozen: bool
    fits: bool = Field(description="The study's result rests on the images that were read.")
    adopted: list[int] = Field(description="Readings that became a version of the study's mask.")
    readings: list[TaskEntry]
    pairs: list[ReadingPair]


class NextReading(BaseModel):
    """The reading whose turn it is."""

    task: int | None
    title: str = ""
    arm: str = ""
    level: str = ""
    left: int = Field(description="Readings that are not finished, those that wait for a wash-out included.")


class Finished(BaseModel):
    """What a reader found."""

    index_low: Annotated[int, Field(ge=0, le=100_000)]
    index_high: Annotated[int, Field(ge=0, le=100_000)]
    seconds: Annotated[int, Field(ge=0, le=10_000_000, description="Time with the study on the screen.")]
    rating: _Rating | None = Field(None, description="Acceptability of the model's masks, 1 to 5.")
    comment: Annotated[str, Field(max_length=500)] = ""


class Verdict(BaseModel):
    """What a verifier says of a reading."""

    approve: bool
    comment: Annotated[str, Field(max_length=500)] = ""
    adopt: bool = Field(False, description="This reading becomes the study's result.")
    base: _RowNumber | None = Field(
        None, description="The version that counted when it was judged, for an adoption; null: not checked."
    )


def _reader_study(session: Session, access: Access, number: int, role: str) -> ReaderStudy:
    study = session.get(ReaderStudy, number)
    if study is None:
        raise NotFoundError("There is no such reader study.")
    access.require(study.project_id, study.centre_id, role)
    return study


@router.post("/reader-studies", status_code=201)
def make_reader_study(given: Planned, access: AccessDep) -> ReaderStudyEntry:
    """Plan a reader study (role manager): every reader reads every study in every arm, in an own order."""
    store = access.store
    with store.database.reading() as session:
        project, centre = place(session, access, given.project, given.centre, "manager")
        check_size(
            len(set(given.studies)), len(set(given.readers)), len(set(given.arms)),
            repeated=given.repeat_days is not None,
        )  # fmt: skip
        seen = {
            s.id: s
            for s in session.scalars(select(Study).where(Study.id.in_(given.studies), access.visible()))
        }
        subjects = []
        for number in dict.fromkeys(given.studies):
            one = seen.get(number) or access.study(session, number)
            if (one.project_id, one.centre_id) != (project.id, centre.id):
                raise InputError(f"Study {number} does not belong to this project and centre.")
            if one.analysis_id is None:
                raise InputError(f"Study {number} was not analysed yet.")
            subjects.append(model_answer(session, store, one, given.level))
    with store.database.writing() as session:
        project, centre = place(session, access, given.project, given.centre, "manager")
        if project.keeps == "slices":
            raise InputError("The project keeps only the measured slices: its studies cannot be read.")
        users = session.scalars(select(User).where(User.name.in_(given.readers), User.active)).all()
        if len(users) < len(set(given.readers)):
            raise InputError("A reader is not known.")
        members = {
            m.user_id: RANK[m.role]
            for m in session.scalars(select(Membership).filter_by(project_id=project.id, centre_id=centre.id))
        }
        for user in users:
            if members.get(user.id, -1) < RANK["annotator"]:
                raise InputError(f"{user.name} is no annotator of this project and centre.")
        study = ReaderStudy(
            project_id=project.id,
            centre_id=centre.id,
            title=given.title,
            level=given.level,
            arms=list(given.arms),
            repeat_days=given.repeat_days,
            seed=given.seed,
        )
        session.add(study)
        plan(session, study, subjects, [u.id for u in users], given.arms)
        access.audit(
            session, "make_reader_study", target=f"reader study {study.id}",
            project_id=project.id, centre_id=centre.id, readers=given.readers,
        )  # fmt: skip
        return _entries(session, access, [study])[0]


def _entries(session: Session, access: Access, studies: Sequence[ReaderStudy]) -> list[ReaderStudyEntry]:
    progress = progress_of(session, [s.id for s in studies])
    projects = _codes(session, Project, {s.project_id for s in studies})
    centres = _codes(session, Centre, {s.centre_id for s in studies})
    ranks = {s.id: access.rank(s.project_id, s.centre_id) for s in studies}
    return [
        ReaderStudyEntry(
            id=s.id,
            project=projects[s.project_id],
            centre=centres[s.centre_id],
            title=s.title,
            level=s.level,
            arms=s.arms,
            repeat_days=s.repeat_days,
            frozen=s.frozen,
            finished=sum(done for done, _ in progress[s.id].values()),
            tasks=sum(every for _, every in progress[s.id].values()),
            by_reader=progress[s.id],
            can_manage=ranks[s.id] >= RANK["manager"],
            can_verify=ranks[s.id] >= RANK["reviewer"],
        )
        for s in studies
    ]


def _codes(session: Session, table: type[Project | Centre], numbers: set[int]) -> dict[int, str]:
    return {
        number: code
        for number, code in session.execute(select(table.id, table.code).where(table.id.in_(numbers)))
    }


@router.get("/reader-studies")
def list_reader_studies(access: AccessDep) -> list[ReaderStudyEntry]:
    """Reader studies of one's projects and centres, newest first."""
    with access.store.database.reading() as session:
        rows = session.scalars(select(ReaderStudy).order_by(ReaderStudy.id.desc())).all()
        mine = [s for s in rows if access.rank(s.project_id, s.centre_id) >= 0]
        return _entries(session, access, mine)


@router.get("/reader-studies/{number}/tasks")
def list_tasks(number: Number, access: AccessDep) -> list[TaskEntry]:
    """Every reading (role reviewer); who still has to read in it sees nothing."""
    with access.store.database.reading() as session:
        _seen(session, access, number)
        return [_task_entry(t) for t in named_tasks(session, number)]


def _task_entry(named: NamedTask) -> TaskEntry:
    task = named.task
    return TaskEntry(
        study=task.study_id,
        pseudonym=named.pseudonym,
        reader=named.reader,
        version=task.segmentation_id,
        **{
            k: getattr(task, k)
            for k in (
                "id", "arm", "repeat", "finished", "index_low", "index_high", "seconds", "rating",
                "comment", "verdict", "verdict_by", "verdict_comment",
            )
        },
    )  # fmt: skip


def _seen(session: Session, access: Access, number: int) -> ReaderStudy:
    """A reader study whose readings the user may look at."""
    study = _reader_study(session, access, number, "reviewer")
    of_it = aliased(ReaderTask)
    mine = (
        access.blind()
        .where(ReaderTask.study_id.in_(select(of_it.study_id).where(of_it.reader_study_id == number)))
        .limit(1)
    )
    if access.reads_blind and session.scalar(mine) is not None:
        raise AccessError(
            "You still read one of these studies blind: the readings are shown when you have finished."
        )
    return study


@router.get("/reader-studies/{number}/studies/{study}/readings")
def study_readings(number: Number, study: Number, access: AccessDep) -> StudyReadings:
    """The finished readings of a study side by side (role reviewer, as for every reading)."""
    store = access.store
    with store.database.reading() as session:
        reader_study = _seen(session, access, number)
        named = named_tasks(session, number, study=study)
        if not named:
            raise NotFoundError("The reader study has no such study.")
        found = [n for n in named if n.task.finished is not None]
        geometry = read_volume(session, store, named[0].task).geometry
        readings = [(n.task.id, reading_of(session, store, n)) for n in found]
        parents = select(Segmentation.parent_id).where(
            Segmentation.study_id == study, Segmentation.blind.is_(False)
        )
        kept = set(session.scalars(parents))
        return StudyReadings(
            title=reader_study.title,
            level=reader_study.level,
            frozen=reader_study.frozen is not None,
            fits=_fits(session, store, session.get_one(Study, study), named[0].task),
            adopted=[n.task.id for n in found if n.task.segmentation_id in kept],
            readings=[_task_entry(n) for n in found],
            pairs=[_reading_pair(a, b, geometry) for a, b in combinations(readings, 2)],
        )


def _fits(session: Session, store: Store, study: Study, task: ReaderTask) -> bool:
    """Whether a study's newest analysis rests on the images that a reading showed."""
    now_, then = study.analysis_id, subject_of(session, store, task).analysis_id
    if now_ is None or now_ == then:
        return now_ == then
    one, other = (result_of(store, session, number)["series"] for number in (now_, then))
    return bool(one["uid"] == other["uid"] and one["n_slices"] == other["n_slices"])


def _reading_pair(a: tuple[int, Reading], b: tuple[int, Reading], geometry: Geometry) -> ReadingPair:
    one, other = a[1], b[1]
    found = mask_difference(one.labels, other.labels, common_slices(one, other))
    slices, mm = ends_apart(one, other, geometry.slice_offsets_mm)
    most = sorted(((n, i) for i, n in found.pixels.items() if n), key=lambda x: (-x[0], x[1]))
    return ReadingPair(
        one=a[0],
        other=b[0],
        common=len(found.pixels),
        tissues=tissue_differences(found, geometry.pixel_area_mm2 / 100.0),
        slices=[SliceDifference(index=i, pixels=n) for n, i in most[:_MOST_DIFFERING]],
        level_slices=slices,
        level_mm=round(mm, 3),
    )


@router.get("/reader-studies/{number}/agreement")
def show_agreement(number: Number, access: AccessDep) -> dict[str, Any]:
    """Agreement on level and masks, between readers and within each (role reviewer)."""
    with access.store.database.reading() as session:
        return agreement_of(session, access.store, _seen(session, access, number))


@router.post("/reader-studies/{number}/freeze", status_code=204)
def freeze(number: Number, access: AccessDep) -> None:
    """End a reader study (role manager): nothing of it changes any more."""
    with access.store.database.writing() as session:
        study = _reader_study(session, access, number, "manager")
        check_open(study)
        study.frozen = now()
        access.audit(
            session, "freeze_reader_study", target=f"reader study {number}",
            project_id=study.project_id, centre_id=study.centre_id,
        )  # fmt: skip


@router.get("/reader-studies/{number}/export.zip", response_class=Response, responses=_ZIP)
def export_reader_study(number: Number, access: AccessDep) -> Response:
    """Readings as CSV, agreement as JSON, every mask as NIfTI (role manager)."""
    store = access.store
    with store.database.reading() as session:
        study = _reader_study(session, access, number, "manager")
        _seen(session, access, number)
        named = named_tasks(session, number)
        said = json.dumps(agreement_of(session, store, study), indent=1, ensure_ascii=False, allow_nan=False)
        masks = masks_of(session, number)
        ids = study.project_id, study.centre_id
    texts = {"readings.csv": _csv([_task_entry(t) for t in named]), "agreement.json": said}
    files = {f"masks/{task}.nii.gz": sha for task, sha in masks.items()}
    answer = zip_answer(store, f"reader-study-{number}.zip", texts, files)
    with store.database.writing() as session:
        access.audit(
            session,
            "export_reader_study",
            target=f"reader study {number}",
            project_id=ids[0],
            centre_id=ids[1],
        )
    return answer


def _csv(tasks: Sequence[TaskEntry]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(TaskEntry.model_fields)
    writer.writerow(names)
    for task in tasks:
        writer.writerow([harmless(getattr(task, name)) for name in names])
    return out.getvalue()


@router.get("/readings/next")
def next_reading(access: AccessDep) -> NextReading:
    """The reading whose turn it is."""
    with access.store.database.reading() as session:
        left = left_of(session, access.user)
        task = next_task(session, access.user)
        if task is None:
            return NextReading(task=None, left=left)
        study = session.get_one(ReaderStudy, task.reader_study_id)
        return NextReading(task=task.id, title=study.title, arm=task.arm, level=study.level, left=left)


def _study_of(session: Session, access: Access, task: ReaderTask) -> Study:
    """The study of one's reading: seen through the reading alone."""
    study = session.get_one(Study, task.study_id)
    access.require(study.project_id, study.centre_id, "annotator")
    return study


def _volume_of(session: Session, access: Access, task: ReaderTask) -> Volume:
    """The volume of one's reading."""
    _study_of(session, access, task)
    return read_volume(session, access.store, task)


@router.get("/readings/{number}/viewer")
def reading_viewer(number: Number, access: AccessDep) -> ViewerPage:
    """Geometry for a reading; levels only where the arm shows the model's answer."""
    store = access.store
    with store.database.reading() as session:
        task = own_task(session, access.user, number)
        study, volume = _study_of(session, access, task), _volume_of(session, access, task)
        subject = subject_of(session, store, task)
        page = viewer_page(session, access, study, volume, analysis_id=subject.analysis_id)
        reader_study = session.get_one(ReaderStudy, task.reader_study_id)
        told = ReadingInfo(title=reader_study.title, arm=task.arm, level=reader_study.level)
        draft = task_draft(session, task)
        drawn = len(draft.slices) if draft is not None else None
        found = _level_entries(subject) if task.arm != "scratch" else []
        span = list(range(found[0].index_low, found[0].index_high + 1)) if found else []
    access.audited("read_blind", study, task=number)
    return page.model_copy(
        update={
            "pseudonym": f"{number}", "levels": found, "measured": [], "indices": span, "versions": [],
            "moves": [],
            "shown": None, "analysed": None, "status": "done", "others": [], "can_edit": True,
            "draft": drawn, "draft_base": None,
            "reading": told,
        }
    )  # fmt: skip


def _level_entries(subject: ReaderStudySubject) -> list[LevelEntry]:
    return [LevelEntry(**{k: entry[k] for k in LevelEntry.model_fields}) for entry in subject.levels]


@router.get("/readings/{number}/volume", response_class=Response, responses=_RAW)
def reading_volume(number: Number, access: AccessDep, low: Index, count: Count = 8) -> Response:
    """HU of some slices, as for a study."""
    with access.store.database.reading() as session:
        task = own_task(session, access.user, number)
        return pieces(_volume_of(session, access, task), low, count)


@router.get("/readings/{number}/start", response_class=Response, responses=_RAW)
def reading_start(number: Number, access: AccessDep) -> Response:
    """What the model drew, packed like a version; nothing for a reading from scratch."""
    with access.store.database.reading() as session:
        task = own_task(session, access.user, number)
        _study_of(session, access, task)
        return packed(start_labels(session, access.store, task))


@router.get("/readings/{number}/draft", response_class=Response, responses=_RAW)
def reading_draft(number: Number, access: AccessDep) -> Response:
    """One's unsaved slices, packed like a version."""
    with access.store.database.reading() as session:
        task = own_task(session, access.user, number)
        volume = _volume_of(session, access, task)
        return packed(draft_labels(task_draft(session, task), volume))


@router.get("/readings/{number}/draft/numbers")
def reading_numbers(number: Number, access: AccessDep) -> Numbers:
    """What was measured on one's slices; no index and no answer."""
    with access.store.database.reading() as session:
        draft = task_draft(session, own_task(session, access.user, number))
        slices = [s.measured for s in draft.slices] if draft is not None else []
        return Numbers(slices=slices, measurements=[], indices=[], diagnosis=[])


@router.delete("/readings/{number}/draft", status_code=204)
def drop_reading_draft(number: Number, access: AccessDep) -> None:
    """Begin the reading again."""
    with access.store.database.writing() as session:
        draft = task_draft(session, own_task(session, access.user, number, lock=True))
        if draft is not None:
            session.delete(draft)


@router.put("/readings/{number}/draft/{index}", openapi_extra=_BINARY)
async def put_reading_draft(
    number: Number, index: SliceIndex, request: Request, access: AccessDep
) -> Numbers:
    """Keep a slice of a reading (uint8 [row, column], gzip if the header says so)."""
    content = await labels_body(request)
    return await to_thread.run_sync(_put, access, number, index, content)


def _put(access: Access, number: int, index: int, content: bytes) -> Numbers:
    store = access.store
    with store.database.reading() as session:
        task = own_task(session, access.user, number)
        volume = _volume_of(session, access, task)
        result = result_of(store, session, subject_of(session, store, task).analysis_id)
    check_slice(volume, index)
    labels = checked_labels(content, volume)
    # The name of the level would say where the model saw it.
    measured = {**measured_slice(volume, result, index, labels), "level": None, "level_confidence": 0.0}
    with store.database.writing() as session:
        task = own_task(session, access.user, number, lock=True)
        study = session.get_one(Study, task.study_id)
        put_slice(session, study, access.user, None, index, labels, measured, task.id)
    return Numbers(slices=[measured], measurements=[], indices=[], diagnosis=[])


@router.post("/readings/{number}/finish")
def finish_reading(number: Number, given: Finished, access: AccessDep) -> NextReading:
    """Finish a reading: range and masks are kept for good; the answer is the next one."""
    store = access.store
    with store.database.reading() as session:
        task = own_task(session, access.user, number)
        study, volume = _study_of(session, access, task), _volume_of(session, access, task)
        draft = task_draft(session, task)
        drawn = draft_labels(draft, volume)
        before = start_labels(session, store, task) if task.arm == "edit" else {}
        labels = {**before, **drawn}
        touched = draft.touched if draft is not None else None
    if not 0 <= given.index_low <= given.index_high < volume.n_slices:
        raise InputError(f"A range lies within the slices 0 to {volume.n_slices - 1}, from low to high.")
    missing = [i for i in range(given.index_low, given.index_high + 1) if i not in labels]
    if missing:
        listed = ", ".join(map(str, missing[:10]))
        raise InputError(f"{len(missing)} slices of the range have no mask yet: {listed}.")
    mask = new_version(
        store, volume, study, labels,
        reader=access.user.name, reason=f"reading {number}", user_id=access.user.id,
    )  # fmt: skip
    mask.blind = True
    with store.database.writing() as session:
        task = own_task(session, access.user, number, lock=True)
        session.add(mask)
        session.flush()
        task.segmentation_id = mask.id
        task.index_low, task.index_high = given.index_low, given.index_high
        task.seconds, task.rating, task.comment = given.seconds, given.rating, given.comment
        task.finished = now()
        draft = task_draft(session, task)
        if (draft.touched if draft is not None else None) != touched:
            raise ConflictError("The masks changed while the reading was finished: finish it again.")
        if draft is not None:
            session.delete(draft)
        access.audit(session, "finish_reading", session.get_one(Study, task.study_id), task=number)
    return next_reading(access)


@router.get("/readings/{number}/mask", response_class=Response, responses=_RAW)
def reading_mask(number: Number, access: AccessDep) -> Response:
    """The masks of a finished reading, packed like a version (role reviewer)."""
    with access.store.database.reading() as session:
        task = session.get(ReaderTask, number)
        if task is None:
            raise NotFoundError("There is no such reading.")
        _seen(session, access, task.reader_study_id)
        mask = session.get(Segmentation, task.segmentation_id) if task.segmentation_id is not None else None
        if mask is None:
            raise NotFoundError("The reading is not finished.")
        return packed(labels_of(access.store, mask))


@router.delete("/readings/{number}", status_code=204)
def withdraw_reading(number: Number, access: AccessDep) -> None:
    """Take a reading that is not finished, with its draft and its repeat, out of its study (role manager)."""
    with access.store.database.writing() as session:
        task = session.get(ReaderTask, number, with_for_update=True)
        if task is None:
            raise NotFoundError("There is no such reading.")
        reader_study = _reader_study(session, access, task.reader_study_id, "manager")
        check_open(reader_study)
        study, reader = session.get_one(Study, task.study_id), session.get_one(User, task.user_id).name
        gone = withdraw(session, task)
        access.audit(
            session, "withdraw_reading", study, reader_study=reader_study.id, reader=reader, readings=gone
        )


@router.post("/readings/{number}/verdict", status_code=204)
def judge_reading(number: Number, given: Verdict, access: AccessDep) -> None:
    """Approve or reject a reading with a comment, or make it the study's result (role reviewer).

    Answers 409 when it shall be adopted and somebody saved another version of the mask since ``base``.
    """
    with access.store.database.writing() as session:
        task = session.get(ReaderTask, number, with_for_update=True)
        if task is None:
            raise NotFoundError("There is no such reading.")
        reader_study = _seen(session, access, task.reader_study_id)
        study = access.study(session, task.study_id, "reviewer", lock=True)
        check_open(reader_study)
        if task.user_id == access.user.id:
            raise AccessError("Nobody verifies a reading of their own.")
        if task.finished is None or task.index_low is None or task.index_high is None:
            raise InputError("The reading is not finished.")
        if task.verdict:
            raise ConflictError(f"{task.verdict_by} has given a verdict on this reading.")
        task.verdict = "approved" if given.approve else "rejected"
        task.verdict_by, task.verdict_comment = access.user.name, given.comment
        if given.approve and given.adopt:
            if given.base is not None:
                check_base(session, study, given.base)
            study.review, study.review_reason = "accepted", given.comment[:200]
            _adopt(session, access, study, reader_study, task)
        access.audit(session, "judge_reading", study, task=number, verdict=task.verdict, adopted=given.adopt)


def _adopt(
    session: Session, access: Access, study: Study, reader_study: ReaderStudy, task: ReaderTask
) -> None:
    if not _fits(session, access.store, study, task):
        raise ConflictError("The study was processed on other images meanwhile: the reading does not fit.")
    read = session.get_one(Segmentation, task.segmentation_id)
    mask = Segmentation(
        study_id=study.id,
        parent_id=read.id,
        reader=read.reader,
        user_id=read.user_id,
        reason=f"reading {task.id}, adopted by {access.user.name}",
        sha256=read.sha256,
        size=read.size,
        indices=read.indices,
    )
    session.add(mask)
    session.flush()
    study.segmentation_id = mask.id
    session.add(
        LevelCorrection(
            study_id=study.id, level=reader_study.level, index_low=task.index_low, index_high=task.index_high,
            user_id=task.user_id, reason=f"reading {task.id}",
        )
    )  # fmt: skip
    queue_study(session, access.store, study, priority=2)
