"""DICOM headers: every image of an input as an :class:`Instance`, read without its pixels."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from sarcoscope.progress import Progress

log = logging.getLogger(__name__)

CT_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
"""CT Image Storage, Enhanced CT, Legacy Converted Enhanced CT."""
MULTI_FRAME_CLASSES: Final = CT_CLASSES[1:]
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_FRAME_KEYWORDS: Final = (
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDate",
    "PatientBirthDate",
    "Manufacturer",
    "PatientPosition",
    "BurnedInAnnotation",
)
"""What a frame's header takes over from its file's."""
_MOST_FILES: Final = 200_000


@dataclass(frozen=True)
class Instance:
    """One image (a file, or a frame of one) as its header describes it."""

    path: Path
    frame: int | None
    sop_uid: str | None
    sop_class: str
    series_uid: str
    """Empty when the header has none."""
    study_uid: str
    patient: tuple[str, str]
    """(patient ID, name): only to tell people apart, never kept."""
    modality: str
    description: str
    protocol: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    samples: int
    photometric: str
    spacing_yx: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    """Row and column direction, six numbers."""
    position: tuple[float, float, float] | None
    number: int
    acquisition: str
    kernel: str | None
    kvp: float | None
    thickness: float | None
    contrast: str | None
    rescale_type: str
    transfer_syntax: str
    header: Dataset
    """The rest of the header (no pixels), for body values and vendor words."""
    file_header: Dataset
    """The whole header of the file (of a multi-frame file the same for all its frames)."""


def read_instances(root: Path, progress: Progress | None = None) -> tuple[list[Instance], list[str]]:
    """All DICOM images below a folder (or of one file), and the names of damaged DICOM files.

    Files that are no DICOM are passed over. The order is that of the sorted paths.
    """
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())[:_MOST_FILES]
    found: list[Instance] = []
    damaged: list[str] = []
    for n, path in enumerate(files):
        if progress is not None and n % 50 == 0:
            progress("read", 0.3 * n / len(files))
        header = read_header(path)
        if header is None:
            continue
        try:
            found.extend(_instances(path, header))
        except Exception:
            log.debug("damaged header", exc_info=True)
            damaged.append(path.name)
    return found, damaged


def read_header(path: Path) -> Dataset | None:
    """The header of a file without its pixels; None when it is no DICOM or damaged."""
    try:
        if path.stat().st_size < 140:
            return None
        with path.open("rb") as stream:
            start = stream.read(140)
        # Files without the preamble begin with a group 0002 or 0008 element, little or big endian.
        bare = start[:4] in (
            b"\x08\x00\x05\x00",
            b"\x08\x00\x00\x00",
            b"\x08\x00\x08\x00",
            b"\x02\x00\x00\x00",
        )
        if start[128:132] != b"DICM" and not bare:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, stop_before_pixels=True, force=bare)
    except (InvalidDicomError, OSError):
        return None
    except Exception:
        log.debug("damaged file", exc_info=True)
        return None


def text_of(header: Dataset, keyword: str) -> str:
    """A header value as text; empty when it is missing or cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = header.get(keyword)
        if value is None:
            return ""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, Sequence):
            return "\\".join(str(v).strip() for v in value)
        return str(value).strip()
    except Exception:
        return ""


def number_of(header: Dataset, keyword: str) -> float | None:
    """A header value as a finite number, or None."""
    text = text_of(header, keyword).split("\\")[0]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers_of(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """A header value of ``count`` numbers, or None."""
    try:
        values = tuple(float(v) for v in text_of(header, keyword).split("\\"))
    except ValueError:
        return None
    return values if len(values) == count and all(abs(v) < 1e6 for v in values) else None


def _instances(path: Path, header: Dataset) -> Iterator[Instance]:
    sop_class = text_of(header, "SOPClassUID") or str(
        getattr(header.file_meta, "MediaStorageSOPClassUID", "") if hasattr(header, "file_meta") else ""
    )
    frames = number_of(header, "NumberOfFrames")
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if sop_class in MULTI_FRAME_CLASSES and per_frame is not None and frames:
        shared = header.get("SharedFunctionalGroupsSequence")
        base = shared[0] if shared else Dataset()
        for k, own in enumerate(per_frame[: int(frames)]):
            yield _instance(path, header, sop_class, k, _flat(header, base, own))
        return
    yield _instance(path, header, sop_class, None, header)


def _flat(header: Dataset, *groups: Dataset) -> Dataset:
    """The functional groups of a frame as if they were plain header elements."""
    flat = Dataset()
    flat.ImageType = header.get("ImageType")
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value:
                flat.update(element.value[0])
    if "FrameType" in flat:
        flat.ImageType = flat.FrameType
    return flat


def _instance(path: Path, header: Dataset, sop_class: str, frame: int | None, own: Dataset) -> Instance:
    meta = getattr(header, "file_meta", None)
    sop_uid = text_of(header, "SOPInstanceUID")
    if not sop_uid and meta is not None:
        sop_uid = str(meta.get("MediaStorageSOPInstanceUID", "") or "")

    def either(keyword: str) -> str:
        return text_of(own, keyword) or text_of(header, keyword)

    def either_number(keyword: str) -> float | None:
        value = number_of(own, keyword)
        return number_of(header, keyword) if value is None else value

    spacing = numbers_of(own, "PixelSpacing", 2)
    position = numbers_of(own, "ImagePositionPatient", 3)
    return Instance(
        path=path,
        frame=frame,
        sop_uid=sop_uid or None,
        sop_class=sop_class,
        series_uid=text_of(header, "SeriesInstanceUID"),
        study_uid=text_of(header, "StudyInstanceUID"),
        patient=(text_of(header, "PatientID"), text_of(header, "PatientName")),
        modality=text_of(header, "Modality").upper(),
        description=text_of(header, "SeriesDescription"),
        protocol=text_of(header, "ProtocolName"),
        image_type=tuple(p.upper() for p in either("ImageType").split("\\") if p),
        rows=int(number_of(header, "Rows") or 0),
        columns=int(number_of(header, "Columns") or 0),
        samples=int(number_of(header, "SamplesPerPixel") or 1),
        photometric=text_of(header, "PhotometricInterpretation").upper(),
        spacing_yx=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        orientation=numbers_of(own, "ImageOrientationPatient", 6),
        position=(position[0], position[1], position[2]) if position else None,
        number=int(number_of(header, "InstanceNumber") or 0),
        acquisition="/".join(
            either(k) for k in ("AcquisitionNumber", "TemporalPositionIdentifier", "ContrastBolusAgentPhase")
        ),
        kernel=either("ConvolutionKernel").split("\\")[0] or None,
        kvp=either_number("KVP"),
        thickness=either_number("SliceThickness"),
        contrast=either("ContrastBolusAgent") or None,
        rescale_type=either("RescaleType").upper(),
        transfer_syntax=str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else "",
        header=header if frame is None else _with(header, own),
        file_header=header,
    )


def _with(header: Dataset, own: Dataset) -> Any:
    """Header of a frame: rescale and padding are looked up in its own groups first."""
    merged = Dataset()
    for keyword in _FRAME_KEYWORDS:
        if keyword in header:
            setattr(merged, keyword, header.get(keyword))
    for keyword in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit"):
        source = own if keyword in own else header
        if keyword in source:
            setattr(merged, keyword, source.get(keyword))
    return merged
