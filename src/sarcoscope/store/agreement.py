"""Agreement of a reader study, study by study: one study's masks are in memory at a time.

The figures of a study are kept in the cache folder under what they rest on (finished readings never change);
the cache may be emptied at any time.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sarcoscope.store.readings import NamedTask, named_tasks
from sarcoscope.store.store import Store
from sarcoscope.store.tables import ReaderStudy, ReaderStudySubject, ReaderTask, Segmentation, Study
from sarcoscope.store.versions import labels_of
from sarcoscope.store.volumes import open_volume
from sarcoscope.validation.readers import Compared, Read, Reading, StudyFigures, agreement, compare, measure

_FORM: Final = 1
"""Of the kept figures: raise it when they are computed in another way."""

_KEPT_AFTER: Final = 20
"""Studies."""


@dataclass(frozen=True)
class _Figures:
    """Of one study."""

    reads: Mapping[int, Read]
    pairs: Mapping[tuple[int, int], Compared]
    """Of two readings, the lower number first."""


def agreement_of(session: Session, store: Store, study: ReaderStudy) -> dict[str, Any]:
    """Agreement between readers by arm, and of every reader with themselves (the repeat)."""
    found = finished_tasks(session, study.id)
    figures = _all_figures(session, store, study, found)
    between, within = [], []
    for arm in study.arms:
        of_arm = [n for n in found if n.task.arm == arm]
        first = [n for n in of_arm if n.task.repeat == 0]
        between.append({"arm": arm, **agreement(_group(first, figures))})
        for name in sorted({n.reader for n in of_arm if n.task.repeat}):
            twice = [
                NamedTask(n.task, n.pseudonym, f"{name}, {n.task.repeat + 1}")
                for n in of_arm
                if n.reader == name
            ]
            within.append({"arm": arm, "reader": name, **agreement(_group(twice, figures))})
    return {"between": between, "within": within}


def finished_tasks(session: Session, number: int, *, study: int | None = None) -> list[NamedTask]:
    """The finished readings of a reader study (of one study) in the order in which they are read."""
    return [n for n in named_tasks(session, number, study=study) if n.task.finished is not None]


def reading_of(session: Session, store: Store, named: NamedTask) -> Reading:
    """A finished reading with its masks.

    Raises:
        NotFoundError: the file of its mask is missing.
    """
    task = named.task
    low, high = _range(task)
    labels = labels_of(store, session.get_one(Segmentation, task.segmentation_id))
    return Reading(named.reader, str(task.study_id), low, high, labels)


def _range(task: ReaderTask) -> tuple[int, int]:
    return task.index_low or 0, task.index_high or 0


def _group(named: Iterable[NamedTask], figures: Mapping[int, _Figures]) -> dict[str, StudyFigures]:
    """The figures of some readings, one a reader and study, as the tables take them."""
    readers: dict[int, dict[str, int]] = defaultdict(dict)
    for one in named:
        readers[one.task.study_id][one.reader] = one.task.id
    return {
        str(number): StudyFigures(
            {name: figures[number].reads[task] for name, task in tasks.items()},
            {
                (a, b): figures[number].pairs[_pair(tasks[a], tasks[b])]
                for a, b in combinations(sorted(tasks), 2)
            },
        )
        for number, tasks in readers.items()
    }


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _all_figures(
    session: Session, store: Store, study: ReaderStudy, found: Sequence[NamedTask]
) -> dict[int, _Figures]:
    analyses = _analyses(session, study)
    kept, now, fresh = _kept(store, study.id), {}, 0
    by_study: dict[int, list[NamedTask]] = defaultdict(list)
    for named in found:
        by_study[named.task.study_id].append(named)
    for number, tasks in by_study.items():
        rests_on = [
            analyses[number],
            *([t.task.id, t.task.segmentation_id, *_range(t.task)] for t in tasks),
        ]
        entry = kept.get(str(number))
        if entry is None or entry["rests_on"] != rests_on:
            entry = {"rests_on": rests_on, **_computed(session, store, number, analyses[number], tasks)}
            fresh += 1
        now[str(number)] = entry
        if fresh == _KEPT_AFTER:
            # A request that is cut off is not lost.
            _keep(store, study.id, {**kept, **now})
            fresh = 0
    if now != kept:
        _keep(store, study.id, now)
    return {int(number): _unpacked(entry) for number, entry in now.items()}


def _analyses(session: Session, study: ReaderStudy) -> dict[int, int]:
    """Every study -> the analysis whose series is read."""
    rows = session.execute(
        select(ReaderTask.study_id, func.coalesce(ReaderStudySubject.analysis_id, Study.analysis_id))
        .join(Study, Study.id == ReaderTask.study_id)
        .outerjoin(
            ReaderStudySubject,
            (ReaderStudySubject.reader_study_id == study.id) & (ReaderStudySubject.study_id == Study.id),
        )
        .where(ReaderTask.reader_study_id == study.id)
        .distinct()
    )
    return {number: analysis for number, analysis in rows}


def _computed(
    session: Session, store: Store, number: int, analysis: int, tasks: Sequence[NamedTask]
) -> dict[str, Any]:
    volume = open_volume(store, session, session.get_one(Study, number), analysis_id=analysis)
    heights, pixel = volume.geometry.slice_offsets_mm, volume.geometry.pixel_area_mm2 / 100.0
    readings = {n.task.id: reading_of(session, store, n) for n in tasks}
    reads = {number: measure(r, pixel) for number, r in readings.items()}
    pairs = {(a, b): compare(readings[a], readings[b], heights) for a, b in _wanted([n.task for n in tasks])}
    return {
        "reads": [[n, r.low, r.high, r.areas_cm2] for n, r in reads.items()],
        "pairs": [[a, b, c.slices, c.mm, c.dice] for (a, b), c in pairs.items()],
    }


def _wanted(tasks: Iterable[ReaderTask]) -> Iterator[tuple[int, int]]:
    """Readings that are compared: the first ones of two readers, and the two of one reader."""
    for a, b in combinations(tasks, 2):
        if a.arm == b.arm and (a.repeat == b.repeat == 0 or a.user_id == b.user_id):
            yield _pair(a.id, b.id)


def _unpacked(entry: Mapping[str, Any]) -> _Figures:
    return _Figures(
        {n: Read(low, high, tuple(areas)) for n, low, high, areas in entry["reads"]},
        {(a, b): Compared(slices, mm, tuple(dice)) for a, b, slices, mm, dice in entry["pairs"]},
    )


def _place(store: Store, number: int) -> Path:
    return store.data / "cache" / f"reader-study-{number}.json"


def _kept(store: Store, number: int) -> dict[str, Any]:
    try:
        said = json.loads(_place(store, number).read_text(encoding="utf-8"))
        studies: dict[str, Any] = said["studies"] if said["form"] == _FORM else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return studies


def _keep(store: Store, number: int, studies: Mapping[str, Any]) -> None:
    """Keep figures for the next time; a full disk only means later work."""
    path = _place(store, number)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part.write_text(json.dumps({"form": _FORM, "studies": studies}), encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
