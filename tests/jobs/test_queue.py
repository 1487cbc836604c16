"""The job table: leases, attempts, kills; nothing lost, nothing done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from sarcoscope.errors import NetworkError, StorageError
from sarcoscope.jobs.queue import MOST_ATTEMPTS, JobQueue
from sarcoscope.jobs.workers import do_job, run_on_dask, run_workers
from tests.jobs.handlers import count


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    with JobQueue(tmp_path / "jobs.sqlite") as one:
        yield one  # type: ignore[misc]


def test_order_priority_and_keys(queue: JobQueue) -> None:
    assert queue.add("a", {"n": 1})
    assert queue.add("b", {"n": 2}, priority=5)
    assert not queue.add("a", {"n": 3})
    taken = [queue.take("w") for _ in range(3)]
    assert [t.key if t else None for t in taken] == ["b", "a", None]
    assert taken[1] is not None
    assert taken[1].payload == {"n": 1}


def test_only_the_holder_of_a_lease_ends_a_job(queue: JobQueue) -> None:
    queue.add("a", {})
    first = queue.take("one", lease_s=10, now=100.0)
    assert first is not None
    assert queue.take("two", now=105.0) is None
    second = queue.take("two", lease_s=1e9, now=111.0)
    assert second is not None
    assert not queue.finish(first, "one")
    assert not queue.beat(first, "one")
    assert queue.beat(second, "two")
    assert queue.finish(second, "two")
    assert not queue.finish(second, "two")
    assert queue.counts()["done"] == 1


def test_attempts_end(queue: JobQueue) -> None:
    queue.add("a", {})
    now = 0.0
    for _ in range(MOST_ATTEMPTS):
        assert queue.take("w", lease_s=1, now=now) is not None
        now += 10
    assert queue.take("w", now=now) is None
    assert queue.counts()["failed"] == 1
    assert "ended its process" in str(queue.jobs()[0].error)
    assert queue.retry() == 1
    assert queue.take("w", now=now) is not None


def test_retriable_failures_wait_and_permanent_ones_do_not(queue: JobQueue) -> None:
    queue.add("a", {})
    job = queue.take("w")
    assert job is not None
    assert queue.fail(job, "w", "full", permanent=False)
    assert queue.counts()["waiting"] == 1
    assert queue.take("w") is None
    job = queue.take("w", now=time.time() + 60)
    assert job is not None
    assert queue.fail(job, "w", "bad", permanent=True)
    assert queue.jobs()[0].error == "bad"


def test_cancelled_jobs_are_not_taken_and_not_finished(queue: JobQueue) -> None:
    queue.add("a", {})
    job = queue.take("w")
    assert job is not None
    assert queue.cancel("a")
    assert not queue.cancel("a")
    assert not queue.finish(job, "w")
    assert queue.take("w") is None
    assert queue.unfinished() == 0


def test_many_takers_share_without_overlap(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with JobQueue(path) as queue:
        for n in range(120):
            queue.add(str(n), {})
    taken: list[str] = []

    def work(name: str) -> None:
        with JobQueue(path) as own:
            while (job := own.take(name)) is not None:
                taken.append(job.key)
                own.finish(job, name)

    threads = [threading.Thread(target=work, args=(f"w{k}",)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [str(n) for n in range(120)]


def test_every_end_is_written_down(queue: JobQueue, tmp_path: Path) -> None:
    for what in ("", "bad", "later", "fault"):
        queue.add(what or "good", {"out": str(tmp_path), "name": what or "good", "what": what})
    while (job := queue.take("w", now=time.time() + 100)) is not None:
        do_job(queue, job, "w", count)
    ends = {j.key: (j.state, j.attempts) for j in queue.jobs()}
    assert ends == {"good": ("done", 1), "bad": ("failed", 1), "later": ("done", 2), "fault": ("failed", 1)}
    errors = {j.key: j.error for j in queue.jobs()}
    assert errors["bad"] == "The input is bad."
    assert "ZeroDivisionError" in str(errors["fault"])


def test_a_job_that_kills_its_worker_does_not_stop_the_others(queue: JobQueue, tmp_path: Path) -> None:
    for n in range(4):
        queue.add(f"g{n}", {"out": str(tmp_path), "name": f"g{n}"})
    queue.add("killer", {"out": str(tmp_path), "name": "killer", "what": "die"}, priority=1)
    run_workers(queue.address, count, 2)
    assert queue.counts()["done"] == 4
    assert [(j.key, j.state, j.attempts) for j in queue.jobs("failed")] == [("killer", "failed", 3)]
    for n in range(4):
        assert (tmp_path / f"g{n}").read_text(encoding="utf-8") == "begun\ndone\n"


RUN = "import sys; from pathlib import Path; from sarcoscope.jobs.workers import run_workers; "
RUN += "from tests.jobs.handlers import count; "


def kill_often(path: Path, jobs: int, seed: int, *, seconds: float = 0.05, lease_s: float = 3.0) -> int:
    """Work a table off while workers, and the parent, are killed at random; returns how many were killed."""
    killed = 0
    rng = random.Random(seed)
    with JobQueue(path) as queue:
        for n in range(jobs):
            queue.add(f"j{n}", {"out": str(path.parent), "name": f"j{n}", "seconds": seconds})
    code = (
        RUN
        + f"run_workers(Path({str(path)!r}), count, 3, lease_s={lease_s}) if __name__ == '__main__' else None"
    )
    end = time.monotonic() + 600
    while time.monotonic() < end:
        parent = subprocess.Popen([sys.executable, "-c", code])
        for _ in range(rng.randrange(2, 6)):
            time.sleep(rng.uniform(0.4, 1.2))
            if parent.poll() is not None:
                break
            try:
                child = rng.choice(psutil.Process(parent.pid).children())
                child.kill()
                killed += 1
            except (psutil.NoSuchProcess, IndexError):
                continue
        else:
            parent.kill()
            killed += 1
        parent.wait()
        with JobQueue(path) as queue:
            # Attempts that were spent by kills are given back: here the killing is the test.
            queue.retry()
            if queue.unfinished() == 0:
                return killed
    raise AssertionError("the jobs did not end")


def test_random_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """`python -m tests.soak jobs` does 500."""
    assert kill_often(tmp_path / "jobs.sqlite", 40, seed=1, seconds=0.15) > 1
    with JobQueue(tmp_path / "jobs.sqlite") as queue:
        assert queue.counts()["done"] == 40
    for n in range(40):
        assert (tmp_path / f"j{n}").read_text(encoding="utf-8").count("done\n") >= 1


@pytest.mark.filterwarnings("ignore")
def test_dask_cluster_with_a_killed_worker(tmp_path: Path) -> None:
    from distributed import LocalCluster

    path = tmp_path / "jobs.sqlite"
    with JobQueue(path) as queue:
        for n in range(12):
            queue.add(f"j{n}", {"out": str(tmp_path), "name": f"j{n}", "seconds": 0.3})
        queue.add("bad", {"out": str(tmp_path), "name": "bad", "what": "bad"})
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill() -> None:
            time.sleep(1.0)
            worker = next(iter(cluster.workers.values()))
            os.kill(worker.process.process.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        run_on_dask(path, count, cluster.scheduler_address)
        killer.join()
    with JobQueue(path) as queue:
        assert (queue.counts()["done"], queue.counts()["failed"]) == (12, 1)
    for n in range(12):
        assert "done\n" in (tmp_path / f"j{n}").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="does not answer"):
        run_on_dask(tmp_path / "jobs.sqlite", count, "tcp://127.0.0.1:9")


def test_what_is_no_job_table(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(StorageError, match="cannot be opened"):
        JobQueue(tmp_path / "x")
