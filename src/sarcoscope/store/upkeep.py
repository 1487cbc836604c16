"""Check, back up and restore a store, and say how much room studies need."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, select

from sarcoscope.errors import NotFoundError, SettingError, StorageError, UnreadableError
from sarcoscope.progress import Progress
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Base, CohortFile, Image, JobRow, Output, Segmentation, Study
from sarcoscope.store.volumes import check_volumes

MANIFEST: Final = "manifest.json"
_ROWS: Final = 500
_TABLES: Final = (CohortFile, Image, Output, Segmentation)


@dataclass
class Checked:
    """What a check found."""

    files: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    """Contents that a row names and that are not there."""
    damaged: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    """Contents that no row names (left behind by a crash; harmless)."""
    volumes_forgotten: int = 0
    """Damaged volumes of the viewer's cache; they are made again from the images when they are needed."""

    @property
    def sound(self) -> bool:
        """Nothing is missing or damaged."""
        return not self.missing and not self.damaged


def check_store(store: Store, progress: Progress | None = None, *, remove_unnamed: bool = False) -> Checked:
    """Read every file again and compare it with its checksum and with the tables."""
    found = Checked()
    wanted = _wanted(store)
    for n, name in enumerate(sorted(wanted)):
        if progress is not None and n % 50 == 0:
            progress("check", n / max(len(wanted), 1))
        try:
            found.bytes += len(store.files.read(name))
            found.files += 1
        except NotFoundError:
            found.missing.append(name)
        except UnreadableError:
            found.damaged.append(name)
    there = set(store.files.names())
    # Asked again: what came in meanwhile is named now.
    found.unnamed = sorted(there - wanted - _wanted(store))
    if remove_unnamed:
        for name in found.unnamed:
            store.files.remove(name)
    found.volumes_forgotten = check_volumes(store)
    return found


def _wanted(store: Store) -> set[str]:
    with store.database.reading() as session:
        return {sha for table in _TABLES for sha in session.scalars(select(table.sha256))}


def backup_store(store: Store, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write database, files and mappings into one archive while the store is in use; returns its manifest.

    The database is copied as it is at one moment; files are never changed once they are there, so that
    every file which that copy names is in the archive. The keys of the mappings are not: keep them apart.

    Raises:
        StorageError: the archive cannot be written, or a file of the store is missing or damaged.
    """
    part = out.with_name(f".{out.name}.part")
    entries: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(dir=store.data / "work") as temporary:
            rows = Path(temporary) / "tables.jsonl"
            names = _dump(store, rows)
            with tarfile.open(part, "w") as archive:
                _add(archive, rows, "tables.jsonl", entries)
                for n, name in enumerate(sorted(names)):
                    if progress is not None and n % 20 == 0:
                        progress("backup", n / max(len(names), 1))
                    store.files.read(name)  # damaged files are found now, not at the restore
                    entries[f"files/{name}"] = name
                    archive.add(store.files.path(name), f"files/{name}")
                for path in sorted((store.data / "mapping").glob("*.sqlite")):
                    copy = Path(temporary) / path.name
                    _copy_sqlite(path, copy)
                    _add(archive, copy, f"mapping/{path.name}", entries)
                manifest = {
                    "schema": "1.0",
                    "made": datetime.now(UTC).isoformat(timespec="seconds"),
                    "files": entries,
                }
                note = Path(temporary) / MANIFEST
                note.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                archive.add(note, MANIFEST)
        part.replace(out)
    except OSError as error:
        raise StorageError(f"The backup cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _add(archive: tarfile.TarFile, path: Path, name: str, entries: dict[str, str]) -> None:
    with path.open("rb") as stream:
        entries[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    archive.add(path, name)


def _copy_sqlite(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def _dump(store: Store, path: Path) -> set[str]:
    """Every row of every table at one moment, as JSON lines; returns the contents that they name."""
    names: set[str] = set()
    engine = store.database.engine
    if not store.database.is_sqlite:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection, path.open("w", encoding="utf-8") as stream:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                values = {key: _plain(value) for key, value in row.items()}
                if table.name in {t.__tablename__ for t in _TABLES}:
                    names.add(values["sha256"])
                stream.write(json.dumps([table.name, values], ensure_ascii=False) + "\n")
        connection.rollback()
    return names


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def restore_store(archive: Path, store: Store, progress: Progress | None = None) -> None:
    """Fill an empty store from a backup; every file is checked against its checksum.

    Raises:
        SettingError: the store is not empty.
        UnreadableError: the backup is damaged.
    """
    with store.database.reading() as session:
        if session.scalar(select(func.count()).select_from(Study)):
            raise SettingError("The store is not empty: restore into a new folder and database.")
    try:
        with tarfile.open(archive) as tar:
            held = {m.name: m for m in tar.getmembers() if m.isfile()}
            listed: dict[str, str] = json.loads(_content(tar, held, MANIFEST))["files"]
            if set(held) != {MANIFEST, *listed}:
                raise UnreadableError("The backup does not hold the files that its manifest lists.")
            for n, (name, sha) in enumerate(sorted(listed.items())):
                if progress is not None and n % 20 == 0:
                    progress("restore", n / len(listed))
                content = _content(tar, held, name)
                if hashlib.sha256(content).hexdigest() != sha:
                    raise UnreadableError("The backup is damaged: a checksum differs.")
                if name.startswith("files/"):
                    store.files.put(content)
                elif name.startswith("mapping/"):
                    target = store.data / "mapping" / Path(name).name
                    target.write_bytes(content)
                    target.chmod(0o600)
            _load(store, _content(tar, held, "tables.jsonl").decode().splitlines())
    except (tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise UnreadableError(f"'{archive.name}' is no backup, or it is damaged.") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no backup '{archive.name}'.") from error


def _content(tar: tarfile.TarFile, held: dict[str, tarfile.TarInfo], name: str) -> bytes:
    stream = tar.extractfile(held[name])
    if stream is None:
        raise KeyError(name)
    return stream.read()


def _load(store: Store, lines: list[str]) -> None:
    tables = {t.name: t for t in Base.metadata.sorted_tables}
    with store.database.connected() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        for name, rows in _grouped(lines):
            table = tables[name]
            ready = [{k: _typed(table.c[k].type.python_type, v) for k, v in row.items()} for row in rows]
            connection.execute(insert(table), ready)
        if not store.database.is_sqlite:
            for table in tables.values():
                _continue_numbers(connection, table)


def _grouped(lines: list[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows: list[dict[str, Any]] = []
    current = ""
    for line in lines:
        name, row = json.loads(line)
        if rows and (name != current or len(rows) >= _ROWS):
            yield current, rows
            rows = []
        current = name
        rows.append(row)
    if rows:
        yield current, rows


def _typed(kind: type, value: Any) -> Any:
    """A value of JSON as its column takes it (days and moments are ISO texts)."""
    return kind.fromisoformat(value) if isinstance(value, str) and hasattr(kind, "fromisoformat") else value


def _continue_numbers(connection: Any, table: Any) -> None:
    """PostgreSQL counts on from the highest number."""
    (key, *more) = table.primary_key.columns
    if not more and key.type.python_type is int:
        highest = connection.scalar(select(func.max(key))) or 0
        sequence = func.pg_get_serial_sequence(table.name, key.name)
        connection.execute(select(func.setval(sequence, highest + 1, False)))


@dataclass(frozen=True)
class Room:
    """What N studies will need."""

    studies: int
    disk_bytes: float
    seconds_one_worker: float
    known_studies: int
    """Studies of this store that the figures rest on; 0: the program's own figures."""


_USUAL_BYTES: Final = 330 * 540_000.0
"""A study of 330 slices of 512 x 512 with its results (samples of the project; see docs/platform.md)."""
_USUAL_SECONDS: Final = 25.0


def room_for(store: Store, studies: int) -> Room:
    """Disk and time that further studies will need, from what this store holds.

    Raises:
        SettingError: no number of studies.
    """
    if studies < 1:
        raise SettingError("Give the number of studies: 1 or more.")
    with store.database.reading() as session:
        analysed = session.scalar(select(func.count(func.distinct(Analysis.study_id)))) or 0
        held = session.scalar(select(func.count()).select_from(Study)) or 0
        size = sum(session.scalar(select(func.sum(t.size))) or 0 for t in (Image, Output))
        seconds = session.scalars(select(JobRow.log).where(JobRow.state == "done").limit(200)).all()
    took = [s for s in map(_seconds_of, seconds) if s is not None]
    return Room(
        studies,
        studies * (size / held if held else _USUAL_BYTES),
        studies * (sum(took) / len(took) if took else _USUAL_SECONDS),
        min(held, analysed),
    )


def _seconds_of(log: str) -> float | None:
    """Seconds from the last take to the end of a job, from its log."""
    lines = [line.split(" ", 1) for line in log.splitlines()]
    taken = [when for when, what in lines if what.startswith("taken")]
    done = [when for when, what in lines if what == "done"]
    if not taken or not done:
        return None
    return (datetime.fromisoformat(done[-1]) - datetime.fromisoformat(taken[-1])).total_seconds()
