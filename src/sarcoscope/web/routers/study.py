"""The study page: result, body info, other choices of reference and protocol, downloads, report."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.deid.restore import Target, check_same
from sarcoscope.errors import ConflictError, IdentityError, InputError, NotFoundError
from sarcoscope.jobs.judge_job import judged, keep_judged
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.measures.body_info import LIMITS
from sarcoscope.store.results import (
    body_of,
    output_of,
    remove_study,
    result_of,
)
from sarcoscope.store.tables import (
    Analysis,
    BodyValues,
    Centre,
    Output,
    Project,
    ReaderTask,
    Segmentation,
    Study,
)
from sarcoscope.store.volumes import forget_volumes
from sarcoscope.web.access import RANK, Access, AccessDep, Number
from sarcoscope.web.routers.viewer import MaskVersion, version_entry
from sarcoscope.web.routers.worklist import Row, listed, row_of

router = APIRouter(prefix="/studies/{number}", tags=["study"])
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.]{1,60}$", examples=["overlay_L3.png"])]
References = Annotated[
    list[Annotated[str, Field(max_length=60)]] | None,
    Query(description="Reference sets; none: the project's, else the defaults.", max_length=20),
]
Protocol = Annotated[Literal["range", "mid", "inferior-endplate", "two-adjacent"] | None, Query()]
Language = Annotated[Literal["en", "ko"], Query()]
_TYPES = {
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".dcm": "application/dicom",
    ".gz": "application/gzip",
}
_ANY_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in sorted(set(_TYPES.values()))}}
}
_PDF: dict[int | str, dict[str, Any]] = {200: {"content": {"application/pdf": {}}}}


class Body(BaseModel):
    """Body values of a person on a day."""

    day: date | None = Field(None, description="Day of the values, shifted like the study's.")
    height_cm: Annotated[float | None, Field(ge=LIMITS["height"][0], le=LIMITS["height"][1])] = None
    weight_kg: Annotated[float | None, Field(ge=LIMITS["weight"][0], le=LIMITS["weight"][1])] = None
    age_years: Annotated[float | None, Field(ge=LIMITS["age"][0], le=LIMITS["age"][1])] = None
    dry: bool = Field(False, description="The weight is free of ascites and oedema.")
    fluid: bool = Field(False, description="The person has ascites or oedema.")


class BodyEntry(Body):
    """Body values with where they come from."""

    origin: str
    made: datetime


class FileEntry(BaseModel):
    """A file of the newest analysis."""

    name: str
    size: int


class SeriesEntry(BaseModel):
    """A series of the study."""

    uid: str
    modality: str
    description: str
    images: int
    refused: str = Field(description="Why the newest analysis did not take it.")


class Run(BaseModel):
    """An analysis of the study."""

    id: int
    made: datetime
    protocol: str
    references: list[str]
    software: str


class StudyPage(BaseModel):
    """Everything of a study."""

    row: Row
    keeps: str
    can_edit: bool
    can_review: bool
    can_delete: bool
    can_identify: bool
    p0_words: bool
    result: dict[str, Any] | None = Field(description="result.json of the newest analysis.")
    files: list[FileEntry]
    series: list[SeriesEntry]
    body: list[BodyEntry]
    counts: BodyEntry | None = Field(description="The body values that count.")
    masks: list[MaskVersion]
    runs: list[Run]
    deidentification: dict[str, Any]


class Processing(BaseModel):
    """Choices of an analysis; what is left out is the project's."""

    protocol: Literal["range", "mid", "inferior-endplate", "two-adjacent", "slice"] | None = None
    slice_index: Annotated[int | None, Field(ge=0, le=100_000, description="For the protocol 'slice'.")] = (
        None
    )
    references: list[str] | None = None
    levels: list[str] | None = None
    series_uid: Annotated[str | None, Field(max_length=64)] = None
    scratch: bool = Field(
        False, description="Leave the readers' corrections aside; they stay in the history."
    )


class Identifiers(BaseModel):
    """Who the report is for; at least two of the three must agree with the mapping."""

    name: Annotated[str, Field(max_length=200)] = ""
    birth_date: Annotated[str, Field(pattern=r"^(\d{4}-?\d{2}-?\d{2})?$")] = ""
    sex: Literal["", "M", "F"] = ""


class Disease(BaseModel):
    """The disease group of a study."""

    disease: Annotated[str, Field(max_length=100, examples=["cirrhosis"])]


def _body_entry(values: BodyValues) -> BodyEntry:
    return BodyEntry(
        day=values.day,
        height_cm=values.height_cm,
        weight_kg=values.weight_kg,
        age_years=values.age_years,
        dry=values.dry,
        fluid=values.fluid,
        origin=values.origin,
        made=values.made,
    )


def _page(session: Session, access: Access, study: Study) -> StudyPage:
    project = session.get_one(Project, study.project_id)
    rank = access.rank(study.project_id, study.centre_id)
    files: list[FileEntry] = []
    result = None
    if study.analysis_id is not None:
        outputs = session.scalars(
            select(Output).where(Output.analysis_id == study.analysis_id).order_by(Output.name)
        )
        files = [FileEntry(name=o.name, size=o.size) for o in outputs]
        result = result_of(access.store, session, study.analysis_id)
    masks = session.scalars(
        select(Segmentation)
        .where(Segmentation.study_id == study.id, Segmentation.blind.is_(False))
        .order_by(Segmentation.id)
    )
    runs = session.scalars(select(Analysis).where(Analysis.study_id == study.id).order_by(Analysis.id.desc()))
    counting = body_of(session, study)
    return StudyPage(
        row=row_of(session.execute(listed().where(Study.id == study.id)).one()),
        keeps=project.keeps,
        can_edit=rank >= RANK["annotator"],
        can_review=rank >= RANK["reviewer"],
        can_delete=rank >= RANK["manager"],
        can_identify=(study.project_id, study.centre_id) in access.mappings,
        p0_words=project.p0_words,
        result=result,
        files=files,
        series=[
            SeriesEntry(
                uid=s.uid,
                modality=s.modality,
                description=s.description,
                images=len(s.images),
                refused=s.refused,
            )
            for s in study.series
        ],
        body=[_body_entry(b) for b in study.person.body],
        counts=_body_entry(counting) if counting else None,
        masks=[version_entry(m) for m in masks],
        runs=[
            Run(id=r.id, made=r.made, protocol=r.protocol, references=r.references, software=r.software)
            for r in runs
        ],
        deidentification=study.report,
    )


@router.get("")
def show_study(number: Number, access: AccessDep) -> StudyPage:
    """Everything of a study."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        page = _page(session, access, study)
    access.audited("read", study)
    return page


@router.delete("", status_code=204)
def delete_study(number: Number, access: AccessDep) -> None:
    """Delete a study with its images, masks and results (role manager)."""
    with access.store.database.writing() as session:
        study = access.study(session, number, "manager", lock=True)
        if session.scalar(
            select(ReaderTask.id)
            .where(ReaderTask.study_id == number, ReaderTask.finished.is_not(None))
            .limit(1)
        ):
            raise ConflictError("Finished readings of a reader study rest on this study; it stays.")
        access.audit(session, "delete_study", study, uid=study.uid)
        gone = remove_study(session, study)
    forget_volumes(access.store, number)
    for name in gone:
        access.store.files.remove(name)


@router.post("/process", status_code=202)
def process_study(number: Number, given: Processing, access: AccessDep) -> dict[str, str]:
    """Queue an analysis with one's own choices (role annotator)."""
    with access.store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        choices = given.model_dump(exclude_none=True, exclude_defaults=True)
        key = queue_study(session, access.store, study, choices, priority=1)
        access.audit(session, "process", study, **choices)
    return {"job": key}


@router.put("/disease", status_code=204)
def set_disease(number: Number, given: Disease, access: AccessDep) -> None:
    """Name the disease group (role annotator)."""
    with access.store.database.writing() as session:
        study = access.study(session, number, "annotator")
        study.disease = given.disease.strip()
        access.audit(session, "set_disease", study, disease=study.disease)


@router.put("/body")
def set_body(number: Number, given: Body, access: AccessDep) -> StudyPage:
    """Give body values (role annotator); what rests on them is computed again at once."""
    if given.height_cm is None and given.weight_kg is None and given.age_years is None and not given.fluid:
        raise InputError("Give a height, a weight or an age.")
    store = access.store
    with store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        session.add(
            BodyValues(
                person_id=study.person_id,
                origin="typed",
                user_id=access.user.id,
                **{**given.model_dump(), "day": given.day or study.day},
            )
        )
        session.flush()
        access.audit(session, "set_body", study)
        analysis_id = study.analysis_id
    if analysis_id is not None:
        _keep(access, number, None, None)
    return show_study(number, access)


@router.get("/judged")
def show_judged(
    number: Number, access: AccessDep, reference: References = None, protocol: Protocol = None
) -> dict[str, Any]:
    """The result under another choice of reference sets and protocol; nothing is stored."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        return judged(session, access.store, study, reference, protocol).as_dict()


@router.post("/judged")
def set_judged(
    number: Number, access: AccessDep, reference: References = None, protocol: Protocol = None
) -> StudyPage:
    """Make another choice of reference sets and protocol the study's result (role annotator)."""
    with access.store.database.reading() as session:
        access.study(session, number, "annotator")
    _keep(access, number, reference, protocol)
    return show_study(number, access)


def _keep(access: Access, number: int, references: list[str] | None, protocol: str | None) -> None:
    chosen = keep_judged(access.store, number, f"judged-{uuid.uuid4().hex}", references, protocol)
    with access.store.database.writing() as session:
        access.audit(session, "judge", access.study(session, number, "annotator"), **chosen)


@router.get("/report", response_class=Response, responses=_PDF)
def report(
    number: Number,
    access: AccessDep,
    lang: Language = "en",
    reference: References = None,
    protocol: Protocol = None,
) -> Response:
    """The report as a PDF, in English or Korean, under any choice of reference and protocol."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        page = judged(session, access.store, study, reference, protocol).report(session, access.store, lang)
    access.audited("report", study, language=lang)
    return _file(page, f"report-{number}.pdf", "application/pdf", inline=True)


@router.post("/identified-report", response_class=Response, responses=_PDF)
def identified_report(
    number: Number, given: Identifiers, access: AccessDep, lang: Language = "en"
) -> Response:
    """The report with the person's name, for the person in the room: two identifiers are compared, it is
    written down, nothing is stored (needs the right to the mapping)."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        access.require_mapping(study.project_id, study.centre_id)
        centre = session.get_one(Centre, study.centre_id).code
        project = session.get_one(Project, study.project_id).code
        pseudonym = study.person.pseudonym
        result = judged(session, store, study, None, None)
        with store.mapping(centre, project) as mapping:
            person = mapping.person_of(pseudonym)
            if person is None:
                raise IdentityError("The mapping does not know this pseudonym.")
            check_same(person.identity, Target(given.name, given.birth_date, given.sex))
            mapping.record("identified_report", {"pseudonym": pseudonym, "user": access.user.name})
        said = person.identity
        line = "  ".join(
            t for t in (said.name.replace("^", " "), said.patient_id, said.birth_date, said.sex) if t
        )
        page = result.report(session, store, lang, line)
    access.audited("identified_report", study)
    return _file(page, "report.pdf", "application/pdf", inline=True)


@router.get("/files/{name}", response_class=Response, responses=_ANY_FILE)
def download(number: Number, name: FileName, access: AccessDep) -> Response:
    """A file of the newest analysis: pictures, tables, masks, DICOM SEG and SR."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        if study.analysis_id is None:
            raise NotFoundError("The study was not analysed yet.")
        content = output_of(access.store, session, study.analysis_id, name)
    picture = name.endswith(".png")
    if not picture:
        access.audited("download", study, file=name)
    kind = next((k for end, k in _TYPES.items() if name.endswith(end)), "application/octet-stream")
    return _file(content, name if picture else f"{number}-{name}", kind, inline=picture)


def _file(content: bytes, name: str, kind: str, *, inline: bool) -> Response:
    way = "inline" if inline else "attachment"
    headers = {"Content-Disposition": f'{way}; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(content, media_type=kind, headers=headers)
