"""The newest result of a stored study judged again: other references, protocol or body values."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image as Picture
from sqlalchemy.orm import Session

from sarcoscope.diagnosis.reference_set import ReferenceSet
from sarcoscope.errors import ConflictError, NotFoundError
from sarcoscope.exports.json_result import result_dict
from sarcoscope.exports.record import StudyRecord
from sarcoscope.exports.report import ReportPage
from sarcoscope.exports.tables import write_levels, write_measurements
from sarcoscope.jobs.given import given_body
from sarcoscope.store.results import RESULT, body_of, output_of, record_analysis, result_of, store_outputs
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Project, Study
from sarcoscope.study.again import judge_again

_TRIES: Final = 5
_REPORTS: Final = (("report.pdf", "en"), ("report.ko.pdf", "ko"))


@dataclass(frozen=True)
class Judged:
    """A result under today's choices, and the analysis that it comes from."""

    record: StudyRecord
    sets: dict[str, ReferenceSet]
    analysis: Analysis

    def as_dict(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        return result_dict(self.record, self.sets)

    def report(self, session: Session, store: Store, language: str, person: str = "") -> bytes:
        """The report (PDF) with the pictures of the analysis."""
        ending = ".png" if language == "en" else f".{language}.png"

        def picture(stem: str) -> Picture.Image | None:
            try:
                return Picture.open(io.BytesIO(output_of(store, session, self.analysis.id, stem + ending)))
            except NotFoundError:
                return None

        level = self.record.measurements[0].level if self.record.measurements else ""
        return ReportPage(self.record, self.sets, language, person=person).pdf(
            picture(f"overlay_{level}"), picture("sagittal")
        )


def judged(
    session: Session, store: Store, study: Study, references: list[str] | None, protocol: str | None
) -> Judged:
    """The newest result under other choices (None: as before) and today's body values; nothing is stored.

    Raises:
        NotFoundError: the study was not analysed.
    """
    if study.analysis_id is None:
        raise NotFoundError("The study was not analysed yet.")
    analysis = session.get_one(Analysis, study.analysis_id)
    project = session.get_one(Project, study.project_id)
    counting = body_of(session, study)
    asked = references if references is not None else (analysis.references or project.references)
    record, sets = judge_again(
        result_of(store, session, analysis.id),
        references=tuple(asked),
        protocol=protocol or analysis.protocol,
        body=given_body(counting) if counting else None,
        fluid=counting.fluid if counting else None,
        study_date=study.day.strftime("%Y%m%d") if study.day else None,
    )
    return Judged(record, sets, analysis)


def keep_judged(
    store: Store, number: int, run: str, references: list[str] | None = None, protocol: str | None = None
) -> Mapping[str, Any]:
    """Make another choice the study's result; returns what was chosen, for the audit.

    Args:
        store: where the study lies.
        number: of the study.
        run: key of this judgement; one that is known changes nothing.
        references: reference sets; None: those of before.
        protocol: None: that of before.

    Raises:
        NotFoundError: there is no such study, or it was not analysed.
        ConflictError: its result changes all the time.
    """
    for _ in range(_TRIES):
        # A job may write a new result while this one is judged: then that one is judged.
        with store.database.reading() as session:
            study = session.get(Study, number)
            if study is None:
                raise NotFoundError("The study was deleted.")
            found = judged(session, store, study, references, protocol)
            analysis = found.analysis
            old = {o.name: (o.sha256, o.size) for o in analysis.outputs}
            pages = {name: found.report(session, store, language) for name, language in _REPORTS}
            asked = references if references is not None else analysis.references
            mask, before, moved = analysis.segmentation_id, analysis.protocol, analysis.correction_id
        content, protocol_now = found.as_dict(), found.record.provenance.protocol
        with store.work_folder() as folder:
            write_levels(found.record, folder / "levels.csv")
            write_measurements(found.record, folder / "measurements.csv")
            text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
            (folder / RESULT).write_text(text + "\n", encoding="utf-8")
            for name, page in pages.items():
                (folder / name).write_bytes(page)
            fresh = store_outputs(store, folder)
        # A structured report of the earlier numbers would contradict the new ones.
        kept = {name: value for name, value in old.items() if name != "measurements_sr.dcm"}
        with store.database.writing() as session:
            study = session.get(Study, number, with_for_update=True)
            if study is None:
                raise NotFoundError("The study was deleted.")
            if study.analysis_id != analysis.id:
                continue
            record_analysis(
                session,
                study,
                run,
                content,
                {**kept, **fresh},
                references=asked,
                segmentation_id=mask,
                correction_id=moved,
                judged=True,
            )
        return {"references": asked, "protocol": protocol_now, "moved": protocol_now != before}
    raise ConflictError("The study is being processed: try again when its result is there.")
