"""Agreement of a large reader study: ``python -m benchmarks.agreement [STUDIES [SLICES]]``. Prints a table.

Four readers draw 12 slices of 512 x 512 of every study (volumes of SLICES): discs whose sizes differ.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from sqlalchemy import select
from tests.web.read_studies import add_studies, disc, small_volume
from tests.web.server import add_users

from sarcoscope.store.agreement import agreement_of
from sarcoscope.store.readings import model_answer, plan
from sarcoscope.store.store import Store
from sarcoscope.store.tables import ARMS, Centre, Project, ReaderStudy, ReaderTask, Study, User, now
from sarcoscope.store.versions import new_version

SIZE: Final = (512, 512)
DRAWN: Final = 12
READERS: Final = ("annotator", "reviewer", "manager", "administrator")


def main() -> None:
    """Print how long the first and the second request take, and the memory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    shape = (int(sys.argv[2]) if len(sys.argv) > 2 else 60, *SIZE)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "data")
        add_users(store)
        number = _read(store, add_studies(store, count, shape), shape)
        print(f"{count} studies of {shape[0]} slices x {len(READERS)} readers")
        for name in ("first", "second"):
            Path("/proc/self/clear_refs").write_text("5")
            before, begin = _memory_mb("VmRSS"), time.perf_counter()
            with store.database.reading() as session:
                agreement_of(session, store, session.get_one(ReaderStudy, number))
            took = time.perf_counter() - begin
            print(
                f"{name:7} {took:8.2f} s, {before:.0f} MB before, at most {_memory_mb('VmHWM'):.0f} MB",
                flush=True,
            )
        store.close()


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _read(store: Store, studies: list[int], shape: tuple[int, int, int]) -> int:
    """Plan a reader study and finish every reading."""
    with store.database.writing() as session:
        users = session.scalars(select(User.id).where(User.name.in_(READERS))).all()
        project, centre = (session.scalars(select(t.id).order_by(t.id)).first() for t in (Project, Centre))
        study = ReaderStudy(project_id=project, centre_id=centre, title="", level="L3", arms=[ARMS[0]])
        session.add(study)
        subjects = [model_answer(session, store, session.get_one(Study, n), "L3") for n in studies]
        plan(session, study, subjects, users, study.arms)
        number = study.id
        tasks = session.scalars(select(ReaderTask.id)).all()
    rng, volume = np.random.default_rng(1), small_volume(shape)
    for task in tasks:
        with store.database.writing() as session:
            row = session.get_one(ReaderTask, task)
            low = (shape[0] - DRAWN) // 2
            labels = {i: _plane(rng) for i in range(low, low + DRAWN)}
            of = session.get_one(Study, row.study_id)
            mask = new_version(store, volume, of, labels, reader="", reason="", user_id=row.user_id)
            mask.blind = True
            session.add(mask)
            session.flush()
            row.segmentation_id, row.index_low, row.index_high = mask.id, low, low + DRAWN - 1
            row.finished = now()
    return number


def _plane(rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Subcutaneous fat around muscle around visceral fat; borders differ by some pixels."""
    sat, muscle, vat = (rng.uniform(r - 3, r + 3) for r in (220, 180, 120))
    plane = disc(SIZE, sat, 2)
    for radius, label in ((muscle, 1), (vat, 3), (8, 4)):
        plane[disc(SIZE, radius) > 0] = label
    return plane


if __name__ == "__main__":
    main()
