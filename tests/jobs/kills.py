"""The whole platform under random kill -9: workers, server, and a Dask cluster with its scheduler."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from sarcoscope.jobs.queue import JobQueue
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.intake import take_in
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Centre, Image, Person, Project, Series, Study
from sarcoscope.store.upkeep import check_store


@dataclass(frozen=True)
class Survived:
    """What was killed, and how long it all took."""

    killed: Counter[str]
    seconds: float


def survive(
    store: Store, folder: Path, count: int, seed: int, *, slices: int = 99, dask: bool = False
) -> Survived:
    """Analyse ``count`` small studies with the product's own server while processes are killed at random.

    Asserts one result a study, all jobs done, and a sound store.

    Args:
        store: an empty one (with its users).
        folder: for what is made on the way.
        count: studies.
        seed: of the kills.
        slices: of a study; few make it quick.
        dask: a scheduler and three workers of a cluster do the work, one of which is killed for good.
    """
    begin, rng, killed = time.monotonic(), random.Random(seed), Counter[str]()
    numbers = fill(store, folder / "in", count, slices)
    with ExitStack() as stack, JobQueue(store.database.url) as queue:
        cluster = stack.enter_context(_Cluster(folder)) if dask else None
        server = stack.enter_context(_Server(store, cluster.address if cluster else None))
        due = time.monotonic() + rng.uniform(2, 4)
        while queue.unfinished() or queue.counts()["failed"]:
            time.sleep(0.2)
            assert server.process.poll() is None, "the server ended by itself"
            if cluster is not None:
                cluster.tend()
            # Attempts that were spent by kills are given back: here the killing is the test.
            queue.retry()
            if time.monotonic() > due and queue.counts()["done"] < count * 0.9:
                killed[server.kill(rng) if cluster is None else cluster.kill(rng, server, killed)] += 1
                due = time.monotonic() + rng.uniform(3, 8)
                if dask:
                    # A lost scheduler costs the cluster half a minute: few kills, far apart.
                    due += 30 if killed.total() < 7 else 1e9
            assert time.monotonic() < begin + 60 + 12 * count, "the jobs did not end"
        counts = queue.counts()
    with store.database.reading() as session:
        analysed = session.scalars(select(Analysis.study_id)).all()
    assert sorted(analysed) == sorted(numbers)
    assert counts["done"] == count
    assert check_store(store).sound
    return Survived(killed, time.monotonic() - begin)


def fill(store: Store, folder: Path, count: int, slices: int) -> list[int]:
    """One small study of ``count`` people, queued."""
    phantom = make_phantom(
        PhantomSettings(seed=3, matrix=96, pixel_mm=4.2, top_level="L2", bottom_level="L4")
    )
    write_dicom_series(phantom, folder, SeriesSettings(patient_id="H-1", patient_name="A^B", seed="kills"))
    for path in sorted(folder.glob("*.dcm"))[slices:]:
        path.unlink()
    with store.database.reading() as session:
        project = session.scalars(select(Project.id)).one()
        centre = session.scalars(select(Centre.id).order_by(Centre.id)).first()
    assert centre is not None
    (first,) = take_in(store, project, centre, folder).studies
    with store.database.writing() as session:
        model = session.get_one(Study, first)
        studies = [model, *(_copy(model, n) for n in range(1, count))]
        session.add_all(studies)
        session.flush()
        for study in studies:
            queue_study(session, store, study)
        return [study.id for study in studies]


def _copy(model: Study, n: int) -> Study:
    """The same images as another person's study."""
    place: dict[str, Any] = {"project_id": model.project_id, "centre_id": model.centre_id}
    copy = Study(**place, person=Person(**place, pseudonym=f"P{n:06d}"), uid=f"{model.uid}.{n}")
    copy.series = [
        Series(
            uid=f"{s.uid}.{n}",
            modality=s.modality,
            images=[Image(uid=i.uid, sha256=i.sha256, size=i.size) for i in s.images],
        )
        for s in model.series
    ]
    return copy


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Server:
    """``sarcoscope serve`` that comes back after every kill."""

    def __init__(self, store: Store, scheduler: str | None) -> None:
        work = ["--scheduler", scheduler] if scheduler else ["--workers", "2"]
        self._command = [
            str(Path(sys.executable).with_name("sarcoscope")),
            "serve",
            "--port",
            str(_free_port()),
            *work,
        ]
        self._command += ["--data", str(store.data), "--database", store.database.url]
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def kill(self, rng: random.Random) -> str:
        """Kill a child, or in one of four cases the server itself."""
        children = psutil.Process(self.process.pid).children()
        if children and rng.random() < 0.75:
            rng.choice(children).kill()
            return "worker"
        self.process.kill()
        self.process.wait()
        self._start()
        return "server"

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class _Cluster:
    """A Dask scheduler and three workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        port = _free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        dask = [sys.executable, "-m", "dask"]
        self._scheduling = [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        self._scheduler = self._start(self._scheduling)
        worker = [*dask, "worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
        worker += ["--death-timeout", "120", "--local-directory", str(folder)]
        self._worker = worker
        self._workers = [self._start(worker) for _ in range(3)]

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tend(self) -> None:
        """Start workers again that ended (Dask's do when they lose their scheduler), as a supervisor does."""
        self._workers = [w if w.poll() is None else self._start(self._worker) for w in self._workers]

    def kill(self, rng: random.Random, server: _Server, killed: Counter[str]) -> str:
        """First a worker, for good; then the server and the scheduler in turn, which come back."""
        if not killed["worker"]:
            self._workers.pop(rng.randrange(3)).kill()
            return "worker"
        if killed["scheduler"] < killed["server"]:
            self._scheduler.kill()
            self._scheduler.wait()
            self._scheduler = self._start(self._scheduling)
            return "scheduler"
        server.process.kill()
        server.process.wait()
        server._start()
        return "server"

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._workers, self._scheduler):
            process.kill()
            process.wait()
