"""Corrections by readers: levels, masks, drafts, versions. Nothing overwrites what somebody else saved."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.errors import ConflictError, InputError, NotFoundError
from sarcoscope.exports.json_result import result_dict, slice_dict
from sarcoscope.imaging.foreign_masks import read_mask
from sarcoscope.imaging.volume import Volume
from sarcoscope.jobs.given import given_body
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.measures.areas import measure_slices
from sarcoscope.store.results import body_of, result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, LevelCorrection, Project, Segmentation, Study
from sarcoscope.store.versions import (
    Labels,
    check_base,
    checked_labels,
    draft_labels,
    draft_of,
    labels_of,
    new_version,
    put_slice,
)
from sarcoscope.store.volumes import open_volume
from sarcoscope.study.again import judge_again, levels_of
from sarcoscope.study.correct import LevelMove, moved
from sarcoscope.tissues.tissue_mask import TissueMask
from sarcoscope.validation.overlap import MaskDifference, mask_difference
from sarcoscope.web.access import Access, AccessDep, Number
from sarcoscope.web.problems import TooLargeError
from sarcoscope.web.routers.viewer import MaskVersion, check_slice, packed, version_entry, version_of

router = APIRouter(prefix="/studies/{number}", tags=["corrections"])
SliceIndex = Annotated[int, Path(ge=0, le=100_000, examples=[0])]
Base = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="The version that the work began from; none: no mask.")
]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
Reason = Annotated[str, Field(min_length=1, max_length=200, examples=["kidney was taken for muscle"])]
MOST_LABELS: Final = 64 * 1024 * 1024
MOST_IMPORT: Final = 256 * 1024 * 1024
_BINARY: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    }
}
_RAW: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/octet-stream": {}}}}


class Numbers(BaseModel):
    """What the unsaved masks would give; fields are those of ``result.json``."""

    slices: list[dict[str, Any]] = Field(description="The changed slices.")
    measurements: list[dict[str, Any]]
    indices: list[dict[str, Any]]
    diagnosis: list[dict[str, Any]]


class Saving(BaseModel):
    """A save of one's draft."""

    reason: Reason
    base: Version | None = Field(description="The version that the work began from.")
    over: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        None, description="A newer version of somebody else's that was looked at; 0: none counts any more."
    )
    key: Annotated[str, Field(pattern=r"^[0-9a-zA-Z-]{8,64}$", description="A new word for every save.")]


class Restoring(BaseModel):
    """An earlier version made the one that counts."""

    reason: Reason
    base: Version | None = Field(description="The version that counts now.")


class Move(BaseModel):
    """A range of a level, as a reader sees it."""

    level: Annotated[str, Field(examples=["L3"], pattern=f"^({'|'.join(LEVELS)})$")]
    index_low: Annotated[int, Field(ge=0, le=100_000)]
    index_high: Annotated[int, Field(ge=0, le=100_000)]
    renumber: bool = Field(False, description="The other names move along: the numbering was wrong.")
    reason: Reason


class Queued(BaseModel):
    """The job that computes what follows."""

    job: str


class TissueDifference(BaseModel):
    """Two versions, one tissue."""

    tissue: str
    area_cm2: float = Field(description="Mean over the compared slices.")
    other_cm2: float
    dice: float | None


class Difference(BaseModel):
    """Two versions of a mask."""

    version: int
    other: int
    slices: list[int] = Field(description="Slices that differ.")
    pixels: int = Field(description="Pixels that differ.")
    tissues: list[TissueDifference]


@router.put("/draft/{index}", openapi_extra=_BINARY)
async def put_draft(
    number: Number, index: SliceIndex, request: Request, access: AccessDep, base: Base = None
) -> Numbers:
    """Keep a slice of one's unsaved work (role annotator); the answer is what the masks would then give.

    The body is uint8 [row, column], with gzip if the header says so.
    """
    content = await labels_body(request)
    return await to_thread.run_sync(_put_draft, access, number, index, content, base)


async def _body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        TooLargeError: more than ``most`` bytes.
    """
    blocks, size = [], 0
    async for block in request.stream():
        size += len(block)
        if size > most:
            raise TooLargeError("This is more than is taken.")
        blocks.append(block)
    return b"".join(blocks)


async def labels_body(request: Request) -> bytes:
    """The labels of a request, with gzip if its header says so; never more than 64 MB of them.

    Raises:
        TooLargeError: more than that was sent.
        InputError: they are damaged.
    """
    content = await _body(request, MOST_LABELS)
    if request.headers.get("Content-Encoding") != "gzip":
        return content
    try:
        return zlib.decompressobj(wbits=31).decompress(content, MOST_LABELS)
    except zlib.error as error:
        raise InputError("The labels arrived damaged; send them again.") from error


def _put_draft(access: Access, number: int, index: int, content: bytes, base: int | None) -> Numbers:
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number, "annotator")
        volume = open_volume(store, session, study)
        result = study_result(session, store, study)
        if base is not None:
            version_of(session, study, base)
    check_slice(volume, index)
    labels = checked_labels(content, volume)
    measured = measured_slice(volume, result, index, labels)
    with store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        draft = put_slice(session, study, access.user, base, index, labels, measured)
        redrawn = {s.index_: s.measured for s in draft.slices}
    with store.database.reading() as session:
        study = access.study(session, number)
        return _numbers(session, access, study, result, _with_base(session, store, study, base, redrawn))


def _with_base(
    session: Session,
    store: Store,
    study: Study,
    base: int | None,
    redrawn: Mapping[int, Mapping[str, Any]],
) -> Mapping[int, Mapping[str, Any]]:
    """The redrawn slices; with those of their base where the result does not rest on it (yet)."""
    if base is None or base == session.get_one(Analysis, study.analysis_id).segmentation_id:
        return redrawn
    volume, result = open_volume(store, session, study), study_result(session, store, study)
    beside = {
        i: measured_slice(volume, result, i, plane)
        for i, plane in labels_of(store, version_of(session, study, base)).items()
        if i not in redrawn
    }
    return {**beside, **redrawn}


def study_result(session: Session, store: Store, study: Study) -> dict[str, Any]:
    """The ``result.json`` of a study's newest analysis.

    Raises:
        NotFoundError: it was not analysed.
    """
    if study.analysis_id is None:
        raise NotFoundError("The study was not analysed yet.")
    return result_of(store, session, study.analysis_id)


def measured_slice(
    volume: Volume, result: Mapping[str, Any], index: int, labels: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """A slice as in ``slices`` of ``result.json``."""
    mask = TissueMask((index,), labels[None], np.ones((1, *labels.shape), bool))
    (measure,) = measure_slices(volume, mask, levels_of(result))
    return slice_dict(measure)


def _numbers(
    session: Session,
    access: Access,
    study: Study,
    result: dict[str, Any],
    redrawn: Mapping[int, Mapping[str, Any]],
) -> Numbers:
    project = session.get_one(Project, study.project_id)
    analysis = session.get_one(Analysis, study.analysis_id)
    counting = body_of(session, study)
    record, sets = judge_again(
        result,
        references=tuple(analysis.references or project.references),
        body=given_body(counting) if counting else None,
        fluid=counting.fluid if counting else None,
        study_date=study.day.strftime("%Y%m%d") if study.day else None,
        redrawn=redrawn,
        reader=access.user.name,
    )
    content = result_dict(record, sets)
    return Numbers(
        slices=[s for s in content["slices"] if s["index"] in redrawn],
        measurements=content["measurements"],
        indices=content["indices"],
        diagnosis=content["diagnosis"],
    )


@router.get("/draft", response_class=Response, responses=_RAW)
def show_draft(number: Number, access: AccessDep) -> Response:
    """One's unsaved slices, packed like a version."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        draft = draft_of(session, study, access.user)
        volume = open_volume(access.store, session, study)
        return packed(draft_labels(draft, volume))


@router.get("/draft/numbers")
def draft_numbers(number: Number, access: AccessDep) -> Numbers:
    """What one's unsaved masks would give."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        draft = draft_of(session, study, access.user)
        redrawn = {s.index_: s.measured for s in draft.slices} if draft is not None else {}
        base = draft.base_id if draft is not None else None
        every = _with_base(session, access.store, study, base, redrawn)
        return _numbers(session, access, study, study_result(session, access.store, study), every)


@router.delete("/draft", status_code=204)
def drop_draft(number: Number, access: AccessDep) -> None:
    """Give one's unsaved work up."""
    with access.store.database.writing() as session:
        study = access.study(session, number, "annotator")
        draft = draft_of(session, study, access.user)
        if draft is not None:
            session.delete(draft)


@router.post("/masks", status_code=201)
def save_mask(number: Number, given: Saving, access: AccessDep) -> MaskVersion:
    """Save one's draft as the version that counts (role annotator); the result follows by a job.

    Answers 409 when somebody saved another version since ``base``: look at it, and name it as ``over``.
    """
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number, "annotator")
        volume = open_volume(store, session, study)
        known = session.scalar(select(Segmentation).where(Segmentation.key == given.key))
        if known is not None and known.study_id == study.id:
            return version_entry(known)
        draft = draft_of(session, study, access.user)
        if draft is None or not draft.slices:
            raise InputError("There is nothing to save.")
        # What the reader did not touch comes from the newest version that they have seen.
        seen = given.over or draft.base_id
        before = labels_of(store, version_of(session, study, seen)) if seen else {}
        labels: Labels = {**before, **draft_labels(draft, volume)}
        touched, base = draft.touched, draft.base_id
    if base != given.base:
        raise InputError("The draft belongs to another version: load the page again.")
    mask = new_version(
        store,
        volume,
        study,
        labels,
        reader=access.user.name,
        reason=given.reason,
        user_id=access.user.id,
        parent_id=seen,
        key=given.key,
    )
    with store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        known = session.scalar(select(Segmentation).where(Segmentation.key == given.key))
        if known is not None:
            if known.study_id != study.id:
                raise ConflictError("This save belongs to another study.")
            return version_entry(known)
        check_base(session, study, given.base, given.over)
        _count(session, access, study, mask)
        draft = draft_of(session, study, access.user)
        if draft is not None and draft.touched == touched:
            session.delete(draft)
        access.audit(session, "save_mask", study, version=mask.id, base=given.base, reason=given.reason)
        return version_entry(mask)


def _count(session: Session, access: Access, study: Study, mask: Segmentation) -> None:
    """Make a new version the one that counts, and queue what follows from it."""
    session.add(mask)
    session.flush()
    study.segmentation_id = mask.id
    queue_study(session, access.store, study, priority=2)


@router.post("/masks/{version}/restore", status_code=201)
def restore_mask(number: Number, version: Number, given: Restoring, access: AccessDep) -> MaskVersion:
    """Make an earlier version count again, as a new one (role annotator)."""
    with access.store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        old = version_of(session, study, version)
        check_base(session, study, given.base)
        mask = Segmentation(
            study_id=study.id,
            parent_id=old.id,
            reader=access.user.name,
            user_id=access.user.id,
            reason=given.reason,
            sha256=old.sha256,
            size=old.size,
            indices=old.indices,
        )
        _count(session, access, study, mask)
        access.audit(session, "restore_mask", study, version=mask.id, restored=old.id, reason=given.reason)
        return version_entry(mask)


@router.get("/masks/{version}/difference")
def difference(
    number: Number, version: Number, access: AccessDep, other: Annotated[int, Query(ge=1, le=2**31 - 1)]
) -> Difference:
    """How two versions differ: slices, areas and Dice of every tissue."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        one = labels_of(store, version_of(session, study, version))
        two = labels_of(store, version_of(session, study, other))
        pixel = open_volume(store, session, study).geometry.pixel_area_mm2 / 100.0
    found = mask_difference(one, two, sorted({*one, *two}))
    return Difference(
        version=version,
        other=other,
        slices=[i for i, n in found.pixels.items() if n],
        pixels=sum(found.pixels.values()),
        tissues=tissue_differences(found, pixel),
    )


def tissue_differences(found: MaskDifference, pixel_cm2: float) -> list[TissueDifference]:
    """Every tissue of two masks, areas as the mean over the compared slices."""
    n = max(len(found.pixels), 1)
    tissues = []
    for tissue in TISSUES:
        dice = found.dice(tissue)
        tissues.append(
            TissueDifference(
                tissue=tissue_name(tissue),
                area_cm2=round(found.one[tissue] * pixel_cm2 / n, 3),
                other_cm2=round(found.other[tissue] * pixel_cm2 / n, 3),
                dice=None if dice is None else round(dice, 4),
            )
        )
    return tissues


@router.post("/masks/import", status_code=201, openapi_extra=_BINARY)
async def import_mask(
    number: Number,
    request: Request,
    access: AccessDep,
    kind: Annotated[Literal["dicom", "nifti"], Query(description="DICOM SEG or RTSTRUCT, or NIfTI.")],
    reason: Annotated[str, Query(min_length=1, max_length=200, examples=["drawn in another tool"])],
    base: Base = None,
) -> MaskVersion:
    """Take a mask of another tool as the version that counts (role annotator)."""
    content = await _body(request, MOST_IMPORT)
    return await to_thread.run_sync(_import, access, number, content, kind, reason, base)


def _import(
    access: Access, number: int, content: bytes, kind: str, reason: str, base: int | None
) -> MaskVersion:
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number, "annotator")
        volume = open_volume(store, session, study)
    with store.work_folder() as folder:
        packed_ = content[:2] == b"\x1f\x8b"
        path = folder / ("mask.dcm" if kind == "dicom" else "mask.nii.gz" if packed_ else "mask.nii")
        path.write_bytes(content)
        found = read_mask(path, volume)
    labels = {i: found.labels[i] for i in found.indices}
    mask = new_version(
        store, volume, study, labels,
        reader=access.user.name, reason=reason, user_id=access.user.id, parent_id=base,
    )  # fmt: skip
    with store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        check_base(session, study, base)
        _count(session, access, study, mask)
        access.audit(session, "import_mask", study, version=mask.id, reason=reason)
        return version_entry(mask)


@router.post("/levels", status_code=202)
def correct_level(number: Number, given: Move, access: AccessDep) -> Queued:
    """Say where a level lies (role annotator); masks of new slices and all numbers follow by a job."""
    store = access.store
    with store.database.writing() as session:
        study = access.study(session, number, "annotator", lock=True)
        result = study_result(session, store, study)
        move = LevelMove(given.level, given.index_low, given.index_high, access.user.name, given.renumber)
        # Mistakes are told at once.
        open_volume(store, session, study)
        moved(levels_of(result), move, result["series"]["n_slices"])
        session.add(
            LevelCorrection(
                study_id=study.id,
                user_id=access.user.id,
                **given.model_dump(),
            )
        )
        # After a single slice a range means the project's protocol again.
        slice_only = result["provenance"]["protocol"] == "slice"
        usual = session.get_one(Project, study.project_id).protocol
        key = queue_study(session, store, study, {"protocol": usual} if slice_only else None, priority=2)
        access.audit(session, "correct_level", study, **given.model_dump())
    return Queued(job=key)
