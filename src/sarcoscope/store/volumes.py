"""The volumes of analysed studies, ready to be looked at: a cache that may be emptied at any time."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy.orm import Session

from sarcoscope.errors import InputError, NotFoundError
from sarcoscope.imaging.reader import read_study
from sarcoscope.imaging.volume import Geometry, SeriesInfo, SliceSource, Volume
from sarcoscope.store.intake import lay_out
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Study

MOST_BYTES: Final = 20_000_000_000
"""What the cache holds at most; the volumes that nobody opened for longest go first."""


def volume_place(store: Store, study_id: int, series_uid: str) -> Path:
    """Where the volume of a series is cached; what is made from it lies beside it as ``<stem>.<what>``."""
    digest = hashlib.sha256(series_uid.encode()).hexdigest()[:12]
    return store.data / "cache" / f"{study_id}-{digest}.npy"


def keep_volume(store: Store, study_id: int, volume: Volume) -> None:
    """Keep the volume of an analysis for those who will look at it; a full disk only means later work."""
    path = volume_place(store, study_id, volume.series.uid or "")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    head = part.with_suffix(".head")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with part.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(volume.hu.astype("<i2", copy=False)))
        said = {**_described(volume), "sha256": _digest(part)}
        head.write_text(json.dumps(said), encoding="utf-8")
        _forget_made(path)
        os.replace(part, path)
        os.replace(head, path.with_suffix(".json"))
        _make_room(path.parent)
    except OSError:
        for left in (part, head):
            left.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_volumes(store: Store) -> int:
    """Read every volume of the cache again and forget those that changed on the disk; returns how many."""
    forgotten = 0
    for path in (store.data / "cache").glob("*.npy"):
        try:
            said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            sound = said["sha256"] == _digest(path)
        except (OSError, ValueError, KeyError):
            sound = False
        if not sound:
            _forget(path)
            forgotten += 1
    return forgotten


def _make_room(folder: Path) -> None:
    held = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in folder.glob("*.npy")), reverse=True)
    total = 0
    for n, (_, size, path) in enumerate(held):
        total += size
        if n and total > MOST_BYTES:
            _forget(path)


def _forget(path: Path) -> None:
    """Remove a volume and everything that was made from it."""
    _forget_made(path)
    path.unlink(missing_ok=True)


def _forget_made(path: Path) -> None:
    for made in path.parent.glob(f"{path.stem}.*"):
        if made != path:
            made.unlink(missing_ok=True)


def forget_volumes(store: Store, study_id: int) -> None:
    """Remove what the cache holds of a study, pictures whose volume is gone too."""
    for path in (store.data / "cache").glob(f"{study_id}-*"):
        path.unlink(missing_ok=True)


def open_volume(store: Store, session: Session, study: Study, *, analysis_id: int | None = None) -> Volume:
    """The volume of an analysis (none given: the study's newest), read from the disk as it is needed.

    Raises:
        NotFoundError: the study was not analysed, or its images are not kept.
        InputError: the images are no longer those that were analysed.
    """
    wanted = analysis_id or study.analysis_id
    if wanted is None:
        raise NotFoundError("The study was not analysed yet.")
    series_uid = session.get_one(Analysis, wanted).series_uid
    path = volume_place(store, study.id, series_uid)
    found = _cached(path)
    if found is not None:
        if wanted != study.analysis_id:
            check_same(found, result_of(store, session, wanted))
        return found
    with store.work_folder() as folder:
        lay_out(store, study, folder / "images")
        volume = read_study(folder / "images", series_uid=series_uid or None).volume
        check_same(volume, result_of(store, session, wanted))
        keep_volume(store, study.id, volume)
    return _cached(path) or volume


def _cached(path: Path) -> Volume | None:
    try:
        said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        hu = np.load(path, mmap_mode="r")
        os.utime(path)
    except (OSError, ValueError):
        return None
    geometry = Geometry(
        tuple(said["spacing_mm"]),
        np.array(said["direction"]),
        np.array(said["slice_positions_mm"]),
    )
    sources = tuple(SliceSource(uid, frame) for uid, frame in said["sources"])
    series = SeriesInfo(**{**said["series"], "image_type": tuple(said["series"]["image_type"])})
    padding = (
        None
        if said["padding"] is None
        else np.unpackbits(np.frombuffer(bytes.fromhex(said["padding"]), np.uint8), count=hu[0].size)
        .reshape(hu.shape[1:])
        .astype(bool)
    )
    return Volume(hu, geometry, sources, series, padding=padding)


def _described(volume: Volume) -> dict[str, Any]:
    g = volume.geometry
    return {
        "spacing_mm": list(g.spacing_mm),
        "direction": g.direction.tolist(),
        "slice_positions_mm": g.slice_positions_mm.tolist(),
        "sources": [[s.sop_uid, s.frame] for s in volume.sources],
        "series": asdict(volume.series),
        "padding": None if volume.padding is None else np.packbits(volume.padding).tobytes().hex(),
    }


def check_same(volume: Volume, result: dict[str, Any]) -> None:
    """See that a volume is the one that a result speaks of.

    Raises:
        InputError: images came or went since.
    """
    if volume.n_slices != result["series"]["n_slices"]:
        raise InputError("The images of the study are not those that were analysed: process it again.")
