"""What is not stored with the rest: objects in whose pixels or content a name may stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sarcoscope.deid.pixel_text import find_text
from sarcoscope.deid.profile import Profile
from sarcoscope.files import packaged_rows
from sarcoscope.imaging.instances import CT_CLASSES, SECONDARY_CAPTURE, numbers_of, text_of

_OURS: Final = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
)
"""Segmentations and structure sets: no pixels of the patient, texts are cleaned by the table."""
_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
_DOSE_REPORT: Final = "1.2.840.10008.5.1.4.1.1.88.67"
_PRESENTATIONS: Final = "1.2.840.10008.5.1.4.1.1.11."
_DOCUMENTS: Final = "1.2.840.10008.5.1.4.1.1.104."
_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_DOSE: Final = re.compile(r"DOSE|PATIENT PROTOCOL|SCREEN ?SAVE", re.IGNORECASE)


@cache
def quarantine_texts() -> Mapping[str, Mapping[str, str]]:
    """Sentence of every reason in both languages."""
    return {
        r["code"]: {"en": r["en"], "ko": r["ko"]}
        for r in packaged_rows("sarcoscope.deid", "quarantine_reasons")
    }


def class_of(header: Dataset) -> str:
    """SOP class UID: of the object, else of its file meta."""
    meta = getattr(header, "file_meta", None)
    said = "" if meta is None else text_of(meta, "MediaStorageSOPClassUID")
    return text_of(header, "SOPClassUID") or said


def is_directory(header: Dataset) -> bool:
    """A DICOMDIR, which names every patient of a medium."""
    return class_of(header) == _DIRECTORY


def reason_against(header: Dataset, profile: Profile) -> str | None:
    """Why an object is set aside by what its header says; None when nothing speaks against it."""
    sop_class = class_of(header)
    image_type = text_of(header, "ImageType").upper()
    said = f"{image_type} {text_of(header, 'SeriesDescription')}"
    if sop_class.startswith(_DOCUMENTS):
        return "embedded_document"
    if sop_class == _DOSE_REPORT:
        return "dose_report"
    if sop_class.startswith(_REPORTS):
        return None if "clean_structured_content" in profile.options else "structured_report"
    if sop_class.startswith(_PRESENTATIONS):
        return None if "clean_graphics" in profile.options else "structured_report"
    if sop_class in _OURS:
        return None
    if sop_class.startswith(SECONDARY_CAPTURE):
        return "dose_report" if _DOSE.search(said) else "secondary_capture"
    if text_of(header, "BurnedInAnnotation").upper() == "YES":
        return "burned_in"
    if sop_class not in CT_CLASSES or text_of(header, "Modality").upper() not in ("CT", ""):
        return "not_ct"
    if _DOSE.search(said):
        return "dose_report"
    if "LOCALIZER" in image_type:
        return "localiser"
    return _without_place(header, sop_class)


def _without_place(header: Dataset, sop_class: str) -> str | None:
    """A single-frame CT image must say where it lies; DERIVED or SECONDARY ones that do are ordinary."""
    if sop_class != CT_CLASSES[0]:
        return None
    if numbers_of(header, "ImagePositionPatient", 3) is None:
        return "no_geometry"
    return None if numbers_of(header, "ImageOrientationPatient", 6) else "no_geometry"


def text_in(picture: NDArray[Any] | None, *, sensitive: bool) -> tuple[int, int, int, int] | None:
    """Where text stands in a picture (the first of several frames); None also when it cannot be read."""
    if picture is None or picture.size == 0:
        return None
    while picture.ndim > 2 and picture.shape[-1] not in (3, 4):
        picture = picture[len(picture) // 2]
    if picture.dtype.kind not in "iu":
        picture = picture.astype(np.int32)
    return find_text(picture, sensitive=sensitive)
