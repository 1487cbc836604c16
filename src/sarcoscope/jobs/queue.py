"""The job table: leased, counted, resumable.

::

    queued ──take──► running ──finish──► done
      ▲                 │ ├──fail(permanent)──► failed
      │                 │ └──fail(retriable)──► waiting ──(after a pause)──► taken again
      └─────────────────┘ lease over: its worker was killed; taken again, at most MOST_ATTEMPTS times
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sarcoscope.errors import StorageError

STATES: Final = ("queued", "running", "waiting", "done", "failed", "cancelled")
MOST_ATTEMPTS: Final = 3
LEASE_S: Final = 60.0
_PAUSE_S: Final = 5.0
_KILLED: Final = "The work ended its process every time (out of memory, or killed)."
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued', priority INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, worker TEXT, lease_until REAL, not_before REAL NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0, stage TEXT NOT NULL DEFAULT '', error TEXT);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, priority, number);
"""


@dataclass(frozen=True)
class Job:
    """A row of the table."""

    number: int
    key: str
    payload: Mapping[str, Any]
    state: str
    attempts: int
    error: str | None = None
    stage: str = ""
    progress: float = 0.0


class JobQueue:
    """Jobs in an SQLite file (WAL); any number of processes may use it.

    Raises:
        StorageError: the file cannot be opened or is no job table.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise StorageError(f"The job table '{self.path.name}' cannot be opened.") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def add(self, key: str, payload: Mapping[str, Any], *, priority: int = 0) -> bool:
        """Add a job unless there is one with this key; True when it is new."""
        text = json.dumps(dict(payload), ensure_ascii=False)
        done = self._database.execute(
            "INSERT OR IGNORE INTO jobs (key, payload, priority) VALUES (?, ?, ?)", (key, text, priority)
        )
        return done.rowcount == 1

    def take(self, worker: str, *, lease_s: float = LEASE_S, now: float | None = None) -> Job | None:
        """Lease the next job: the highest priority, then the oldest; None when nothing is due."""
        now = time.time() if now is None else now
        with self._transaction():
            self._database.execute(
                "UPDATE jobs SET state = 'failed', error = ?, worker = NULL "
                "WHERE state = 'running' AND lease_until < ? AND attempts >= ?",
                (_KILLED, now, MOST_ATTEMPTS),
            )
            row = self._database.execute(
                "SELECT number FROM jobs WHERE state = 'queued' OR (state = 'waiting' AND not_before <= ?) "
                "OR (state = 'running' AND lease_until < ?) ORDER BY priority DESC, number LIMIT 1",
                (now, now),
            ).fetchone()
            if row is None:
                return None
            self._database.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease_until = ?, attempts = attempts + 1, "
                "progress = 0, stage = '', error = NULL WHERE number = ?",
                (worker, now + lease_s, row[0]),
            )
        return self.job(row[0])

    def beat(
        self, job: Job, worker: str, *, lease_s: float = LEASE_S, stage: str = "", progress: float = 0.0
    ) -> bool:
        """Renew a lease; False when the job is no longer this worker's (cancelled, or taken by another)."""
        done = self._database.execute(
            "UPDATE jobs SET lease_until = ?, stage = ?, progress = ? "
            "WHERE number = ? AND state = 'running' AND worker = ?",
            (time.time() + lease_s, stage, progress, job.number, worker),
        )
        return done.rowcount == 1

    def release(self, worker: str) -> int:
        """Give the jobs of a worker that is known to be dead free at once.

        Args:
            worker: how its name begins.
        """
        done = self._database.execute(
            "UPDATE jobs SET lease_until = 0 WHERE state = 'running' AND substr(worker, 1, ?) = ?",
            (len(worker), worker),
        )
        return int(done.rowcount)

    def finish(self, job: Job, worker: str) -> bool:
        """A job is done; False when it is no longer this worker's."""
        return self._end(job, worker, "done", None)

    def fail(self, job: Job, worker: str, error: str, *, permanent: bool) -> bool:
        """A job failed: for good, or to be tried again after a pause."""
        if permanent or job.attempts >= MOST_ATTEMPTS:
            return self._end(job, worker, "failed", error)
        return self._end(job, worker, "waiting", error, time.time() + _PAUSE_S * job.attempts)

    def _end(self, job: Job, worker: str, state: str, error: str | None, not_before: float = 0.0) -> bool:
        done = self._database.execute(
            "UPDATE jobs SET state = ?, error = ?, worker = NULL, lease_until = NULL, not_before = ?, "
            "progress = CASE ? WHEN 'done' THEN 1 ELSE progress END "
            "WHERE number = ? AND state = 'running' AND worker = ?",
            (state, error, not_before, state, job.number, worker),
        )
        return done.rowcount == 1

    def cancel(self, key: str) -> bool:
        """Cancel a job that is not over."""
        done = self._database.execute(
            "UPDATE jobs SET state = 'cancelled', worker = NULL WHERE key = ? "
            "AND state IN ('queued', 'running', 'waiting')",
            (key,),
        )
        return done.rowcount == 1

    def retry(self, key: str | None = None) -> int:
        """Queue failed and cancelled jobs again (all, or one); returns how many."""
        where = "" if key is None else " AND key = ?"
        done = self._database.execute(
            "UPDATE jobs SET state = 'queued', attempts = 0, error = NULL, not_before = 0 "
            f"WHERE state IN ('failed', 'cancelled'){where}",
            () if key is None else (key,),
        )
        return int(done.rowcount)

    def job(self, number: int) -> Job:
        """One job (KeyError when there is none)."""
        for job in self.jobs("number = ?", number):
            return job
        raise KeyError(number)

    def jobs(self, where: str = "1", *values: object) -> list[Job]:
        """Jobs in the order in which they were added."""
        rows = self._database.execute(
            "SELECT number, key, payload, state, attempts, error, stage, progress FROM jobs "
            f"WHERE {where} ORDER BY number",
            values,
        ).fetchall()
        return [Job(n, k, json.loads(p), s, a, e, stage, share) for n, k, p, s, a, e, stage, share in rows]

    def counts(self) -> dict[str, int]:
        """State -> how many jobs."""
        rows = self._database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(STATES, 0) | {str(state): int(count) for state, count in rows}

    def unfinished(self) -> int:
        """Jobs that are queued, running or waiting."""
        counts = self.counts()
        return counts["queued"] + counts["running"] + counts["waiting"]
