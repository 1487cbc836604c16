"""NIfTI files: reading into a :class:`Volume`, and masks back onto the file's own grid."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sarcoscope.errors import GeometryError, NotFoundError, UnreadableError
from sarcoscope.imaging.volume import FileGrid, Geometry, SeriesInfo, SliceSource, Volume

AIR_HU = -1024
HIGHEST_HU = 32767
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file (2-D, 3-D, or 4-D with one frame) whatever its axis order.

    Raises:
        NotFoundError: no such file.
        UnreadableError: damaged, no NIfTI, or its values cannot be CT.
        GeometryError: more than one frame, or axes that make no grid.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file '{path.name}'.")
    nib.imageglobals.logger.setLevel(logging.CRITICAL)  # what it mends in a header is no news to the user
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = nib.load(path)
            affine = np.asarray(image.affine, np.float64)
            data = np.asanyarray(image.dataobj)
    except Exception as error:
        raise UnreadableError(f"'{path.name}' is damaged or no NIfTI file.") from error
    data = _three_axes(data, path.name)
    return volume_from_grid(data, affine, path.name)


def volume_from_grid(data: NDArray[Any], affine: NDArray[np.float64], name: str) -> Volume:
    """A volume from an array [i, j, k] and its NIfTI affine (RAS, 4 x 4)."""
    affine = np.asarray(affine, np.float64)
    grid = file_grid(affine, (data.shape[0], data.shape[1], data.shape[2]), name)
    hu = _to_hu(data, name).transpose(grid.axes)
    hu = np.ascontiguousarray(hu[tuple(slice(None, None, -1) if f else slice(None) for f in grid.flips)])
    return Volume(hu, _geometry(grid), (SliceSource(),) * hu.shape[0], SeriesInfo(), file_grid=grid)


def file_grid(affine: NDArray[np.float64], shape: tuple[int, int, int], name: str) -> FileGrid:
    """How a file's axes become [z, y, x].

    Raises:
        GeometryError: the affine has no usable axes.
    """
    columns = _RAS_TO_LPS @ affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(affine).all() or (lengths < 1e-4).any() or abs(np.linalg.det(columns)) < 1e-9:
        raise GeometryError(f"'{name}' has no usable voxel grid in its header.")
    unit = np.abs(columns / lengths)
    best, axes = -1.0, (2, 1, 0)
    for z in range(3):
        for y in range(3):
            for x in range(3):
                if len({x, y, z}) == 3 and unit[2, z] + unit[1, y] + unit[0, x] > best:
                    best, axes = float(unit[2, z] + unit[1, y] + unit[0, x]), (z, y, x)
    flips = tuple(bool(columns[lps, axis] < 0) for lps, axis in zip((2, 1, 0), axes, strict=True))
    return FileGrid(affine, shape, axes, (flips[0], flips[1], flips[2]))


def mask_to_file_grid(
    volume: Volume, mask: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A mask [z, y, x] on the input's grid: (array [i, j, k] in the file's own axis order, affine RAS).

    A DICOM input has no such grid: the array is then [x, y, z] of the LPS volume with :func:`nifti_affine`.
    """
    grid = volume.file_grid
    if grid is None:
        return np.ascontiguousarray(mask.transpose(2, 1, 0)), nifti_affine(volume)
    turned = mask[tuple(slice(None, None, -1) if f else slice(None) for f in grid.flips)]
    back = np.argsort(grid.axes)
    return np.ascontiguousarray(turned.transpose(tuple(int(b) for b in back))), grid.affine


def nifti_affine(volume: Volume) -> NDArray[np.float64]:
    """RAS affine (4 x 4) of the volume's array in [x, y, z] order; uneven slices get their mean step."""
    geometry = volume.geometry
    dz, dy, dx = geometry.spacing_mm
    positions = geometry.slice_positions_mm
    step = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else None
    affine = np.eye(4)
    affine[:3, 0] = geometry.direction[:, 0] * dx
    affine[:3, 1] = geometry.direction[:, 1] * dy
    affine[:3, 2] = geometry.normal * dz if step is None else step
    affine[:3, 3] = positions[0]
    affine[:3] = _RAS_TO_LPS @ affine[:3]
    return affine


def _geometry(grid: FileGrid) -> Geometry:
    lps = _RAS_TO_LPS @ grid.affine[:3]
    first = np.zeros(3)
    steps = np.empty((3, 3))
    for k, (axis, flip) in enumerate(zip(grid.axes, grid.flips, strict=True)):
        steps[k] = lps[:, axis] * (-1.0 if flip else 1.0)
        first[axis] = grid.shape[axis] - 1 if flip else 0
    origin = lps[:, :3] @ first + lps[:, 3]
    lengths = np.linalg.norm(steps, axis=1)
    direction = (steps / lengths[:, None])[::-1].T
    positions = origin + np.arange(grid.shape[grid.axes[0]])[:, None] * steps[0]
    normal = np.cross(direction[:, 0], direction[:, 1])
    spacing_z = float(abs(steps[0] @ normal / np.linalg.norm(normal)))
    return Geometry((spacing_z, float(lengths[1]), float(lengths[2])), direction, positions)


def _three_axes(data: NDArray[Any], name: str) -> NDArray[Any]:
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim == 2:
        data = data[..., None]
    if data.ndim != 3:
        raise GeometryError(f"'{name}' holds {data.ndim} dimensions; one CT volume has three.")
    if 0 in data.shape:
        raise UnreadableError(f"'{name}' holds an empty image.")
    return data


def _to_hu(data: NDArray[Any], name: str) -> NDArray[np.int16]:
    """Whole HU from stored values; what cannot be CT is refused."""
    if data.dtype.kind not in "iuf":
        raise UnreadableError(f"'{name}' holds colours or complex numbers, not CT values.")
    values = data
    if data.dtype.kind == "f":
        values = np.rint(np.nan_to_num(data, nan=AIR_HU, posinf=HIGHEST_HU, neginf=AIR_HU))
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 255:
        raise UnreadableError(
            f"'{name}' holds values from {low:g} to {high:g}: a mask or a picture, not CT values in HU."
        )
    clipped: NDArray[np.int16] = np.clip(values, AIR_HU, HIGHEST_HU).astype(np.int16)
    return clipped
