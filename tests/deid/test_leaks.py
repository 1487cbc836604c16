"""No marker comes through, whatever the attribute, the character set and the options."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.engine import Engine
from sarcoscope.deid.folder import deidentify_folder
from sarcoscope.deid.mapping import FileMapping, Identity, Person
from sarcoscope.deid.profile import Profile, default_options
from sarcoscope.deid.words import cleaned, identifying_words, names_somebody
from sarcoscope.study import analyze
from tests.deid.leaks import check_leaks, found_in
from tests.deid.test_actions import Numbered
from tests.imaging.kinds import edited


@pytest.mark.parametrize("part", range(4))
def test_no_leak_in_a_sample(part: int, ct_data: Path) -> None:
    """The full run of 2,000 is `python -m tests.soak`."""
    assert check_leaks(30, seed=100 + part, ct_data=ct_data) == 30


def test_no_leak_with_cleaning_options(ct_data: Path) -> None:
    more = {"clean_graphics", "clean_structured_content", "retain_safe_private", "clean_pixel_data"}
    assert check_leaks(8, seed=7, ct_data=ct_data, options=default_options() | more) == 8


def test_found_in_can_fail() -> None:
    assert found_in("환자 홍길동".encode("euc_kr"), ["홍길동"]) == ["홍길동 (euc_kr)"]
    assert found_in(b"no", ["홍길동"]) == []


def _named(image: Dataset, _: int) -> None:
    image.PatientName, image.PatientID = "LEAKFAMILY^GIVENLEAK", "ID99887766"
    image.StudyDescription = "CT abdomen of LEAKFAMILY"
    image.InstitutionName, image.StationName = "LEAKHOSPITAL", "LEAKSTATION"
    image.PatientComments = "call GIVENLEAK at 010-9988-7766"
    image.SeriesDescription = "Portal venous 5.0 mm LEAKFAMILY"


def test_nothing_in_the_results_of_a_deidentified_study(tmp_path: Path) -> None:
    source = edited(tmp_path, _named)
    with FileMapping(tmp_path / "map.sqlite") as mapping:
        deidentify_folder(source, tmp_path / "out", mapping)
    result = analyze(tmp_path / "out", assume_level="L3")
    assert result.record.series.phase == "portal"
    result.write(tmp_path / "result")
    files = [p for p in (tmp_path / "result").iterdir()]
    assert {"segmentation.dcm", "measurements_sr.dcm", "report.pdf"} <= {p.name for p in files}
    markers = ["LEAKFAMILY", "GIVENLEAK", "ID99887766", "LEAKHOSPITAL", "LEAKSTATION", "9988"]
    for path in [*files, *(tmp_path / "out").rglob("*.*")]:
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".pdf":
                from pypdf import PdfReader

                content += "".join(p.extract_text() for p in PdfReader(path).pages).encode()
            assert found_in(content, markers[:5]) == [], path.name
    for name in ("segmentation.dcm", "measurements_sr.dcm"):
        made = pydicom.dcmread(tmp_path / "result" / name)
        assert made.PatientIdentityRemoved == "YES"
        assert len(made.DeidentificationMethodCodeSequence) == 4


def test_names_in_other_texts_are_found_in_any_writing() -> None:
    words = identifying_words(["Kim^Chul-su=金^哲秀=김^철수", "19500312", "00123456"])
    assert names_somebody("Report for KIM", words)
    assert names_somebody("환자 김철수님 복부", words)
    assert names_somebody("born 1950-03-12", words)
    assert names_somebody("acc/00123456/7", words)
    assert not names_somebody("Kimberley kernel", words)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Abdomen portal venous 5.0 mm Br40f", "Abdomen portal venous 5.0 mm Br40f"),
        ("CT ABD+PEL, 3mm, Dr. Smith ext 4711", "CT ABD 3mm"),
        ("복부 조영 동맥기 홍길동", "복부 조영 동맥기"),
        ("2024-05-11 delayed 5 min", "delayed 5 min"),
        ("Kim abdomen", "abdomen"),
        ("", ""),
    ],
)
def test_descriptions_keep_harmless_words(text: str, kept: str) -> None:
    assert cleaned(text) == kept


def test_a_name_that_is_a_harmless_word_is_not_kept() -> None:
    assert cleaned("Chest of patient Head", identifying_words(["Head^Chest"])) == "of"


def _engine(*options: str) -> Engine:
    return Engine(Profile(frozenset(options)), Numbered())


def _person(days: int = -100) -> Person:
    return Person("SCBBBBBBBBBB", DateShift(days, 0), Identity("c", "p"))


def _image() -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    one.StudyDate, one.PatientBirthDate = "20240311", "19500312"
    one.set_original_encoding(False, True)
    return one


def test_age_is_computed_before_the_birth_date_goes() -> None:
    out, _ = _engine("retain_patient_characteristics").deidentify(_image(), _person())
    assert out.PatientAge == "073Y"
    assert out.PatientBirthDate == ""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_characteristics_that_are_none_are_emptied() -> None:
    one = _image()
    one.PatientSex, one.PatientWeight = "KIM", "70.5"
    one["PatientAge"] = pydicom.DataElement(0x00101010, "AS", "KIM7")
    out, _ = _engine("retain_patient_characteristics").deidentify(one, _person())
    assert (out.PatientSex, out.PatientAge, float(out.PatientWeight)) == ("", "", 70.5)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("81.6466266", "81.6466"),
        ("+70", "70"),
        ("7.0E1", "70"),
        ("8001011234567", ""),
        ("1e9", ""),
        ("0", "0"),
    ],
)
def test_long_numbers_are_rounded_and_hide_nothing(written: str, kept: str) -> None:
    one = _image()
    one["PatientWeight"] = pydicom.DataElement(0x00101030, "DS", written)
    out, _ = _engine("retain_patient_characteristics").deidentify(one, _person())
    assert str(out["PatientWeight"].value if out.get("PatientWeight") is not None else "") == kept


def test_uids_of_the_standards_root_are_kept_only_where_they_are_known() -> None:
    one = _image()
    one.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"
    one.ConcatenationUID = "1.2.840.10008.77.4711"
    out, _ = _engine().deidentify(one, _person())
    assert out.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert out.ConcatenationUID.startswith("2.25.")


def test_age_goes_without_the_option() -> None:
    one = _image()
    one.PatientAge, one.PatientSex = "073Y", "M"
    out, _ = _engine().deidentify(one, _person())
    assert "PatientAge" not in out
    assert out.PatientSex == ""
    assert out.LongitudinalTemporalInformationModified == "REMOVED"


def test_references_stay_intact_and_standard_uids_stay() -> None:
    one = _image()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.SOPClassUID, "1.2.3"
    item.TextValue = "Kim"
    one.SourceImageSequence = [item]
    out, _ = _engine("modified_dates").deidentify(one, _person())
    reference = out.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == out.SOPInstanceUID != "1.2.3"
    assert reference.ReferencedSOPClassUID == one.SOPClassUID
    assert "TextValue" not in reference
    assert out.file_meta.MediaStorageSOPInstanceUID == out.SOPInstanceUID


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_text_where_a_sequence_of_references_belongs_is_removed() -> None:
    one = _image()
    one[0x00081140] = pydicom.DataElement(0x00081140, "LO", "Kim")
    out, _ = _engine("modified_dates").deidentify(one, _person())
    assert 0x00081140 not in out


def test_safe_private_attributes_stay_on_request_only() -> None:
    one = _image()
    block = one.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x23, "DS", "39.37")
    block.add_new(0x24, "LO", "Kim in a number's place")
    block.add_new(0x30, "LO", "secret")
    out, _ = _engine("retain_safe_private").deidentify(one, _person())
    kept = out.private_block(0x0019, "GEMS_ACQU_01")
    assert kept[0x23].value == 39.37
    assert 0x24 not in kept
    assert 0x30 not in kept
    plain, _ = _engine().deidentify(one, _person())
    assert not any(e.tag.is_private for e in plain)


def test_source_is_not_changed() -> None:
    one = _image()
    before = one.to_json()
    _engine("modified_dates").deidentify(one, _person())
    assert one.to_json() == before


def test_device_institution_and_uids_stay_on_request() -> None:
    one = _image()
    one.InstitutionName, one.StationName, one.DeviceSerialNumber = "Here", "CT1", "77"
    kept, _ = _engine("retain_uids", "retain_device_identity", "retain_institution_identity").deidentify(
        one, _person()
    )
    assert (kept.InstitutionName, kept.StationName, kept.DeviceSerialNumber) == ("Here", "CT1", "77")
    assert kept.SOPInstanceUID == "1.2.3"
    codes = {c.CodeValue for c in kept.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113109", "113110", "113112"}
