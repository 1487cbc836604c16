from __future__ import annotations

from pathlib import Path

import pytest

from sarcoscope.imaging import read_study
from tests.imaging.kinds import edited, second_series


@pytest.mark.parametrize(
    ("values", "age"),
    [
        ({"PatientAge": "064Y"}, 64.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "", "PatientBirthDate": "19600102"}, 65.0),
        ({"PatientAge": "", "PatientBirthDate": "19600103"}, 64.0),
        ({"PatientAge": "", "PatientBirthDate": ""}, None),
        ({"PatientAge": "", "PatientBirthDate": "20990101"}, None),
    ],
)
def test_age(values: dict[str, str], age: float | None, tmp_path: Path) -> None:
    """The study was on 2 January 2025."""

    def change(image, _: int) -> None:
        for keyword, value in values.items():
            setattr(image, keyword, value)

    assert read_study(edited(tmp_path, change)).header_body.age_years == age


def test_ordinary_words_are_no_map(tmp_path: Path) -> None:
    def change(image, _: int) -> None:
        image.SeriesDescription = "Abdomen water portal venous"
        image.SliceThickness = "4"

    study = read_study(second_series(tmp_path, change))
    assert study.volume.series.description == "Abdomen water portal venous"


def test_a_series_can_be_asked_for(tmp_path: Path) -> None:
    def change(image, _: int) -> None:
        image.SeriesDescription = "arterial"

    folder = second_series(tmp_path, change)
    other = next(r for r in read_study(folder).refused if r.reason == "other_phase")
    study = read_study(folder, series_uid=other.uid)
    assert study.volume.series.uid == other.uid
    assert [r.reason for r in study.refused] == ["not_chosen"]
