"""The way back: results under a pseudonym get the patient's identity again, for the clinical PACS alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from sarcoscope.deid.mapping import FileMapping, Identity, Person
from sarcoscope.deid.words import name_words
from sarcoscope.errors import IdentityError
from sarcoscope.imaging.dicom_files import DEIDENTIFICATION, PATIENT_AND_STUDY, explicit_file_meta, new_uid
from sarcoscope.imaging.instances import text_of

OWN_MANUFACTURER: Final = "Sarcoscope"
ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
_STUDY_DATES: Final = ("StudyDate", "StudyTime")
_STUDY_LEVEL: Final = ("AccessionNumber", "StudyID", "ReferringPhysicianName", "StudyDescription")


@dataclass(frozen=True)
class Target:
    """Who the results are meant for, as the receiving system says."""

    name: str
    birth_date: str
    """YYYYMMDD"""
    sex: str
    header: Dataset | None = None
    """An object of the patient's study there: its accession number and the like are taken over."""

    @classmethod
    def of(cls, header: Dataset) -> Target:
        """From an object of the receiving system."""
        name, born, sex = (text_of(header, k) for k in ("PatientName", "PatientBirthDate", "PatientSex"))
        return cls(name, born, sex, header)


def restore(dataset: Dataset, mapping: FileMapping, target: Target) -> Dataset:
    """A copy with the original identity, UIDs and dates; written down in the mapping's audit log.

    Raises:
        IdentityError: the object is under no known pseudonym, or its person is not the target's: name, sex
            and birth date are compared, and two of them must be known on both sides.
    """
    person = mapping.person_of(text_of(dataset, "PatientID"))
    if person is None or text_of(dataset, "PatientIdentityRemoved").upper() != "YES":
        raise IdentityError("The object is under no pseudonym of this mapping.")
    check_same(person.identity, target)
    out = copy.deepcopy(dataset)
    _restore_uids(out, mapping)
    _restore_dates(out, person)
    _identify(out, person, target)
    out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    what = {"pseudonym": person.pseudonym, "object": str(out.SOPInstanceUID)}
    mapping.record("restore", what)
    return out


def check_same(identity: Identity, target: Target) -> None:
    """See that the mapping and the target name one person.

    Raises:
        IdentityError: something differs, or fewer than two of the three are known on both sides.
    """
    pairs = {
        "name": (name_words(identity.name), name_words(target.name)),
        "birth date": (identity.birth_date.strip(), target.birth_date.strip().replace("-", "")),
        "sex": (identity.sex.strip().upper(), target.sex.strip().upper()),
    }
    compared = {what: pair for what, pair in pairs.items() if pair[0] and pair[1]}
    for what, (ours, theirs) in compared.items():
        same = bool(set(ours) & set(theirs)) if what == "name" else ours == theirs
        if not same:
            raise IdentityError(f"The {what} does not agree with that of the target: nothing was restored.")
    if len(compared) < 2:
        raise IdentityError(
            "Fewer than two of name, sex and birth date can be compared: nothing was restored."
        )


def encapsulated_report(pdf: bytes, like: Dataset) -> Dataset:
    """The PDF report as a DICOM object of the same patient and study.

    Args:
        pdf: the report.
        like: a restored object of the study.
    """
    out = Dataset()
    for keyword in (*PATIENT_AND_STUDY, "StudyInstanceUID", "StudyDescription"):
        setattr(out, keyword, like.get(keyword, ""))
    out.SpecificCharacterSet = "ISO_IR 192"
    out.SOPClassUID, out.SOPInstanceUID = UID(ENCAPSULATED_PDF), new_uid()
    out.SeriesInstanceUID, out.SeriesNumber, out.InstanceNumber = new_uid(), 9003, 1
    out.Modality, out.ConversionType = "DOC", "WSD"
    out.Manufacturer, out.SeriesDescription = OWN_MANUFACTURER, "Sarcoscope report"
    out.BurnedInAnnotation, out.DocumentTitle = "YES", "Sarcoscope report"
    out.ConceptNameCodeSequence = []
    out.MIMETypeOfEncapsulatedDocument = "application/pdf"
    now = datetime.now(UTC)
    out.ContentDate, out.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    out.AcquisitionDateTime = now.strftime("%Y%m%d%H%M%S")
    out.EncapsulatedDocumentLength = len(pdf)
    out.EncapsulatedDocument = pdf + b"\x00" * (len(pdf) % 2)
    out.file_meta = explicit_file_meta(out)
    return out


def result_files(folder: Path) -> Iterator[Path]:
    """DICOM results below a folder, or the file itself."""
    if folder.is_file():
        yield folder
        return
    yield from sorted(folder.rglob("*.dcm"))


def _restore_uids(dataset: Dataset, mapping: FileMapping) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _restore_uids(item, mapping)
        elif element.VR == "UI" and element.value:
            several = not isinstance(element.value, str)
            values = list(element.value) if several else [element.value]
            restored = [UID(mapping.original_uid(str(v)) or str(v)) for v in values]
            element.value = restored if several else restored[0]


def _restore_dates(dataset: Dataset, person: Person) -> None:
    """Dates that were shifted: all of an image, but only the study's own of what this software made later."""
    if text_of(dataset, "LongitudinalTemporalInformationModified").upper() != "MODIFIED":
        return
    own = text_of(dataset, "Manufacturer") == OWN_MANUFACTURER
    back = person.shift.back()
    for element in dataset:
        if own and element.keyword not in _STUDY_DATES:
            continue
        if element.VR == "SQ":
            for item in element.value:
                _restore_dates_of(item, person)
        elif element.VR in ("DA", "TM", "DT") and element.value:
            shift = {"DA": back.date, "TM": back.time, "DT": back.datetime}[element.VR]
            element.value = shift(str(element.value))


def _restore_dates_of(item: Dataset, person: Person) -> None:
    item.LongitudinalTemporalInformationModified = "MODIFIED"
    _restore_dates(item, person)
    del item.LongitudinalTemporalInformationModified


def _identify(dataset: Dataset, person: Person, target: Target) -> None:
    who = person.identity
    dataset.PatientID = text_of(target.header, "PatientID") if target.header is not None else who.patient_id
    dataset.PatientID = dataset.PatientID or who.patient_id
    dataset.PatientName = who.name or target.name
    dataset.PatientBirthDate = who.birth_date or target.birth_date.replace("-", "")
    dataset.PatientSex = who.sex or target.sex
    if who.issuer:
        dataset.IssuerOfPatientID = who.issuer
    if target.header is not None:
        for keyword in _STUDY_LEVEL:
            if keyword in target.header:
                setattr(dataset, keyword, text_of(target.header, keyword))
    for keyword in DEIDENTIFICATION:
        if keyword in dataset:
            delattr(dataset, keyword)
