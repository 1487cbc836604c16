"""Results of analyses: written down once, read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from sarcoscope.errors import NotFoundError
from sarcoscope.exports.result_rows import result_rows
from sarcoscope.store.store import Store
from sarcoscope.store.tables import (
    Analysis,
    Audit,
    BodyValues,
    CohortFile,
    DiagnosisRow,
    Draft,
    Image,
    JobRow,
    LevelCorrection,
    MeasurementRow,
    Output,
    ReaderStudySubject,
    ReaderTask,
    Segmentation,
    Study,
)

RESULT: Final = "result.json"
MASK: Final = "segmentation.nii.gz"
_DOUBT_OF: Final = {"warning": 0.3, "caution": 0.1, "info": 0.0}
_VALUES: Final = ("area_cm2", "area_error_cm2", "volume_cm3", "mean_hu", "sd_hu")


def store_outputs(store: Store, folder: Path) -> dict[str, tuple[str, int]]:
    """Put every file of a folder into the store: name -> (sha256, bytes)."""
    kept = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        size = path.stat().st_size
        kept[path.name] = (store.files.adopt(path), size)
    store.files.settle(sha for sha, _ in kept.values())
    return kept


def record_analysis(
    session: Session,
    study: Study,
    run: str,
    result: Mapping[str, Any],
    outputs: Mapping[str, tuple[str, int]],
    *,
    references: list[str],
    segmentation_id: int | None = None,
    parent_id: int | None = None,
    correction_id: int | None = None,
    judged: bool = False,
) -> Analysis | None:
    """Write one analysis down; None when this run was written down before, or its job was cancelled.

    Args:
        session: a writing session.
        study: the study.
        run: key of the job (or a new word, for what no job made).
        result: content of ``result.json``.
        outputs: name of every file -> (sha256, bytes).
        references: the sets that were asked.
        segmentation_id: the mask it rests on; None: the mask among the outputs is a new version.
        parent_id: the version that a new one came from.
        correction_id: the newest level correction in it.
        judged: only the answers are new; the mask stays what it is, even where there is none.
    """
    if session.scalar(select(Analysis.id).where(Analysis.run == run)) is not None:
        return None
    job = session.scalar(select(JobRow).where(JobRow.key == run).with_for_update())
    if job is not None and job.state == "cancelled":
        return None
    analysis = Analysis(
        study_id=study.id,
        run=run,
        software=result["provenance"]["version"],
        series_uid=result["series"]["uid"] or "",
        protocol=result["provenance"]["protocol"],
        references=references,
        correction_id=correction_id,
        rows=result_rows(result),
        outputs=[Output(name=name, sha256=sha, size=size) for name, (sha, size) in outputs.items()],
    )
    session.add(analysis)
    session.flush()
    if segmentation_id is None and not judged:
        if MASK in outputs and result["measurements"]:
            segmentation_id = _new_mask(session, study, result, outputs[MASK], parent_id)
        study.segmentation_id = segmentation_id
    analysis.segmentation_id = segmentation_id
    _rows(session, analysis, result)
    _show(study, analysis, result)
    return analysis


def _new_mask(
    session: Session,
    study: Study,
    result: Mapping[str, Any],
    output: tuple[str, int],
    parent_id: int | None,
) -> int:
    models = [m for m in result["provenance"]["models"] if m["name"].startswith("tissue")]
    reader = ", ".join(f"{m['name']} {m['version']}" for m in models) or "imported"
    parent = session.get(Segmentation, parent_id) if parent_id is not None else None
    by_hand = parent is not None and parent.user_id is not None
    if parent is not None and by_hand and reader not in parent.reader:
        # A model only added slices to what a person drew.
        reader = f"{parent.reader}, {reader}"[:200]
    mask = Segmentation(
        study_id=study.id,
        parent_id=parent_id,
        reader=reader,
        user_id=parent.user_id if parent is not None else None,
        sha256=output[0],
        size=output[1],
        indices=[s["index"] for s in result["slices"]],
    )
    session.add(mask)
    session.flush()
    return mask.id


def _rows(session: Session, analysis: Analysis, result: Mapping[str, Any]) -> None:
    for measured in result["measurements"]:
        for tissue, values in measured["tissues"].items():
            session.add(
                MeasurementRow(
                    analysis_id=analysis.id,
                    level=measured["level"],
                    protocol=measured["protocol"],
                    tissue=tissue,
                    **{name: values.get(name) for name in _VALUES},
                )
            )
    for answer in result["diagnosis"]:
        session.add(
            DiagnosisRow(
                analysis_id=analysis.id,
                reference=answer["reference"],
                level=answer["level"],
                index_name=answer["index"],
                value=answer["value"],
                t_score=answer["t_score"],
                class_name=answer["class"] or "",
            )
        )


def _show(study: Study, analysis: Analysis, result: Mapping[str, Any]) -> None:
    """What the worklist shows of a study."""
    answers = result["diagnosis"]
    first = next((a for a in answers if a["class"] != "not_comparable"), answers[0] if answers else None)
    study.analysis_id = analysis.id
    unanswered = "not_comparable" if result["measurements"] else "not_measured"
    study.result = (first["class"] or "scored") if first else unanswered
    study.t_score = first["t_score"] if first else None
    study.phase = result["series"]["phase"]["value"]
    shown = [f for f in result["flags"] if f["severity"] != "info"]
    study.flags = " " + " ".join(dict.fromkeys(f["code"] for f in shown)) + " " if shown else ""
    study.doubt = doubt_of(result)
    body = result["body"]
    study.sex = body["sex"]["value"] or study.sex
    study.age_years = body["age_years"]["value"] if study.age_years is None else study.age_years


def doubt_of(result: Mapping[str, Any]) -> float:
    """How much a human check is worth, 0 … 1: an unsure level, warnings and cautions, nothing measured."""
    measured = {m["level"] for m in result["measurements"]}
    if not measured:
        return 1.0
    sure = float(min(r["confidence"] for r in result["levels"] if r["level"] in measured))
    flags = float(sum(_DOUBT_OF[f["severity"]] for f in result["flags"]))
    return round(min(1.0, (1.0 - sure) + flags), 3)


def result_of(store: Store, session: Session, analysis_id: int) -> dict[str, Any]:
    """The ``result.json`` of an analysis.

    Raises:
        NotFoundError: it is not there.
    """
    content: dict[str, Any] = json.loads(output_of(store, session, analysis_id, RESULT))
    return content


def output_of(store: Store, session: Session, analysis_id: int, name: str) -> bytes:
    """A file of an analysis.

    Raises:
        NotFoundError: the analysis has no such file.
    """
    wanted = select(Output.sha256).where(Output.analysis_id == analysis_id, Output.name == name)
    sha = session.scalar(wanted)
    if sha is None:
        raise NotFoundError(f"The analysis has no file '{name}'.")
    return store.files.read(sha)


def body_of(session: Session, study: Study) -> BodyValues | None:
    """The body values that count for a study: typed or imported, nearest in time, then the newest."""
    values = session.scalars(
        select(BodyValues).where(BodyValues.person_id == study.person_id, BodyValues.origin != "dicom")
    ).all()

    def far(value: BodyValues) -> tuple[int, int]:
        known = value.day is not None and study.day is not None
        days = abs((value.day - study.day).days) if known and value.day and study.day else 0
        return days, -value.id

    return min(values, key=far, default=None)


def drop_unkept(session: Session, study: Study, keeps: str, series_uid: str, images: set[str]) -> set[str]:
    """Forget what a project does not keep; returns contents that nothing names any more.

    Args:
        session: a writing session.
        study: a study that was measured.
        keeps: the project's choice.
        series_uid: the measured series.
        images: UIDs of the measured slices.
    """
    if keeps == "all" or not series_uid or not images:
        return set()
    gone: list[str] = []
    for series in list(study.series):
        for image in list(series.images):
            if series.uid == series_uid and (keeps == "series" or image.uid in images):
                continue
            gone.append(image.sha256)
            series.images.remove(image)
        if not series.images:
            study.series.remove(series)
    if gone:
        study.n_images -= len(gone)
        session.add(
            Audit(
                user_name="sarcoscope",
                action="drop_images",
                project_id=study.project_id,
                centre_id=study.centre_id,
                target=f"study {study.id}",
                details={"images": len(gone), "keeps": keeps},
            )
        )
    session.flush()
    return set(gone) - named(session, set(gone))


def remove_study(session: Session, study: Study) -> set[str]:
    """Delete a study with everything of it; returns contents that nothing names any more."""
    names: set[str] = {i.sha256 for s in study.series for i in s.images}
    session.execute(delete(ReaderStudySubject).where(ReaderStudySubject.study_id == study.id))
    analyses = session.scalars(select(Analysis).where(Analysis.study_id == study.id)).all()
    for analysis in analyses:
        names |= {o.sha256 for o in analysis.outputs}
        for table in (MeasurementRow, DiagnosisRow):
            session.execute(delete(table).where(table.analysis_id == analysis.id))
        session.delete(analysis)
    for draft in session.scalars(select(Draft).where(Draft.study_id == study.id)):
        session.delete(draft)
    session.flush()
    session.execute(delete(ReaderTask).where(ReaderTask.study_id == study.id))
    session.execute(delete(LevelCorrection).where(LevelCorrection.study_id == study.id))
    session.flush()
    of_study = Segmentation.study_id == study.id
    # Versions name their parents: the ties are cut first.
    session.execute(update(Segmentation).where(of_study).values(parent_id=None))
    for mask in session.scalars(select(Segmentation).where(of_study)):
        names.add(mask.sha256)
        session.delete(mask)
    session.flush()
    session.delete(study)
    session.flush()
    return names - named(session, names)


def named(session: Session, names: set[str]) -> set[str]:
    """Which of these contents a row names."""
    found: set[str] = set()
    for table in (CohortFile, Image, Output, Segmentation):
        found |= set(session.scalars(select(table.sha256).where(table.sha256.in_(names))))
    return found
