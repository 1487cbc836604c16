"""Upload: files in any order, resumed after a lost connection, then de-identified and stored.

1. ``POST /uploads`` opens one; 2. ``PUT /uploads/{id}/files`` sends each file (large ones in parts);
3. ``POST /uploads/{id}/finish`` has it taken in; 4. ``GET /uploads/{id}`` says what became of it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from datetime import datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import select

from sarcoscope.errors import InputError, NotFoundError, StorageError
from sarcoscope.store.intake import remove_upload
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Centre, Project, Upload, User
from sarcoscope.web.access import AccessDep, SignedDep, StoreDep
from sarcoscope.web.intake import Intake
from sarcoscope.web.problems import TooLargeError
from sarcoscope.web.scope import Code, place

router = APIRouter(tags=["upload"])
UploadId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["0" * 32])]
MOST_BYTES = 20_000_000_000
MOST_PART = 64 * 1024 * 1024
MOST_FILES = 50_000
_NUMBERED = re.compile(r"[0-9]{1,6}\.[A-Za-z0-9]{1,10}")
_SPARE = 1_000_000_000
"""Room that must stay free on the disk."""


class Destination(BaseModel):
    """Where the studies go."""

    project: Code
    centre: Code


class UploadEntry(BaseModel):
    """An upload and what became of it."""

    id: str
    project: str
    centre: str
    state: str = Field(examples=["done"], description="open, taking, done or failed")
    error: str = ""
    created: datetime
    files: int = Field(0, description="Files that have arrived.")
    bytes: int = 0
    report: dict[str, Any] = Field(default={}, description="What de-identification did.")


class Part(BaseModel):
    """How much of a file has arrived."""

    name: str
    received: int


@router.post("/uploads", status_code=201)
def open_upload(given: Destination, access: AccessDep) -> UploadEntry:
    """Open an upload (role annotator)."""
    number = uuid.uuid4().hex
    with access.store.database.writing() as session:
        project, centre = place(session, access, given.project, given.centre, "annotator")
        row = Upload(id=number, project_id=project.id, centre_id=centre.id, user_id=access.user.id)
        session.add(row)
        session.flush()
        access.audit(session, "open_upload", target=number, project_id=project.id, centre_id=centre.id)
        entry = UploadEntry(
            id=number, project=project.code, centre=centre.code, state="open", created=row.created
        )
    folder = access.store.upload_folder(number)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(f"The upload cannot be stored: {error.strerror}.") from error
    return entry


def _own(store: Store, user: User, upload: str, *states: str) -> Upload:
    """An upload of the user's.

    Raises:
        NotFoundError: there is none.
        InputError: it is in another state.
    """
    with store.database.reading() as session:
        row = session.get(Upload, upload)
        if row is None or row.user_id != user.id:
            raise NotFoundError("You have no such upload.")
        session.expunge(row)
    if states and row.state not in states:
        raise InputError(f"The upload is {row.state}; nothing can be added to it.")
    return row


def _file_name(name: str) -> str:
    """Under which a file waits: names from outside, which may name people, are neither used nor kept.

    A name that is a number and an ending stays, so that the report can say which file was refused.
    """
    suffix = ".zip" if name.lower().endswith(".zip") else ".dcm"
    if _NUMBERED.fullmatch(name):
        return name.split(".")[0] + suffix
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:40] + suffix


@router.put(
    "/uploads/{upload}/files",
    openapi_extra={
        "requestBody": {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        }
    },
)
async def put_file(
    upload: UploadId,
    request: Request,
    store: StoreDep,
    who: SignedDep,
    name: Annotated[str, Query(min_length=1, max_length=1000, examples=["CT/IM0001.dcm"])],
    offset: Annotated[int, Query(ge=0, le=MOST_BYTES, description="Where this part begins.")] = 0,
) -> Part:
    """Send a file, or a part of one of at most 64 MB; the answer says how much of it has arrived.

    The name tells files apart and is not kept. Number the files (``0.dcm``, ``1.dcm``, …): then the report
    says which of them were refused and why (``not_taken``).
    """
    await to_thread.run_sync(_own, store, who.user, upload, "open")
    folder = store.upload_folder(upload)
    if int(request.headers.get("Content-Length") or 0) > MOST_PART:
        raise TooLargeError("A part is at most 64 MB.")
    blocks: list[bytes] = []
    size = 0
    async for block in request.stream():
        size += len(block)
        if size > MOST_PART:
            raise TooLargeError("A part is at most 64 MB.")
        blocks.append(block)
    received = await to_thread.run_sync(_append, folder / _file_name(name), blocks, offset)
    return Part(name=name, received=received)


def _append(path: os.PathLike[str], blocks: list[bytes], offset: int) -> int:
    """Write a part at its place; a part that came before is written over.

    Raises:
        InputError: something before it is missing.
        TooLargeError: more than an upload may hold.
    """
    try:
        if shutil.disk_usage(os.path.dirname(path)).free < _SPARE:
            raise StorageError("The disk of the server is nearly full.")
        held = os.path.getsize(path) if os.path.exists(path) else 0
        if offset > held:
            raise InputError(f"{held} bytes of the file have arrived; go on from there.")
        if offset + sum(map(len, blocks)) > MOST_BYTES:
            raise TooLargeError("A file is at most 20 GB.")
        with open(path, "r+b" if held else "wb") as stream:
            stream.seek(offset)
            for block in blocks:
                stream.write(block)
            return max(held, stream.tell())
    except OSError as error:
        raise StorageError(f"The file cannot be stored: {error.strerror}.") from error


@router.get("/uploads/{upload}/files")
def get_file(
    upload: UploadId,
    access: AccessDep,
    name: Annotated[str, Query(min_length=1, max_length=1000, examples=["CT/IM0001.dcm"])],
) -> Part:
    """How much of a file has arrived, to go on after a lost connection."""
    _own(access.store, access.user, upload)
    path = access.store.upload_folder(upload) / _file_name(name)
    return Part(name=name, received=path.stat().st_size if path.exists() else 0)


@router.post("/uploads/{upload}/finish")
def finish_upload(
    upload: UploadId,
    request: Request,
    access: AccessDep,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end.")] = 0,
) -> UploadEntry:
    """Have the files de-identified and stored; the originals are removed afterwards."""
    _own(access.store, access.user, upload, "open", "taking", "done", "failed")
    with access.store.database.writing() as session:
        row = session.get_one(Upload, upload, with_for_update=True)
        started = row.state == "open"
        if started:
            row.state = "taking"
            access.audit(session, "upload", target=upload, project_id=row.project_id, centre_id=row.centre_id)
    intake: Intake = request.app.state.intake
    if started:
        intake.submit(upload)
    if wait:
        intake.wait(upload, wait)
    return show_upload(upload, access)


@router.get("/uploads/{upload}")
def show_upload(upload: UploadId, access: AccessDep) -> UploadEntry:
    """What became of an upload."""
    row = _own(access.store, access.user, upload)
    folder = access.store.upload_folder(upload)
    sizes = [p.stat().st_size for p in folder.iterdir()] if row.state == "open" and folder.exists() else []
    with access.store.database.reading() as session:
        return UploadEntry(
            id=row.id,
            project=session.get_one(Project, row.project_id).code,
            centre=session.get_one(Centre, row.centre_id).code,
            state=row.state,
            error=row.error,
            created=row.created,
            files=len(sizes),
            bytes=sum(sizes),
            report=row.report,
        )


@router.get("/uploads")
def list_uploads(access: AccessDep) -> list[UploadEntry]:
    """One's last uploads, newest first."""
    with access.store.database.reading() as session:
        rows = session.execute(
            select(Upload, Project.code, Centre.code)
            .join(Project, Project.id == Upload.project_id)
            .join(Centre, Centre.id == Upload.centre_id)
            .join(User, User.id == Upload.user_id)
            .where(Upload.user_id == access.user.id)
            .order_by(Upload.created.desc())
            .limit(20)
        ).all()
        return [
            UploadEntry(
                id=u.id, project=p, centre=c, state=u.state, error=u.error, created=u.created, report=u.report
            )
            for u, p, c in rows
        ]


@router.delete("/uploads/{upload}", status_code=204)
def remove(upload: UploadId, access: AccessDep) -> None:
    """Give an upload up: its files are removed."""
    _own(access.store, access.user, upload, "open", "failed", "done")
    remove_upload(access.store, upload)
    with access.store.database.writing() as session:
        row = session.get(Upload, upload)
        if row is not None:
            session.delete(row)
        access.audit(session, "remove_upload", target=upload)
