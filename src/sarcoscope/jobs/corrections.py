"""What readers have corrected of a stored study, as its next analysis takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sarcoscope.measures.measurement import Flag
from sarcoscope.store.results import body_of, result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, LevelCorrection, Segmentation, Study, User
from sarcoscope.store.versions import labels_of
from sarcoscope.study.again import levels_of
from sarcoscope.study.correct import Correction, LevelMove, moved, settled_flags


@dataclass(frozen=True)
class Standing:
    """Where a study stands; what differs at the end of a job was changed meanwhile."""

    segmentation_id: int | None
    correction_id: int | None
    analysis_id: int | None
    body_id: int | None

    def corrected_since(self, before: Standing) -> bool:
        """Whether a reader corrected levels or mask since."""
        mine = (self.segmentation_id, self.correction_id)
        return mine != (before.segmentation_id, before.correction_id)


def standing(session: Session, study: Study) -> Standing:
    """Where a study stands."""
    newest = session.scalar(select(func.max(LevelCorrection.id)).where(LevelCorrection.study_id == study.id))
    counting = body_of(session, study)
    return Standing(study.segmentation_id, newest, study.analysis_id, counting.id if counting else None)


def correction_of(session: Session, store: Store, study: Study) -> Correction | None:
    """What readers have corrected since the models' own analysis; None: nothing."""
    if study.analysis_id is None:
        return None
    analysis = session.get_one(Analysis, study.analysis_id)
    result = result_of(store, session, analysis.id)
    before: dict[str, Any] = result["provenance"]["settings"].get("corrections") or {}
    rows = session.execute(
        select(LevelCorrection, User.name)
        .join(User, User.id == LevelCorrection.user_id)
        .where(LevelCorrection.study_id == study.id, LevelCorrection.id > (analysis.correction_id or 0))
        .order_by(LevelCorrection.id)
    ).all()
    mask = session.get(Segmentation, study.segmentation_id) if study.segmentation_id is not None else None
    if not before and not rows and (mask is None or mask.user_id is None):
        return None
    n_slices = result["series"]["n_slices"]
    levels = levels_of(result)
    moves = [LevelMove(row.level, row.index_low, row.index_high, name, row.renumber) for row, name in rows]
    for move in moves:
        levels = moved(levels, move, n_slices)
    record = _record(before, [(row, name) for row, name in rows], mask)
    labels = labels_of(store, mask) if mask is not None else {}
    indices = tuple(sorted(labels))
    return Correction(
        levels,
        settled_flags([Flag(f["code"], f["values"]) for f in result["flags"]], moves),
        n_slices,
        result["series"]["uid"],
        indices,
        np.stack([labels[i] for i in indices]) if indices else None,
        str(record.get("mask", {}).get("reader", "")),
        record,
    )


def _record(
    before: dict[str, Any], rows: list[tuple[LevelCorrection, str]], mask: Segmentation | None
) -> dict[str, Any]:
    """Who corrected what, for the provenance of the result."""
    record = {**before, "levels": list(before.get("levels", []))}
    for row, name in rows:
        record["levels"].append(
            {
                "level": row.level,
                "index_low": row.index_low,
                "index_high": row.index_high,
                "renumber": row.renumber,
                "reader": name,
                "reason": row.reason,
                "time": row.made.isoformat(timespec="seconds"),
            }
        )
    if mask is not None and mask.user_id is not None:
        record["mask"] = {
            "version": mask.id,
            "reader": mask.reader,
            "reason": mask.reason,
            "time": mask.made.isoformat(timespec="seconds"),
        }
    return record
