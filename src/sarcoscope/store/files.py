"""Content-addressed files: each under the SHA-256 of its bytes, written whole, never changed."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sarcoscope.errors import NotFoundError, StorageError, UnreadableError

_THREADS: Final = 4


class FileStore:
    """Files below a folder: ``ab/cd/abcd….``"""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, sha256: str) -> Path:
        """Where the content lies."""
        return self.root / sha256[:2] / sha256[2:4] / sha256

    def put(self, content: bytes) -> str:
        """Keep some bytes; returns their SHA-256. What is there already is not written again.

        Raises:
            StorageError: the disk is full or may not be written.
        """
        name = hashlib.sha256(content).hexdigest()
        place = self.path(name)
        if place.exists():
            return name
        part = place.with_name(f".{name[:16]}.{uuid.uuid4().hex}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            os.replace(part, place)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"A file could not be stored: {error.strerror}.") from error
        return name

    def adopt(self, path: Path) -> str:
        """Move a file of the same disk in; returns the SHA-256 of its bytes.

        Raises:
            StorageError: it cannot be read or moved.
        """
        try:
            with path.open("rb") as stream:
                name = hashlib.file_digest(stream, "sha256").hexdigest()
            place = self.path(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                os.replace(path, place)
        except OSError as error:
            raise StorageError(f"A file could not be stored: {error.strerror}.") from error
        return name

    def settle(self, names: Iterable[str]) -> None:
        """See that files are on the disk itself (before a row that names them is written).

        Raises:
            StorageError: the disk refuses.
        """
        wanted = list(names)
        folders = {self.path(name).parent for name in wanted}
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(_sync, [*(self.path(n) for n in wanted), *folders]))

    def read(self, sha256: str) -> bytes:
        """The content, checked against its name.

        Raises:
            NotFoundError: it is not there.
            UnreadableError: it was damaged.
        """
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError("A stored file is missing.") from error
        except OSError as error:
            raise StorageError(f"A stored file cannot be read: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise UnreadableError("A stored file is damaged: its checksum differs.")
        return content

    def remove(self, sha256: str) -> None:
        """Remove a content that nothing names any more."""
        self.path(sha256).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Every content that lies there."""
        for path in self.root.glob("??/??/*"):
            if len(path.name) == 64 and path.is_file():
                yield path.name


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(f"A file could not be stored: {error.strerror}.") from error
