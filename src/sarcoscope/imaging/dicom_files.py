"""What every DICOM object that is written here has in common."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

PATIENT_AND_STUDY: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Elements that every object has, empty where nothing is known (type 2)."""
DEIDENTIFICATION: Final = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
"""What says that an object is de-identified, and how."""


def new_uid() -> UID:
    """A fresh UID below 2.25."""
    return generate_uid(prefix=None)


def explicit_file_meta(dataset: Dataset) -> FileMetaDataset:
    """File meta of a dataset with its SOP class and instance UID, for explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def to_bytes(dataset: Dataset) -> bytes:
    """A dataset as a DICOM file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
