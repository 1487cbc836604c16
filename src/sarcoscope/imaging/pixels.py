"""Pixels of a stack as HU on one grid, whatever the transfer syntax, sign, rescale or padding."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from sarcoscope.errors import GeometryError, UnreadableError
from sarcoscope.imaging.instances import Instance, number_of, text_of
from sarcoscope.imaging.jpeg_process import jpeg_process
from sarcoscope.imaging.series import ReadFlag, Stack, slice_normal
from sarcoscope.imaging.volume import Geometry, SliceSource, Volume
from sarcoscope.progress import Progress

AIR_HU: Final = -1024
_HIGHEST_HU: Final = 32767
_OUTSIDE_HU: Final = -1500
"""No tissue or air is so low: scanners fill the picture outside the circle with -2000 or -3024."""
_MOST_VOXELS: Final = 2_000_000_000
_PLUGINS: Final = {
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",
}
"""The decoder of each compressed transfer syntax; the JPEG family goes to gdcm, but for JPEG 2000: a damaged
stream makes gdcm end the whole process there (openjpeg takes 29 ms a slice where it takes 18)."""
_JPEG: Final = "1.2.840.10008.1.2.4."
_LOSSY: Final = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
log = logging.getLogger(__name__)


def load_stack(stack: Stack, progress: Progress | None = None) -> tuple[Volume, tuple[ReadFlag, ...]]:
    """The volume of a stack, turned so that z goes up, y to the back and x to the left.

    A damaged slice is left out and flagged (as a gap) as long as most can be read.

    Raises:
        UnreadableError: more than half of the slices are damaged, or the values are no HU.
        GeometryError: an image so large that it cannot be a CT.
    """
    one = stack.first
    turn = SliceTurn(one)
    rows, columns = turn.shape(one.rows, one.columns)
    count = len(stack.instances)
    if count * rows * columns > _MOST_VOXELS or max(rows, columns) > 8192:
        raise GeometryError("The images are larger than any CT; they cannot be measured.")
    hu = np.empty((count, rows, columns), np.int16)
    padding = np.ones((rows, columns), bool)
    good: list[int] = []
    found: set[str] = set()
    frames = _FrameReader()
    for k, instance in enumerate(stack.instances):
        if progress is not None:
            progress("read", 0.3 + 0.7 * k / count)
        try:
            values, header = frames.read(instance)
            if values.shape != (instance.rows, instance.columns):
                raise ValueError("the picture has another size than its header says")
            plane, outside, seen = _hu_of(values, header)
        except UnreadableError:
            raise
        except Exception:
            log.debug("damaged slice", exc_info=True)
            continue
        hu[len(good)] = turn.apply(plane)
        padding &= turn.apply(outside)
        found |= seen
        good.append(k)
    if len(good) * 2 <= count:
        raise UnreadableError("The CT images are damaged: their pixels cannot be read.")
    flags = [ReadFlag(code) for code in sorted(found)]
    if len(good) < count:
        flags.append(ReadFlag("damaged_slices", (("count", str(count - len(good))),)))
    kept = [stack.instances[k] for k in good]
    geometry = turn.geometry(kept, stack.offsets_mm[good])
    if geometry.tilt_degrees > 1.0:
        flags.append(ReadFlag("gantry_tilt", (("angle", f"{geometry.tilt_degrees:.0f}"),)))
    if padding.any():
        flags.append(ReadFlag("padding_found"))
    sources = tuple(SliceSource(i.sop_uid, i.frame) for i in kept)
    volume = Volume(hu[: len(good)], geometry, sources, stack.info, None, padding if padding.any() else None)
    return volume, tuple(flags)


class _FrameReader:
    """Decodes pixels; of a multi-frame file it keeps the last one open."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._frames: NDArray[Any] | None = None

    def read(self, instance: Instance) -> tuple[NDArray[Any], Dataset]:
        """(stored values [row, column], header with rescale and padding)."""
        if instance.frame is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(instance.path, force=True)
                return decode_pixels(dataset, instance.transfer_syntax), dataset
        if self._path != instance.path:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._frames = decode_pixels(pydicom.dcmread(instance.path), instance.transfer_syntax)
            self._path = instance.path
        frames = self._frames
        if frames is None:
            raise ValueError("no frames")
        return (frames if frames.ndim == 2 else frames[instance.frame]), instance.header


def decode_pixels(dataset: Dataset, syntax: str) -> NDArray[Any]:
    """Stored values of a dataset, by the fastest exact decoder of its transfer syntax."""
    plugin = _PLUGINS.get(syntax, "gdcm" if syntax.startswith(_JPEG) else "")
    path = getattr(dataset, "filename", None)
    if plugin == "gdcm" and isinstance(path, str | Path):
        return jpeg_process().decode(str(path))
    if plugin == "pyjpegls":
        _check_jpeg_ls(dataset)
    if plugin:
        dataset.pixel_array_options(decoding_plugin=plugin)
    if not syntax and not getattr(dataset, "file_meta", None):
        dataset.ensure_file_meta()
    if syntax == "" and "TransferSyntaxUID" not in dataset.file_meta:
        little, implicit = dataset.original_encoding[1], dataset.original_encoding[0]
        uid = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(uid if little else "1.2.840.10008.1.2.2")
    array: NDArray[Any] = dataset.pixel_array
    return array


def _check_jpeg_ls(dataset: Dataset) -> None:
    """See that JPEG-LS frames have the size that the header says: a damaged size keeps the decoder busy
    for minutes.

    Raises:
        UnreadableError: they have another size, or none.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        if _jpeg_ls_size(frame) != (dataset.Rows, dataset.Columns):
            raise UnreadableError("A compressed image has another size than its header says.")


def _jpeg_ls_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) in the frame header (SOF55) of a JPEG-LS stream (ITU-T T.87)."""
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xF7:
            return int.from_bytes(frame[place + 5 : place + 7]), int.from_bytes(frame[place + 7 : place + 9])
        if marker == 0xFF:
            place += 1
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    return None


def _hu_of(values: NDArray[Any], header: Dataset) -> tuple[NDArray[np.int16], NDArray[np.bool_], set[str]]:
    """(HU, pixels outside the field of view, flag codes) of stored values."""
    seen: set[str] = set()
    slope, intercept = number_of(header, "RescaleSlope"), number_of(header, "RescaleIntercept")
    if slope is None or intercept is None or slope == 0:
        if float(values.min()) > -200:
            raise UnreadableError(
                "The CT images do not say how their values become HU (no rescale); they cannot be measured."
            )
        slope, intercept = 1.0, 0.0
        seen.add("rescale_missing")
    outside = np.zeros(values.shape, bool)
    low, high = number_of(header, "PixelPaddingValue"), number_of(header, "PixelPaddingRangeLimit")
    if low is not None:
        high = low if high is None else high
        outside = (values >= min(low, high)) & (values <= max(low, high))
        if slope * low + intercept > AIR_HU + 200:
            # A padding value inside the range of tissue would blank the patient: believe the picture.
            outside[:] = False
    exact = np.asarray(values, np.float32) * np.float32(slope) + np.float32(intercept)
    if exact.max() > _HIGHEST_HU:
        exact = np.where(exact > _HIGHEST_HU, exact - 65536.0 * slope, exact)
        seen.add("unsigned_wrap_mended")
    outside |= exact < _OUTSIDE_HU
    hu = np.clip(np.rint(exact), AIR_HU, _HIGHEST_HU).astype(np.int16)
    hu[outside] = AIR_HU
    if text_of(header, "PhotometricInterpretation").upper() == "MONOCHROME1":
        seen.add("inverted_display")
    if text_of(header, "LossyImageCompression") == "01" or _is_lossy(header):
        seen.add("lossy_compression")
    if text_of(header, "BurnedInAnnotation").upper() == "YES":
        seen.add("burned_in_text")
    return hu, outside, seen


def _is_lossy(header: Dataset) -> bool:
    meta = getattr(header, "file_meta", None)
    return meta is not None and str(meta.get("TransferSyntaxUID", "")) in _LOSSY


class SliceTurn:
    """How an image's rows and columns are turned onto [y to the back, x to the left]."""

    def __init__(self, one: Instance) -> None:
        row, column = np.array(one.orientation or (1, 0, 0, 0, 1, 0), float).reshape(2, 3)
        self.along_columns = row / np.linalg.norm(row)
        """Direction in which the column index grows."""
        self.along_rows = column / np.linalg.norm(column)
        self.transposed = abs(row[1]) > abs(row[0])
        x_axis = self.along_rows if self.transposed else self.along_columns
        y_axis = self.along_columns if self.transposed else self.along_rows
        self.flip_x, self.flip_y = bool(x_axis[0] < 0), bool(y_axis[1] < 0)
        self.x_axis = -x_axis if self.flip_x else x_axis
        self.y_axis = -y_axis if self.flip_y else y_axis
        spacing = one.spacing_yx or (1.0, 1.0)
        self.spacing = (spacing[1], spacing[0]) if self.transposed else spacing
        """(y, x) mm after turning."""
        self.stored_spacing = spacing
        self.size = (one.rows, one.columns)

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Size after turning."""
        return (columns, rows) if self.transposed else (rows, columns)

    def apply(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Turn a picture [row, column]."""
        turned = plane.T if self.transposed else plane
        return turned[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def undo(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Turn a picture [y, x] back into the image's own rows and columns."""
        turned = plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return turned.T if self.transposed else turned

    def _corner(self, one: Instance) -> NDArray[np.float64]:
        """LPS of the pixel that becomes [0, 0]."""
        flip_rows = self.flip_x if self.transposed else self.flip_y
        flip_columns = self.flip_y if self.transposed else self.flip_x
        corner = np.array(one.position or (0.0, 0.0, 0.0), float)
        if flip_rows:
            corner = corner + self.along_rows * self.stored_spacing[0] * (self.size[0] - 1)
        if flip_columns:
            corner = corner + self.along_columns * self.stored_spacing[1] * (self.size[1] - 1)
        return corner

    def geometry(self, instances: list[Instance], offsets: NDArray[np.float64]) -> Geometry:
        """Geometry of the turned stack."""
        positions = np.array([self._corner(one) for one in instances])
        normal = slice_normal(instances[0])
        if len(instances) > 1:
            step = float(np.median(np.diff(offsets)))
            along = positions[-1] - positions[0]
            along = along / np.linalg.norm(along)
        else:
            step = instances[0].thickness or 1.0
            along = normal
        direction = np.stack((self.x_axis, self.y_axis, along), axis=1)
        return Geometry((step, float(self.spacing[0]), float(self.spacing[1])), direction, positions)
