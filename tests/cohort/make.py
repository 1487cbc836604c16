"""Small cohorts for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sarcoscope.cohort.assemble import Cohort, assemble
from sarcoscope.cohort.definition import Definition, read_definition
from sarcoscope.files import csv_text
from sarcoscope.samples.population_files import RESULT_COLUMNS

GROUPS = """
[groups]
kind = "{kind}"
rest = {{ en = "None" }}
[[groups.list]]
name = "cirrhosis"
title = {{ en = "Cirrhosis", ko = "간경변" }}
[[groups.list]]
name = "fibrosis"
title = {{ en = "Fibrosis", ko = "간섬유화" }}
"""
BY_SEX = """
[groups]
kind = "{kind}"
rest = {{ en = "Unknown" }}
[[groups.list]]
name = "men"
title = {{ en = "Men" }}
where = {{ column = "sex", op = "==", value = "M" }}
[[groups.list]]
name = "fibrosis"
title = {{ en = "Women" }}
where = {{ column = "sex", op = "==", value = "F" }}
"""
CLINICAL = """
[clinical]
table = "clinical.csv"
mapping = "mapping.toml"
"""
MAPPING = """confirmed = true
rows = "{rows}"
[columns]
pseudonym = "pseudonym"
sex = "sex"
day = "date"
height_cm = "height"
weight_kg = "weight"
albumin = "albumin"
fibrosis = "fibrosis"
cirrhosis = "cirrhosis"
diagnosis_date = "diagnosed"
followup_years = "years"
status = "status"
"""
COLUMNS = (
    "pseudonym", "sex", "date", "height", "weight", "albumin", "fibrosis", "cirrhosis", "diagnosed", "years",
    "status",
)  # fmt: skip


def study(number: int, person: str, **more: Any) -> dict[str, Any]:
    """A row of results.csv."""
    row: dict[str, Any] = {
        "id": f"S{number}", "person": person, "centre": "", "date": "2020-01-01", "sex": "M", "age_years": 55.0,
        "height_cm": 170.0, "weight_kg": 70.0, "level": "L3", "protocol": "range", "muscle_area_cm2": 150.0 + number,
        "phase": "portal", "kvp": 120, "kernel": "B30f", "slice_thickness_mm": 5.0, "flags": "", **more,
    }  # fmt: skip
    area, height, weight = row["muscle_area_cm2"], row["height_cm"], row["weight_kg"]
    row.setdefault("muscle_area_error_cm2", 0.042 * area)
    row["SMA"] = area
    if height:
        row["SMA_Ht2"] = area / (height / 100) ** 2
    if weight:
        row["SMA_Wt"] = area / weight
    if height and weight:
        row["bmi"] = weight / (height / 100) ** 2
        row["SMA_BMI"] = area / row["bmi"]
    return row


def person(name: str, **more: Any) -> dict[str, Any]:
    """A row of the clinical table."""
    return {"pseudonym": name, "sex": "M", "date": "2020-01-05", "fibrosis": 0, "cirrhosis": 0, **more}


def write(
    folder: Path,
    studies: Sequence[Mapping[str, Any]],
    people: Sequence[Mapping[str, Any]] = (),
    *,
    head: str = "",
    tail: str = "",
    kind: str = "overlapping",
    rows: str = "one",
    studies_part: str = "",
) -> Path:
    """The files of a cohort; returns the cohort file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.csv").write_text(csv_text([*RESULT_COLUMNS], studies), encoding="utf-8")
    text = f'version = 1\nname = "test"\ntitle = {{ en = "Test" }}\n{head}\n[studies]\nresults = "results.csv"\n{studies_part}'
    if people:
        (folder / "clinical.csv").write_text(csv_text(COLUMNS, people), encoding="utf-8")
        (folder / "mapping.toml").write_text(MAPPING.format(rows=rows), encoding="utf-8")
        text += CLINICAL
    path = folder / "cohort.toml"
    groups = GROUPS if people else BY_SEX
    path.write_text(text + tail + groups.format(kind=kind), encoding="utf-8")
    return path


def cohort(folder: Path, *arguments: Any, **more: Any) -> Cohort:
    """An assembled cohort."""
    path = write(folder, *arguments, **more)
    return assemble(read_definition(path), folder)


def changed(definition: Definition, part: str, **more: Any) -> Definition:
    """A definition with some fields of a part changed."""
    old = getattr(definition, part)
    return definition.model_copy(update={part: old.model_copy(update=more)})
