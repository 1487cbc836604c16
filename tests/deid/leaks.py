"""Headers full of markers: whatever comes out of de-identification must hold none of them, in no encoding."""

from __future__ import annotations

import io
import random
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from sarcoscope.deid.folder import Choices, deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.profile import KEPT_CHARACTERISTICS, Profile, attribute_rows
from tests.imaging.kinds import series

CHARACTER_SETS = (
    ("ISO_IR 100", "latin-1", "Müllér"),
    ("\\ISO 2022 IR 149", "euc_kr", "홍길동"),
    ("ISO_IR 192", "utf-8", "김영희"),
)
ENCODINGS = ("utf-8", "euc_kr", "latin-1", "utf-16-le", "utf-16-be")
TEXTS = ("LO", "LT", "SH", "ST", "UC", "UT", "AE", "CS", "UR")
SPECIAL = {
    "00080005",
    "00080016",
    "00080018",
    "0020000d",
    "0020000e",
    "00080060",
    "00200032",
    "00200037",
    "00280301",
}
"""Attributes that make the object readable (their UIDs are markers by nature)."""


@dataclass
class Planted:
    """A dataset and everything in it that must be gone."""

    dataset: Dataset
    markers: list[str] = field(default_factory=list)


@cache
def real_headers(ct_data: Path | None) -> tuple[bytes, ...]:
    """CT objects as base: the phantom's, and real ones of the shared study (pixels cut away)."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        path = sorted(series(Path(temporary)).glob("*.dcm"))[3]
        found.append(path.read_bytes())
    for archive in sorted((ct_data / "dicom").glob("*.zip")) if ct_data else ():
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(n for n in opened.namelist() if n.endswith(".dcm"))[2:30:9]:
                content = opened.read(name)
                try:
                    one = pydicom.dcmread(io.BytesIO(content))
                except Exception:
                    continue
                if one.get("Modality") == "CT":
                    found.append(content)
    return tuple(found)


def _small(content: bytes) -> Dataset:
    one = pydicom.dcmread(io.BytesIO(content))
    one.Rows = one.Columns = 16
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one["PixelData"] = pydicom.DataElement(0x7FE00010, "OW", bytes(range(256)) * 2)
    return one


class Marker:
    """Makes values that are seen at once wherever they turn up."""

    def __init__(self, rng: random.Random, letters: str) -> None:
        self.rng, self.letters, self.count = rng, letters, 0

    def value(self, vr: str) -> tuple[object, list[str]] | None:
        """(value for the attribute, texts that must be gone)."""
        self.count += 1
        n = self.count
        if vr == "PN":
            family, given = f"Fam{n}{self.letters}", f"Giv{n}xq"
            return f"{family}^{given}", [family, given]
        if vr in TEXTS:
            text = f"MARK{n}Q{self.rng.randrange(10**4):04d}"
            if vr not in ("CS", "AE", "UR"):
                text += self.letters
            return text[:16], [text[:16]]
        if vr in ("DA", "DT", "TM"):
            day = (date(1601, 1, 3) + timedelta(days=1200 * (n % 120))).strftime("%Y%m%d")
            fraction = f".{self.rng.randrange(100000, 999999)}"
            clock = f"{self.rng.randrange(24):02d}{self.rng.randrange(60):02d}{self.rng.randrange(60):02d}{fraction}"
            return {
                "DA": (day, [day]),
                "TM": (clock, [clock[2:]]),
                "DT": (day + clock, [day, clock[2:]]),
            }[vr]
        if vr == "UI":
            uid = f"1.2.826.77.{self.rng.randrange(10**9, 10**10)}.{n}"
            return uid, [uid]
        if vr in ("DS", "IS"):
            number = str(self.rng.randrange(10**8, 10**9))
            return number, [number]
        if vr == "AS":
            return "077Y", []
        if vr in ("OB", "OW", "UN"):
            text = f"BYTES{n}{self.rng.randrange(10**5)}__"[:14]
            return text.encode().ljust(14, b"_"), [text]
        return None


def table_tags() -> list[tuple[str, str]]:
    """(tag, VR) of every attribute of the table that can be planted."""
    rows = attribute_rows().values()
    return [
        (r["tag"], r["vr"])
        for r in rows
        if r["vr"]
        and r["tag"] not in SPECIAL
        and r["tag"] not in KEPT_CHARACTERISTICS
        and int(r["tag"][:4], 16) >= 8
    ]


def _plant(target: Dataset, tag: str, vr: str, marker: Marker, planted: Planted) -> None:
    if vr == "SQ":
        inner = Dataset()
        for keyword, inner_vr in (
            ("PatientName", "PN"),
            ("TextValue", "UT"),
            ("SeriesDescription", "LO"),
            ("UID", "UI"),
        ):
            made = marker.value(inner_vr)
            assert made is not None
            setattr(inner, keyword, made[0])
            planted.markers += made[1]
        made = marker.value("SH")
        assert made is not None
        inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = made[0], "99X", made[0]
        planted.markers += made[1]
        target[Tag(int(tag, 16))] = pydicom.DataElement(int(tag, 16), "SQ", Sequence([inner]))
        return
    made = marker.value(vr)
    if made is not None:
        target[Tag(int(tag, 16))] = pydicom.DataElement(int(tag, 16), vr, made[0])
        planted.markers += made[1]


def planted_headers(count: int, seed: int, ct_data: Path | None) -> Iterator[Planted]:
    """Objects with markers: every second one full of them, the others with one attribute each."""
    tags = table_tags()
    for n in range(count):
        rng = random.Random(f"{seed}.{n}")
        charset, _, letters = CHARACTER_SETS[n % len(CHARACTER_SETS)]
        bases = real_headers(ct_data)
        planted = Planted(_small(bases[n % len(bases)]))
        one, marker = planted.dataset, Marker(rng, letters)
        one.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            made = marker.value("UI")
            assert made is not None
            setattr(one, keyword, made[0])
            planted.markers += made[1]
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        name = marker.value("PN")
        assert name is not None
        one.PatientName = name[0]
        planted.markers += name[1]
        # The name again where no table looks for it.
        one.Manufacturer, one.ConvolutionKernel = f"Maker {name[1][0]}", name[1][1]
        if n % 2:
            _plant(one, *tags[(n // 2) % len(tags)], marker, planted)
        else:
            nested = Dataset()
            for tag, vr in tags:
                _plant(one, tag, vr, marker, planted)
                if vr != "SQ":
                    _plant(nested, tag, vr, marker, planted)
            one.ReferencedImageSequence = [nested]
            _private(one, marker, planted)
            one.PatientName = name[0]
        yield planted


def _private(one: Dataset, marker: Marker, planted: Planted) -> None:
    block = one.private_block(0x0029, "MAKER OF MARKS", create=True)
    for k, vr in enumerate(("LO", "OB", "UN", "DS", "PN"), 1):
        made = marker.value(vr)
        assert made is not None
        block.add_new(k, vr, made[0])
        planted.markers += made[1]
    text = marker.value("LO")
    assert text is not None
    planted.markers += text[1]
    one.add_new(0x60000010, "US", 16)
    one.add_new(0x60003000, "OW", str(text[0]).encode().ljust(32, b"_"))
    one.add_new(0x60004000, "LT", str(text[0]))
    one.add_new(0x50000010, "US", 1)
    one.add_new(0x50002600, "SH", str(text[0]))


def found_in(content: bytes, markers: list[str]) -> list[str]:
    """Markers that stand in bytes, in any encoding."""
    found = []
    for text in markers:
        for encoding in ENCODINGS:
            try:
                coded = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            # The digits of a date stand in some random UID by chance: alone they would be a leak.
            whole = rb"(?<!\d)" + re.escape(coded) + rb"(?!\d)" if text.isdigit() else None
            if coded in content and (whole is None or re.search(whole, content)):
                found.append(f"{text} ({encoding})")
    return found


def check_leaks(
    count: int, seed: int = 0, *, ct_data: Path | None = None, options: frozenset[str] | None = None
) -> int:
    """De-identify ``count`` planted objects; returns how many were written.

    Raises:
        AssertionError: a marker came through, or a kept characteristic got lost.
    """
    written = 0
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(temporary)
        for n, planted in enumerate(planted_headers(count, seed, ct_data)):
            source, out = root / f"in{n}", root / f"out{n}"
            source.mkdir()
            one = planted.dataset
            one.PatientSex, one.PatientAge, one.PatientSize, one.PatientWeight = "F", "063Y", "1.61", "54.5"
            one.BurnedInAnnotation, one.Modality = "NO", "CT"
            one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            one.save_as(source / "one.dcm", enforce_file_format=True)
            profile = Profile(options) if options is not None else Profile()
            with FileMapping(root / f"map{n}.sqlite") as mapping:
                report = deidentify_folder(source, out, mapping, Choices(profile))
            files = sorted(p for p in out.rglob("*") if p.is_file())
            assert report.written == 1, (n, report.quarantined)
            written += 1
            for path in [*files, root / f"map{n}.sqlite"]:
                leaked = found_in(path.read_bytes(), planted.markers)
                leaked += found_in(str(path.relative_to(root)).encode(), planted.markers)
                assert not leaked, f"object {n}: {leaked[:5]} in {path.name}"
            again = pydicom.dcmread(next(p for p in files if p.suffix == ".dcm"))
            kept = [
                str(again.get(k, "")) for k in ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
            ]
            assert kept == ["F", "063Y", "1.61", "54.5"], kept
            assert again.PatientIdentityRemoved == "YES"
    return written
