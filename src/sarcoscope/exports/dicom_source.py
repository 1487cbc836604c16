"""What a DICOM object of ours takes over from the images that it describes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import highdicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from sarcoscope._version import __version__
from sarcoscope.exports.dicom_codes import PRIVATE_SCHEME
from sarcoscope.imaging.dicom_files import PATIENT_AND_STUDY
from sarcoscope.imaging.instances import Instance, text_of

MANUFACTURER: Final = "Sarcoscope"
_TAKEN: Final = (
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "SOPClassUID",
    "Modality",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ImageType",
    "PositionReferenceIndicator",
)


def source_images(images: Sequence[Instance]) -> list[Dataset]:
    """Headers of the images as objects of ours refer to them: one a file, complete, in UTF-8, without pixels.

    Args:
        images: of one series; several frames of one file give one header.
    """
    frame_of_reference = text_of(images[0].file_header, "FrameOfReferenceUID") or generate_uid()
    files = {str(i.path) + str(i.sop_uid): i for i in images}
    return [_source(i, frame_of_reference) for i in files.values()]


def _source(image: Instance, frame_of_reference: str) -> Dataset:
    header = image.file_header
    out = Dataset()
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out.SpecificCharacterSet = "ISO_IR 192"
        for keyword in PATIENT_AND_STUDY:
            setattr(out, keyword, text_of(header, keyword))
        for keyword in _TAKEN:
            if keyword in header:
                setattr(out, keyword, header.get(keyword))
    out.SOPInstanceUID = UID(image.sop_uid or "")
    out.FrameOfReferenceUID = UID(frame_of_reference)
    return out


def equipment() -> dict[str, Any]:
    """What our objects say of the software that made them."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "Sarcoscope",
        "software_versions": __version__,
        "device_serial_number": "0",
    }


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """What the private code scheme is, for readers that meet it."""
    return [
        CodingSchemeIdentificationItem(
            PRIVATE_SCHEME, name="Sarcoscope body composition", version=__version__,
            responsible_organization=MANUFACTURER,
        )
    ]  # fmt: skip


def algorithm(models: Sequence[tuple[str, str, str]], kind: str) -> highdicom.AlgorithmIdentificationSequence:
    """Identification of what drew a mask: the software, and the models with their versions.

    Args:
        models: (name, version, sha256).
        kind: purpose for readers, such as ``tissue masks``.
    """
    parameters = {f"{name} {version}": sha256 for name, version, sha256 in models}
    return highdicom.AlgorithmIdentificationSequence(
        name=f"Sarcoscope {kind}"[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=__version__,
        source=MANUFACTURER,
        parameters=parameters or None,
    )
