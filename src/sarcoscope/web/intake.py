"""Takes uploads in, in a process of its own, so that the pages stay quick."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import threading
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from sqlalchemy import select

from sarcoscope.deid.folder import DeidReport
from sarcoscope.errors import SarcoscopeError
from sarcoscope.imaging.archive import unpack
from sarcoscope.jobs.study_job import queue_arrivals
from sarcoscope.store.intake import remove_upload, report_dict, take_in
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Upload

log = logging.getLogger(__name__)
_UNPACKED = ".unpacked"
_MOST_NAMED = 1000
"""Refused files that are named in a report; the counts hold all."""


class Intake:
    """De-identifies finished uploads one after the other."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._pending: dict[str, Future[None]] = {}

    def start(self) -> None:
        """Warm the process up, and go on with what a crash left behind."""
        self._submit_all()

    def submit(self, upload: str) -> None:
        """Take an upload in (its row says ``taking``)."""
        with self._lock:
            self._submit(upload)

    def wait(self, upload: str, seconds: float) -> None:
        """Wait until an upload is taken in, or for so long."""
        future = self._pending.get(upload)
        if future is not None:
            try:
                future.result(seconds)
            except TimeoutError:
                return
            except Exception:
                return

    def close(self) -> None:
        """Stop; what is not taken in is taken in at the next start."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                for process in list((self._pool._processes or {}).values()):
                    process.terminate()
                self._pool = None

    def _submit_all(self) -> None:
        with self.store.database.reading() as session:
            left = session.scalars(select(Upload.id).where(Upload.state == "taking")).all()
        with self._lock:
            self._make_pool().submit(_warm)
            for upload in left:
                self._submit(upload)

    def _make_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_quiet)
        return self._pool

    def _submit(self, upload: str) -> None:
        try:
            future = self._make_pool().submit(_take, str(self.store.data), self.store.database.url, upload)
        except BrokenProcessPool:
            self._pool = None
            future = self._make_pool().submit(_take, str(self.store.data), self.store.database.url, upload)
        self._pending[upload] = future
        future.add_done_callback(lambda done: self._over(upload, done))

    def _over(self, upload: str, done: Future[None]) -> None:
        self._pending.pop(upload, None)
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            return
        log.error("an upload failed: %s", type(error).__name__)
        if isinstance(error, BrokenProcessPool):
            with self._lock:
                self._pool = None
        _end(self.store, upload, "failed", "The files ended the work of taking them in; try fewer at once.")


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _warm() -> None:
    """Import what the first upload needs."""


def _take(data: str, address: str, upload: str) -> None:
    """In the process: de-identify, store, queue."""
    store = Store.open(Path(data), address)
    try:
        take_upload(store, upload)
    finally:
        store.close()


def take_upload(store: Store, upload: str) -> None:
    """De-identify an upload, keep its studies, queue them if the project says so; remove the originals."""
    with store.database.reading() as session:
        row = session.get(Upload, upload)
        if row is None or row.state != "taking":
            return
        project_id, centre_id = row.project_id, row.centre_id
    folder = store.upload_folder(upload)
    try:
        for n, archive in enumerate(sorted(folder.glob("*.zip"))):
            # Beside the other originals, so that they are removed together.
            inside = folder / f"{archive.stem}{_UNPACKED}"
            shutil.rmtree(inside, ignore_errors=True)
            inside.mkdir()
            unpack(archive, inside, f"number {n + 1}")
            archive.unlink()
        taken = take_in(store, project_id, centre_id, folder)
    except SarcoscopeError as error:
        _end(store, upload, "failed", str(error))
        return
    except Exception as error:
        log.error("an upload failed: %s", type(error).__name__)
        _end(store, upload, "failed", f"A fault in Sarcoscope ({type(error).__name__}).")
        return
    with store.database.writing() as session:
        queue_arrivals(session, store, project_id, taken.studies)
    report = {**report_dict(taken), "not_taken": _not_taken(taken.report, folder)}
    _end(store, upload, "done", "", report)


def _not_taken(report: DeidReport, folder: Path) -> list[dict[str, Any]]:
    """Number of an uploaded file (a zip's own number for what lies in it), reason, and how many files."""
    found: Counter[tuple[str, str]] = Counter()
    for path, reason in report.not_taken:
        top = path.relative_to(folder).parts[0]
        stem = top.removesuffix(_UNPACKED).removesuffix(".dcm")
        if stem.isdigit():
            found[stem, reason] += 1
    most = sorted(found.items(), key=lambda item: (int(item[0][0]), item[0][1]))[:_MOST_NAMED]
    return [{"file": int(number), "reason": reason, "files": n} for (number, reason), n in most]


def _end(store: Store, upload: str, state: str, error: str, report: dict[str, Any] | None = None) -> None:
    with store.database.writing() as session:
        row = session.get(Upload, upload)
        if row is not None:
            row.state, row.error, row.report = state, error, report or {}
    remove_upload(store, upload)
