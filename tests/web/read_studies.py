"""Analysed studies without a CT, for reader studies: small volumes, a model's masks and levels, readings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from sarcoscope.imaging.volume import Geometry, SeriesInfo, SliceSource, Volume
from sarcoscope.store.results import RESULT
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    Analysis,
    Centre,
    Output,
    Person,
    Project,
    ReaderTask,
    Study,
    now,
)
from sarcoscope.store.versions import new_version
from sarcoscope.store.volumes import keep_volume
from tests.web.server import Client

LOW, HIGH = 4, 7
"""The model's range of L3."""


def small_volume(shape: tuple[int, int, int], uid: str = "1.2.3") -> Volume:
    """A volume of zeros [z, y, x], 5 x 1 x 1 mm."""
    positions = np.array([[0.0, 0.0, 5.0 * k] for k in range(shape[0])])
    sources = tuple(SliceSource(f"{uid}.{k}", None) for k in range(shape[0]))
    geometry = Geometry((5.0, 1.0, 1.0), np.eye(3), positions)
    return Volume(np.zeros(shape, np.int16), geometry, sources, SeriesInfo(uid=uid))


def disc(shape: tuple[int, int], radius: float, label: int = 1, *, x: float = 0.0) -> NDArray[np.uint8]:
    """A disc of a label around the middle, ``x`` pixels beside it."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away = (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2 - x) ** 2
    return np.where(away <= radius**2, label, 0).astype(np.uint8)


def answer_again(
    store: Store,
    number: int,
    low: int,
    high: int,
    radius: float,
    *,
    uid: str = "1.2.3",
    shape: tuple[int, int, int] = (12, 32, 32),
) -> None:
    """Process a study from scratch: the model sees L3 on ``low`` to ``high`` and draws discs there."""
    volume = small_volume(shape, uid)
    keep_volume(store, number, volume)
    level = {
        "level": "L3", "index_low": low, "index_high": high, "index_mid": (low + high) // 2,
        "z_mm_low": 5.0 * low, "z_mm_high": 5.0 * high, "z_mm_mid": 2.5 * (low + high),
        "confidence": 0.9, "complete": True, "runner_up": "L4",
    }  # fmt: skip
    result = {
        "series": {"uid": uid, "n_slices": shape[0]},
        "levels": [level],
        "measurements": [],
        "slices": [],
        "provenance": {"protocol": "range", "settings": {}, "models": []},
    }
    content = json.dumps(result).encode()
    labels = {i: disc(shape[1:], radius) for i in range(low, high + 1)}
    with store.database.writing() as session:
        study = session.get_one(Study, number)
        mask = new_version(store, volume, study, labels, reader="tissue 1", reason="")
        session.add(mask)
        session.flush()
        made = session.scalars(select(Analysis.id).where(Analysis.study_id == number)).all()
        analysis = Analysis(
            study_id=number,
            run=f"run-{number}-{len(made)}",
            software="1",
            series_uid=uid,
            protocol="range",
            segmentation_id=mask.id,
            outputs=[Output(name=RESULT, sha256=store.files.put(content), size=len(content))],
        )
        session.add(analysis)
        session.flush()
        study.analysis_id, study.segmentation_id = analysis.id, mask.id


def add_studies(store: Store, count: int, shape: tuple[int, int, int] = (12, 32, 32)) -> list[int]:
    """Studies of centre "here" in project "liver" that the model has answered."""
    with store.database.writing() as session:
        project = session.scalars(select(Project.id).where(Project.code == "liver")).one()
        centre = session.scalars(select(Centre.id).where(Centre.code == "here")).one()
        studies = []
        for _ in range(count):
            person = Person(project_id=project, centre_id=centre, pseudonym="")
            session.add(person)
            session.flush()
            person.pseudonym = f"P{person.id}"
            study = Study(project_id=project, centre_id=centre, person_id=person.id, uid=f"2.25.{person.id}")
            session.add(study)
            session.flush()
            studies.append(study.id)
    for number in studies:
        answer_again(store, number, LOW, HIGH, shape[1] / 4, shape=shape)
    return studies


def plan(browser: Client, studies: list[int], **more: Any) -> dict[str, Any]:
    """Plan a reader study of two readers; the answer."""
    given = {
        "project": "liver", "centre": "here", "title": "Two readers", "arms": ["edit"],
        "readers": ["annotator", "reviewer"], "studies": studies, **more,
    }  # fmt: skip
    answer = browser.post("/reader-studies", json=given)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def read_all(store: Store, reader_study: int, seed: int = 1) -> None:
    """Finish every reading of a reader study with a disc and a range of its own."""
    rng = np.random.default_rng(seed)
    with store.database.reading() as session:
        tasks = session.execute(
            select(ReaderTask.id, ReaderTask.study_id)
            .where(ReaderTask.reader_study_id == reader_study, ReaderTask.finished.is_(None))
            .order_by(ReaderTask.id)
        ).all()
    for number, study in tasks:
        finish(store, number, study, int(rng.integers(0, 2)), rng.uniform(0.2, 0.3), float(rng.normal()))


def finish(store: Store, task: int, study: int, shift: int, size: float, x: float) -> None:
    """Finish one reading: the range moved up, a disc of a part of the rows beside the middle."""
    with store.database.writing() as session:
        row = session.get_one(ReaderTask, task)
        of = session.get_one(Study, study)
        uid = session.get_one(Analysis, of.analysis_id).series_uid
        shape = np.load(next((store.data / "cache").glob(f"{study}-*.npy")), mmap_mode="r").shape
        low, high = LOW + shift, HIGH + shift
        plane = disc(shape[1:], size * shape[1], x=x)
        plane[:2, :4] = 2
        labels = dict.fromkeys(range(low, high + 1), plane)
        mask = new_version(
            store, small_volume(shape, uid), of, labels,
            reader="a reader", reason=f"reading {task}", user_id=row.user_id,
        )  # fmt: skip
        mask.blind = True
        session.add(mask)
        session.flush()
        row.segmentation_id, row.index_low, row.index_high, row.finished = mask.id, low, high, now()
