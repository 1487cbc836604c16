"""The platform's job: analyse a stored study and write its result down."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from sarcoscope.errors import NotFoundError
from sarcoscope.jobs.cohort_job import run_stored_cohort
from sarcoscope.jobs.corrections import Standing, correction_of, standing
from sarcoscope.jobs.given import given_body
from sarcoscope.jobs.judge_job import keep_judged
from sarcoscope.jobs.queue import new_job
from sarcoscope.jobs.workers import run_on_dask, run_workers
from sarcoscope.progress import Progress
from sarcoscope.store.intake import lay_out
from sarcoscope.store.results import body_of, drop_unkept, record_analysis, result_of, store_outputs
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Project, Study
from sarcoscope.store.volumes import keep_volume
from sarcoscope.study import AnalysisSettings, StudyResult, analyze
from sarcoscope.study.correct import Correction

log = logging.getLogger(__name__)


def queue_study(
    session: Session, store: Store, study: Study, choices: Mapping[str, Any] | None = None, priority: int = 0
) -> str:
    """Queue the analysis of a study; returns the job's key.

    Args:
        session: a writing session.
        store: where the study lies.
        study: the study.
        choices: settings in place of the project's (``protocol``, ``references``, ``levels``).
        priority: higher goes first.
    """
    key = f"study-{study.id}-{uuid.uuid4().hex[:12]}"
    payload = {**_payload(store, study, key), "choices": dict(choices or {})}
    session.execute(new_job(key, payload, priority=priority))
    study.job_key = key
    return key


def queue_judgement(session: Session, store: Store, study: Study) -> str:
    """Queue that a study's result follows new body values (a writing session); returns the job's key."""
    key = f"judge-{study.id}-{uuid.uuid4().hex[:12]}"
    session.execute(new_job(key, {**_payload(store, study, key), "judge": True}, priority=1))
    return key


def _payload(store: Store, study: Study, key: str) -> dict[str, Any]:
    return {"job": key, "data": str(store.data), "database": store.database.url, "study": study.id}


def queue_arrivals(session: Session, store: Store, project_id: int, studies: Iterable[int]) -> None:
    """Queue studies that came in, where their project processes on arrival (a writing session)."""
    if session.get_one(Project, project_id).process_on_arrival:
        queue_all(session, store, studies)


def queue_all(session: Session, store: Store, studies: Iterable[int]) -> None:
    """Queue some studies (a writing session)."""
    for number in studies:
        queue_study(session, store, session.get_one(Study, number))


@cache
def _store(data: str, address: str) -> Store:
    """One store a process."""
    return Store.open(Path(data), address)


def do_stored_study(payload: Mapping[str, Any], report: Progress) -> None:
    """Analyse one stored study, judge it again, or run a cohort (the handler of the platform's workers)."""
    store = _store(payload["data"], payload["database"])
    if "cohort" in payload:
        run_stored_cohort(store, payload, report)
        return
    if payload.get("judge"):
        keep_judged(store, payload["study"], payload["job"])
        return
    with store.work_folder() as folder:
        with store.database.reading() as session:
            study = session.get(Study, payload["study"])
            if study is None:
                raise NotFoundError("The study was deleted.")
            project = session.get_one(Project, study.project_id)
            choices = payload["choices"]
            before = standing(session, study)
            correction = None if choices.get("scratch") else correction_of(session, store, study)
            if correction is not None and study.analysis_id is not None:
                choices = _as_before(session, store, session.get_one(Analysis, study.analysis_id), choices)
            counting = body_of(session, study)
            if counting is not None and counting.fluid:
                choices = {**choices, "fluid": True}
            keeps_all = project.keeps != "slices"
            settings = _settings(project, choices, folder)
            body = given_body(counting)
            lay_out(store, study, folder / "images")
        result = analyze(
            folder / "images", body=body, settings=settings, progress=report, correction=correction
        )
        if keeps_all:
            keep_volume(store, payload["study"], result.volume)
        outputs = _write(result, folder / "out", report)
        kept = store_outputs(store, outputs)
        _write_down(store, payload, result, kept, settings, before, correction)


def _as_before(
    session: Session, store: Store, analysis: Analysis, choices: Mapping[str, Any]
) -> dict[str, Any]:
    """The choices of the result that is corrected, where nothing else is asked."""
    settings = result_of(store, session, analysis.id)["provenance"]["settings"]
    known = {name: settings.get(name) for name in ("levels", "protocol", "slice_index")}
    chosen = {
        **known,
        "references": analysis.references,
        "series_uid": analysis.series_uid or None,
        **choices,
    }
    if chosen["protocol"] != "slice":
        chosen["slice_index"] = None
    return chosen


def _settings(project: Project, choices: Mapping[str, Any], folder: Path) -> AnalysisSettings:
    policy = None
    if project.series_policy:
        policy = folder / "policy.json"
        policy.write_text(project.series_policy, encoding="utf-8")
    return AnalysisSettings(
        levels=tuple(choices.get("levels") or project.levels),
        protocol=choices.get("protocol") or project.protocol,
        references=tuple(choices.get("references") or project.references),
        series_policy=policy,
        series_uid=choices.get("series_uid"),
        slice_index=choices.get("slice_index"),
        fluid=bool(choices.get("fluid", False)),
    )


def _write(result: StudyResult, folder: Path, report: Progress) -> Path:
    """Every output; report and pictures in Korean beside the English ones."""
    korean = folder.with_name("korean")
    result.write(korean, language="ko")
    result.write(folder, language="en", progress=report)
    for path in korean.iterdir():
        if path.suffix in (".png", ".pdf"):
            path.rename(folder / f"{path.stem}.ko{path.suffix}")
    return folder


def _write_down(
    store: Store,
    payload: Mapping[str, Any],
    result: StudyResult,
    outputs: Mapping[str, tuple[str, int]],
    settings: AnalysisSettings,
    before: Standing,
    correction: Correction | None,
) -> None:
    content = result.as_dict()
    images = {
        str(result.images[i].sop_uid) for m in result.record.measurements for i in m.indices if result.images
    }
    with store.database.writing() as session:
        study = session.get(Study, payload["study"], with_for_update=True)
        if study is None:
            raise NotFoundError("The study was deleted.")
        after = standing(session, study)
        if after.corrected_since(before):
            # A reader corrected it meanwhile: the job of that correction says what holds. What was chosen for
            # this one is asked again.
            if payload["choices"]:
                queue_study(session, store, study, payload["choices"], priority=1)
            return
        # Another reference or other body values, kept meanwhile, hold for the new result too.
        judged_since = after.analysis_id != before.analysis_id and after.analysis_id is not None
        references = list(settings.references)
        if judged_since and not payload["choices"].get("references"):
            references = session.get_one(Analysis, after.analysis_id).references
        # Slices that a model has added to a reader's make a new version.
        covered = set(result.mask.indices) if result.mask is not None else set()
        same = correction is not None and covered == set(correction.indices)
        done = record_analysis(
            session,
            study,
            payload["job"],
            content,
            outputs,
            references=references,
            segmentation_id=before.segmentation_id if same else None,
            parent_id=before.segmentation_id if correction is not None else None,
            correction_id=before.correction_id,
        )
        if done is None:
            return
        if judged_since or after.body_id != before.body_id:
            queue_judgement(session, store, study)
        refused = {r["uid"]: r["reason"] for r in content["series"]["refused"]}
        for series in study.series:
            series.refused = refused.get(series.uid, "")
        keeps = session.get_one(Project, study.project_id).keeps
        gone = drop_unkept(session, study, keeps, content["series"]["uid"] or "", images)
    for name in gone:
        store.files.remove(name)


def keep_working(store: Store, workers: int, scheduler: str | None, stop: threading.Event) -> None:
    """Work the store's jobs off until told to stop; a scheduler that goes away is tried again.

    Args:
        store: whose jobs.
        workers: processes of this computer.
        scheduler: address of a Dask scheduler that works instead.
        stop: when to end.
    """
    handler: Any = do_stored_study
    while not stop.is_set():
        try:
            if scheduler is not None:
                run_on_dask(store.database.url, handler, scheduler, stop=stop)
            else:
                run_workers(store.database.url, handler, workers, stop=stop)
        except Exception as error:
            log.error("the workers stopped (%s); they start again", type(error).__name__)
            stop.wait(10)
