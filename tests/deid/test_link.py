"""A synthetic hospital: after de-identification and the join, every study still finds its own labs."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import openpyxl
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.folder import Choices, deidentify_folder
from sarcoscope.deid.link import LinkSettings, add_person_ids, link_table, shift_text
from sarcoscope.deid.mapping import FileMapping, Identity
from sarcoscope.errors import InputError, SettingError
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series
from tests.imaging.kinds import small_phantom
from tests.tables import read_rows, write_rows

PEOPLE = 200


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 patients at two centres with equal numbers, one image each, and three labs around every study."""
    root = tmp_path_factory.mktemp("hospital")
    rng = random.Random(3)
    folder = root / "one"
    template = pydicom.dcmread(write_dicom_series(small_phantom(), folder, SeriesSettings())[0])
    labs: list[dict[str, object]] = []
    for n in range(PEOPLE):
        centre, number = ("seoul", "busan")[n % 2], f"{n // 2:08d}"
        studied = date(2015, 1, 1) + timedelta(days=rng.randrange(3000))
        template.PatientID, template.PatientName = number, f"Name{n}^Given"
        template.PatientBirthDate, template.AccessionNumber = "19500101", f"A{n}"
        template.StudyDate = template.SeriesDate = template.AcquisitionDate = studied.strftime("%Y%m%d")
        template.StudyTime = f"{rng.randrange(24):02d}3000"
        for k, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            setattr(template, keyword, f"1.2.3.{n}.{k}")
        template.file_meta.MediaStorageSOPInstanceUID = template.SOPInstanceUID
        place = root / centre / str(n)
        place.mkdir(parents=True)
        template.save_as(place / "image.dcm", enforce_file_format=True)
        near = rng.choice([-9, -4, -1, 0, 2, 6])
        for offset in (near, near - 40, near + 55):
            drawn = studied + timedelta(days=offset)
            labs.append(
                {
                    "patient_id": number,
                    "centre": centre,
                    "name": f"Name{n} Given",
                    "drawn": drawn.isoformat(),
                    "albumin": round(rng.uniform(2, 5), 2),
                    "true_days": offset,
                    "accession_number": f"A{n}",
                    "note": f"seen with Name{n}" if n % 50 == 0 else "fasting",
                }
            )
    rng.shuffle(labs)
    write_rows(root / "labs.csv", labs)
    with FileMapping(root / "map.sqlite") as mapping:
        for centre in ("seoul", "busan"):
            deidentify_folder(root / centre, root / "out" / centre, mapping, Choices(centre=centre))
    return root


def test_every_study_finds_its_own_labs(hospital: Path, tmp_path: Path) -> None:
    out = tmp_path / "linked.csv"
    with FileMapping(hospital / "map.sqlite") as mapping:
        report = link_table(hospital / "labs.csv", mapping, out)
    assert (report.rows, report.linked, len(report.people)) == (600, 600, PEOPLE)
    assert report.date_columns == ("drawn",)
    assert set(report.dropped_columns) == {"name", "accession_number"}
    assert report.named_cells == 12
    rows = read_rows(out)
    studies = {}
    for path in (hospital / "out").rglob("*.dcm"):
        image = pydicom.dcmread(path, stop_before_pixels=True)
        studies[image.PatientID] = date(
            int(image.StudyDate[:4]), int(image.StudyDate[4:6]), int(image.StudyDate[6:])
        )
    assert len(studies) == PEOPLE
    for pseudonym, studied in studies.items():
        own = [r for r in rows if r["pseudonym"] == pseudonym]
        days = {(date.fromisoformat(r["drawn"]) - studied).days: int(r["true_days"]) for r in own}
        assert len(own) == 3
        assert all(found == true for found, true in days.items())
    content = out.read_text(encoding="utf-8")
    assert "Name" not in content
    assert "00000042" not in content


def test_equal_numbers_of_two_centres_are_ambiguous_without_the_centre(
    hospital: Path, tmp_path: Path
) -> None:
    rows = [
        {"patient_id": "00000007", "drawn": "2020-01-05"},
        {"patient_id": "99999999", "drawn": "2020-01-05"},
    ]
    table = write_rows(tmp_path / "t.csv", rows)
    with FileMapping(hospital / "map.sqlite") as mapping:
        report = link_table(table, mapping, tmp_path / "o.csv")
        assert (report.linked, report.ambiguous, report.unmatched) == (0, 1, 1)
        assert [r["reason"] for r in read_rows(tmp_path / "o.unmatched.csv")] == [
            "several people have this number",
            "nobody has this number",
        ]
        assert link_table(table, mapping, tmp_path / "o.csv", LinkSettings(centre="busan")).linked == 1


def test_accession_and_person_id(hospital: Path, tmp_path: Path) -> None:
    with FileMapping(hospital / "map.sqlite") as mapping:
        wanted = mapping.person(Identity("busan", "00000000")).pseudonym
        table = write_rows(tmp_path / "t.csv", [{"Accession Number": "A1", "fev1": "2.1"}])
        link_table(table, mapping, tmp_path / "o.csv", LinkSettings("accession"))
        assert read_rows(tmp_path / "o.csv") == [{"pseudonym": wanted, "fev1": "2.1"}]
        ids = write_rows(
            tmp_path / "ids.csv", [{"patient_id": "00000000", "person_id": "P9", "centre": "busan"}]
        )
        assert add_person_ids(ids, mapping) == (1, 0)
        table = write_rows(tmp_path / "t.csv", [{"person_id": "p9", "fev1": "2.1"}])
        link_table(table, mapping, tmp_path / "o.csv", LinkSettings("person_id"))
        assert read_rows(tmp_path / "o.csv")[0]["pseudonym"] == wanted


def test_spreadsheets_and_korean_tables(hospital: Path, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Patient ID", "centre", "검사일", "성명", "결과"])
    sheet.append(["00000003", "seoul", date(2020, 5, 1), "홍길동", 3.5])
    book.save(tmp_path / "t.xlsx")
    (tmp_path / "t.csv").write_bytes(
        "patient_id,centre,검사일,성명,결과\n00000003,seoul,2020.05.01,홍길동,3.5\n".encode("cp949")
    )
    with FileMapping(hospital / "map.sqlite") as mapping:
        shift = mapping.person(Identity("seoul", "00000003")).shift
        expected = date(2020, 5, 1) + timedelta(days=shift.days)
        for name, text in (("t.xlsx", expected.isoformat()), ("t.csv", expected.strftime("%Y.%m.%d"))):
            link_table(tmp_path / name, mapping, tmp_path / "o.csv")
            row = read_rows(tmp_path / "o.csv")[0]
            assert row["검사일"] == text
            assert row["결과"] == "3.5"
            assert "성명" not in row


def test_zeros_that_a_spreadsheet_dropped(hospital: Path, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "t.csv", [{"patient_id": "3", "centre": "seoul", "x": "1"}])
    with FileMapping(hospital / "map.sqlite") as mapping:
        report = link_table(table, mapping, tmp_path / "o.csv")
    assert (report.linked, report.without_zeros) == (1, 1)


def test_cells_that_are_no_date_are_emptied(hospital: Path, tmp_path: Path) -> None:
    rows = [{"patient_id": "00000003", "seen": text} for text in ("2020-01-01", "soon", "2020-02-31", "")]
    with FileMapping(hospital / "map.sqlite") as mapping:
        report = link_table(
            write_rows(tmp_path / "t.csv", rows),
            mapping,
            tmp_path / "o.csv",
            LinkSettings(dates=("seen",), centre="seoul"),
        )
    assert report.doubtful_dates == 2
    assert [bool(r["seen"]) for r in read_rows(tmp_path / "o.csv")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "empty"),
        (b"a,a\n1,2\n", "two of one name"),
        (b"number,x\n1,2\n", "no column 'patient_id'"),
        (b"\xff\xfe\x00\xd8patient", "neither"),
        (b'patient_id,x\n"1,2\n', "damaged"),
    ],
)
def test_bad_tables_get_a_sentence(content: bytes, error: str, hospital: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with FileMapping(hospital / "map.sqlite") as mapping, pytest.raises(InputError, match=error):
        link_table(table, mapping, tmp_path / "o.csv")


def test_unknown_keys_and_columns_are_refused(hospital: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="keys are"):
        LinkSettings("name")
    table = write_rows(tmp_path / "t.csv", [{"patient_id": "1"}])
    with FileMapping(hospital / "map.sqlite") as mapping, pytest.raises(InputError, match="no column 'when'"):
        link_table(table, mapping, tmp_path / "o.csv", LinkSettings(dates=("when",)))


@given(
    st.dates(date(1950, 1, 1), date(2080, 1, 1)),
    st.dates(date(1950, 1, 1), date(2080, 1, 1)),
    st.integers(-2000, 2000),
    st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%Y/%m/%d"]),
)
def test_intervals_never_change(one: date, two: date, days: int, form: str) -> None:
    shift = DateShift(days, 777)
    moved = [shift_text(d.strftime(form), shift) for d in (one, two)]
    from datetime import datetime

    first, second = (datetime.strptime(m, form).date() for m in moved)
    assert second - first == two - one
    dicom = [shift.date(d.strftime("%Y%m%d")) for d in (one, two)]
    assert dicom == [m.strftime("%Y%m%d") for m in (first, second)]
    assert shift.back().date(dicom[0]) == one.strftime("%Y%m%d")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2020.01.03.", "2020.01.13"),
        ("2020. 1. 3.", "2020. 01. 13"),
        ("2020-01-03 오전 9:00", "2020-01-13 9:00"),
        ("2020-01-03T09:00:00Z", "2020-01-13"),
        ("2020-12", ""),
    ],
)
def test_dates_as_hospitals_write_them_are_moved(text: str, want: str) -> None:
    assert shift_text(text, DateShift(10)) == want
