"""A phantom as a scanner would write it: a CT series in DICOM, with faults if they are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from sarcoscope.errors import SettingError
from sarcoscope.files import make_folder
from sarcoscope.imaging.volume import Geometry, Volume
from sarcoscope.samples.phantom import Phantom

CT_IMAGE: Final = UID("1.2.840.10008.5.1.4.1.1.2")
ENHANCED_CT: Final = UID("1.2.840.10008.5.1.4.1.1.2.1")
_CAPTURE: Final = UID("1.2.840.10008.5.1.4.1.1.7")
SYNTAXES: Final[dict[str, UID]] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
}
"""Transfer syntaxes by short name."""
_SCALE_NUMBERS: Final = 1024


@dataclass(frozen=True)
class SeriesSettings:
    """What the header says beside the picture."""

    patient_id: str = "PHANTOM"
    patient_name: str = "Phantom^Sarcoscope"
    sex: str | None = None
    """By default that of the phantom."""
    age: str = "060Y"
    size_m: float | None = 1.70
    weight_kg: float | None = 70.0
    description: str = "Abdomen portal venous"
    kernel: str = "Br40f"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    study_date: str = "20250102"
    syntax: str = "explicit"
    faults: frozenset[str] = frozenset()
    seed: str = "1"
    """UIDs follow from it."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further elements by keyword, in every image."""


@dataclass(frozen=True)
class _Scan:
    """What is written: HU int16 [z, y, x] on its grid."""

    hu: NDArray[np.int16]
    geometry: Geometry
    sex: str = ""
    kvp: float = 120.0
    thickness_mm: float = 5.0
    tilt_degrees: float = 0.0


def _scan_of(phantom: Phantom) -> _Scan:
    s = phantom.settings
    return _Scan(phantom.hu, phantom.geometry, s.sex, s.kvp, s.slice_thickness_mm, s.tilt_degrees)


def write_volume_series(volume: Volume, folder: Path, settings: SeriesSettings) -> list[Path]:
    """Write a volume (of a NIfTI file, say) as a CT series, one file a slice; returns the files."""
    make_folder(folder)
    thickness = volume.series.slice_thickness_mm or volume.geometry.spacing_mm[0]
    scan = _Scan(volume.hu, volume.geometry, thickness_mm=thickness)
    paths = [folder / f"image{k:04d}.dcm" for k in range(volume.n_slices)]
    for k, path in enumerate(paths):
        _save(_image(scan, settings, k), path, settings.syntax)
    return paths


def write_dicom_series(phantom: Phantom, folder: Path, settings: SeriesSettings | None = None) -> list[Path]:
    """Write a phantom as a CT series, one file a slice; returns the files.

    ``<folder>.truth.json`` beside the folder holds true areas and levels.

    Raises:
        SettingError: an unknown fault or transfer syntax.
    """
    settings = settings or SeriesSettings()
    unknown = settings.faults - set(FAULTS)
    if unknown:
        raise SettingError(f"There is no fault '{sorted(unknown)[0]}'; faults are {', '.join(FAULTS)}.")
    if settings.syntax not in SYNTAXES:
        raise SettingError(f"'{settings.syntax}' is no syntax; syntaxes are {', '.join(SYNTAXES)}.")
    make_folder(folder)
    scan = _scan_of(phantom)
    datasets = [_image(scan, settings, k) for k in range(len(phantom.hu))]
    for fault in sorted(settings.faults):
        datasets = FAULTS[fault](datasets)
    paths = []
    for n, dataset in enumerate(datasets):
        path = folder / (_odd_name(n) if "no-extensions" in settings.faults else f"image{n:04d}.dcm")
        _save(dataset, path, settings.syntax)
        paths.append(path)
    _files_beside(folder, paths, settings)
    truth = {
        "levels": [
            {
                "level": r.level,
                "index_low": r.index_low,
                "index_high": r.index_high,
                "complete": r.complete,
            }
            for r in phantom.levels.ranges
        ],
        "areas_cm2": {name: [round(float(a), 4) for a in areas] for name, areas in phantom.areas_cm2.items()},
    }
    beside = folder.with_name(f"{folder.name}.truth.json")
    beside.write_text(json.dumps(truth, indent=1), encoding="utf-8")
    return paths


def write_enhanced_ct(phantom: Phantom, path: Path, settings: SeriesSettings | None = None) -> Path:
    """Write a phantom as one multi-frame Enhanced CT file."""
    settings = settings or SeriesSettings()
    one = _image(_scan_of(phantom), settings, 0)
    one.SOPClassUID = ENHANCED_CT
    one.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(one, keyword)
    one.NumberOfFrames = len(phantom.hu)
    one.PixelData = (phantom.hu.astype(np.int32) + _SCALE_NUMBERS).astype(np.uint16).tobytes()
    shared, measures, turn, values = Dataset(), Dataset(), Dataset(), Dataset()
    g = phantom.geometry
    measures.PixelSpacing = [g.spacing_mm[1], g.spacing_mm[2]]
    measures.SliceThickness = phantom.settings.slice_thickness_mm
    turn.ImageOrientationPatient = [*map(_short, g.direction[:, 0]), *map(_short, g.direction[:, 1])]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -_SCALE_NUMBERS, "HU"
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([turn])
    shared.PixelValueTransformationSequence = DicomSequence([values])
    one.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for position in g.slice_positions_mm:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [_short(v) for v in position]
        frame.PlanePositionSequence = DicomSequence([place])
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        delattr(one, keyword)
    one.save_as(path, enforce_file_format=True)
    return path


def _short(value: float) -> str:
    """A number in at most 16 characters, as DICOM's decimal strings want it."""
    return f"{float(value):.10g}"[:16]


def _uid(settings: SeriesSettings, *parts: object) -> UID:
    return generate_uid(entropy_srcs=["sarcoscope", settings.seed, *map(str, parts)])


def _image(scan: _Scan, settings: SeriesSettings, k: int) -> Dataset:
    g = scan.geometry
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_IMAGE
    meta.MediaStorageSOPInstanceUID = _uid(settings, "image", k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = Dataset()
    one.file_meta = meta
    one.SpecificCharacterSet = "ISO_IR 192"
    one.SOPClassUID, one.SOPInstanceUID = CT_IMAGE, meta.MediaStorageSOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID = _uid(settings, "study"), _uid(settings, "series")
    one.FrameOfReferenceUID = _uid(settings, "frame")
    one.PatientID, one.PatientName = settings.patient_id, settings.patient_name
    one.PatientSex, one.PatientAge = settings.sex or scan.sex, settings.age
    one.PatientBirthDate = ""
    if settings.size_m is not None:
        one.PatientSize = settings.size_m
    if settings.weight_kg is not None:
        one.PatientWeight = settings.weight_kg
    one.StudyDate = one.SeriesDate = one.ContentDate = one.AcquisitionDate = settings.study_date
    one.StudyTime = one.ContentTime = "120000"
    one.AccessionNumber = one.ReferringPhysicianName = one.StudyID = ""
    one.Modality, one.Manufacturer = "CT", "Sarcoscope phantom"
    one.SeriesDescription, one.SeriesNumber = settings.description, 1
    one.ImageType = list(settings.image_type)
    one.PatientPosition, one.ConvolutionKernel = "HFS", settings.kernel
    one.KVP, one.SliceThickness = scan.kvp, _short(scan.thickness_mm)
    one.GantryDetectorTilt = _short(scan.tilt_degrees)
    one.InstanceNumber, one.AcquisitionNumber = k + 1, 1
    one.ImagePositionPatient = [_short(v) for v in g.slice_positions_mm[k]]
    one.ImageOrientationPatient = [*map(_short, g.direction[:, 0]), *map(_short, g.direction[:, 1])]
    one.PixelSpacing = [_short(g.spacing_mm[1]), _short(g.spacing_mm[2])]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, -_SCALE_NUMBERS, "HU"
    one.WindowCenter, one.WindowWidth = 40, 400
    for keyword, value in settings.more.items():
        setattr(one, keyword, value)
    set_pixels(one, (scan.hu[k].astype(np.int32) + _SCALE_NUMBERS).astype(np.uint16))
    return one


def set_pixels(one: Dataset, stored: NDArray[Any]) -> None:
    """Give a dataset its pixels, uint16 or int16 [row, column]."""
    one.Rows, one.Columns = stored.shape
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelRepresentation = int(stored.dtype.kind == "i")
    one.PixelData = np.ascontiguousarray(stored).tobytes()


def _save(one: Dataset, path: Path, syntax: str) -> None:
    uid = SYNTAXES[syntax]
    if syntax in ("rle", "jpeg-ls", "jpeg2000"):
        one.compress(uid, generate_instance_uid=False)
    elif syntax == "big-endian":
        swapped = np.frombuffer(one.PixelData, np.uint16).byteswap().tobytes()
        one.PixelData = swapped
        one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    else:
        one.file_meta.TransferSyntaxUID = uid
    one.save_as(path, enforce_file_format=True)


def _odd_name(n: int) -> str:
    return f"IM{(n * 7919) % 100003:06d}"


def _pixels(one: Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(one.PixelData, np.uint16).reshape(one.Rows, one.Columns)


def _missing_slice(images: list[Dataset]) -> list[Dataset]:
    return [one for k, one in enumerate(images) if k != len(images) // 2]


def _doubled_slice(images: list[Dataset]) -> list[Dataset]:
    again = deepcopy(images[3 % len(images)])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[images[0].SOPInstanceUID, "again"]
    )
    return [*images, again]


def _shuffled(images: list[Dataset]) -> list[Dataset]:
    order = np.random.default_rng(3).permutation(len(images))
    shuffled = [images[int(k)] for k in order]
    for n, one in enumerate(shuffled):
        one.InstanceNumber = n + 1
    return shuffled


def _feet_first(images: list[Dataset]) -> list[Dataset]:
    """The same patient lying feet first: rows run the other way, the picture is mirrored."""
    for one in images:
        one.PatientPosition = "FFS"
        row = [float(v) for v in one.ImageOrientationPatient[:3]]
        width = float(one.PixelSpacing[1]) * (one.Columns - 1)
        place = [float(p) + r * width for p, r in zip(one.ImagePositionPatient, row, strict=True)]
        one.ImagePositionPatient = [_short(v) for v in place]
        one.ImageOrientationPatient = [*[_short(-r) for r in row], *one.ImageOrientationPatient[3:]]
        set_pixels(one, _pixels(one)[:, ::-1])
    return images


def _padded(images: list[Dataset]) -> list[Dataset]:
    """Outside the circle the scanner writes -2000."""
    for one in images:
        stored = _pixels(one).astype(np.int32) - _SCALE_NUMBERS
        y, x = np.ogrid[: one.Rows, : one.Columns]
        circle = np.hypot(y - (one.Rows - 1) / 2, x - (one.Columns - 1) / 2) <= one.Rows / 2
        values = np.where(circle, stored, -2000).astype(np.int16)
        set_pixels(one, values)
        one.RescaleIntercept = 0
        one.PixelPaddingValue = -2000
    return images


def _signed(images: list[Dataset]) -> list[Dataset]:
    for one in images:
        set_pixels(one, (_pixels(one).astype(np.int32) - _SCALE_NUMBERS).astype(np.int16))
        one.RescaleIntercept = 0
    return images


def _empty_uids(images: list[Dataset]) -> list[Dataset]:
    for one in images:
        one.SOPInstanceUID = one.SeriesInstanceUID = one.StudyInstanceUID = ""
    return images


def _bolus_tracker(images: list[Dataset]) -> list[Dataset]:
    far = deepcopy(images[-1])
    far.SOPInstanceUID = far.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=[images[0].SOPInstanceUID, "far"]
    )
    place = [float(v) for v in far.ImagePositionPatient]
    far.ImagePositionPatient = [*[_short(v) for v in place[:2]], _short(place[2] + 150)]
    return [*images, far]


def _uneven(images: list[Dataset]) -> list[Dataset]:
    for k, one in enumerate(images):
        place = [float(v) for v in one.ImagePositionPatient]
        shift = 0.2 * float(one.SliceThickness) * (k % 2)
        one.ImagePositionPatient = [*[_short(v) for v in place[:2]], _short(place[2] + shift)]
    return images


def _same(images: list[Dataset]) -> list[Dataset]:
    return images


FAULTS: Final[dict[str, Callable[[list[Dataset]], list[Dataset]]]] = {
    "missing-slice": _missing_slice,
    "doubled-slice": _doubled_slice,
    "shuffled": _shuffled,
    "feet-first": _feet_first,
    "padding": _padded,
    "signed": _signed,
    "empty-uids": _empty_uids,
    "bolus-tracker": _bolus_tracker,
    "uneven-spacing": _uneven,
    "no-extensions": _same,
    "junk-files": _same,
    "localiser": _same,
    "secondary-capture": _same,
    "truncated-file": _same,
    "empty-file": _same,
    "second-patient": _same,
}
"""Faults that a series can be written with."""


def _files_beside(folder: Path, paths: Sequence[Path], settings: SeriesSettings) -> None:
    """Faults that are files of their own, or broken files."""
    faults = settings.faults
    if "junk-files" in faults:
        (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(200))
        (folder / "readme.txt").write_text("CT of a phantom", encoding="utf-8")
        (folder / "Thumbs.db").write_bytes(bytes(range(256)))
    if faults & {"localiser", "secondary-capture"}:
        one = _beside(paths[0], settings)
        if "localiser" in faults:
            one.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            one.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
            one.SeriesDescription = "Topogram"
            one.SeriesInstanceUID = _uid(settings, "localiser")
            one.save_as(folder / "scout.dcm", enforce_file_format=True)
        if "secondary-capture" in faults:
            one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = _CAPTURE
            one.Modality, one.SeriesDescription = "OT", "Dose report"
            one.SeriesInstanceUID = _uid(settings, "capture")
            one.save_as(folder / "capture.dcm", enforce_file_format=True)
    if "second-patient" in faults:
        for n, path in enumerate(paths[:8]):
            one = _beside(path, settings)
            one.PatientID, one.PatientName = "SOMEBODY", "Somebody^Else"
            one.StudyInstanceUID = _uid(settings, "other study")
            one.SeriesInstanceUID = _uid(settings, "other series")
            one.save_as(folder / f"other{n}.dcm", enforce_file_format=True)
    if "truncated-file" in faults:
        data = paths[-1].read_bytes()
        paths[-1].write_bytes(data[: len(data) * 2 // 3])
    if "empty-file" in faults:
        (folder / "empty.dcm").write_bytes(b"")


def _beside(path: Path, settings: SeriesSettings) -> Dataset:
    one = dcmread(path)
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = _uid(settings, "beside", path.name)
    return one
