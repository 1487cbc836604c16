"""A store that holds a synthetic cohort, as if every study had been analysed."""

from __future__ import annotations

import base64
import csv
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select

from sarcoscope.cohort.studies import NUMBERS
from sarcoscope.samples.population_files import write_sample_cohort
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Centre, Person, Project, Study


def fill_with_cohort(store: Store, folder: Path, n: int, seed: int = 3, preset: str = "mixed") -> Path:
    """A sample cohort whose studies are in the store, at its first centre; returns the cohort's folder."""
    write_sample_cohort(folder, preset=preset, n=n, seed=seed)
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with store.database.writing() as session:
        project = session.scalars(select(Project)).one()
        centre = session.scalars(select(Centre).order_by(Centre.id).limit(1)).one()
        people: dict[str, Person] = {}
        studies: dict[str, Study] = {}
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            found.setdefault(row["id"], []).append(
                {k: (float(v) if v else None) if k in NUMBERS else v for k, v in row.items()}
            )
            if row["id"] in studies:
                continue
            if row["person"] not in people:
                people[row["person"]] = Person(
                    project_id=project.id, centre_id=centre.id, pseudonym=row["person"]
                )
                session.add(people[row["person"]])
                session.flush()
            study = Study(
                project_id=project.id, centre_id=centre.id, person_id=people[row["person"]].id,
                uid=f"2.25.{len(studies) + 1}", day=date.fromisoformat(row["date"]) if row["date"] else None,
            )  # fmt: skip
            studies[row["id"]] = study
            session.add(study)
        session.flush()
        for name, study in studies.items():
            analysis = Analysis(
                study_id=study.id, run=f"sample-{name}", software="0", series_uid="", protocol="range",
                rows=found[name],
            )  # fmt: skip
            session.add(analysis)
            session.flush()
            study.analysis_id = analysis.id
    return folder


def table_of(path: Path) -> dict[str, str]:
    """A table as a page sends it."""
    return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}
