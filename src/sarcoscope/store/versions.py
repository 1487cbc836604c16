"""Versions of a study's mask, and the drafts that become one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.anatomy.tissues import Tissue
from sarcoscope.errors import ConflictError, InputError
from sarcoscope.exports.segmentation import segmentation_bytes
from sarcoscope.imaging.volume import Volume
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Draft, DraftSlice, Segmentation, Study, User, now

Labels = dict[int, NDArray[np.uint8]]
"""Slice index -> labels, uint8 [y, x]."""
_HIGHEST: Final = max(int(t) for t in Tissue)


def labels_of(store: Store, mask: Segmentation) -> Labels:
    """The labelled slices of a version (those of a DICOM study, whose file is [x, y, z] of the volume).

    Raises:
        NotFoundError: its file is missing.
    """
    image: Any = nib.Nifti1Image.from_bytes(gzip.decompress(store.files.read(mask.sha256)))
    whole = np.asarray(image.dataobj, np.uint8).transpose(2, 1, 0)
    indices = mask.indices or [int(i) for i in np.flatnonzero(whole.any(axis=(1, 2)))]
    return {i: np.ascontiguousarray(whole[i]) for i in indices}


def new_version(
    store: Store,
    volume: Volume,
    study: Study,
    labels: Mapping[int, NDArray[np.uint8]],
    *,
    reader: str,
    reason: str,
    user_id: int | None = None,
    parent_id: int | None = None,
    key: str | None = None,
) -> Segmentation:
    """A version of the mask (its file is stored; the row is the caller's to add)."""
    indices = sorted(labels)
    shown = (
        np.stack([labels[i] for i in indices]) if indices else np.zeros((0, *volume.hu.shape[1:]), np.uint8)
    )
    content = segmentation_bytes(volume, indices, shown)
    sha = store.files.put(content)
    store.files.settle([sha])
    return Segmentation(
        study_id=study.id,
        parent_id=parent_id,
        reader=reader,
        user_id=user_id,
        reason=reason,
        sha256=sha,
        size=len(content),
        indices=indices,
        key=key,
    )


def checked_labels(content: bytes, volume: Volume) -> NDArray[np.uint8]:
    """Labels of one slice as a page sends them.

    Raises:
        InputError: another size, or values that are no tissue.
    """
    rows, columns = volume.hu.shape[1:]
    if len(content) != rows * columns:
        raise InputError(f"A slice of this study has {rows} x {columns} pixels.")
    labels = np.frombuffer(content, np.uint8).reshape(rows, columns)
    if labels.max(initial=0) > _HIGHEST:
        raise InputError(f"Labels are 0 to {_HIGHEST}.")
    return labels


def check_base(session: Session, study: Study, base: int | None, over: int | None = None) -> None:
    """See that nobody saved another version since.

    Args:
        session: a writing session that holds the study.
        study: the study.
        base: the version that the work began from.
        over: a newer version that the reader has seen and goes on from; 0: they know that none counts.

    Raises:
        ConflictError: somebody did, and the reader has not said to go over it.
    """
    shown = study.segmentation_id
    if over not in (None, 0, shown):
        raise ConflictError("The version that was looked at is no longer the newest one.", newer=shown)
    if shown == base or (over is not None and over == (shown or 0)):
        return
    newer = session.get(Segmentation, shown) if shown is not None else None
    if newer is None:
        raise ConflictError("The study was processed from scratch meanwhile: load it again.", newer=None)
    raise ConflictError(
        f"{newer.reader} saved another version meanwhile ({newer.made:%Y-%m-%d %H:%M} UTC).",
        newer=newer.id,
    )


def draft_of(session: Session, study: Study, user: User, task: int | None = None) -> Draft | None:
    """The user's work in progress (of a reading)."""
    return session.scalar(select(Draft).filter_by(study_id=study.id, user_id=user.id, task_id=task))


def put_slice(
    session: Session,
    study: Study,
    user: User,
    base: int | None,
    index: int,
    labels: NDArray[np.uint8],
    measured: Mapping[str, Any],
    task: int | None = None,
) -> Draft:
    """Keep a slice of the user's draft (a writing session); its base never changes.

    Raises:
        ConflictError: the user has unsaved work on another version.
    """
    draft = draft_of(session, study, user, task)
    if draft is not None and draft.base_id != base:
        raise ConflictError(
            "You have unsaved work on another version of this mask: load the page again.", newer=draft.base_id
        )
    if draft is None:
        draft = Draft(study_id=study.id, user_id=user.id, base_id=base, task_id=task)
        session.add(draft)
        session.flush()
    draft.touched = now()
    content = zlib.compress(labels.tobytes(), 1)
    found = next((s for s in draft.slices if s.index_ == index), None)
    if found is None:
        draft.slices.append(DraftSlice(index_=index, labels=content, measured=dict(measured)))
    else:
        found.labels, found.measured = content, dict(measured)
    return draft


def draft_labels(draft: Draft | None, volume: Volume) -> Labels:
    """The slices of a draft; none where there is no draft.

    Raises:
        ConflictError: it was drawn on images of another size.
    """
    shape = volume.hu.shape[1:]
    planes = {s.index_: zlib.decompress(s.labels) for s in draft.slices} if draft is not None else {}
    if any(len(plane) != shape[0] * shape[1] for plane in planes.values()):
        raise ConflictError("Your unsaved work belongs to images of another size: discard it.")
    return {i: np.frombuffer(plane, np.uint8).reshape(shape).copy() for i, plane in planes.items()}


def others_at_work(session: Session, study: Study, user: User) -> list[tuple[str, datetime]]:
    """Who else has unsaved work on a study, and since when."""
    rows = session.execute(
        select(User.name, Draft.touched)
        .join(Draft, Draft.user_id == User.id)
        .where(Draft.study_id == study.id, Draft.user_id != user.id, Draft.task_id.is_(None))
        .order_by(Draft.touched.desc())
    )
    return [(name, touched) for name, touched in rows]
