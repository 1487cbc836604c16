"""Work a job table off: by local processes, or by a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sarcoscope.errors import NetworkError, PermanentError, SarcoscopeError, SettingError
from sarcoscope.jobs.queue import LEASE_S, Job, JobQueue
from sarcoscope.progress import Progress

Handler = Callable[[Mapping[str, Any], Progress], None]
"""What is done with a job's payload; it must be importable (a function of a module)."""
Watcher = Callable[[dict[str, int]], None]
_LOOK_S: Final = 0.5
_BEATS_A_LEASE: Final = 4
_BEHIND_PAGES: Final = 10
"""How much the workers of a server give way to its pages (nice)."""
_BEAT_S: Final = 2.0
"""Longest time between two beats: what a user sees of the progress is never older."""


def run_workers(
    address: Path | str,
    handler: Handler,
    count: int,
    watch: Watcher | None = None,
    *,
    lease_s: float = LEASE_S,
    stop: threading.Event | None = None,
) -> None:
    """Work everything off with ``count`` processes; a process that dies is replaced.

    Args:
        address: the job table (see :class:`JobQueue`).
        handler: does a job.
        count: processes.
        watch: hears how many jobs are in which state, about twice a second.
        lease_s: a job whose worker is silent for so long is given to another.
        stop: wait for further jobs until it is set; None: return when nothing is left.
    """
    context = multiprocessing.get_context("spawn")
    processes: list[Any] = []
    stays = stop is not None
    with JobQueue(address) as queue:
        _release_dead(queue)
        try:
            while not stop.is_set() if stop is not None else queue.unfinished():
                for dead in [p for p in processes if not p.is_alive()]:
                    processes.remove(dead)
                    queue.release(_name(dead.pid))
                while len(processes) < (count if stays else min(count, queue.unfinished())):
                    process = context.Process(
                        target=_work, args=(address, handler, os.getpid(), lease_s, stays), daemon=True
                    )
                    process.start()
                    processes.append(process)
                if watch is not None:
                    watch(queue.counts())
                time.sleep(_LOOK_S)
            if watch is not None:
                watch(queue.counts())
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(10)


def _work(address: Path | str, handler: Handler, parent: int, lease_s: float, stays: bool) -> None:
    """A worker: takes jobs until its parent is gone (or, unless it ``stays``, none is left)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if stays:
        os.nice(_BEHIND_PAGES)
    name = _name(os.getpid()) + uuid.uuid4().hex[:6]
    with JobQueue(address) as queue:
        while os.getppid() == parent:
            job = queue.take(name, lease_s=lease_s)
            if job is not None:
                do_job(queue, job, name, handler, lease_s)
            elif stays or queue.unfinished():
                time.sleep(_LOOK_S)
            else:
                return


def _release_dead(queue: JobQueue) -> None:
    """What processes of this computer held that are gone (after a crash) need not wait for its lease."""
    for name in queue.holders():
        node, _, rest = name.partition(":")
        pid = rest.partition(":")[0]
        if node == os.uname().nodename and pid.isdigit() and not _lives(int(pid)):
            queue.release(_name(int(pid)))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user's
    return True


def _name(pid: int) -> str:
    """How the names of a process's leases begin."""
    return f"{os.uname().nodename}:{pid}:"


def do_job(queue: JobQueue, job: Job, worker: str, handler: Handler, lease_s: float = LEASE_S) -> None:
    """Do one leased job; whatever happens, its row says it."""
    with _Heart(queue.address, job, worker, lease_s) as heart:
        try:
            handler(job.payload, heart.report)
        except SarcoscopeError as error:
            queue.fail(job, worker, str(error), permanent=isinstance(error, PermanentError))
        except Exception as error:
            queue.fail(
                job, worker, f"A fault in Sarcoscope ({type(error).__name__}: {error}).", permanent=True
            )
        else:
            queue.finish(job, worker)


class _Heart:
    """Renews a lease while the job is being done."""

    def __init__(self, address: Path | str, job: Job, worker: str, lease_s: float) -> None:
        self._address, self._job, self._worker, self._lease_s = address, job, worker, lease_s
        self._stage, self._progress = "", 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def report(self, stage: str, progress: float) -> None:
        """What the job is at (a progress callback)."""
        self._stage, self._progress = stage, progress

    def _beat(self) -> None:
        with JobQueue(self._address) as queue:
            while not self._stop.wait(min(self._lease_s / _BEATS_A_LEASE, _BEAT_S)):
                queue.beat(
                    self._job, self._worker, lease_s=self._lease_s, stage=self._stage, progress=self._progress
                )


def run_on_dask(
    address: Path | str,
    handler: Handler,
    scheduler: str,
    watch: Watcher | None = None,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Work everything off on a Dask cluster; the rows of the table stay the truth.

    This process leases the jobs and writes their ends down; the cluster only computes. A worker of the
    cluster that is killed costs an attempt.

    Raises:
        SettingError: the extra ``dask`` is not installed.
        NetworkError: the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingError("For --scheduler install the extra: pip install 'sarcoscope[dask]'.") from error
    name = f"{_name(os.getpid())}dask-{uuid.uuid4().hex[:6]}"
    try:
        client: Any = Client(scheduler, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise NetworkError(f"The Dask scheduler at {scheduler} does not answer.") from error
    running: dict[Any, Job] = {}
    with client, JobQueue(address) as queue:
        _release_dead(queue)
        while not stop.is_set() if stop is not None else queue.unfinished():
            cores = sum(client.ncores().values())
            # One more than can be done at once; nothing where nobody works: a wait must not cost attempts.
            room = cores + 1 if cores else 0
            while len(running) < room:
                job = queue.take(name)
                if job is None:
                    break
                running[client.submit(_on_cluster, handler, dict(job.payload), pure=False, retries=0)] = job
            for future in [f for f in running if f.done()]:
                _write_down(queue, running.pop(future), name, future)
            for job in running.values():
                queue.beat(job, name)
            if watch is not None:
                watch(queue.counts())
            time.sleep(_LOOK_S)


def _on_cluster(handler: Handler, payload: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Runs on a worker of the cluster: None when it went well, else (sentence, permanent)."""
    try:
        handler(payload, lambda stage, progress: None)
    except SarcoscopeError as error:
        return str(error), isinstance(error, PermanentError)
    except Exception as error:
        return f"A fault in Sarcoscope ({type(error).__name__}: {error}).", True
    return None


def _write_down(queue: JobQueue, job: Job, name: str, future: Any) -> None:
    if future.status != "finished":
        queue.fail(job, name, "The cluster lost the worker that did it.", permanent=False)
        return
    answer = future.result()
    if answer is None:
        queue.finish(job, name)
    else:
        queue.fail(job, name, answer[0], permanent=answer[1])
