"""The spool: what came over the network and is not yet de-identified; whole files only, also after a crash.

::

    spool/incoming/<study>/<instance>.dcm     arriving; a study is complete after a quiet time
    spool/working/<study>/…                   being de-identified; taken up again after a crash
    spool/failed/<study>/…, <study>.txt       could not be done, with the reason

Everything in it holds identities: the folders are readable by their owner alone.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Final

from sarcoscope.errors import StorageError

_UID: Final = re.compile(r"[0-9.]{1,64}")
LEAST_FREE: Final = 200_000_000
"""Bytes that must stay free on the disk."""


class SpoolFullError(StorageError):
    """No room for another image."""


class Spool:
    """A folder of studies that are arriving.

    Args:
        root: made if it is not there.
        least_free: bytes that must stay free.
    """

    def __init__(self, root: Path, least_free: int = LEAST_FREE) -> None:
        self.root, self.least_free = Path(root), least_free
        self._lock = threading.Lock()
        try:
            for name in ("incoming", "working", "failed"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            os.chmod(self.root, 0o700)
        except OSError as error:
            raise StorageError(f"The spool '{self.root.name}' cannot be made: {error.strerror}.") from error
        for part in self.root.glob("incoming/*/.*.part"):
            part.unlink(missing_ok=True)

    def put(self, study: str, instance: str, content: bytes) -> None:
        """Keep one image: when this returns it is on the disk, whole; a second copy replaces it.

        Raises:
            SpoolFullError: no room is left.
            StorageError: it cannot be written.
        """
        name = _name(instance)
        try:
            if shutil.disk_usage(self.root).free < self.least_free + len(content):
                raise SpoolFullError("The disk of the receiver is full.")
            with self._lock:
                folder = self.root / "incoming" / _name(study)
                folder.mkdir(exist_ok=True)
                part = folder / f".{name}.{threading.get_ident()}.part"
                handle = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            with self._lock:
                folder.mkdir(exist_ok=True)
                os.replace(part, folder / f"{name}.dcm")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SpoolFullError("The disk of the receiver is full.") from error
            raise StorageError(f"An image could not be kept: {error.strerror}.") from error

    def count(self) -> int:
        """Images that wait."""
        return sum(1 for _ in self.root.glob("incoming/*/*.dcm"))

    def take_complete(self, quiet_s: float, now: float | None = None) -> Path | None:
        """A study to which nothing was added for ``quiet_s`` seconds, now in ``working``; None: no study.

        A study that an earlier run left in ``working`` goes first.
        """
        left = sorted(p for p in (self.root / "working").iterdir() if p.is_dir())
        if left:
            return left[0]
        now = time.time() if now is None else now
        with self._lock:
            for folder in sorted((self.root / "incoming").iterdir()):
                parts = [p for p in folder.iterdir()]
                if not parts or any(p.name.endswith(".part") for p in parts):
                    continue
                if now - max(p.stat().st_mtime for p in parts) >= quiet_s:
                    target = self.root / "working" / folder.name
                    folder.rename(target)
                    return target
        return None

    def done(self, folder: Path) -> None:
        """A study was handed on: its originals go."""
        shutil.rmtree(folder)

    def failed(self, folder: Path, reason: str) -> Path:
        """Put a study aside with the reason."""
        target = self.root / "failed" / folder.name
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
        target.with_name(f"{target.name}.txt").write_text(reason + "\n", encoding="utf-8")
        return target


def _name(uid: str) -> str:
    """A file name of a UID: itself, or a digest of what is no UID."""
    if _UID.fullmatch(uid) and uid.strip("."):
        return uid
    return "x" + hashlib.sha256(uid.encode()).hexdigest()[:40]
