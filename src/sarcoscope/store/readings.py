"""Reader studies: who reads what in which order, and what they found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.errors import AccessError, InputError, NotFoundError
from sarcoscope.imaging.volume import Volume
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    ARMS,
    Analysis,
    Draft,
    ReaderStudy,
    ReaderStudySubject,
    ReaderTask,
    Segmentation,
    Study,
    User,
    now,
)
from sarcoscope.store.versions import Labels, labels_of
from sarcoscope.store.volumes import open_volume
from sarcoscope.validation.readers import Reading, agreement


def plan(
    session: Session,
    study: ReaderStudy,
    subjects: Sequence[ReaderStudySubject],
    readers: Sequence[int],
    arms: Sequence[str],
) -> None:
    """Give every reader every study in every arm, each reader in an own random order (a writing session).

    Raises:
        InputError: no study, no reader or no arm, or an unknown arm.
    """
    studies = [s.study_id for s in subjects]
    if not studies or not readers or not arms or not set(arms) <= set(ARMS):
        raise InputError("A reader study needs studies, readers and arms.")
    study.subjects.extend(subjects)
    for reader in dict.fromkeys(readers):
        for repeat in (0, 1) if study.repeat_days is not None else (0,):
            order = [(s, arm) for s in studies for arm in dict.fromkeys(arms)]
            random.Random(f"{study.seed}/{reader}/{repeat}").shuffle(order)
            for n, (number, arm) in enumerate(order):
                study.tasks.append(
                    ReaderTask(
                        study_id=number,
                        user_id=reader,
                        arm=arm,
                        repeat=repeat,
                        position=repeat * len(order) + n,
                    )
                )
    session.flush()


def next_task(session: Session, user: User) -> ReaderTask | None:
    """The reading that is the user's turn; a repeat waits for its wash-out."""
    rows = session.execute(
        select(ReaderTask, ReaderStudy)
        .join(ReaderStudy, ReaderStudy.id == ReaderTask.reader_study_id)
        .where(ReaderTask.user_id == user.id, ReaderTask.finished.is_(None), ReaderStudy.frozen.is_(None))
        .order_by(ReaderTask.reader_study_id, ReaderTask.position)
    ).all()
    return next((task for task, study in rows if _is_due(session, task, study)), None)


def _is_due(session: Session, task: ReaderTask, study: ReaderStudy) -> bool:
    if task.repeat == 0:
        return True
    first = session.scalar(
        select(ReaderTask.finished).where(
            ReaderTask.reader_study_id == study.id,
            ReaderTask.study_id == task.study_id,
            ReaderTask.user_id == task.user_id,
            ReaderTask.arm == task.arm,
            ReaderTask.repeat == 0,
        )
    )
    return first is not None and now() >= first + timedelta(days=study.repeat_days or 0)


def own_task(session: Session, user: User, number: int, *, lock: bool = False) -> ReaderTask:
    """A reading of the user's that is not over.

    Raises:
        NotFoundError: there is none.
        AccessError: it is finished, frozen or not yet its turn.
    """
    task = session.get(ReaderTask, number, with_for_update=lock)
    if task is None or task.user_id != user.id:
        raise NotFoundError("You have no such reading.")
    study = session.get_one(ReaderStudy, task.reader_study_id)
    if task.finished is not None or study.frozen is not None:
        raise AccessError("This reading is finished or frozen.")
    waiting = session.scalars(
        select(ReaderTask)
        .where(
            ReaderTask.reader_study_id == study.id,
            ReaderTask.user_id == user.id,
            ReaderTask.finished.is_(None),
        )
        .order_by(ReaderTask.position)
    )
    first = next((t for t in waiting if _is_due(session, t, study)), None)
    if first is None or first.id != task.id:
        raise AccessError("It is not the turn of this reading yet.")
    return task


def model_answer(session: Session, store: Store, study: Study, level: str) -> ReaderStudySubject:
    """What the model says of a study now: its newest masks, and a level by the newest analysis without
    anybody's correction (a row that belongs to no reader study yet).

    Raises:
        NotFoundError: the study was not analysed.
    """
    if study.analysis_id is None:
        raise NotFoundError("The study was not analysed yet.")
    drawn = session.scalar(
        select(Segmentation.id)
        .where(
            Segmentation.study_id == study.id,
            Segmentation.user_id.is_(None),
            Segmentation.parent_id.is_(None),
            Segmentation.blind.is_(False),
        )
        .order_by(Segmentation.id.desc())
        .limit(1)
    )
    answer = ReaderStudySubject(
        study_id=study.id, analysis_id=study.analysis_id, segmentation_id=drawn, levels=[]
    )
    analyses = session.scalars(
        select(Analysis.id).where(Analysis.study_id == study.id).order_by(Analysis.id.desc())
    ).all()
    for number in analyses:
        result = result_of(store, session, number)
        if not result["provenance"]["settings"].get("corrections"):
            answer.analysis_id = number
            answer.levels = [entry for entry in result["levels"] if entry["level"] == level]
            break
    return answer


def subject_of(session: Session, store: Store, task: ReaderTask) -> ReaderStudySubject:
    """What a reading rests on: kept when it was planned, else (planned before that was kept) as it is now."""
    kept = session.get(ReaderStudySubject, (task.reader_study_id, task.study_id))
    if kept is not None:
        return kept
    level = session.get_one(ReaderStudy, task.reader_study_id).level
    return model_answer(session, store, session.get_one(Study, task.study_id), level)


def read_volume(session: Session, store: Store, task: ReaderTask) -> Volume:
    """The volume that a reading shows (errors as :func:`~sarcoscope.store.volumes.open_volume`)."""
    study, subject = session.get_one(Study, task.study_id), subject_of(session, store, task)
    return open_volume(store, session, study, analysis_id=subject.analysis_id)


def start_labels(session: Session, store: Store, task: ReaderTask) -> Labels:
    """What the model drew: a reading from scratch begins with nothing."""
    number = None if task.arm == "scratch" else subject_of(session, store, task).segmentation_id
    return labels_of(store, session.get_one(Segmentation, number)) if number is not None else {}


def task_draft(session: Session, task: ReaderTask) -> Draft | None:
    """The work in progress of a reading."""
    return session.scalar(select(Draft).filter_by(task_id=task.id))


def user_names(session: Session) -> dict[int, str]:
    """Number of every user -> name."""
    return {user.id: user.name for user in session.scalars(select(User))}


def check_open(study: ReaderStudy) -> None:
    """See that a reader study may still be changed.

    Raises:
        InputError: it is frozen.
    """
    if study.frozen is not None:
        raise InputError("The reader study is frozen.")


def readings_of(session: Session, store: Store, study: ReaderStudy) -> list[tuple[ReaderTask, Reading]]:
    """Every finished reading, readers under their names."""
    names = user_names(session)
    found = []
    for task in study.tasks:
        if task.finished is None or task.index_low is None or task.index_high is None:
            continue
        mask = session.get(Segmentation, task.segmentation_id) if task.segmentation_id is not None else None
        labels = labels_of(store, mask) if mask is not None else {}
        low, high = task.index_low, task.index_high
        found.append((task, Reading(names[task.user_id], str(task.study_id), low, high, labels)))
    return found


def agreement_of(session: Session, store: Store, study: ReaderStudy) -> dict[str, Any]:
    """Agreement between readers by arm, and of every reader with themselves (the repeat)."""
    found = readings_of(session, store, study)
    heights: dict[str, NDArray[np.float64]] = {}
    pixels: dict[str, float] = {}
    for task in {task.study_id: task for task, _ in found}.values():
        geometry = read_volume(session, store, task).geometry
        heights[str(task.study_id)] = geometry.slice_offsets_mm
        pixels[str(task.study_id)] = geometry.pixel_area_mm2 / 100.0
    between, within = [], []
    for arm in study.arms:
        first = [r for t, r in found if t.arm == arm and t.repeat == 0]
        between.append({"arm": arm, **agreement(first, heights, pixels)})
        for name in sorted({r.reader for r in first}):
            twice = [
                Reading(f"{name}, {t.repeat + 1}", r.study, r.low, r.high, r.labels)
                for t, r in found
                if t.arm == arm and r.reader == name
            ]
            if any(t.repeat for t, r in found if t.arm == arm and r.reader == name):
                within.append({"arm": arm, "reader": name, **agreement(twice, heights, pixels)})
    return {"between": between, "within": within}
