"""The job table: leased, counted, resumable.

::

    queued ──take──► running ──finish──► done
      ▲                 │ ├──fail(permanent)──► failed
      │                 │ └──fail(retriable)──► waiting ──(after a pause)──► taken again
      └─────────────────┘ lease over: its worker was killed; taken again, at most MOST_ATTEMPTS times
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Connection, CursorResult, Table, and_, func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.dml import Insert, Update

from sarcoscope.errors import StorageError
from sarcoscope.store.database import Database
from sarcoscope.store.tables import Base, JobRow

STATES: Final = ("queued", "running", "waiting", "done", "failed", "cancelled")
UNFINISHED: Final = ("queued", "running", "waiting")
MOST_ATTEMPTS: Final = 3
LEASE_S: Final = 60.0
_PAUSE_S: Final = 5.0
_KILLED: Final = "The work ended its process every time (out of memory, or killed)."
_TABLE: Final = cast(Table, JobRow.__table__)


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
    """Jobs in a database; any number of processes on any number of computers may use it.

    Args:
        address: path of an SQLite file of its own (made when it is not there), or the URL of the store's
            database.

    Raises:
        StorageError: it cannot be opened or is no job table.
    """

    def __init__(self, address: Path | str) -> None:
        self.address = address
        self._database = Database(address)
        if isinstance(address, Path):
            try:
                with self._database.connected() as connection:
                    Base.metadata.create_all(connection, tables=[_TABLE])
            except (StorageError, DBAPIError) as error:
                raise StorageError(f"The job table '{address.name}' cannot be opened.") from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, key: str, payload: Mapping[str, Any], *, priority: int = 0) -> bool:
        """Add a job unless there is one with this key; True when it is new."""
        try:
            with self._database.connected() as connection:
                if connection.scalar(select(_TABLE.c.number).where(_TABLE.c.key == key)) is not None:
                    return False
                connection.execute(new_job(key, payload, priority=priority))
        except IntegrityError:
            return False
        return True

    def take(self, worker: str, *, lease_s: float = LEASE_S, now: float | None = None) -> Job | None:
        """Lease the next job: the highest priority, then the oldest; None when nothing is due."""
        now = time.time() if now is None else now
        due = or_(
            _TABLE.c.state == "queued",
            and_(_TABLE.c.state == "waiting", _TABLE.c.not_before <= now),
            and_(_TABLE.c.state == "running", _TABLE.c.lease_until < now),
        )
        next_ = (
            select(_TABLE.c.number).where(due).order_by(_TABLE.c.priority.desc(), _TABLE.c.number).limit(1)
        )
        with self._database.reading() as session:
            if session.scalar(next_) is None:
                return None
        with self._database.connected() as connection:
            dead = and_(
                _TABLE.c.state == "running",
                _TABLE.c.lease_until < now,
                _TABLE.c.attempts >= MOST_ATTEMPTS,
            )
            connection.execute(
                update(_TABLE)
                .where(dead)
                .values(state="failed", error=_KILLED, worker=None, log=_line("failed: killed every time"))
            )
            number = connection.scalar(next_.with_for_update(skip_locked=True))
            if number is None:
                return None
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.number == number)
                .values(
                    state="running",
                    worker=worker,
                    lease_until=now + lease_s,
                    attempts=_TABLE.c.attempts + 1,
                    progress=0.0,
                    stage="",
                    error=None,
                    log=_line(f"taken by {worker}"),
                )
            )
            return _jobs(connection, _TABLE.c.number == number)[0]

    def beat(
        self, job: Job, worker: str, *, lease_s: float = LEASE_S, stage: str = "", progress: float = 0.0
    ) -> bool:
        """Renew a lease; False when the job is no longer this worker's (cancelled, or taken by another)."""
        values = {"lease_until": time.time() + lease_s, "stage": stage, "progress": progress}
        return self._run(update(_TABLE).where(_held(job, worker)).values(values)) == 1

    def holders(self) -> list[str]:
        """Names of the workers that hold a lease."""
        with self._database.reading() as session:
            held = select(_TABLE.c.worker).where(_TABLE.c.state == "running", _TABLE.c.worker.is_not(None))
            return [str(name) for name in session.scalars(held.distinct())]

    def release(self, worker: str) -> int:
        """Give the jobs of a worker that is known to be dead free at once.

        Args:
            worker: how its name begins.
        """
        dead = and_(_TABLE.c.state == "running", _TABLE.c.worker.startswith(worker, autoescape=True))
        return self._run(update(_TABLE).where(dead).values(lease_until=0.0))

    def finish(self, job: Job, worker: str) -> bool:
        """A job is done; False when it is no longer this worker's."""
        return self._end(job, worker, "done", None)

    def fail(self, job: Job, worker: str, error: str, *, permanent: bool) -> bool:
        """A job failed: for good, or to be tried again after a pause."""
        if permanent or job.attempts >= MOST_ATTEMPTS:
            return self._end(job, worker, "failed", error)
        return self._end(job, worker, "waiting", error, time.time() + _PAUSE_S * job.attempts)

    def _end(self, job: Job, worker: str, state: str, error: str | None, not_before: float = 0.0) -> bool:
        values: dict[str, Any] = {
            "state": state,
            "error": error,
            "worker": None,
            "lease_until": None,
            "not_before": not_before,
            "log": _line(state if error is None else f"{state}: {error}"),
        }
        if state == "done":
            values["progress"] = 1.0
        return self._run(update(_TABLE).where(_held(job, worker)).values(values)) == 1

    def cancel(self, key: str) -> bool:
        """Cancel a job that is not over."""
        open_ = and_(_TABLE.c.key == key, _TABLE.c.state.in_(UNFINISHED))
        values = {"state": "cancelled", "worker": None, "log": _line("cancelled")}
        return self._run(update(_TABLE).where(open_).values(values)) == 1

    def retry(self, key: str | None = None) -> int:
        """Queue failed and cancelled jobs again (all, or one); returns how many."""
        over = _TABLE.c.state.in_(("failed", "cancelled"))
        wanted = over if key is None else and_(over, _TABLE.c.key == key)
        values = {
            "state": "queued",
            "attempts": 0,
            "error": None,
            "not_before": 0.0,
            "log": _line("queued again"),
        }
        return self._run(update(_TABLE).where(wanted).values(values))

    def job(self, number: int) -> Job:
        """One job (KeyError when there is none)."""
        with self._database.reading() as session:
            for job in _jobs(session.connection(), _TABLE.c.number == number):
                return job
        raise KeyError(number)

    def jobs(self, *states: str) -> list[Job]:
        """Jobs (of some states) in the order in which they were added."""
        where = _TABLE.c.state.in_(states or STATES)
        with self._database.reading() as session:
            return _jobs(session.connection(), where)

    def counts(self) -> dict[str, int]:
        """State -> how many jobs."""
        with self._database.reading() as session:
            rows = session.execute(select(_TABLE.c.state, func.count()).group_by(_TABLE.c.state)).all()
        return dict.fromkeys(STATES, 0) | {str(state): int(count) for state, count in rows}

    def unfinished(self) -> int:
        """Jobs that are queued, running or waiting."""
        counts = self.counts()
        return sum(counts[state] for state in UNFINISHED)

    def _run(self, statement: Update) -> int:
        with self._database.connected() as connection:
            return cast(CursorResult[Any], connection.execute(statement)).rowcount


def new_job(key: str, payload: Mapping[str, Any], *, priority: int = 0) -> Insert:
    """The statement that adds a job (inside a transaction of the caller's)."""
    values = {"key": key, "payload": dict(payload), "priority": priority, "log": _stamp("queued")}
    return insert(JobRow).values(state="queued", attempts=0, not_before=0.0, progress=0.0, stage="", **values)


def _held(job: Job, worker: str) -> ColumnElement[bool]:
    return and_(_TABLE.c.number == job.number, _TABLE.c.state == "running", _TABLE.c.worker == worker)


def _jobs(connection: Connection, where: ColumnElement[bool]) -> list[Job]:
    c = _TABLE.c
    columns: Iterable[Any] = (c.number, c.key, c.payload, c.state, c.attempts, c.error, c.stage, c.progress)
    rows = connection.execute(select(*columns).where(where).order_by(c.number)).all()
    return [Job(*row) for row in rows]


def _line(text: str) -> ColumnElement[str]:
    """A further line of the log."""
    return _TABLE.c.log + _stamp(text)


def _stamp(text: str) -> str:
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n"
