"""The Volume: HU on a grid, with the place of every slice and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SliceSource:
    """Where a slice came from: DICOM SOP instance UID and frame (0-based); both ``None`` for NIfTI."""

    sop_uid: str | None = None
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels lie, in millimetres of the patient system LPS (x to the left, y to the back, z up).

    ``direction`` is 3x3 with the unit vectors of the x, y and z index axes as **columns** (as in ITK). In a
    gantry-tilted series the third column is not the normal of the slices: the volume is a sheared stack and
    each slice keeps its own plane of acquisition.
    """

    spacing_mm: tuple[float, float, float]
    """(z, y, x); z is the median distance of neighbouring slices along the slice normal."""
    direction: NDArray[np.float64]
    slice_positions_mm: NDArray[np.float64]
    """[z, 3]: LPS (x, y, z) of the centre of pixel (y=0, x=0) of every slice."""

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """LPS (x, y, z) of the centre of voxel [0, 0, 0]."""
        x, y, z = self.slice_positions_mm[0]
        return float(x), float(y), float(z)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the slices, pointing from inferior to superior."""
        n: NDArray[np.float64] = np.cross(self.direction[:, 0], self.direction[:, 1])
        n /= np.linalg.norm(n)
        return n

    @property
    def slice_offsets_mm(self) -> NDArray[np.float64]:
        """[z] distance of every slice along the normal from slice 0 (gaps and uneven steps are kept)."""
        offsets: NDArray[np.float64] = (self.slice_positions_mm - self.slice_positions_mm[0]) @ self.normal
        return offsets

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel in the plane of acquisition."""
        return self.spacing_mm[1] * self.spacing_mm[2]

    @property
    def tilt_degrees(self) -> float:
        """Angle between the stacking direction and the slice normal (0 = no gantry tilt)."""
        cosine = float(np.clip(self.direction[:, 2] @ self.normal, -1.0, 1.0))
        return float(np.degrees(np.arccos(cosine)))


@dataclass(frozen=True)
class SeriesInfo:
    """What the header says of the series; ``None`` where it says nothing."""

    uid: str | None = None
    study_uid: str | None = None
    modality: str = "CT"
    description: str = ""
    protocol_name: str = ""
    image_type: tuple[str, ...] = ()
    kernel: str | None = None
    kvp: float | None = None
    slice_thickness_mm: float | None = None
    manufacturer: str | None = None
    contrast_agent: str | None = None
    study_date: str | None = None
    """YYYYMMDD as in the header."""
    patient_position: str | None = None
    reconstruction_diameter_mm: float | None = None


@dataclass(frozen=True)
class HeaderBody:
    """Body values of the header, as read: nothing is checked or converted but the unit."""

    sex: str | None = None
    """``M`` or ``F`` (any other DICOM value is None)."""
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    date: str | None = None
    """Study date (YYYYMMDD), the date of these values."""


@dataclass(frozen=True, eq=False)
class FileGrid:
    """The grid of a NIfTI input, so that a mask can be written back onto it.

    ``affine`` is NIfTI's own (RAS, 4x4) and ``shape`` the file's. ``axes[k]`` is the file axis that became
    axis k of ``[z, y, x]``; ``flips[k]`` says that it was reversed.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True, eq=False)
class Volume:
    """HU as int16 ``[z, y, x]``: z inferior to superior, y anterior to posterior, x patient right to left.

    Slice *index* 0 is the most inferior slice.
    """

    hu: NDArray[np.int16]
    geometry: Geometry
    sources: tuple[SliceSource, ...]
    series: SeriesInfo = field(default_factory=SeriesInfo)
    file_grid: FileGrid | None = None
    padding: NDArray[np.bool_] | None = None
    """[y, x] pixels that lie outside the scanner's field of view on every slice, if known."""

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return int(self.hu.shape[0])

    @property
    def z_mm(self) -> NDArray[np.float64]:
        """[z] LPS z of the centre of every slice."""
        g = self.geometry
        rows, columns = self.hu.shape[1:]
        centre = g.direction[:, 0] * g.spacing_mm[2] * (columns - 1) / 2
        centre = centre + g.direction[:, 1] * g.spacing_mm[1] * (rows - 1) / 2
        z: NDArray[np.float64] = g.slice_positions_mm[:, 2] + centre[2]
        return z

    def with_series(self, **changes: object) -> Volume:
        """A copy whose series information has the given fields changed."""
        return replace(self, series=replace(self.series, **changes))  # type: ignore[arg-type]
