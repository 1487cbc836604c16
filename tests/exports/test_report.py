"""The report in extreme cases: always one page, nothing lost without a word."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from pypdf import PdfReader

from sarcoscope.exports.report import ReportPage
from sarcoscope.language.catalogue import messages
from sarcoscope.measures.body import BodyInfo
from sarcoscope.measures.measurement import Flag
from sarcoscope.study import StudyResult, analyze
from tests.study.make import abdomen, series


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return analyze(
        series(abdomen()),
        body={"sex": "F", "age_years": 40, "height_cm": 160, "weight_kg": 55},
        levels=("L3", "L4", "T12"),
        references=("p0", "kim2021", "martin2013", "vanderwerf2018", "fhs_women", "derstine2018"),
    )


def _text(page: bytes) -> str:
    pdf = PdfReader(io.BytesIO(page))
    assert len(pdf.pages) == 1
    return pdf.pages[0].extract_text()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_three_levels_and_six_sets_fit(study: StudyResult, language: str) -> None:
    text = _text(ReportPage(study.record, study.sets, language).pdf(None, None))
    for measurement in study.record.measurements:
        assert f"{measurement.tissues['muscle'].area_cm2:.1f}" in text


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_flag_at_once(study: StudyResult, language: str) -> None:
    flags = tuple(
        Flag(
            m.code,
            {
                name: "X" * 12
                for name in (
                    "level",
                    "count",
                    "widest",
                    "low",
                    "high",
                    "angle",
                    "what",
                    "value",
                    "given",
                    "header",
                    "bmi",
                    "days",
                    "percent",
                    "sd",
                    "kvp",
                    "kernel",
                    "thickness",
                    "phase",
                    "evidence",
                    "height",
                )
            },
        )
        for m in messages().values()
        if m.severity
    )
    text = _text(ReportPage(replace(study.record, flags=flags), study.sets, language).pdf(None, None))
    assert str(len(flags) - 10) in text  # how many are only in result.json


def test_nothing_measured(study: StudyResult) -> None:
    empty = replace(study.record, measurements=(), indices=(), diagnoses=(), slices=(), body=BodyInfo())
    text = _text(ReportPage(empty, study.sets, "en").pdf(None, None))
    assert "No level could be measured" in text
    assert "No comparison was made" in text
