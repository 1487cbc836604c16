"""DICOM SEG and SR, read by others: plain pydicom, highdicom, dcmtk and dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from sarcoscope import analyze
from sarcoscope.errors import SettingError
from sarcoscope.exports.dicom_codes import all_codes
from sarcoscope.exports.dicom_objects import study_objects
from sarcoscope.exports.dicom_seg import make_seg
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.reader import ReadStudy, read_study
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series, write_enhanced_ct
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.study.result import StudyResult
from tests.imaging.kinds import edited, korean, rotated, series, small_phantom
from tests.study.make import abdomen
from tests.study.make import series as phantom_series

MODELS = (("tissue-compartments", "0.3.0", "ab" * 32),)


def _oblique(root: Path, **changes: float) -> Path:
    folder = root / "ct"
    write_dicom_series(small_phantom(**changes), folder, SeriesSettings())
    return folder


def _multi_frame(root: Path) -> Path:
    return write_enhanced_ct(small_phantom(), root / "enhanced.dcm")


SERIES = {
    "axial": series,
    "tilted": lambda r: _oblique(r, tilt_degrees=12.0),
    "oblique": lambda r: _oblique(r, in_plane_degrees=17.0, roll_degrees=8.0),
    "feet-first": lambda r: series(r, "feet-first"),
    "reversed-order": lambda r: series(r, "shuffled"),
    "turned-by-90-degrees": lambda r: edited(r, rotated),
    "gap": lambda r: series(r, "missing-slice"),
    "multi-frame": _multi_frame,
}


def _blobs(study: ReadStudy) -> tuple[list[int], np.ndarray]:
    """A mask without any symmetry."""
    indices = [2, 3, 4, 9]
    labels = np.zeros((4, *study.volume.hu.shape[1:]), np.uint8)
    labels[0, 20:31, 12:40] = 1
    labels[1, 50:60, 60:71] = 2
    labels[2, 5:9, 33:51] = 3
    labels[3, 70:75, 20:22] = 4
    labels[3, 11:19, 80:90] = 1
    return indices, labels


def _truth(study: ReadStudy, indices: list[int], labels: np.ndarray, value: int) -> np.ndarray:
    """LPS places of the voxels with a value, from the volume's geometry."""
    g = study.volume.geometry
    k, y, x = np.nonzero(labels == value)
    places = g.slice_positions_mm[np.array(indices)[k]]
    places = places + np.outer(x * g.spacing_mm[2], g.direction[:, 0])
    return places + np.outer(y * g.spacing_mm[1], g.direction[:, 1])


def _places(seg: pydicom.Dataset, segment: int) -> np.ndarray:
    """LPS places of a segment's voxels, by the standard's formula (PS3.3 C.7.6.2.1.1) alone."""
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    frames = bits[: seg.NumberOfFrames * seg.Rows * seg.Columns].reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    found = []
    for own, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber != segment:
            continue
        turn = (own if "PlaneOrientationSequence" in own else shared).PlaneOrientationSequence[0]
        row, column = np.array(turn.ImageOrientationPatient, float).reshape(2, 3)
        down, right = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
        corner = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        r, c = np.nonzero(frame)
        found.append(corner + np.outer(c * right, row) + np.outer(r * down, column))
    return np.concatenate(found)


def _sorted(places: np.ndarray) -> np.ndarray:
    rounded = np.round(places, 2)
    return rounded[np.lexsort(rounded.T)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SERIES)
def test_masks_lie_on_the_right_pixels(name: str, tmp_path: Path) -> None:
    study = read_study(SERIES[name](tmp_path))
    indices, labels = _blobs(study)
    seg = make_seg(study.images, indices, labels, MODELS)
    path = tmp_path / "seg.dcm"
    path.write_bytes(to_bytes(seg))
    again = pydicom.dcmread(path)
    for value in (1, 2, 3, 4):
        difference = _sorted(_truth(study, indices, labels, value)) - _sorted(_places(again, value))
        assert np.abs(difference).max() < 0.05, value
    uids = {i.sop_uid for k, i in enumerate(study.images) if k in indices}
    referred = {
        image.ReferencedSOPInstanceUID
        for own in again.PerFrameFunctionalGroupsSequence
        for derived in own.DerivationImageSequence
        for image in derived.SourceImageSequence
    }
    assert referred == uids
    read = highdicom.seg.segread(path)
    assert read.number_of_segments == 4
    assert _errors_of("dciodvfy", path) == []
    assert _errors_of("dcmdump", path) == []


def _errors_of(tool: str, path: Path) -> list[str]:
    program = shutil.which(tool)
    assert program, f"{tool} is not installed; see docs/development.md"
    done = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace")
    lines = (done.stderr + (done.stdout if tool == "dciodvfy" else "")).splitlines()
    return [line for line in lines if line.startswith(("Error", "E:"))]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_labelmap_segmentation_holds_the_same_mask(tmp_path: Path) -> None:
    study = read_study(series(tmp_path))
    indices, labels = _blobs(study)
    seg = make_seg(study.images, indices, labels, MODELS, kind="labelmap")
    frames = seg.pixel_array
    assert sorted(int((frames == v).sum()) for v in (1, 2, 3, 4)) == sorted(
        int((labels == v).sum()) for v in (1, 2, 3, 4)
    )
    with pytest.raises(SettingError, match="kinds are"):
        make_seg(study.images, indices, labels, MODELS, kind="fractional")
    with pytest.raises(SettingError, match="empty"):
        make_seg(study.images, indices, np.zeros_like(labels), MODELS)


@cache
def _analysed() -> StudyResult:
    return analyze(phantom_series(abdomen()), levels=("L3", "L4"))


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    _analysed().write(folder)
    return folder


def _walk(
    items: pydicom.Sequence, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], pydicom.Dataset]]:
    found = []
    for item in items:
        name = item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        here = (*path, name)
        found.append((here, item))
        found += _walk(item.get("ContentSequence", []), here)
    return found


def test_report_holds_the_numbers_of_the_result(objects: Path) -> None:
    path = objects / "measurements_sr.dcm"
    assert _errors_of("dciodvfy", path) == []
    assert _errors_of("dsrdump", path) == []
    sr = highdicom.sr.srread(path)
    groups = sr.content.get_volumetric_roi_measurement_groups()
    record = _analysed().record
    found = {}
    for group in groups:
        level = group.finding_sites[0].value.meaning.split()[0]
        kind = group.finding_type.meaning
        values = {
            (m.name.value, m.derivation.value if m.derivation else ""): m.value
            for m in group.get_measurements()
        }
        found[level, kind] = values
    for measured in record.measurements:
        muscle = measured.tissues["muscle"]
        values = found[measured.level, "Skeletal muscle"]
        assert values["42798000", "373098007"] == pytest.approx(muscle.area_cm2, abs=1e-3)
        assert values["112031", "373098007"] == pytest.approx(muscle.mean_hu, abs=1e-2)
        assert values["112031", "386136009"] == pytest.approx(muscle.sd_hu, abs=1e-2)
    written = pydicom.dcmread(path)
    items = _walk(written.ContentSequence)
    numbers = {
        p[-1]: float(i.MeasuredValueSequence[0].NumericValue)
        for p, i in items
        if "MeasuredValueSequence" in i
    }
    index = next(i for i in record.indices if i.name == "SMA_Ht2" and i.level == "L4")
    assert numbers["Skeletal muscle area divided by height squared"] == pytest.approx(index.value, abs=1e-3)
    classes = [i.ConceptCodeSequence[0].CodeValue for p, i in items if p[-1].startswith("Class of muscle")]
    assert len(classes) == len(record.diagnoses)


def test_report_refers_to_the_masks_and_the_images(objects: Path) -> None:
    seg = pydicom.dcmread(objects / "segmentation.dcm")
    sr = pydicom.dcmread(objects / "measurements_sr.dcm")
    images = {i.sop_uid for i in _analysed().images}
    referred = set()
    for one in sr.CurrentRequestedProcedureEvidenceSequence:
        for beside in one.ReferencedSeriesSequence:
            referred |= {i.ReferencedSOPInstanceUID for i in beside.ReferencedSOPSequence}
    assert seg.SOPInstanceUID in referred
    assert referred - {seg.SOPInstanceUID} <= images
    assert seg.StudyInstanceUID == sr.StudyInstanceUID == _analysed().images[0].study_uid
    assert seg.FrameOfReferenceUID == _analysed().images[0].file_header.FrameOfReferenceUID
    assert sr.PatientID == "PHANTOM"


def test_masks_of_seg_and_nifti_are_equal(objects: Path) -> None:
    image = nib.load(objects / "segmentation.nii.gz")
    data = np.asanyarray(image.dataobj)
    seg = pydicom.dcmread(objects / "segmentation.dcm")
    for value in (1, 2, 3):
        voxels = np.argwhere(data == value)
        ras = nib.affines.apply_affine(image.affine, voxels)
        assert np.abs(_sorted(ras * [-1, -1, 1]) - _sorted(_places(seg, value))).max() < 0.05


def test_no_segmentation_without_uids(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "segmentation.dcm").write_bytes(b"of an earlier run")
    result = analyze(series(tmp_path, "empty-uids"), assume_level="L3")
    result.write(folder)
    assert not (folder / "segmentation.dcm").exists()
    assert not (folder / "measurements_sr.dcm").exists()
    assert "uid_missing" in [f.code for f in result.record.flags]


def test_korean_names_stay_readable(tmp_path: Path) -> None:
    study = read_study(edited(tmp_path, korean))
    result = analyze(tmp_path / "ct", assume_level="L3")
    seg, sr = study_objects(result.record, study.images, result.mask)
    name = str(pydicom.dcmread(sorted((tmp_path / "ct").glob("*.dcm"))[0]).PatientName)
    for n, content in enumerate((seg, sr)):
        assert content is not None
        path = tmp_path / f"object{n}.dcm"
        path.write_bytes(content)
        assert str(pydicom.dcmread(path).PatientName) == name
        assert _errors_of("dciodvfy", path) == []


def test_nothing_measured_still_gives_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    write_dicom_series(small_phantom(top_level="L2", bottom_level="L2"), folder, SeriesSettings())
    result = analyze(folder)
    seg, sr = study_objects(result.record, result.images, None)
    assert seg is None
    path = tmp_path / "sr.dcm"
    path.write_bytes(sr)
    assert _errors_of("dciodvfy", path) == []


def test_codes_are_complete_and_short_enough() -> None:
    rows = all_codes()
    assert len({r["key"] for r in rows}) == len(rows)
    for row in rows:
        assert 0 < len(row["value"]) <= 16
        assert 0 < len(row["meaning"]) <= 64
        assert len(row["scheme"]) <= 16
        assert (row["scheme"] == "99SARCOSCOPE") == (row["certainty"] == "private")


@pytest.mark.parametrize("slices", [1, 2, 3, 4])
def test_a_few_slices_without_a_level_are_written_too(tmp_path: Path, slices: int) -> None:
    phantom = make_phantom(
        PhantomSettings(seed=3, matrix=96, pixel_mm=4.2, top_level="L2", bottom_level="L4")
    )
    for path in sorted(write_dicom_series(phantom, tmp_path / "in", SeriesSettings()))[slices:]:
        path.unlink()
    result = analyze(tmp_path / "in")
    assert not result.record.measurements
    result.write(tmp_path / "out")
    report = pydicom.dcmread(tmp_path / "out" / "measurements_sr.dcm")
    assert report.Modality == "SR"
