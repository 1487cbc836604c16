from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

import sarcoscope
from sarcoscope.errors import BodyInfoError, SettingError, StorageError
from sarcoscope.exports.json_result import result_schema
from sarcoscope.exports.pictures import overlay
from sarcoscope.study import StudyResult, analyze
from tests.study.make import abdomen, chest, series

BODY = {"sex": "F", "age_years": 61, "height_cm": 160, "weight_kg": 55}
FILES = {
    "result.json",
    "levels.csv",
    "measurements.csv",
    "segmentation.nii.gz",
    "sagittal.png",
    "report.pdf",
}


@pytest.fixture(scope="module")
def study() -> StudyResult:
    return analyze(series(abdomen()), body=BODY)


@pytest.fixture(scope="module")
def written(study: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    study.write(folder)
    return folder


def test_l3_is_found_where_the_phantom_has_it(study: StudyResult) -> None:
    true, found = abdomen().levels.find("L3"), study.record.levels.find("L3")
    assert true is not None
    assert found is not None
    assert abs(found.index_low - true.index_low) <= 1
    assert abs(found.index_high - true.index_high) <= 1


def test_areas_are_near_the_phantoms(study: StudyResult) -> None:
    (measurement,) = study.record.measurements
    truth = {n: float(np.mean(a[list(measurement.indices)])) for n, a in abdomen().areas_cm2.items()}
    for name, share in (("muscle", 0.08), ("sat", 0.05), ("vat", 0.06)):
        assert measurement.tissues[name].area_cm2 == pytest.approx(truth[name], rel=share)


def test_all_files_are_written_and_the_json_keeps_its_schema(written: Path) -> None:
    dicom = {"segmentation.dcm", "measurements_sr.dcm"}
    assert {p.name for p in written.iterdir()} == FILES | dicom | {"overlay_L3.png"}
    result = json.loads((written / "result.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(dict(result_schema()))
    jsonschema.validate(result, dict(result_schema()))
    assert result["body"]["sex"] == {"value": "F", "origin": "given", "date": None}
    assert result["series"]["phase"]["value"] == "portal"
    assert {d["reference"] for d in result["diagnosis"]} == {"p0", "kim2021"}
    assert "PHANTOM" not in json.dumps(result)  # the patient's ID


def test_pictures_of_an_earlier_run_do_not_stay(study: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "overlay_T12.png").write_bytes(b"old")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    study.write(tmp_path)
    assert not (tmp_path / "overlay_T12.png").exists()
    assert (tmp_path / "notes.txt").exists()


def test_tables_agree_with_the_json(written: Path) -> None:
    result = json.loads((written / "result.json").read_text(encoding="utf-8"))
    with (written / "levels.csv").open(encoding="utf-8", newline="") as lines:
        levels = list(csv.DictReader(lines))
    assert [r["level"] for r in levels] == [r["level"] for r in result["levels"]]
    assert list(levels[0]) == [
        "level",
        "index_low",
        "index_high",
        "index_mid",
        "z_mm_low",
        "z_mm_high",
        "z_mm_mid",
        "confidence",
        "complete",
    ]
    with (written / "measurements.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == [
        "level",
        "scope",
        "index",
        "z_mm",
        "tissue",
        "area_cm2",
        "volume_cm3",
        "mean_hu",
        "sd_hu",
    ]
    whole = next(r for r in rows if r["scope"] == "range" and r["tissue"] == "muscle")
    muscle = result["measurements"][0]["tissues"]["muscle"]
    assert float(whole["area_cm2"]) == pytest.approx(muscle["area_cm2"])
    assert float(whole["volume_cm3"]) == pytest.approx(muscle["volume_cm3"])
    assert sum(r["scope"] == "slice" for r in rows) == 4 * len(result["slices"])


def test_segmentation_lies_on_the_scans_grid(written: Path, study: StudyResult) -> None:
    image = nib.load(written / "segmentation.nii.gz")
    labels = np.asanyarray(image.dataobj).transpose(2, 1, 0)
    assert labels.shape == study.volume.hu.shape
    assert study.mask is not None
    np.testing.assert_array_equal(labels[list(study.mask.indices)], study.mask.labels)
    first = np.diag([-1, -1, 1]) @ image.affine[:3, 3]
    np.testing.assert_allclose(first, study.volume.geometry.origin_mm, atol=1e-3)


def test_nifti_input_gets_its_mask_back_on_its_own_grid(tmp_path: Path) -> None:
    phantom = abdomen()
    data = phantom.hu.transpose(2, 1, 0)[::-1]
    dz, dy, dx = phantom.geometry.spacing_mm
    affine = np.diag([dx, -dy, dz, 1.0])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "ct.nii.gz")
    result = analyze(tmp_path / "ct.nii.gz", body=BODY).write(tmp_path / "out")
    image = nib.load(tmp_path / "out" / "segmentation.nii.gz")
    assert image.shape == data.shape
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    stored = np.asanyarray(image.dataobj)
    hu_of_muscle = data[stored == 1]
    assert len(hu_of_muscle) > 1000
    assert hu_of_muscle.min() >= -29
    assert hu_of_muscle.max() <= 150
    assert result.record.series.info.uid is None


def test_same_input_gives_the_same_bytes(study: StudyResult, written: Path, tmp_path: Path) -> None:
    again = analyze(series(abdomen()), body=BODY)
    again.write(tmp_path)
    for name in FILES - {"result.json"}:
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name
    one, two = study.as_dict(), again.as_dict()
    assert {k: v for k, v in one.items() if k != "run"} == {k: v for k, v in two.items() if k != "run"}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_report_is_one_page_with_the_numbers(study: StudyResult, language: str, tmp_path: Path) -> None:
    study.write(tmp_path, language=language)
    pdf = PdfReader(tmp_path / "report.pdf")
    assert len(pdf.pages) == 1
    text = pdf.pages[0].extract_text()
    muscle = study.record.measurements[0].tissues["muscle"]
    assert f"{muscle.area_cm2:.1f}" in text
    assert ("Research use only" if language == "en" else "연구용입니다") in text
    assert "PHANTOM" not in text


def test_pictures_show_the_patients_right_on_the_left(study: StudyResult, written: Path) -> None:
    """A bright mark painted into the patient's right half of the CT appears in the picture's left half."""
    with Image.open(written / "overlay_L3.png") as picture:
        assert picture.width == 900
    assert study.mask is not None
    marked = study.volume.hu.copy()
    middle = study.record.measurements[0].indices[len(study.record.measurements[0].indices) // 2]
    body = study.mask.body[study.mask.indices.index(middle)]
    columns = np.flatnonzero(body.any(axis=0))
    rows = np.flatnonzero(body.any(axis=1))
    y, x = (rows[0] + rows[-1]) // 2, columns[0] + (columns[-1] - columns[0]) // 4
    marked[middle, y - 6 : y + 6, x - 6 : x + 6] = 3000
    slice_ = next(s for s in study.record.slices if s.index == middle)
    empty = replace(study.mask, labels=np.zeros_like(study.mask.labels))
    drawn = np.asarray(overlay(replace(study.volume, hu=marked), empty, slice_).convert("L"), int)
    plain = np.asarray(overlay(study.volume, empty, slice_).convert("L"), int)
    where = np.argwhere(drawn - plain > 60)
    assert len(where) > 20
    assert where[:, 1].mean() < 0.4 * drawn.shape[1]


def test_no_l3_in_view(tmp_path: Path) -> None:
    result = analyze(series(chest()), body=BODY).write(tmp_path)
    codes = {f.code for f in result.record.flags}
    assert "l3_not_in_view" in codes
    assert result.record.levels.find("L3") is None
    assert result.record.levels.ranges
    assert {p.name for p in tmp_path.iterdir()} >= FILES
    (measurement,) = result.record.measurements
    assert measurement.level not in ("L3", "Sacral")
    jsonschema.validate(result.as_dict(), dict(result_schema()))


def test_single_slice_with_assumed_level(tmp_path: Path) -> None:
    phantom = abdomen()
    level = phantom.levels.find("L3")
    assert level is not None
    folder = series(phantom)
    one = sorted(folder.glob("*.dcm"))[level.index_mid]
    result = analyze(one, body=BODY, assume_level="L3").write(tmp_path)
    assert [r.level for r in result.record.levels.ranges] == ["L3"]
    assert "level_assumed" in {f.code for f in result.record.flags}
    truth = float(phantom.areas_cm2["muscle"][level.index_mid])
    assert result.record.measurements[0].tissues["muscle"].area_cm2 == pytest.approx(truth, rel=0.08)
    assert (tmp_path / "overlay_L3.png").is_file()


@pytest.mark.parametrize("protocol", ["mid", "inferior-endplate", "two-adjacent"])
def test_protocols(protocol: str, study: StudyResult) -> None:
    result = analyze(series(abdomen()), body=BODY, protocol=protocol)
    (measurement,) = result.record.measurements
    span = result.record.levels.find("L3")
    assert span is not None
    expected = {
        "mid": (span.index_mid,),
        "inferior-endplate": (span.index_low,),
        "two-adjacent": (span.index_mid, span.index_mid + 1),
    }[protocol]
    assert measurement.indices == expected
    p0 = next(d for d in result.record.diagnoses if d.reference == "p0")
    assert "protocol_differs" in {c.code for c in p0.cautions}


def test_fluid_takes_the_class_from_weight_based_indices() -> None:
    result = analyze(series(abdomen()), body=BODY, fluid=True)
    classes = {d.index: d.class_ for d in result.record.diagnoses if d.reference == "kim2021"}
    assert classes["SMA_BMI"] == classes["SMA_Wt"] == "not_comparable"
    assert classes["SMA_Ht2"] != "not_comparable"
    dry = analyze(series(abdomen()), body={**BODY, "dry_weight": True}, fluid=True)
    assert {d.index: d.class_ for d in dry.record.diagnoses}["SMA_BMI"] != "not_comparable"


def test_without_body_info_what_can_be_said_is_said() -> None:
    folder = series(abdomen(), size_m=None, weight_kg=None, sex="O", age="")
    result = analyze(folder)
    assert {i.name for i in result.record.indices} == {"SMA", "SMD"}
    assert {"sex_missing", "age_missing", "height_missing", "weight_missing"} <= {
        f.code for f in result.record.flags
    }
    assert {d.class_ for d in result.record.diagnoses} == {"not_comparable"}


def test_header_values_are_used_with_their_origin() -> None:
    body = analyze(series(abdomen())).as_dict()["body"]
    assert body["height_cm"] == {"value": 170.0, "origin": "dicom", "date": "2025-01-02"}
    assert body["age_years"]["value"] == 60.0


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"levels": ("L9",)}, SettingError),
        ({"protocol": "best"}, SettingError),
        ({"protocol": "slice"}, SettingError),
        ({"references": ("nobody",)}, SettingError),
        ({"wrong": 1}, SettingError),
        ({"phase": "lunar"}, SettingError),
        ({"protocol": "slice", "slice_index": 100000}, SettingError),
    ],
)
def test_bad_choices_are_refused(choices: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        analyze(series(abdomen()), **choices)


def test_bad_body_and_bad_folder(study: StudyResult, tmp_path: Path) -> None:
    with pytest.raises(BodyInfoError):
        analyze(series(abdomen()), body={"height": 3})
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError):
        study.write(tmp_path / "file")


def test_the_library_reads_volumes() -> None:
    assert sarcoscope.read_volume(series(abdomen())).n_slices == len(abdomen().hu)
