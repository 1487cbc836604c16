"""Long checks in full: ``python -m tests.soak [CHECK ...]``; the tests run fixed-seed samples of them."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from scipy.stats import binom

from sarcoscope.jobs.queue import JobQueue
from sarcoscope.store.store import Store
from tests.cohort.recovery import coverage
from tests.conftest import find_ct_data
from tests.deid.fuzz import fuzz_objects
from tests.deid.leaks import check_leaks
from tests.dicomnet.servers import make_images, start_receiver, storescu
from tests.imaging.fuzz import fuzz
from tests.jobs.kills import survive
from tests.jobs.test_queue import kill_often
from tests.store.postgres import fresh_database, running_postgres
from tests.web.server import add_users


def readers(count: int, seed: int) -> None:
    """Mutated CT of every kind through the reader."""
    _in_parts(fuzz, count, seed)


def objects(count: int, seed: int) -> None:
    """Mutated DICOM objects through de-identification and the mask reader."""
    _in_parts(fuzz_objects, count, seed)


def _in_parts(run, count: int, seed: int) -> None:  # type: ignore[no-untyped-def]
    begin, outcomes = time.monotonic(), dict[str, int]()
    for first in range(0, count, 1000):
        part = run(min(1000, count - first), seed=seed + first)
        outcomes = {name: outcomes.get(name, 0) + n for name, n in part.items()}
        done = min(first + 1000, count)
        print(f"{done} files, {outcomes}, {time.monotonic() - begin:.0f} s", flush=True)


def leaks(count: int, seed: int) -> None:
    """Planted markers: none may come through."""
    begin, done = time.monotonic(), 0
    while done < count:
        done += check_leaks(min(100, count - done), seed=seed + done, ct_data=find_ct_data())
        print(f"{done} headers, 0 leaks, {time.monotonic() - begin:.0f} s", flush=True)


def receiver(count: int, seed: int) -> None:
    """Instances over eight associations, and again with a kill in the middle."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        each = count // 8
        for k in range(8):
            make_images(root / f"in{k}", each, str(k), study=f"1.2.7.{seed + 1}")
        for killed in (False, True):
            place = root / f"rx{killed}"
            running = start_receiver(place, "--quiet-time", "3")
            begin = time.monotonic()
            senders = [storescu(running.port, root / f"in{k}") for k in range(8)]
            if killed:
                time.sleep(2.0)
                running.kill()
                for sender in senders:
                    sender.wait()
                running = start_receiver(place, "--quiet-time", "3", port=running.port)
                senders = [storescu(running.port, root / f"in{k}") for k in range(8)]
            codes = [s.wait() for s in senders]
            took = time.monotonic() - begin
            while sum(1 for _ in (place / "out").rglob("*.dcm")) < each * 8:
                time.sleep(0.5)
            time.sleep(2.0)
            running.stop()
            written = sum(1 for _ in (place / "out").rglob("*.dcm"))
            print(
                f"killed {killed}: exit codes {codes}, {written} of {each * 8}, {each * 8 / took:.0f} a second"
            )
            assert written == each * 8
            shutil.rmtree(place)


def jobs(count: int, seed: int) -> None:
    """Jobs under random kills of workers and of their parent."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "jobs.sqlite"
        killed = kill_often(path, count, seed, seconds=0.4)
        with JobQueue(path) as queue:
            print(f"{killed} processes killed: {queue.counts()}, {time.monotonic() - begin:.0f} s")


def studies(count: int, seed: int, *, postgresql: bool = False, dask: bool = False) -> None:
    """Stored studies under random kills of workers and server (of a cluster's worker and its scheduler)."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = fresh_database(stack.enter_context(running_postgres())) if postgresql else None
        store = Store.open(root / "data", address)
        add_users(store)
        found = survive(store, root, count, seed, dask=dask)
        store.close()
    print(f"{count} results, each once; killed {dict(found.killed)}; {found.seconds:.0f} s", flush=True)


def cohorts(count: int, seed: int) -> None:
    """Synthetic cohorts: how often each 95 % interval holds the truth that they were made from."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        held, runs = coverage(Path(temporary), count, 1000 + seed)
    for name, n in sorted(held.items()):
        print(f"{name:<48}{n:>4} of {runs}")
    share = sum(held.values()) / (len(held) * runs)
    print(f"{100 * share:.1f} % of {len(held) * runs} intervals held, {time.monotonic() - begin:.0f} s")
    # A 95 % interval may miss in 5 % of runs; fewer than this many would be a fault, not chance.
    worst = binom.ppf(1e-4, runs, 0.95)
    assert min(held.values()) >= worst


CHECKS = {
    "readers": (readers, 100_000),
    "objects": (objects, 100_000),
    "leaks": (leaks, 2000),
    "receiver": (receiver, 2000),
    "jobs": (jobs, 500),
    "cohorts": (cohorts, 200),
    "studies": (studies, 500),
    "studies-postgresql": (partial(studies, postgresql=True), 500),
    "studies-dask": (partial(studies, dask=True), 500),
    "studies-postgresql-dask": (partial(studies, postgresql=True, dask=True), 500),
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", help=f"{', '.join(CHECKS)}; all by default")
    parser.add_argument("--count", type=int, help="fewer or more cases than the bar asks for")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.checks or CHECKS:
        check, count = CHECKS[name]
        print(f"-- {name}")
        check(arguments.count or count, arguments.seed)


if __name__ == "__main__":
    main()
