"""What the deciding level model saw of a stored study: made when somebody asks, kept beside the volume."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from sarcoscope.exports.evidence import evidence_view
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.imaging.volume import Volume
from sarcoscope.language.catalogue import LANGUAGES
from sarcoscope.levels.find import see_levels
from sarcoscope.models.package import shipped_package
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Study
from sarcoscope.store.volumes import open_volume, volume_place
from sarcoscope.study.explain import landmarks

_ONE_AT_A_TIME: Final = threading.Lock()


@dataclass(frozen=True)
class Explained:
    """What can be said of a study's levels beside the picture."""

    models: tuple[tuple[str, str, str], ...]
    """Name, version and checksum of every model that decided."""
    landmarks: tuple[str, ...]
    """Ends of the spine in view: ``Sacral``, ``Cervical``."""
    size: tuple[int, int]
    """Width and height of the picture; 0, 0 where too little is in view to ask the model."""
    slice_y: tuple[float, ...]
    """Row of the picture of every slice."""
    spine: tuple[tuple[float, float], ...]
    """(y, x) of the canal in pixels by slice; empty where it was not found."""


def explained(store: Store, session: Session, study: Study) -> tuple[Explained, Path]:
    """What the model that ships saw, and the picture's place: a language and ``.png`` are put behind it.

    Raises:
        NotFoundError, InputError: as of :func:`open_volume`.
        StorageError: the disk is full.
    """
    volume = open_volume(store, session, study)
    series_uid = session.get_one(Analysis, study.analysis_id).series_uid
    base = volume_place(store, study.id, series_uid)
    base = base.with_name(f"{base.stem}.evidence")
    # Nobody holds a connection of the database while the model works, or while waiting for it.
    session.rollback()
    with _ONE_AT_A_TIME:
        return _kept(base) or _made(volume, base), base


def picture_of(base: Path, language: str) -> Path:
    """Place of the picture in a language."""
    return base.with_name(f"{base.name}.{language}.png")


def _kept(base: Path) -> Explained | None:
    try:
        said = json.loads(base.with_name(f"{base.name}.json").read_text(encoding="utf-8"))
        found = Explained(
            models=tuple((m[0], m[1], m[2]) for m in said["models"]),
            landmarks=tuple(said["landmarks"]),
            size=(said["size"][0], said["size"][1]),
            slice_y=tuple(said["slice_y"]),
            spine=tuple((y, x) for y, x in said["spine"]),
        )
    except (OSError, ValueError, KeyError):
        return None
    if found.slice_y and not all(picture_of(base, language).is_file() for language in LANGUAGES):
        return None
    now = tuple(shipped_package(kind).reference for kind in ("spine-canal", "level-chain"))
    return found if found.models == now else None


def _made(volume: Volume, base: Path) -> Explained:
    levels, seen = see_levels(volume)
    views = {} if seen is None else {lang: evidence_view(volume, levels, seen, lang) for lang in LANGUAGES}
    view = views.get("en")
    found = Explained(
        models=levels.models,
        landmarks=landmarks(levels),
        size=view.image.size if view else (0, 0),
        slice_y=view.slice_y if view else (),
        spine=levels.spine,
    )
    make_folder(base.parent)
    for language, made in views.items():
        content = io.BytesIO()
        made.image.save(content, "PNG")
        write_bytes(picture_of(base, language), content.getvalue())
    write_bytes(base.with_name(f"{base.name}.json"), json.dumps(asdict(found)).encode())
    return found
