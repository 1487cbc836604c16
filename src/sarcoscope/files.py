"""Tables that ship with the program, and files that are written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from sarcoscope.errors import StorageError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"'{path.name}' could not be written: {error.strerror}.") from error


def make_folder(path: Path) -> None:
    """Make the output folder.

    Raises:
        StorageError: a file lies there, or the place may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"'{path.name}' is a file; the results need a folder.") from error
    except OSError as error:
        raise StorageError(f"The folder '{path.name}' cannot be made: {error.strerror}.") from error


def packaged_text(room: str, name: str) -> str:
    """Text of the file ``data/<name>`` of a room."""
    return files(room).joinpath(f"data/{name}").read_text(encoding="utf-8")


def packaged_rows(room: str, name: str) -> list[dict[str, str]]:
    """Rows of the table ``data/<name>.csv`` of a room (``sarcoscope.deid``)."""
    return list(csv.DictReader(packaged_text(room, f"{name}.csv").splitlines()))


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV with these columns: what a row lacks or has as None is empty, the rest is left out."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
