"""Bundles of a project: what is given to others, checked, written down, and to be destroyed in time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from sarcoscope.deid.link import read_table
from sarcoscope.errors import (
    IdentityError,
    InputError,
    NotFoundError,
    SettingError,
    StorageError,
    UnreadableError,
)
from sarcoscope.files import csv_text
from sarcoscope.home import user_folder
from sarcoscope.imaging.instances import read_header, text_of
from sarcoscope.progress import Progress

MANIFEST: Final = "manifest.json"
LEAST_CELL: Final = 5
"""Smallest group of people that a table may show."""
_NEVER: Final = (".sqlite", ".key", ".db", ".part")
_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class Terms:
    """Under what a bundle is given.

    Raises:
        SettingError: something is missing, or the expiry is no future day.
    """

    purpose: str
    recipient: str
    approval: str
    """Number of the ethics committee's approval."""
    expires: str
    """Day on which it is to be destroyed, YYYY-MM-DD."""

    def __post_init__(self) -> None:
        for name in ("purpose", "recipient", "approval"):
            if not getattr(self, name).strip():
                raise SettingError(f"A bundle needs its {name}.")
        try:
            day = date.fromisoformat(self.expires)
        except ValueError as error:
            raise SettingError(f"'{self.expires}' is no day; give YYYY-MM-DD.") from error
        if day <= datetime.now(UTC).date():
            raise SettingError("The day of destruction lies in the past.")


def make_bundle(
    source: Path, out: Path, terms: Terms, ledger: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Pack de-identified studies and results with a checksummed manifest; returns the ledger's entry.

    Args:
        source: folder with DICOM, results, masks and tables.
        out: zip to write.
        terms: purpose, recipient, approval, expiry.
        ledger: file that says what was given to whom (one JSON line a bundle).

    Raises:
        IdentityError: a DICOM file is not de-identified, or a mapping lies there.
        StorageError: it cannot be written.
    """
    source = Path(source)
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else []
    if not files:
        raise NotFoundError(f"There is nothing in '{source.name}' to share.")
    pseudonyms: set[str] = set()
    entries = []
    part = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            for n, path in enumerate(files):
                if progress is not None:
                    progress("bundle", n / len(files))
                pseudonyms |= _checked(path)
                name = str(path.relative_to(source))
                entries.append({"path": name, "bytes": path.stat().st_size, "sha256": _sha256(path)})
                archive.write(path, f"data/{name}")
            manifest = {
                "schema": "1.0",
                "id": secrets.token_hex(8),
                "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "terms": asdict(terms),
                "people": len(pseudonyms),
                "files": entries,
            }
            archive.writestr(MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))
        os.replace(part, out)
    except OSError as error:
        raise StorageError(f"'{out.name}' cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    entry = {
        **{k: manifest[k] for k in ("id", "made", "terms", "people")},
        "files": len(entries),
        "bundle_sha256": _sha256(out),
        "destroyed": None,
    }
    _append(ledger, entry)
    return entry


def open_bundle(bundle: Path, out: Path, *, today: date | None = None) -> dict[str, Any]:
    """Unpack a bundle after checking every checksum; returns its manifest.

    Raises:
        UnreadableError: it is damaged or something in it was changed.
        IdentityError: its time is over.
    """
    if not bundle.is_file():
        raise NotFoundError(f"There is no bundle '{bundle.name}'.")
    try:
        with zipfile.ZipFile(bundle) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
            expires = date.fromisoformat(manifest["terms"]["expires"])
            if (today or datetime.now(UTC).date()) > expires:
                raise IdentityError(f"The bundle was to be destroyed by {expires}: it is not opened.")
            listed = {f"data/{f['path']}": f for f in manifest["files"]}
            if {i.filename for i in archive.infolist()} != {MANIFEST, *listed}:
                raise UnreadableError("The bundle does not hold the files that its manifest lists.")
            contents = {}
            for name, entry in listed.items():
                target = (out / entry["path"]).resolve()
                if not target.is_relative_to(out.resolve()):
                    raise UnreadableError("The bundle holds a path that leads outside.")
                if hashlib.sha256(archive.read(name)).hexdigest() != entry["sha256"]:
                    raise UnreadableError("A file of the bundle was changed: nothing was unpacked.")
                contents[name] = target
            for name, target in contents.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
        raise UnreadableError(f"The bundle '{bundle.name}' is damaged.") from error
    except OSError as error:
        raise StorageError(f"'{out.name}' cannot be written: {error.strerror}.") from error
    return manifest


def ledger_path() -> Path:
    """The ledger of this computer."""
    return user_folder("sharing") / "ledger.jsonl"


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Every bundle that was given, oldest first.

    Raises:
        InputError: the ledger is damaged.
    """
    if not ledger.exists():
        return []
    try:
        lines = ledger.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise InputError(f"The ledger '{ledger.name}' is damaged.") from error
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        found.setdefault(entry["id"], {}).update(entry)
    return list(found.values())


def mark_destroyed(ledger: Path, bundle: str) -> None:
    """Write down that the recipient destroyed a bundle.

    Raises:
        SettingError: the ledger knows no such bundle.
    """
    if bundle not in {e["id"] for e in read_ledger(ledger)}:
        raise SettingError(f"The ledger knows no bundle '{bundle}'.")
    _append(ledger, {"id": bundle, "destroyed": datetime.now(UTC).isoformat(timespec="seconds")})


def small_cells(table: Path, columns: Sequence[str], least: int = LEAST_CELL) -> dict[tuple[str, ...], int]:
    """Groups of people in a table that are so small that they may be recognised.

    Args:
        table: CSV or XLSX; a column ``pseudonym`` counts people, else rows are counted.
        columns: what people could be recognised by, such as sex, decade, disease.
        least: the smallest group allowed.

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    heading, rows = read_table(table)
    missing = [c for c in columns if c not in heading]
    if missing:
        raise InputError(f"The table has no column '{missing[0]}'.")
    people: dict[tuple[str, ...], set[str]] = {}
    for n, row in enumerate(rows):
        people.setdefault(tuple(row[c] for c in columns), set()).add(row.get("pseudonym") or str(n))
    counts = Counter({cell: len(who) for cell, who in people.items()})
    return {cell: n for cell, n in sorted(counts.items()) if n < least}


def _checked(path: Path) -> set[str]:
    """The pseudonym in a file, after seeing that it may be shared."""
    if path.suffix in _NEVER or path.name.endswith(".unmatched.csv"):
        raise IdentityError(f"'{path.name}' may hold identities and is never shared.")
    header = read_header(path)
    if header is None:
        return set()
    if text_of(header, "PatientIdentityRemoved").upper() != "YES":
        raise IdentityError("A DICOM file in it is not de-identified: nothing was packed.")
    return {text_of(header, "PatientID")}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in _blocks(stream):
            digest.update(block)
    return digest.hexdigest()


def _blocks(stream: io.BufferedReader) -> Iterator[bytes]:
    while block := stream.read(_CHUNK):
        yield block


def _append(ledger: Path, entry: dict[str, Any]) -> None:
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
    except OSError as error:
        raise StorageError(f"The ledger '{ledger.name}' cannot be written: {error.strerror}.") from error


def ledger_csv(entries: Sequence[dict[str, Any]]) -> str:
    """The ledger as CSV."""
    columns = ("id", "made", "recipient", "purpose", "approval", "expires", "people", "files", "destroyed")
    return csv_text(columns, [{**e, **e.get("terms", {})} for e in entries])
