"""A real server over a store, users of every role, and clients that are signed in."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import select

from sarcoscope.jobs.queue import JobQueue
from sarcoscope.jobs.study_job import do_stored_study
from sarcoscope.jobs.workers import do_job
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.accounts import hashed
from sarcoscope.store.store import Store
from sarcoscope.store.tables import ROLES, Centre, Membership, Project, ProjectCentre, User
from sarcoscope.web.app import create_app

PASSWORD = "correct horse battery"
_HASH = hashed(PASSWORD)
_OPEN: list[httpx.Client] = []


@contextmanager
def running(store: Store) -> Iterator[str]:
    """A server on a free port of this computer; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        create_app(store),
        host="127.0.0.1",
        port=port,
        log_level="error",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        while _OPEN:
            _OPEN.pop().close()
        server.should_exit = True
        thread.join(10)


class Client(httpx.Client):
    """A browser or script that is signed in."""

    def sign_in(self, name: str, password: str = PASSWORD) -> Client:
        answer = self.post("/session", json={"name": name, "password": password})
        assert answer.status_code == 204, answer.text
        self.headers["X-CSRF-Token"] = self.get("/me").json()["csrf"]
        return self


def client(url: str, name: str | None = None) -> Client:
    found = Client(base_url=f"{url}/api/v1", timeout=60)
    _OPEN.append(found)
    return found.sign_in(name) if name else found


def add_users(store: Store) -> None:
    """Two centres in one project: a user of every role at the first, one at the second, an administrator."""
    with store.database.writing() as session:
        here, there = Centre(code="here", name="Here Hospital"), Centre(code="there", name="There Hospital")
        project = Project(code="liver", title="Liver cohort", process_on_arrival=False)
        session.add_all([here, there, project])
        session.flush()
        session.add_all([ProjectCentre(project_id=project.id, centre_id=c.id) for c in (here, there)])
        for name in (*ROLES, "stranger", "root", "nobody"):
            user = User(name=name, password=_HASH, administrator=name == "root")
            session.add(user)
            session.flush()
            if name in ROLES or name == "stranger":
                centre = there if name == "stranger" else here
                session.add(
                    Membership(
                        user_id=user.id,
                        project_id=project.id,
                        centre_id=centre.id,
                        role="manager" if name == "stranger" else name,
                        mapping=name == "manager",
                    )
                )


def phantom_folder(
    folder: Path, *, name: str = "Hong^Gildong", number: str = "H-4711", seed: str = "1"
) -> Path:
    """A small phantom study as DICOM files."""
    phantom = make_phantom(
        PhantomSettings(seed=3, matrix=96, pixel_mm=4.2, top_level="L1", bottom_level="L5")
    )
    settings = SeriesSettings(
        patient_id=number, patient_name=name, seed=seed, more={"PatientBirthDate": "19640203"}
    )
    write_dicom_series(phantom, folder, settings)
    return folder


def phantom_zip(
    folder: Path, *, name: str = "Hong^Gildong", number: str = "H-4711", seed: str = "1"
) -> bytes:
    """A small phantom study as a zip."""
    phantom_folder(folder / seed, name=name, number=number, seed=seed)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted((folder / seed).glob("*.dcm")):
            archive.write(path, f"{name}/{path.name}")
    return out.getvalue()


def upload(browser: Client, content: bytes, *, name: str = "study.zip", centre: str = "here") -> dict:  # type: ignore[type-arg]
    """Upload one file and wait until it is taken in."""
    number = browser.post("/uploads", json={"project": "liver", "centre": centre}).json()["id"]
    answer = browser.put(f"/uploads/{number}/files", params={"name": name}, content=content)
    assert answer.status_code == 200, answer.text
    for _ in range(20):
        found = browser.post(f"/uploads/{number}/finish", params={"wait": 30}).json()
        if found["state"] in ("done", "failed"):
            return dict(found)
    raise AssertionError(found)


def upload_folder(browser: Client, folder: Path) -> None:
    """Upload the DICOM files of a folder one by one and wait until they are taken in."""
    number = browser.post("/uploads", json={"project": "liver", "centre": "here"}).json()["id"]
    for n, path in enumerate(sorted(folder.glob("*.dcm"))):
        browser.put(f"/uploads/{number}/files", params={"name": f"{n}.dcm"}, content=path.read_bytes())
    while browser.post(f"/uploads/{number}/finish", params={"wait": 30}).json()["state"] == "taking":
        pass


def work_off(store: Store) -> None:
    """Do every queued job here and now."""
    with JobQueue(store.database.url) as queue:
        while (job := queue.take("test")) is not None:
            do_job(queue, job, "test", do_stored_study)


def user_id(store: Store, name: str) -> int:
    with store.database.reading() as session:
        return session.scalars(select(User.id).where(User.name == name)).one()
