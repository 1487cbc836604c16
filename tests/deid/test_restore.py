"""The way back to the clinical PACS: the right patient, the very UIDs, and nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from sarcoscope import analyze
from sarcoscope.deid.folder import deidentify_folder
from sarcoscope.deid.mapping import FileMapping, Identity
from sarcoscope.deid.restore import Target, check_same, restore
from sarcoscope.dicomnet.peer import refuse_pseudonyms
from sarcoscope.errors import IdentityError
from tests.exports.test_dicom import _errors_of
from tests.imaging.kinds import edited


def _change(image: Dataset, n: int) -> None:
    image.PatientID, image.PatientName, image.PatientBirthDate = "00123", "Hong^Gildong", "19500312"
    image.AccessionNumber, image.StudyTime = "ACC9", "235500"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("restore")
    edited(root, _change)
    with FileMapping(root / "map.sqlite") as mapping:
        deidentify_folder(root / "ct", root / "out", mapping)
    analyze(root / "out", assume_level="L3").write(root / "result")
    return root


def test_objects_refer_to_the_original_images_again(place: Path) -> None:
    originals = [pydicom.dcmread(p, stop_before_pixels=True) for p in (place / "ct").glob("*.dcm")]
    target = Target.of(originals[0])
    with FileMapping(place / "map.sqlite") as mapping:
        seg = restore(pydicom.dcmread(place / "result/segmentation.dcm"), mapping, target)
        image = restore(pydicom.dcmread(sorted((place / "out").rglob("1.dcm"))[0]), mapping, target)
        log = mapping.audit()
    first = next(o for o in originals if o.SOPInstanceUID == image.SOPInstanceUID)
    for keyword in (
        "StudyDate",
        "StudyTime",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
        "AcquisitionDate",
    ):
        assert image.get(keyword) == first.get(keyword), keyword
    assert (str(seg.PatientName), seg.PatientID, seg.PatientBirthDate) == (
        "Hong^Gildong",
        "00123",
        "19500312",
    )
    assert (seg.StudyDate, seg.AccessionNumber) == (first.StudyDate, "ACC9")
    assert "PatientIdentityRemoved" not in seg
    referred = {
        i.ReferencedSOPInstanceUID for s in seg.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence
    }
    assert referred <= {o.SOPInstanceUID for o in originals}
    assert [e["what"] for e in log] == ["restore", "restore"]


def test_command_and_validity(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sarcoscope.cli.main", "restore", str(place / "result")]
    command += ["--mapping", str(place / "map.sqlite"), "--out", str(tmp_path / "back")]
    target = sorted((place / "ct").glob("*.dcm"))[0]
    done = subprocess.run([*command, "--target", str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {p.name for p in (tmp_path / "back").iterdir()}
    assert names == {"segmentation.dcm", "measurements_sr.dcm", "report.dcm"}
    for name in names:
        assert _errors_of("dciodvfy", tmp_path / "back" / name) == []
    refuse_pseudonyms(list((tmp_path / "back").iterdir()))
    report = pydicom.dcmread(tmp_path / "back/report.dcm")
    assert report.EncapsulatedDocument[:5] == b"%PDF-"
    wrong = subprocess.run(
        [*command, "--name", "Hong Gildong", "--birth-date", "1950-03-13"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, "birth date does not agree" in wrong.stderr) == (2, True)
    nobody = subprocess.run(command, capture_output=True, text=True, check=False)
    assert nobody.returncode == 2


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target("Kim^Other", "19500312", "M"), "name"),
        (Target("Hong^Gildong", "19510312", "M"), "birth date"),
        (Target("Hong^Gildong", "19500312", "F"), "sex"),
        (Target("Hong^Gildong", "", ""), "Fewer than two"),
    ],
)
def test_another_person_is_refused(target: Target, error: str) -> None:
    identity = Identity("c", "1", name="Hong^Gildong=洪^吉童=홍^길동", sex="M", birth_date="19500312")
    with pytest.raises(IdentityError, match=error):
        check_same(identity, target)
    check_same(identity, Target("홍 길동", "1950-03-12", ""))


def test_an_unknown_pseudonym_is_refused(place: Path, tmp_path: Path) -> None:
    with (
        FileMapping(tmp_path / "other.sqlite") as mapping,
        pytest.raises(IdentityError, match="no pseudonym"),
    ):
        restore(pydicom.dcmread(place / "result/segmentation.dcm"), mapping, Target("Hong", "19500312", "M"))
