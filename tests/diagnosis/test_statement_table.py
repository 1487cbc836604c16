"""The expected answers were written by hand from the sources (``data/statement_table.csv``)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sarcoscope.diagnosis import Case, diagnose, find_sets, shipped_sets
from sarcoscope.measures.measurement import IndexValue

with (Path(__file__).parent / "data" / "statement_table.csv").open(encoding="utf-8") as lines:
    ROWS = list(csv.DictReader(lines))


def _number(text: str) -> float | None:
    return float(text) if text else None


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['id']}-{r['reference']}-{r['index']}")
def test_row(row: dict[str, str]) -> None:
    values = ()
    if row["value"]:
        error = _number(row["error"])
        values = (IndexValue(row["index"], row["level"], row["protocol"], float(row["value"]), "", error),)
    case = Case(
        sex=row["sex"] or None,
        age_years=_number(row["age"]),
        bmi=_number(row["bmi"]),
        level=row["level"],
        protocol=row["protocol"],
        phase=row["phase"],
        indices=values,
        kvp=_number(row["kvp"]),
        hu_band=(int(row["hu_low"]), int(row["hu_high"])),
        muscle_set=row["muscle_set"],
        fluid=row["fluid"] == "yes",
    )
    answers = diagnose(case, find_sets((row["reference"],)))
    answer = next((a for a in answers if a.index == row["index"]), answers[0])
    assert (answer.class_ or "") == row["class"]
    assert (answer.reason.code if answer.reason else "") == row["reason"]
    assert ";".join(c.code for c in answer.cautions) == row["cautions"]
    assert answer.statement["en"] == row["statement"]
    for found, wanted in ((answer.t_score, row["t_score"]), (answer.z_score, row["z_score"])):
        assert (found is None) == (wanted == "")
        if found is not None:
            assert found == pytest.approx(float(wanted), abs=0.0051)


def test_table_is_large_and_covers_every_shipped_set() -> None:
    assert len(ROWS) >= 200
    assert {r["reference"] for r in ROWS} == {s.name for s in shipped_sets()}
