"""Masks of others - DICOM SEG, RTSTRUCT, NIfTI - as tissue labels on a volume's grid."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib.path
import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from sarcoscope.errors import InputError, NotFoundError, SarcoscopeError, UnreadableError
from sarcoscope.files import packaged_rows
from sarcoscope.imaging.instances import text_of
from sarcoscope.imaging.label_files import OUR_VALUES
from sarcoscope.imaging.volume import Volume

SEG_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT_CLASS: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_HALF: Final = 0.5
_MOST_VOXELS: Final = 2_000_000_000
_RAS: Final = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class ForeignMask:
    """Tissue labels of another tool on the grid of a volume."""

    labels: NDArray[np.uint8]
    """[z, y, x], values as in :class:`sarcoscope.anatomy.tissues.Tissue`."""
    reader: tuple[str, str, str]
    """(what it is, file name, sha256)."""
    ignored: tuple[str, ...] = ()
    """Segments or structures whose name means no tissue."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Slices with any label."""
        return tuple(int(i) for i in np.flatnonzero(self.labels.any(axis=(1, 2))))


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (r["tissue"], re.compile(r["pattern"], re.IGNORECASE))
        for r in packaged_rows("sarcoscope.imaging", "mask_names")
    )


def tissue_of_name(name: str) -> str | None:
    """Tissue that a segment's or structure's name means."""
    return next((tissue for tissue, pattern in _patterns() if pattern.search(name)), None)


def read_mask(path: Path, volume: Volume, values: Mapping[str, int] | None = None) -> ForeignMask:
    """Read a mask and lay it on the volume's slices, by where both say that they lie.

    Args:
        path: DICOM SEG or RTSTRUCT file, or NIfTI.
        volume: the CT.
        values: tissue name -> value (NIfTI), segment or structure number (DICOM); by default our values for
            NIfTI, and the names in DICOM.

    Raises:
        InputError: it cannot be read, names no tissue, or lies elsewhere.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"There is no mask file '{path.name}'.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        labels, kind, ignored = _read(path, volume, values)
    except SarcoscopeError:
        raise
    except Exception as error:  # damaged files fail in many ways wherever a value is first looked at
        raise UnreadableError(f"'{path.name}' is no mask that can be read.") from error
    if not labels.any():
        raise InputError(f"No tissue of '{path.name}' lies on the CT.")
    return ForeignMask(labels, (kind, path.name, digest), ignored)


def _read(
    path: Path, volume: Volume, values: Mapping[str, int] | None
) -> tuple[NDArray[np.uint8], str, tuple[str, ...]]:
    """(labels, what the file is, names that mean no tissue)."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return _from_nifti(path, volume, values), "NIfTI mask", ()
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        sop_class = text_of(dataset, "SOPClassUID")
        if sop_class in SEG_CLASSES:
            labels, ignored = _from_seg(dataset, volume, values)
            return labels, "DICOM SEG", ignored
        if sop_class == RTSTRUCT_CLASS:
            labels, ignored = _from_rtstruct(dataset, volume, values)
            return labels, "RTSTRUCT", ignored
    raise InputError(f"'{path.name}' is neither DICOM SEG, RTSTRUCT nor NIfTI.")


def _from_nifti(path: Path, volume: Volume, values: Mapping[str, int] | None) -> NDArray[np.uint8]:
    try:
        image: Any = nib.load(path)
        if int(np.prod(image.shape, dtype=np.float64)) > _MOST_VOXELS:
            raise InputError(f"The mask '{path.name}' is larger than any CT.")
        data = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, float)
    except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableError(f"The mask '{path.name}' cannot be read.") from error
    if data.ndim != 3 or data.dtype.kind not in "iuf":
        raise InputError(f"The mask '{path.name}' is no volume of labels.")
    back = np.linalg.inv(affine)
    labels = np.zeros(volume.hu.shape, np.uint8)
    names = values or OUR_VALUES
    for index in range(volume.n_slices):
        places = _places(volume, index) * _RAS
        voxels = np.rint(places @ back[:3, :3].T + back[:3, 3]).astype(np.int64)
        inside = ((voxels >= 0) & (voxels < data.shape)).all(axis=-1)
        i, j, k = np.where(inside[..., None], voxels, 0).transpose(2, 0, 1)
        found = np.where(inside, np.rint(data[i, j, k]), 0)
        for tissue, value in names.items():
            if tissue != "background":
                labels[index][found == value] = OUR_VALUES[tissue]
    return labels


def _places(volume: Volume, index: int) -> NDArray[np.float64]:
    """[y, x, 3] LPS of the pixels of a slice."""
    g = volume.geometry
    rows, columns = volume.hu.shape[1:]
    along_x = np.arange(columns)[:, None] * g.spacing_mm[2] * g.direction[:, 0]
    along_y = np.arange(rows)[:, None] * g.spacing_mm[1] * g.direction[:, 1]
    places: NDArray[np.float64] = g.slice_positions_mm[index] + along_y[:, None] + along_x[None]
    return places


def _nearest_slice(volume: Volume, place: NDArray[np.float64]) -> int | None:
    """The slice in whose plane a point lies; None when none does."""
    g = volume.geometry
    offset = float((place - g.slice_positions_mm[0]) @ g.normal)
    distances = np.abs(g.slice_offsets_mm - offset)
    index = int(distances.argmin())
    return index if distances[index] <= _HALF * g.spacing_mm[0] + 0.01 else None


def _from_seg(
    dataset: Dataset, volume: Volume, values: Mapping[str, int] | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    numbers, ignored = _segment_values(dataset, values)
    labels = np.zeros(volume.hu.shape, np.uint8)
    for frame, position, turn, spacing, number in _frames(dataset):
        index = _nearest_slice(volume, position)
        if index is None:
            continue
        sampled = _sampled(frame, volume, index, position, turn, spacing)
        if number is None:
            for segment, value in numbers.items():
                labels[index][sampled == segment] = value
        elif number in numbers:
            labels[index][sampled > 0] = numbers[number]
    return labels, ignored


def _segment_values(
    dataset: Dataset, values: Mapping[str, int] | None
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Segment number -> our value, and the names of the segments that mean no tissue."""
    if values is not None:
        return {number: OUR_VALUES[tissue] for tissue, number in values.items()}, ()
    numbers, ignored = {}, []
    for segment in dataset.get("SegmentSequence") or ():
        kind = (segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
        label = text_of(segment, "SegmentLabel")
        tissue = tissue_of_name(label) or tissue_of_name(text_of(kind, "CodeMeaning"))
        if tissue is None:
            ignored.append(label)
        else:
            numbers[int(segment.SegmentNumber)] = OUR_VALUES[tissue]
    if not numbers:
        raise InputError("The DICOM SEG names no tissue that is known; say which segment is which.")
    return numbers, tuple(ignored)


Frame = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64], tuple[float, float], int | None]


def _frames(dataset: Dataset) -> Iterator[Frame]:
    """(pixels, LPS of the first one, row and column direction, spacing, segment) of each frame."""
    try:
        pixels = dataset.pixel_array
        pixels = pixels if pixels.ndim == 3 else pixels[None]
        threshold = float(dataset.get("MaximumFractionalValue", 1) or 1) / 2
        if text_of(dataset, "SegmentationType") == "FRACTIONAL":
            pixels = (pixels >= threshold).astype(np.uint8)
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        for own, frame in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):

            def group(name: str, own: Dataset = own) -> Dataset:
                found: Dataset = (own if name in own else shared)[name].value[0]
                return found

            measures = group("PixelMeasuresSequence")
            turn = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
            position = np.array(group("PlanePositionSequence").ImagePositionPatient, float)
            spacing = (float(measures.PixelSpacing[0]), float(measures.PixelSpacing[1]))
            number = None
            if "SegmentIdentificationSequence" in own or "SegmentIdentificationSequence" in shared:
                number = int(group("SegmentIdentificationSequence").ReferencedSegmentNumber)
            yield frame, position, turn, spacing, number
    except (AttributeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise UnreadableError("The DICOM SEG is damaged or does not say where it lies.") from error


def _sampled(
    frame: NDArray[Any],
    volume: Volume,
    index: int,
    position: NDArray[np.float64],
    turn: NDArray[np.float64],
    spacing: tuple[float, float],
) -> NDArray[Any]:
    """The frame's values at the pixels of a slice (nearest pixel; 0 outside)."""
    away = _places(volume, index) - position
    column = np.rint(away @ turn[0] / spacing[1]).astype(np.int64)
    row = np.rint(away @ turn[1] / spacing[0]).astype(np.int64)
    inside = (row >= 0) & (row < frame.shape[0]) & (column >= 0) & (column < frame.shape[1])
    values = frame[np.where(inside, row, 0), np.where(inside, column, 0)]
    return np.where(inside, values, 0)


def _from_rtstruct(
    dataset: Dataset, volume: Volume, values: Mapping[str, int] | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    numbers: dict[int, int] = {}
    ignored = []
    wanted = {number: tissue for tissue, number in values.items()} if values is not None else None
    for structure in dataset.get("StructureSetROISequence") or ():
        number, name = int(structure.ROINumber), text_of(structure, "ROIName")
        tissue = wanted.get(number) if wanted is not None else tissue_of_name(name)
        if tissue is None:
            ignored.append(name)
        else:
            numbers[number] = OUR_VALUES[tissue]
    if not numbers:
        raise InputError("The RTSTRUCT names no tissue that is known; say which structure is which.")
    labels = np.zeros(volume.hu.shape, np.uint8)
    rows, columns = volume.hu.shape[1:]
    drawn: dict[tuple[int, int], NDArray[np.bool_]] = {}
    for number, index, polygon in _contours(dataset, volume):
        if number in numbers:
            key = (number, index)
            # A contour inside another is a hole.
            inside = _filled(polygon, rows, columns)
            drawn[key] = drawn[key] ^ inside if key in drawn else inside
    for (number, index), where in drawn.items():
        labels[index][where] = numbers[number]
    return labels, tuple(ignored)


def _filled(polygon: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.bool_]:
    """[y, x] pixels whose centre lies inside a polygon [n, (x, y)]."""
    left, top = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, (columns, rows))
    right, bottom = np.clip(np.ceil(polygon.max(axis=0)).astype(int) + 1, 0, (columns, rows))
    out = np.zeros((rows, columns), bool)
    y, x = np.mgrid[top:bottom, left:right]
    if y.size:
        within = matplotlib.path.Path(polygon).contains_points(np.stack((x.ravel(), y.ravel()), axis=1))
        out[top:bottom, left:right] = within.reshape(y.shape)
    return out


def _contours(dataset: Dataset, volume: Volume) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """(structure number, slice, corners [n, (x, y)] in pixels) of every closed contour."""
    g = volume.geometry
    try:
        for roi in dataset.get("ROIContourSequence") or ():
            for contour in roi.get("ContourSequence") or ():
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                index = _nearest_slice(volume, points.mean(axis=0)) if len(points) > 2 else None
                if index is None:
                    continue
                away = points - g.slice_positions_mm[index]
                x = away @ g.direction[:, 0] / g.spacing_mm[2]
                y = away @ g.direction[:, 1] / g.spacing_mm[1]
                yield int(roi.ReferencedROINumber), index, np.stack((x, y), axis=1)
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise UnreadableError("The RTSTRUCT is damaged.") from error
