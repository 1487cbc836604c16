"""Speed of the platform: ``python -m benchmarks.platform``. Prints a table; nothing is asserted."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import httpx
from sqlalchemy import insert, select
from tests.web.server import Client, add_users, client, running

from sarcoscope.jobs.study_job import do_stored_study, queue_study
from sarcoscope.jobs.workers import run_workers
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Centre, JobRow, Person, Project, Study

STUDIES = 100_000
USERS = 20


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        store = Store.open(root / "data")
        add_users(store)
        with running(store) as url:
            rows += _upload(store, url, root)
            _fill(store)
            rows += _worklist(client(url, "manager"))
            rows += _crowd(store, url)
        store.close()
    for name, value in rows:
        print(f"| {name} | {value} |")


def _upload(store: Store, url: str, root: Path) -> list[tuple[str, str]]:
    """A study of 300 slices, file by file over four connections, until it is de-identified on the disk."""
    phantom = make_phantom(
        PhantomSettings(seed=3, matrix=512, pixel_mm=0.8, slice_spacing_mm=1.0, noise_hu=14.0)
    )
    paths = write_dicom_series(phantom, root / "ct", SeriesSettings())[:300]
    files = [(p.name, p.read_bytes()) for p in paths]
    size = sum(len(content) for _, content in files)
    browser = client(url, "annotator")
    number = browser.post("/uploads", json={"project": "liver", "centre": "here"}).json()["id"]
    begin = time.perf_counter()

    def send(share: list[tuple[str, bytes]]) -> None:
        with httpx.Client(base_url=f"{url}/api/v1", cookies=browser.cookies, headers=browser.headers) as own:
            for name, content in share:
                own.put(f"/uploads/{number}/files", params={"name": name}, content=content).raise_for_status()

    threads = [threading.Thread(target=send, args=(files[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = time.perf_counter() - begin
    while browser.post(f"/uploads/{number}/finish", params={"wait": 60}).json()["state"] == "taking":
        pass
    took = time.perf_counter() - begin
    return [
        (f"upload of {len(files)} slices ({size / 1e6:.0f} MB): sent", f"{size / sent / 1e6:.0f} MB/s"),
        (
            "the same until it is de-identified and on the disk",
            f"{size / took / 1e6:.0f} MB/s ({took:.1f} s)",
        ),
    ]


def _fill(store: Store) -> None:
    """A hundred thousand studies of as many people."""
    with store.database.writing() as session:
        project = session.scalars(select(Project.id)).one()
        centre = session.scalars(select(Centre.id).where(Centre.code == "here")).one()
        place = {"project_id": project, "centre_id": centre}
        numbers = range(1000, 1000 + STUDIES)
        session.execute(insert(Person), [{"id": n, "pseudonym": f"SC{n:010d}", **place} for n in numbers])
        results = ("class_2", "not_class_2", "indeterminate", "not_comparable")
        session.execute(insert(JobRow), [{"key": f"k{n}", "payload": {}, "state": "done"} for n in numbers])
        session.execute(
            insert(Study),
            [
                {
                    "id": n, "person_id": n, "uid": f"2.25.{n}", "day": date(2020, 1 + n % 12, 1 + n % 28),
                    "job_key": f"k{n}", "result": results[n % 4], "age_years": float(20 + n % 70),
                    "sex": "MF"[n % 2], "phase": "portal", "doubt": (n * 7919 % 1000) / 1000,
                    "disease": ("cirrhosis", "hepatitis", "")[n % 3], "flags": " phase_unknown ", **place,
                }
                for n in numbers
            ],
        )  # fmt: skip


QUERIES = {
    "first page": {},
    "page 1,000": {"page": 1000},
    "by date": {"sort": "day"},
    "by pseudonym": {"sort": "pseudonym", "descending": "false"},
    "by doubt, class II only": {"sort": "doubt", "result": "class_2"},
    "search by text": {"search": "SC0000054321"},
    "done, by age": {"status": "done", "sort": "age"},
}


def _worklist(browser: Client) -> list[tuple[str, str]]:
    rows = []
    for name, wanted in QUERIES.items():
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            browser.get("/studies", params=wanted).raise_for_status()
            times.append(time.perf_counter() - begin)
        rows.append((f"worklist of {STUDIES:,}: {name}", f"{statistics.median(times) * 1000:.0f} ms"))
    return rows


def _crowd(store: Store, url: str) -> list[tuple[str, str]]:
    """Twenty users who look at the worklist, at a study and at its status, while two workers analyse."""
    with store.database.writing() as session:
        real = session.scalars(select(Study).order_by(Study.id)).first()
        assert real is not None
        for _ in range(6):
            queue_study(session, store, real)
        number = real.id
    stop = threading.Event()
    pool = threading.Thread(
        target=run_workers, args=(store.database.url, do_stored_study, 2), kwargs={"stop": stop}
    )
    pool.start()
    time.sleep(8)  # the workers have their models
    times: list[float] = []

    def use(browser: Client) -> None:
        for _ in range(8):
            for path in ("/studies", f"/studies/{number}", f"/studies/status?ids={number}"):
                begin = time.perf_counter()
                browser.get(path).raise_for_status()
                times.append(time.perf_counter() - begin)
                time.sleep(0.4)

    crowd = [threading.Thread(target=use, args=(client(url, "viewer"),)) for _ in range(USERS)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    stop.set()
    pool.join()
    times.sort()
    p95 = times[int(len(times) * 0.95)]
    return [
        (
            f"{USERS} users at once, two workers busy: median of {len(times)} requests",
            f"{statistics.median(times) * 1000:.0f} ms",
        ),
        ("the same: 95th percentile", f"{p95 * 1000:.0f} ms"),
    ]


if __name__ == "__main__":
    main()
