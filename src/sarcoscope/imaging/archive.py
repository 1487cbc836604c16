"""Zip archives: unpacked into a temporary folder, with limits against bombs and paths that lead outside."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sarcoscope.errors import UnreadableError

_MOST_FILES: Final = 100_000
_MOST_BYTES: Final = 20_000_000_000
_MOST_RATIO: Final = 200
"""No CT shrinks two-hundredfold; small files may (they are let through)."""
_SMALL: Final = 50_000_000


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with the files of a zip, numbered inside their own folders.

    Raises:
        UnreadableError: damaged, encrypted, or far larger than any CT study.
    """
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        unpack(path, Path(temporary), path.name)
        yield Path(temporary)


def unpack(path: Path, folder: Path, name: str) -> None:
    """Unpack a zip into a folder, its files numbered inside their own folders.

    Args:
        path: the zip.
        folder: an empty folder.
        name: what the zip is called in sentences.

    Raises:
        UnreadableError: damaged, encrypted, or far larger than any CT study.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _extract(archive, folder, name)
    except UnreadableError:
        raise
    except Exception as error:  # a damaged archive fails in many ways (zlib, struct, names, sizes)
        raise UnreadableError(f"The archive '{name}' is damaged or encrypted.") from error


def _extract(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    entries = [e for e in archive.infolist() if not e.is_dir()]
    size = sum(e.file_size for e in entries)
    packed = max(sum(e.compress_size for e in entries), 1)
    if len(entries) > _MOST_FILES or size > _MOST_BYTES or (size > _SMALL and size / packed > _MOST_RATIO):
        raise UnreadableError(f"The archive '{name}' unpacks to more than a CT study can hold.")
    folders: dict[str, Path] = {}
    for n, entry in enumerate(entries):
        # Names from outside are not used as paths: a folder a number, a file a number.
        parent = folders.setdefault(entry.filename.rpartition("/")[0], folder / f"d{len(folders)}")
        parent.mkdir(exist_ok=True)
        suffix = "".join(s for s in (".nii.gz", ".nii") if entry.filename.lower().endswith(s))[:7]
        written = 0
        with archive.open(entry) as source, (parent / f"f{n:06d}{suffix}").open("wb") as target:
            while block := source.read(1 << 20):
                written += len(block)
                if written > entry.file_size:
                    raise UnreadableError(f"The archive '{name}' is damaged.")
                target.write(block)
