"""The platform's job for cohorts: run one version, and keep what came out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.cohort.definition import Definition
from sarcoscope.cohort.run import write_study
from sarcoscope.cohort.study import do_study
from sarcoscope.errors import NotFoundError
from sarcoscope.jobs.queue import new_job
from sarcoscope.language.catalogue import LANGUAGES
from sarcoscope.progress import Progress
from sarcoscope.store.cohorts import TABLE, file_of, lay_out_cohort
from sarcoscope.store.store import Store
from sarcoscope.store.tables import CohortFile, CohortRow, CohortVersion, JobRow


def queue_cohort(session: Session, store: Store, version: CohortVersion) -> str:
    """Queue a version of a cohort (a writing session); returns the job's key."""
    key = f"cohort-{version.id}-{uuid.uuid4().hex[:12]}"
    payload = {"job": key, "data": str(store.data), "database": store.database.url, "cohort": version.id}
    session.execute(new_job(key, payload, priority=1))
    version.job_key = key
    return key


def run_stored_cohort(store: Store, payload: Mapping[str, Any], report: Progress) -> None:
    """Run one version in both languages; what an earlier try left is replaced."""
    with store.work_folder() as folder:
        with store.database.reading() as session:
            version = session.get(CohortVersion, payload["cohort"])
            if version is None:
                raise NotFoundError("The cohort was deleted.")
            cohort = session.get_one(CohortRow, version.cohort_id)
            table = file_of(store, version, TABLE) if version.table_name else None
            definition = Definition.model_validate(version.definition)
            path = lay_out_cohort(
                store, session, cohort.project_id, cohort.centres, definition, table, version.mapping, folder
            )
        study = do_study(definition, folder, report)
        for language in LANGUAGES:
            write_study(study, path, folder / "out" / language, language=language, progress=report)
        kept = _kept(store, folder / "out")
    with store.database.writing() as session:
        job = session.scalar(select(JobRow).where(JobRow.key == payload["job"]).with_for_update())
        version = session.get(CohortVersion, payload["cohort"])
        if version is None or (job is not None and job.state == "cancelled"):
            return
        version.files = [f for f in version.files if f.name == TABLE]
        session.flush()
        version.files += [CohortFile(name=name, sha256=sha, size=size) for name, (sha, size) in kept.items()]


def _kept(store: Store, folder: Path) -> dict[str, tuple[str, int]]:
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        found[path.relative_to(folder).as_posix()] = (store.files.put(content), len(content))
    return found
