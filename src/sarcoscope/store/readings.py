"""Reader studies: who reads what in which order, and what they found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from sarcoscope.errors import AccessError, ConflictError, InputError, NotFoundError
from sarcoscope.imaging.volume import Volume
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    ARMS,
    Analysis,
    Draft,
    Person,
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

MOST_READINGS: Final = 20_000
"""Readings of one reader study."""
_SAME: Final = ("reader_study_id", "study_id", "user_id", "arm")
"""What a reading and its repeat have in common."""


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
    if not subjects or not readers or not arms or not set(arms) <= set(ARMS):
        raise InputError("A reader study needs studies, readers and arms.")
    study.subjects.extend(subjects)
    for reader in dict.fromkeys(readers):
        for repeat in (0, 1) if study.repeat_days is not None else (0,):
            order = [(s.study_id, arm) for s in subjects for arm in dict.fromkeys(arms)]
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


def check_size(studies: int, readers: int, arms: int, *, repeated: bool) -> None:
    """See that a reader study is not larger than people can read.

    Raises:
        InputError: it is.
    """
    wanted = studies * readers * arms * (2 if repeated else 1)
    if wanted > MOST_READINGS:
        raise InputError(
            f"These would be {wanted:,} readings, and a reader study has at most {MOST_READINGS:,}: "
            "plan it with fewer studies, readers or arms."
        )


def next_task(session: Session, user: User) -> ReaderTask | None:
    """The reading that is the user's turn; a repeat waits for its wash-out."""
    waiting = select(ReaderTask.reader_study_id).where(
        ReaderTask.user_id == user.id, ReaderTask.finished.is_(None)
    )
    return _turn(
        session,
        user,
        session.scalars(
            select(ReaderStudy).where(ReaderStudy.id.in_(waiting), ReaderStudy.frozen.is_(None))
        ).all(),
    )


def _turn(session: Session, user: User, studies: Sequence[ReaderStudy]) -> ReaderTask | None:
    """The user's first reading of these reader studies that has not to wait for its wash-out."""
    first = aliased(ReaderTask)
    over = [
        and_(first.reader_study_id == s.id, first.finished <= now() - timedelta(days=s.repeat_days))
        for s in studies
        if s.repeat_days is not None
    ]
    same = (getattr(first, key) == getattr(ReaderTask, key) for key in _SAME)
    return session.scalar(
        select(ReaderTask)
        .outerjoin(first, and_(*same, first.repeat == 0))
        .where(
            ReaderTask.reader_study_id.in_([s.id for s in studies]),
            ReaderTask.user_id == user.id,
            ReaderTask.finished.is_(None),
            or_(ReaderTask.repeat == 0, *over),
        )
        .order_by(ReaderTask.reader_study_id, ReaderTask.position)
        .limit(1)
    )


def left_of(session: Session, user: User) -> int:
    """How many readings of the user's are not finished, those that wait for a wash-out included."""
    return (
        session.scalar(
            select(func.count())
            .select_from(ReaderTask)
            .join(ReaderStudy, ReaderStudy.id == ReaderTask.reader_study_id)
            .where(ReaderTask.user_id == user.id, ReaderTask.finished.is_(None), ReaderStudy.frozen.is_(None))
        )
        or 0
    )


def progress_of(session: Session, studies: Sequence[int]) -> dict[int, dict[str, list[int]]]:
    """Number of a reader study -> reader -> finished readings, all readings."""
    found: dict[int, dict[str, list[int]]] = {number: {} for number in studies}
    rows = session.execute(
        select(ReaderTask.reader_study_id, User.name, func.count(ReaderTask.finished), func.count())
        .join(User, User.id == ReaderTask.user_id)
        .where(ReaderTask.reader_study_id.in_(studies))
        .group_by(ReaderTask.reader_study_id, User.name)
        .order_by(User.name)
    )
    for number, name, done, every in rows:
        found[number][name] = [done, every]
    return found


@dataclass(frozen=True)
class NamedTask:
    """A reading with the names that a table of readings shows."""

    task: ReaderTask
    pseudonym: str
    reader: str


def named_tasks(session: Session, number: int, *, study: int | None = None) -> list[NamedTask]:
    """The readings of a reader study (of one study), in the order in which they are read."""
    rows = session.execute(
        select(ReaderTask, Person.pseudonym, User.name)
        .join(Study, Study.id == ReaderTask.study_id)
        .join(Person, Person.id == Study.person_id)
        .join(User, User.id == ReaderTask.user_id)
        .where(
            ReaderTask.reader_study_id == number, *([] if study is None else [ReaderTask.study_id == study])
        )
        .order_by(ReaderTask.position, ReaderTask.id)
    )
    return [NamedTask(*row) for row in rows]


def masks_of(session: Session, number: int) -> dict[int, str]:
    """Every finished reading of a reader study -> SHA-256 of the file of its mask."""
    rows = session.execute(
        select(ReaderTask.id, Segmentation.sha256)
        .join(Segmentation, Segmentation.id == ReaderTask.segmentation_id)
        .where(ReaderTask.reader_study_id == number)
        .order_by(ReaderTask.position, ReaderTask.id)
    )
    return {task: sha for task, sha in rows}


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
    if _turn(session, user, [study]) is not task:
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


def withdraw(session: Session, task: ReaderTask) -> list[int]:
    """Take a reading that is not finished out of its reader study, with its draft and its repeat (which would
    have nothing to be compared with); returns the numbers of what went (a writing session).

    Raises:
        ConflictError: it is finished.
    """
    if task.finished is not None:
        raise ConflictError("A finished reading stays: reject it, or leave it as it is.")
    same = {key: getattr(task, key) for key in _SAME}
    wanted = select(ReaderTask).filter_by(**same).where(ReaderTask.repeat >= task.repeat).with_for_update()
    gone = session.scalars(wanted).all()
    numbers = [t.id for t in gone]
    for draft in session.scalars(select(Draft).where(Draft.task_id.in_(numbers))):
        session.delete(draft)
    session.flush()
    for one in gone:
        session.delete(one)
    session.flush()
    return numbers


def check_open(study: ReaderStudy) -> None:
    """See that a reader study may still be changed.

    Raises:
        InputError: it is frozen.
    """
    if study.frozen is not None:
        raise InputError("The reader study is frozen.")
