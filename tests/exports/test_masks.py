"""Masks of others on the CT's slices: SEG, RTSTRUCT and NIfTI, read, written, and written by other libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.sr.codedict import codes

from sarcoscope import analyze
from sarcoscope.errors import InputError, UnreadableError
from sarcoscope.exports.dicom_seg import make_seg
from sarcoscope.exports.rtstruct import make_rtstruct
from sarcoscope.exports.segmentation import write_segmentation
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.foreign_masks import read_mask, tissue_of_name
from sarcoscope.imaging.reader import ReadStudy, read_study
from sarcoscope.tissues import TissueMask
from tests.exports.test_dicom import MODELS, SERIES, _blobs, _errors_of
from tests.imaging.kinds import series

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _whole(study: ReadStudy, indices: list[int], labels: np.ndarray) -> np.ndarray:
    whole = np.zeros(study.volume.hu.shape, np.uint8)
    whole[indices] = labels
    return whole


def _with_hole(labels: np.ndarray) -> np.ndarray:
    labels = labels.copy()
    labels[0, 23:27, 20:30] = 0
    labels[0, 24, 24] = 1
    return labels


FORMS = [
    (name, kind)
    for name in SERIES
    for kind in ("seg", "labelmap", "rtstruct", "nifti")
    # NIfTI's slices are evenly spaced: it cannot hold a gap.
    if (name, kind) != ("gap", "nifti")
]


@pytest.mark.parametrize(("name", "kind"), FORMS)
def test_every_format_comes_back_pixel_for_pixel(name: str, kind: str, tmp_path: Path) -> None:
    study = read_study(SERIES[name](tmp_path))
    indices, labels = _blobs(study)
    labels = _with_hole(labels)
    path = tmp_path / ("mask.nii.gz" if kind == "nifti" else "mask.dcm")
    if kind == "nifti":
        write_segmentation(study.volume, TissueMask(tuple(indices), labels, labels > 0), path)
    elif kind == "rtstruct":
        path.write_bytes(to_bytes(make_rtstruct(study.images, study.volume.geometry, indices, labels)))
        assert _errors_of("dciodvfy", path) == []
    else:
        made = make_seg(study.images, indices, labels, MODELS, kind="binary" if kind == "seg" else kind)
        path.write_bytes(to_bytes(made))
    found = read_mask(path, study.volume)
    assert np.array_equal(found.labels, _whole(study, indices, labels))
    assert found.indices == tuple(indices)


def test_a_segmentation_that_another_library_wrote(tmp_path: Path) -> None:
    """highdicom on the images in stored order, with segments that we do not number so."""
    folder = series(tmp_path, "feet-first")
    study = read_study(folder)
    images = [pydicom.dcmread(p) for p in sorted(folder.glob("*.dcm"))]
    pixels = np.zeros((len(images), images[0].Rows, images[0].Columns, 2), np.uint8)
    pixels[3, 10:20, 30:50, 0] = 1
    pixels[5, 40:44, 60:70, 1] = 1
    described = [
        highdicom.seg.SegmentDescription(1, "Liver", codes.SCT.Tissue, codes.SCT.Liver, "MANUAL"),
        highdicom.seg.SegmentDescription(2, "SMA", codes.SCT.Tissue, codes.SCT.Muscle, "MANUAL"),
    ]
    seg = highdicom.seg.Segmentation(
        images, pixels, "BINARY", described, highdicom.UID(), 7, highdicom.UID(), 1, "M", "N", "1", "2"
    )
    path = tmp_path / "seg.dcm"
    seg.save_as(path)
    found = read_mask(path, study.volume)
    assert found.ignored == ("Liver",)
    index = next(k for k, i in enumerate(study.images) if i.sop_uid == images[5].SOPInstanceUID)
    assert found.indices == (index,)
    y, x = np.nonzero(found.labels[index])
    # Feet first mirrors the columns.
    assert (y.min(), y.max(), x.min(), x.max()) == (40, 43, 95 - 69, 95 - 60)
    by_number = read_mask(path, study.volume, {"vat": 1})
    assert set(np.unique(by_number.labels)) == {0, 3}


def test_a_mask_that_simpleitk_wrote_on_another_grid(tmp_path: Path) -> None:
    study = read_study(series(tmp_path))
    g = study.volume.geometry
    coarse = SimpleITK.Image(48, 48, 14, SimpleITK.sitkUInt8)
    coarse.SetSpacing((2 * g.spacing_mm[2], 2 * g.spacing_mm[1], g.spacing_mm[0]))
    half = np.array([g.spacing_mm[2], g.spacing_mm[1], 0.0]) / 2
    coarse.SetOrigin(tuple(np.array(g.origin_mm) + half))
    array = np.zeros((14, 48, 48), np.uint8)
    array[4, 10:20, 5:9] = 1
    filled = SimpleITK.GetImageFromArray(array)
    filled.CopyInformation(coarse)
    SimpleITK.WriteImage(filled, str(tmp_path / "mask.nii.gz"))
    found = read_mask(tmp_path / "mask.nii.gz", study.volume)
    expected = np.zeros((96, 96), np.uint8)
    expected[20:40, 10:18] = 1
    assert np.array_equal(found.labels[4], expected)


def test_analysis_measures_another_readers_mask(tmp_path: Path) -> None:
    folder = series(tmp_path)
    study = read_study(folder)
    labels = np.zeros((14, 96, 96), np.uint8)
    labels[:, 30:50, 30:40] = 1
    path = tmp_path / "seg.dcm"
    path.write_bytes(to_bytes(make_seg(study.images, list(range(14)), labels, MODELS)))
    result = analyze(folder, assume_level="L3", tissues_from=path)
    muscle = result.record.measurements[0].tissues["muscle"]
    assert muscle.area_cm2 == pytest.approx(200 * study.volume.geometry.pixel_area_mm2 / 100)
    assert result.record.provenance.models[-1][:2] == ("DICOM SEG", "seg.dcm")
    few = make_seg(study.images, [3], labels[:1], MODELS)
    path.write_bytes(to_bytes(few))
    with pytest.raises(InputError, match="no label on 13 of the 14"):
        analyze(folder, assume_level="L3", tissues_from=path)
    one = analyze(folder, assume_level="L3", protocol="slice", slice_index=3, tissues_from=path)
    assert one.record.measurements[0].indices == (3,)


@pytest.mark.parametrize(
    ("content", "error"), [(b"nothing", "no mask that can be read"), (b"", "no mask that can be read")]
)
def test_what_is_no_mask_gets_a_sentence(content: bytes, error: str, tmp_path: Path) -> None:
    study = read_study(series(tmp_path))
    path = tmp_path / "mask.dcm"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=error):
        read_mask(path, study.volume)
    with pytest.raises(InputError, match="neither"):
        read_mask(sorted((tmp_path / "ct").glob("*.dcm"))[0], study.volume)
    empty = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    nib.save(empty, tmp_path / "empty.nii.gz")
    with pytest.raises(InputError, match="lies on the CT"):
        read_mask(tmp_path / "empty.nii.gz", study.volume)


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("Skeletal muscle", "muscle"),
        ("SMA", "muscle"),
        ("Subcutaneous fat", "sat"),
        ("VAT", "vat"),
        ("visceral_fat", "vat"),
        ("Intermuscular adipose tissue", "imat"),
        ("Liver", None),
        ("", None),
    ],
)
def test_names_of_tissues(name: str, tissue: str | None) -> None:
    assert tissue_of_name(name) == tissue


def test_command(tmp_path: Path) -> None:
    folder = series(tmp_path)
    study = read_study(folder)
    indices, labels = _blobs(study)
    seg = tmp_path / "seg.dcm"
    seg.write_bytes(to_bytes(make_seg(study.images, indices, labels, MODELS)))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sarcoscope.cli.main", "masks", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(str(seg), "--to", "rtstruct", "--out", str(tmp_path / "rt.dcm"))
    assert done.returncode == 0, done.stderr
    done = run(str(tmp_path / "rt.dcm"), "--to", "nifti", "--out", str(tmp_path / "m.nii.gz"))
    assert done.returncode == 0, done.stderr
    assert np.array_equal(
        read_mask(tmp_path / "m.nii.gz", study.volume).labels, _whole(study, indices, labels)
    )
    assert run(str(seg), "--to", "png", "--out", "x").returncode == 2
    assert run(str(seg), "--values", "bone=1", "--out", "x").returncode == 2


def test_results_for_sharing_name_nobody(tmp_path: Path) -> None:
    folder = series(tmp_path)
    command = [
        sys.executable,
        "-m",
        "sarcoscope.cli.main",
        "analyze",
        str(folder),
        "--out",
        str(tmp_path / "r"),
    ]
    command += ["--assume-level", "L3", "--deidentified", "--mapping"]
    done = subprocess.run([*command, str(tmp_path / "m.sqlite")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seg = pydicom.dcmread(tmp_path / "r/segmentation.dcm")
    assert seg.PatientID.startswith("SC")
    assert seg.PatientIdentityRemoved == "YES"
    assert b"PHANTOM" not in (tmp_path / "r/measurements_sr.dcm").read_bytes()
    inside = subprocess.run(
        [*command, str(tmp_path / "r/m.sqlite")], capture_output=True, text=True, check=False
    )
    assert inside.returncode == 2
