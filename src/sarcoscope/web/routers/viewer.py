"""The viewer: the volume in pieces, masks, and chosen slices as DICOM."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.anatomy.tissues import TISSUE_COLOURS, TISSUES, tissue_name
from sarcoscope.errors import InputError, NotFoundError
from sarcoscope.imaging.instances import read_instances
from sarcoscope.imaging.volume import Volume
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    Analysis,
    Image,
    JobRow,
    LevelCorrection,
    Segmentation,
    Series,
    Study,
    User,
)
from sarcoscope.store.versions import Labels, draft_of, labels_of, others_at_work
from sarcoscope.store.volumes import check_same, open_volume
from sarcoscope.web.access import RANK, Access, AccessDep, Number

router = APIRouter(prefix="/studies/{number}", tags=["viewer"])
MOST_SLICES: Final = 64
"""Slices in one answer."""
SLICES_HEADER: Final = "X-Slices"
Index = Annotated[int, Query(ge=0, le=100_000, examples=[0])]
Count = Annotated[int, Query(ge=1, le=MOST_SLICES)]
_RAW: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/octet-stream": {}}}}
_ZIP: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/zip": {}}}}
_DICOM: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"application/dicom": {}}}}


class TissueEntry(BaseModel):
    """A label."""

    value: int
    name: str
    colour: tuple[int, int, int]
    band: tuple[int, int] = Field(description="HU limits of the tissue, both included.")


class LevelEntry(BaseModel):
    """The slices of a level."""

    level: str
    index_low: int
    index_high: int
    confidence: float
    complete: bool
    runner_up: str | None


class MaskVersion(BaseModel):
    """A version of the mask."""

    id: int
    reader: str
    by_hand: bool
    reason: str
    parent: int | None
    made: datetime
    slices: int


class OtherReader(BaseModel):
    """Somebody else with unsaved work on the study."""

    name: str
    touched: datetime


class ReadingInfo(BaseModel):
    """The reading that a page belongs to."""

    title: str
    arm: str
    level: str


class LevelMoveEntry(BaseModel):
    """A level that a reader moved."""

    level: str
    index_low: int
    index_high: int
    renumber: bool
    reader: str
    reason: str
    made: datetime


class ViewerPage(BaseModel):
    """What a viewer needs before the pixels."""

    pseudonym: str
    shape: tuple[int, int, int] = Field(description="Slices, rows, columns; slice 0 is the most inferior.")
    spacing_mm: tuple[float, float, float] = Field(description="Between slices, rows, columns.")
    direction: list[list[float]] = Field(description="Unit vectors of x, y and z as columns (LPS).")
    slice_positions_mm: list[tuple[float, float, float]] = Field(
        description="LPS of the centre of the first pixel of every slice."
    )
    z_mm: list[float]
    levels: list[LevelEntry]
    measured: list[str] = Field(description="Levels that were measured.")
    indices: list[int] = Field(description="Slices of the first measurement.")
    protocol: str
    tissues: list[TissueEntry]
    versions: list[MaskVersion] = Field(description="Newest first.")
    moves: list[LevelMoveEntry] = Field(description="Levels that readers moved, newest first.")
    shown: int | None = Field(description="The version that counts.")
    analysed: int | None = Field(description="The version that the result rests on.")
    status: str = Field(description="State of the newest job.")
    draft: int | None = Field(description="Slices of one's unsaved work; null: there is none.")
    draft_base: int | None
    others: list[OtherReader]
    can_edit: bool
    reading: ReadingInfo | None = None


@router.get("/viewer")
def show_viewer(number: Number, access: AccessDep) -> ViewerPage:
    """Geometry, levels and versions of an analysed study."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        volume = open_volume(store, session, study)
        page = viewer_page(session, access, study, volume)
    access.audited("view", study)
    return page


def viewer_page(
    session: Session, access: Access, study: Study, volume: Volume, *, analysis_id: int | None = None
) -> ViewerPage:
    """What a viewer of a study needs, by an analysis (none given: the newest).

    Raises:
        NotFoundError: the study was not analysed.
        InputError: the images are no longer those that were analysed.
    """
    wanted = analysis_id or study.analysis_id
    if wanted is None:
        raise NotFoundError("The study was not analysed yet.")
    result = result_of(access.store, session, wanted)
    check_same(volume, result)
    bands = default_bands()
    versions = session.scalars(
        select(Segmentation)
        .where(Segmentation.study_id == study.id, Segmentation.blind.is_(False))
        .order_by(Segmentation.id.desc())
    ).all()
    moves = session.execute(
        select(LevelCorrection, User.name)
        .join(User, User.id == LevelCorrection.user_id)
        .where(LevelCorrection.study_id == study.id)
        .order_by(LevelCorrection.id.desc())
    ).all()
    draft = draft_of(session, study, access.user)
    first: Mapping[str, Any] = result["measurements"][0] if result["measurements"] else {"indices": []}
    geometry = volume.geometry
    return ViewerPage(
        pseudonym=study.person.pseudonym,
        shape=volume.hu.shape,
        spacing_mm=geometry.spacing_mm,
        direction=geometry.direction.tolist(),
        slice_positions_mm=geometry.slice_positions_mm.tolist(),
        z_mm=[round(float(z), 3) for z in volume.z_mm],
        levels=[LevelEntry(**{k: entry[k] for k in LevelEntry.model_fields}) for entry in result["levels"]],
        measured=[m["level"] for m in result["measurements"]],
        indices=first["indices"],
        protocol=result["provenance"]["protocol"],
        tissues=[
            TissueEntry(
                value=int(t),
                name=tissue_name(t),
                colour=TISSUE_COLOURS[t],
                band=(bands[tissue_name(t)].low, bands[tissue_name(t)].high),
            )
            for t in TISSUES
        ],
        versions=[version_entry(v) for v in versions],
        moves=[
            LevelMoveEntry(
                level=m.level,
                index_low=m.index_low,
                index_high=m.index_high,
                renumber=m.renumber,
                reader=name,
                reason=m.reason,
                made=m.made,
            )
            for m, name in moves
        ],
        shown=study.segmentation_id,
        analysed=_rests_on(session, study),
        status=_status(session, study),
        draft=len(draft.slices) if draft is not None else None,
        draft_base=draft.base_id if draft is not None else None,
        others=[OtherReader(name=n, touched=at) for n, at in others_at_work(session, study, access.user)],
        can_edit=access.rank(study.project_id, study.centre_id) >= RANK["annotator"],
    )


def version_entry(mask: Segmentation) -> MaskVersion:
    """A version as pages see it."""
    return MaskVersion(
        id=mask.id,
        reader=mask.reader,
        by_hand=mask.user_id is not None,
        reason=mask.reason,
        parent=mask.parent_id,
        made=mask.made,
        slices=len(mask.indices),
    )


def _rests_on(session: Session, study: Study) -> int | None:
    return session.get_one(Analysis, study.analysis_id).segmentation_id


def _status(session: Session, study: Study) -> str:
    state = session.scalar(select(JobRow.state).where(JobRow.key == study.job_key))
    return state or "done"


@router.get("/volume", response_class=Response, responses=_RAW)
def volume_slices(number: Number, access: AccessDep, low: Index, count: Count = 8) -> Response:
    """HU of some slices, int16 little endian [slice, row, column], at most 64 in one answer."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        return pieces(open_volume(access.store, session, study), low, count)


def check_slice(volume: Volume, index: int) -> None:
    """See that a volume has a slice.

    Raises:
        InputError: it does not reach so far.
    """
    if index >= volume.n_slices:
        raise InputError(f"The volume has slices 0 to {volume.n_slices - 1}.")


def pieces(volume: Volume, low: int, count: int) -> Response:
    """Some slices as an answer.

    Raises:
        InputError: the volume does not reach so far.
    """
    check_slice(volume, low)
    part = volume.hu[low : low + count]
    return Response(
        np.ascontiguousarray(part).astype("<i2", copy=False).tobytes(),
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, no-store"},
    )


def packed(labels: Labels) -> Response:
    """Labels as an answer: uint8 [slice, row, column], the slices named in a header."""
    indices = sorted(labels)
    content = b"".join(labels[i].tobytes() for i in indices)
    return Response(
        gzip.compress(content, 1, mtime=0),
        media_type="application/octet-stream",
        headers={
            "Content-Encoding": "gzip",
            SLICES_HEADER: ",".join(map(str, indices)),
            "Cache-Control": "private, no-store",
        },
    )


def version_of(session: Session, study: Study, version: int) -> Segmentation:
    """A version of the study's mask.

    Raises:
        NotFoundError: there is none with this number.
    """
    mask = session.get(Segmentation, version)
    if mask is None or mask.study_id != study.id or mask.blind:
        raise NotFoundError("The study has no such version.")
    return mask


@router.get("/masks/{version}", response_class=Response, responses=_RAW)
def mask_slices(number: Number, version: Number, access: AccessDep) -> Response:
    """Labels of a version: uint8 [slice, row, column] of the slices that the header ``X-Slices`` names."""
    with access.store.database.reading() as session:
        study = access.study(session, number)
        return packed(labels_of(access.store, version_of(session, study, version)))


def _chosen(session: Session, study: Study, volume: Volume, low: int, high: int) -> list[Image]:
    """The stored images of a range of slices."""
    if not 0 <= low <= high < volume.n_slices:
        raise InputError(f"A range lies within the slices 0 to {volume.n_slices - 1}, from low to high.")
    uids = dict.fromkeys(volume.sources[i].sop_uid for i in range(low, high + 1))
    rows = session.scalars(
        select(Image).join(Series).where(Series.study_id == study.id, Image.uid.in_([u for u in uids if u]))
    ).all()
    if len({r.uid for r in rows}) < len(uids):
        raise NotFoundError("The images of these slices are not kept.")
    return list(rows)


@router.get("/slices.zip", response_class=Response, responses=_ZIP)
def selected_images(number: Number, access: AccessDep, low: Index, high: Index) -> Response:
    """The de-identified DICOM images of a range of slices."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        volume = open_volume(store, session, study)
        images = _chosen(session, study, volume, low, high)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            place = {s.sop_uid: n for n, s in enumerate(volume.sources)}
            for image in images:
                archive.writestr(f"{place[image.uid]:05d}.dcm", store.files.read(image.sha256))
    access.audited("download_slices", study, low=low, high=high)
    return _attached(out.getvalue(), f"{number}-slices-{low}-{high}.zip", "application/zip")


@router.get("/segmentation.dcm", response_class=Response, responses=_DICOM)
def selected_segmentation(
    number: Number,
    access: AccessDep,
    low: Index,
    high: Index,
    version: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """A version of the mask on a range of slices as DICOM SEG (none given: the version that counts)."""
    store = access.store
    with store.database.reading() as session:
        study = access.study(session, number)
        wanted = version or study.segmentation_id
        if wanted is None:
            raise NotFoundError("The study has no mask.")
        mask = version_of(session, study, wanted)
        volume = open_volume(store, session, study)
        images = _chosen(session, study, volume, low, high)
        labels = {i: v for i, v in labels_of(store, mask).items() if low <= i <= high}
        content = _seg(store, volume, images, labels, mask)
    access.audited("download_segmentation", study, low=low, high=high, version=wanted)
    return _attached(content, f"{number}-segmentation-{low}-{high}.dcm", "application/dicom")


def _seg(store: Store, volume: Volume, images: list[Image], labels: Labels, mask: Segmentation) -> bytes:
    # highdicom takes a second to import.
    from sarcoscope.exports.dicom_objects import seg_bytes

    with store.work_folder() as folder:
        for n, image in enumerate(images):
            store.place(image.sha256, folder / f"{n:05d}.dcm")
        found, _ = read_instances(folder)
        named = {(i.sop_uid, i.frame): i for i in found}
        indices = sorted(labels)
        shown = [named.get((volume.sources[i].sop_uid, volume.sources[i].frame)) for i in indices]
        if not indices or None in shown:
            raise NotFoundError("The mask has nothing on these slices.")
        drawn = np.stack([labels[i] for i in indices])
        return seg_bytes(
            [i for i in shown if i is not None], drawn, mask.reader, by_hand=mask.user_id is not None
        )


def _attached(content: bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(content, media_type=kind, headers=headers)
