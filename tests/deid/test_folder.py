"""Folders as hospitals give them: mixed, doubtful, contradictory, without UIDs."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.folder import Choices, DeidReport, deidentify_folder
from sarcoscope.deid.mapping import KEY_VARIABLE, FileMapping, Identity
from sarcoscope.deid.pixel_text import find_text, series_text
from sarcoscope.deid.profile import Profile, default_options
from sarcoscope.errors import MappingError, NotFoundError, SettingError
from sarcoscope.exports.dicom_seg import make_seg
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.foreign_masks import read_mask
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.reader import read_study
from sarcoscope.study.faces import head_and_neck
from tests.conftest import REPOSITORY
from tests.imaging.kinds import edited, second_series, series

FONT = REPOSITORY / "src/sarcoscope/language/fonts/Pretendard-Bold.ttf"


def _run(source: Path, root: Path, **choices: object) -> DeidReport:
    with FileMapping(root / "map.sqlite") as mapping:
        return deidentify_folder(source, root / "out", mapping, Choices(**choices))  # type: ignore[arg-type]


def _written(root: Path) -> list[Path]:
    return sorted((root / "out").rglob("*.dcm"))


def test_folder_names_and_pixels(tmp_path: Path) -> None:
    source = series(tmp_path)
    report = _run(source, tmp_path)
    pattern = re.compile(r"SC[A-Z2-9]{10}/2\.25\.\d+/2\.25\.\d+/\d+\.dcm")
    assert all(pattern.fullmatch(str(p.relative_to(tmp_path / "out"))) for p in _written(tmp_path))
    before, after = read_study(source), read_study(tmp_path / "out")
    assert np.array_equal(before.volume.hu, after.volume.hu)
    assert np.allclose(before.volume.geometry.slice_positions_mm, after.volume.geometry.slice_positions_mm)
    assert after.header_body.sex == before.header_body.sex
    assert report.written == 14
    told = json.loads((tmp_path / "out/report.json").read_text(encoding="utf-8"))
    assert told["images"] == 14
    assert {a["name"]: a["action"] for a in told["studies"][0]["attributes"]}["Patient ID"] == "pseudonym"


@pytest.mark.parametrize("syntax", ["implicit", "deflated", "rle", "jpeg-ls", "jpeg2000", "big-endian"])
def test_every_transfer_syntax_keeps_its_pixels(syntax: str, tmp_path: Path) -> None:
    source = series(tmp_path, syntax=syntax)
    _run(source, tmp_path)
    assert np.array_equal(read_study(source).volume.hu, read_study(tmp_path / "out").volume.hu)


def test_a_second_run_gives_the_same_files(tmp_path: Path) -> None:
    source = series(tmp_path)
    _run(source, tmp_path)
    first = {p: p.read_bytes() for p in _written(tmp_path)}
    _run(source, tmp_path)
    assert {p: p.read_bytes() for p in _written(tmp_path)} == first


def test_projects_and_centres_have_pseudonyms_of_their_own(tmp_path: Path) -> None:
    with FileMapping(tmp_path / "m.sqlite") as one, FileMapping(tmp_path / "m.sqlite", project="two") as two:
        people = {
            one.person(Identity("seoul", "1")).pseudonym,
            one.person(Identity("busan", "1")).pseudonym,
            one.person(Identity("seoul", "1", issuer="other")).pseudonym,
            two.person(Identity("seoul", "1")).pseudonym,
        }
        assert len(people) == 4
        assert one.person(Identity("Seoul", " 1 ")).pseudonym in people
        assert one.uid("1.2.3") != two.uid("1.2.3")
    with FileMapping(tmp_path / "m.sqlite") as again:
        assert again.person(Identity("seoul", "1")).pseudonym in people


def test_the_mapping_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.sqlite"
    with FileMapping(path) as mapping:
        person = mapping.person(Identity("seoul", "ID777", name="Hong^Gildong", birth_date="19500312"))
        new = mapping.uid("1.2.3.4.5")
        mapping.record("link", {"rows": 1})
    content = path.read_bytes()
    for text in (b"ID777", b"Hong", b"19500312", b"1.2.3.4.5", b"seoul"):
        assert text not in content
    for file in (path, tmp_path / "m.sqlite.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with FileMapping(path, create=False) as mapping:
        known = mapping.person_of(person.pseudonym)
        assert known is not None
        assert known.identity.name == "Hong^Gildong"
        assert known.shift == person.shift
        assert mapping.original_uid(new) == "1.2.3.4.5"
        assert mapping.audit()[0]["rows"] == 1
    shutil.copy(tmp_path / "m.sqlite.key", tmp_path / "kept.key")
    (tmp_path / "m.sqlite.key").write_text("A" * 43 + "=")
    with pytest.raises(MappingError, match="does not belong"):
        FileMapping(path)
    (tmp_path / "m.sqlite.key").unlink()
    with pytest.raises(MappingError, match="missing"):
        FileMapping(path)
    monkeypatch.setenv(KEY_VARIABLE, (tmp_path / "kept.key").read_text())
    FileMapping(path).close()
    (tmp_path / "x.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(MappingError, match="no mapping"):
        FileMapping(tmp_path / "x.sqlite")


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with FileMapping(tmp_path / "m.sqlite") as mapping:

        def fail() -> None:
            with mapping.transaction():
                mapping.person(Identity("c", "1"))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        database = sqlite3.connect(tmp_path / "m.sqlite")
        assert database.execute("SELECT count(*) FROM persons").fetchone() == (0,)
        database.close()


def test_mapping_never_lies_among_the_results(tmp_path: Path) -> None:
    source = series(tmp_path)
    with (
        FileMapping(tmp_path / "out" / "m.sqlite") as mapping,
        pytest.raises(SettingError, match="must not lie"),
    ):
        deidentify_folder(source, tmp_path / "out", mapping)


def test_results_quarantine_and_input_lie_apart(tmp_path: Path) -> None:
    source = series(tmp_path)
    with pytest.raises(SettingError, match="quarantine"):
        _run(source, tmp_path, quarantine=tmp_path / "out" / "aside")
    with FileMapping(tmp_path / "m2.sqlite") as mapping, pytest.raises(SettingError, match="that is read"):
        deidentify_folder(source, source / "out", mapping)


def test_numbers_and_codes_are_not_taken_for_names(tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        image.PatientID, image.PatientName = "209", "HFS^Axial"

    source = edited(tmp_path, change)
    _run(source, tmp_path)
    before, after = read_study(source).volume, read_study(tmp_path / "out").volume
    assert np.allclose(before.geometry.slice_positions_mm, after.geometry.slice_positions_mm)
    assert pydicom.dcmread(_written(tmp_path)[0]).PhotometricInterpretation == "MONOCHROME2"


def test_masks_still_refer_to_their_images(tmp_path: Path) -> None:
    source = series(tmp_path)
    study = read_study(source)
    labels = np.zeros((2, 96, 96), np.uint8)
    labels[:, 20:30, 40:50] = 1
    seg = make_seg(study.images, [3, 4], labels, ())
    (source / "seg.dcm").write_bytes(to_bytes(seg))
    _run(source, tmp_path)
    objects = [pydicom.dcmread(p) for p in _written(tmp_path)]
    images = {o.SOPInstanceUID for o in objects if o.Modality == "CT"}
    found = next(o for o in objects if o.Modality == "SEG")
    referred = {
        s.ReferencedSOPInstanceUID
        for f in found.PerFrameFunctionalGroupsSequence
        for d in f.DerivationImageSequence
        for s in d.SourceImageSequence
    }
    assert len(referred) == 2
    assert referred <= images
    path = next(p for p in _written(tmp_path) if pydicom.dcmread(p).Modality == "SEG")
    after = read_study(tmp_path / "out").volume
    assert np.array_equal(read_mask(path, after).labels[[3, 4]], labels)


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    report = _run(series(tmp_path), tmp_path, dry_run=True)
    assert report.written == 14
    assert not (tmp_path / "out").exists()


def test_mixed_people_are_separated(tmp_path: Path) -> None:
    report = _run(series(tmp_path, "second-patient", "junk-files"), tmp_path)
    assert sorted(sum(s.series.values()) for s in report.studies) == [8, 14]
    assert len({s.pseudonym for s in report.studies}) == 2
    assert report.other_files == 3


def test_zip_and_two_series(tmp_path: Path) -> None:
    folder = second_series(tmp_path, lambda image, n: None)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"KIM/{path.name}")
    report = _run(tmp_path / "all.zip", tmp_path)
    assert list(report.studies[0].series.values()) == [14, 14]


def test_contradicting_identity_in_one_study_is_refused(tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        image.PatientBirthDate = "19500101" if n else "19610101"

    report = _run(edited(tmp_path, change), tmp_path)
    assert report.written == 0
    assert report.quarantined == {"identity_conflict": 14}
    assert report.refused_studies == 1
    assert _written(tmp_path) == []


def test_a_number_that_is_known_as_somebody_else_is_refused(tmp_path: Path) -> None:
    def born(year: str):  # type: ignore[no-untyped-def]
        def change(image: Dataset, n: int) -> None:
            image.PatientBirthDate = f"{year}0101"
            image.StudyInstanceUID = f"1.2.3.{year}"

        return change

    first = edited(tmp_path / "a", born("1950"))
    second = edited(tmp_path / "b", born("1961"))
    assert _run(first, tmp_path).written == 14
    assert _run(second, tmp_path).quarantined == {"identity_conflict": 14}
    assert _run(first, tmp_path).written == 14


def test_an_image_that_is_there_twice_is_taken_once(tmp_path: Path) -> None:
    source = series(tmp_path)
    shutil.copy(sorted(source.glob("*.dcm"))[2], source / "again.dcm")
    assert _run(source, tmp_path).written == 14 == len(_written(tmp_path))


def test_two_writings_of_one_name_are_one_person(tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        image.PatientName = "Phantom^Sarcoscope" if n else "PHANTOM SARCOSCOPE"

    assert _run(edited(tmp_path, change), tmp_path).written == 14


def test_empty_uids_are_replaced_and_grouped(tmp_path: Path) -> None:
    source = series(tmp_path, "empty-uids")
    report = _run(source, tmp_path)
    assert len(report.studies) == 1
    assert list(report.studies[0].series.values()) == [14]
    images = [pydicom.dcmread(p, stop_before_pixels=True) for p in _written(tmp_path)]
    assert len({i.SOPInstanceUID for i in images}) == 14
    assert len({(i.StudyInstanceUID, i.SeriesInstanceUID) for i in images}) == 1
    assert np.array_equal(read_study(source).volume.hu, read_study(tmp_path / "out").volume.hu)
    first = {p: p.read_bytes() for p in _written(tmp_path)}
    _run(source, tmp_path)
    assert {p: p.read_bytes() for p in _written(tmp_path)} == first


def test_real_study_with_empty_uids(tmp_path: Path, ct_data: Path) -> None:
    report = _run(ct_data / "dicom/tho_totalseg_dicom.zip", tmp_path)
    assert report.written == 20
    assert len(report.studies) == 1


def test_real_study_with_a_secondary_capture(tmp_path: Path, ct_data: Path) -> None:
    report = _run(ct_data / "dicom/abd_tcga_bc.zip", tmp_path)
    assert sum(report.quarantined.values()) == 1
    assert not report.studies[0].suspected_text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned_in"),
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "not_ct"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary_capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SeriesDescription": "Dose report"}, "dose_report"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "dose_report"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"ImagePositionPatient": None}, "no_geometry"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "structured_report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, "dose_report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "structured_report"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "embedded_document"),
    ],
)
def test_doubtful_objects_are_set_aside(values: dict[str, object], reason: str, tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        if n == 0:
            for keyword, value in values.items():
                setattr(image, keyword, value)

    report = _run(edited(tmp_path, change), tmp_path, quarantine=tmp_path / "aside")
    assert report.quarantined == {reason: 1}
    assert report.written == 13
    assert [p.parent.name for p in (tmp_path / "aside").rglob("*.dcm")] == [reason]


def test_derived_ct_with_geometry_is_ordinary(tmp_path: Path) -> None:
    report = _run(series(tmp_path, image_type=("DERIVED", "SECONDARY", "AXIAL")), tmp_path)
    assert report.written == 14


def _written_on(hu: np.ndarray, text: str, value: int, place: tuple[int, int], size: int = 18) -> np.ndarray:
    letters = Image.new("L", hu.shape[::-1])
    ImageDraw.Draw(letters).text(place, text, fill=255, font=ImageFont.truetype(FONT, size))
    share = np.asarray(letters, np.float64) / 255.0
    return np.rint(hu * (1 - share) + value * share).astype(np.int32)


def test_text_in_pictures_is_found(ct_data: Path) -> None:
    hu = read_nifti(ct_data / "volumes/abd_panccb.nii.gz").hu[::12]
    assert sum(find_text(plane) is not None for plane in hu) <= 1
    hit = [find_text(_written_on(p, "HONG GILDONG 00123456", 3071, (12, 14))) for p in hu]
    assert sum(h is not None for h in hit) >= 0.75 * len(hu)
    boxes = [find_text(_written_on(p, "홍길동 1950-03-12", 1200, (12, 14)), sensitive=True) for p in hu]
    assert series_text(boxes)
    assert not series_text([find_text(p, sensitive=True) for p in hu])


def test_series_with_text_is_set_aside(tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns)
        shown = _written_on(stored.astype(np.int32), "HONG 00123", 4000, (4, 4), size=12)
        image.PixelData = shown.astype(np.uint16).tobytes()

    report = _run(edited(tmp_path, change), tmp_path)
    assert report.quarantined == {"text_found": 14}


def test_clean_pixel_data_sets_single_pictures_aside(tmp_path: Path) -> None:
    def change(image: Dataset, n: int) -> None:
        if n == 5:
            stored = np.frombuffer(image.PixelData, np.uint16).reshape(image.Rows, image.Columns)
            shown = _written_on(stored.astype(np.int32), "HONG GIL", 4000, (4, 4), size=17)
            image.PixelData = shown.astype(np.uint16).tobytes()

    source = edited(tmp_path, change)
    assert _run(source, tmp_path).studies[0].suspected_text == 1
    strict = Profile(default_options() | {"clean_pixel_data"})
    report = _run(source, tmp_path, profile=strict)
    assert report.quarantined == {"text_found": 1}
    assert pydicom.dcmread(_written(tmp_path)[0]).BurnedInAnnotation == "NO"


def test_faces_are_left_out_on_request(tmp_path: Path, ct_data: Path) -> None:
    profile = Profile(default_options() | {"clean_faces"})
    report = _run(series(tmp_path), tmp_path, profile=profile, face_finder=head_and_neck)
    assert report.written == 14
    nobody = _run(series(tmp_path / "again"), tmp_path, profile=profile, face_finder=lambda paths: None)
    assert nobody.quarantined == {"face": 14}


def test_damaged_files_are_set_aside(tmp_path: Path) -> None:
    source = series(tmp_path)
    path = sorted(source.glob("*.dcm"))[2]
    path.write_bytes(path.read_bytes()[:200])
    report = _run(source, tmp_path)
    assert report.written + sum(report.quarantined.values()) + report.other_files == 14


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in ("empty", "missing"):
        with pytest.raises(NotFoundError):
            _run(tmp_path / source, tmp_path)


@pytest.mark.parametrize(
    ("method", "text", "expected"),
    [
        ("date", "20240311", "20240306"),
        ("date", "2024.03.11", "20240306"),
        ("date", "20240311-20240312", "20240306-20240307"),
        ("date", "20240230", ""),
        ("date", "unknown", ""),
        ("time", "235959.25", "000109"),
        ("time", "1200", "120110"),
        ("time", "9", ""),
        ("datetime", "20240311120000.000000+0900", "20240306120110"),
        ("datetime", "20240311", "20240306"),
        ("datetime", "2024", ""),
    ],
)
def test_shifts(method: str, text: str, expected: str) -> None:
    assert getattr(DateShift(-5, 70), method)(text) == expected
