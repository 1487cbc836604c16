"""A parametric CT phantom whose tissues, areas and vertebrae are known exactly.

Every shape is analytic and sampled at the pixel's centre; without noise, blur and through-plane averaging
every pixel's HU lies in its own tissue's band, so that measuring with the true mask gives the true areas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.imaging.volume import Geometry, SeriesInfo, SliceSource, Volume
from sarcoscope.levels.level_map import LevelMap, LevelRange
from sarcoscope.progress import Progress
from sarcoscope.samples.phantom_anatomy import Anatomy
from sarcoscope.samples.phantom_bones import paint_bones
from sarcoscope.samples.phantom_canvas import Canvas
from sarcoscope.samples.phantom_image import Finish, paint_arms, paint_metal, paint_table
from sarcoscope.samples.phantom_organs import Organs
from sarcoscope.samples.phantom_settings import PhantomSettings, random_settings
from sarcoscope.samples.phantom_trunk import paint_inner_muscles, paint_trunk
from sarcoscope.tissues.tissue_mask import TissueMask

__all__ = ["Phantom", "PhantomSettings", "make_phantom", "random_settings"]

_CENTRE_LEVEL = "L3"
"""The picture's centre lies in front of the spine at this level."""
_CENTRE_FORWARD_MM = 24.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """A phantom with its truth; all arrays are ``[z, y, x]`` as in a :class:`Volume`."""

    settings: PhantomSettings
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    """1 muscle, 2 SAT, 3 VAT, 4 IMAT, 5 bone (with discs and spinal canal), 0 all else."""
    geometry: Geometry
    levels: LevelMap
    """Endplate to endplate on the spine's axis; discs belong to no level."""
    spine_px: NDArray[np.float64]
    """[z, 2] pixel (y, x) of the centre of the vertebral body or disc."""
    outside: NDArray[np.bool_] | None = None
    """[y, x] outside the field of view."""

    @property
    def areas_cm2(self) -> Mapping[str, NDArray[np.float64]]:
        """True area of each tissue on every slice, in the plane of acquisition."""
        pixel = self.geometry.pixel_area_mm2 / 100.0
        return {
            tissue_name(t): np.count_nonzero(self.labels == t, axis=(1, 2)).astype(np.float64) * pixel
            for t in TISSUES
        }

    def volume(self) -> Volume:
        """The phantom as a volume without header."""
        s = self.settings
        info = SeriesInfo(kvp=float(s.kvp), slice_thickness_mm=s.slice_thickness_mm, description="phantom")
        return Volume(self.hu, self.geometry, (SliceSource(),) * len(self.hu), info, padding=self.outside)

    def tissue_mask(self, indices: tuple[int, ...] | None = None) -> TissueMask:
        """The true mask of the given slices (all of them by default), bone left out."""
        chosen = tuple(range(len(self.hu))) if indices is None else tuple(sorted(indices))
        labels = self.labels[list(chosen)].copy()
        body = (labels > 0) | (self.hu[list(chosen)] > -300)
        labels[labels > max(TISSUES)] = 0
        return TissueMask(chosen, labels, body)


def make_phantom(settings: PhantomSettings | None = None, *, progress: Progress | None = None) -> Phantom:
    """Draw a phantom.

    About 1 s for 60 slices of 512 x 512. ``progress`` hears ("phantom", fraction). Raises
    :class:`~sarcoscope.errors.SettingError` from the settings themselves.
    """
    settings = settings or PhantomSettings()
    anatomy = Anatomy(settings)
    rng = np.random.default_rng(settings.seed)
    organs, finish = Organs(anatomy, rng), Finish(settings, rng)
    geometry, to_body = _place(anatomy)
    n = settings.matrix
    count = len(geometry.slice_positions_mm)
    hu, labels = np.empty((count, n, n), np.int16), np.empty((count, n, n), np.uint8)
    spine = np.empty((count, 2))
    for k in range(count):
        picture, labels[k] = _slice(anatomy, organs, finish, geometry, to_body, k)
        hu[k] = finish.picture(picture, rng)
        if finish.outside is not None:
            labels[k][finish.outside] = 0
        spine[k] = _spine_pixel(anatomy, geometry, to_body, k)
        if progress is not None:
            progress("phantom", (k + 1) / count)
    ranges = _ranges(anatomy, geometry, to_body, spine)
    return Phantom(settings, hu, labels, geometry, LevelMap(ranges), spine, finish.outside)


@dataclass(frozen=True, eq=False)
class _ToBody:
    """From LPS millimetres to the millimetres of the body."""

    turn: NDArray[np.float64]
    centre: NDArray[np.float64]

    def point(self, lps: NDArray[np.float64]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = self.turn @ lps + self.centre
        return moved

    def vector(self, lps: NDArray[np.float64]) -> NDArray[np.float64]:
        turned: NDArray[np.float64] = self.turn @ lps
        return turned


def _place(anatomy: Anatomy) -> tuple[Geometry, _ToBody]:
    """Where the slices lie: LPS origin on the body's z axis, in front of the spine at L3."""
    s = anatomy.settings
    tilt, turn, roll = (np.radians(v) for v in (s.tilt_degrees, s.in_plane_degrees, s.roll_degrees))
    across, down = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    row = np.cos(turn) * across + np.sin(turn) * down
    column = -np.sin(turn) * across + np.cos(turn) * down
    spans = anatomy.level_spans()
    low, high = spans[s.bottom_level][0] - s.margin_mm, spans[s.top_level][1] + s.margin_mm
    heights = np.arange(low, high + 1e-6, s.slice_spacing_mm)
    corner = -(s.matrix - 1) / 2 * s.pixel_mm * (row + column)
    positions = corner + np.outer(heights, [0.0, 0.0, 1.0])
    normal_step = s.slice_spacing_mm * float(np.cross(row, column)[2])
    direction = np.stack([row, column, np.array([0.0, 0.0, 1.0])], axis=1)
    geometry = Geometry((normal_step, s.pixel_mm, s.pixel_mm), direction, positions)
    z = anatomy.z_of(_CENTRE_LEVEL)
    y = float(anatomy.at("spine_y", z)) - _CENTRE_FORWARD_MM - 0.4 * s.vat_mm
    centre = np.array([-s.offset_mm[0], y - s.offset_mm[1], 0.0])
    matrix = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1.0]])
    return geometry, _ToBody(matrix, centre)


def _slice(
    anatomy: Anatomy, organs: Organs, finish: Finish, geometry: Geometry, to_body: _ToBody, k: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """HU (before kernel and noise) and labels of slice ``k``."""
    s = anatomy.settings
    steps = (np.arange(s.through_plane_samples) + 0.5) / s.through_plane_samples - 0.5
    pictures, labels = [], None
    for step in sorted(steps, key=abs, reverse=True):
        origin = geometry.slice_positions_mm[k] + geometry.normal * float(step) * s.slice_thickness_mm
        canvas = _painted(anatomy, organs, finish, geometry, to_body, origin)
        pictures.append(canvas.hu)
        labels = canvas.labels
    if s.through_plane_samples % 2 == 0:
        labels = _painted(anatomy, organs, finish, geometry, to_body, geometry.slice_positions_mm[k]).labels
    picture: NDArray[np.float32] = np.mean(np.stack(pictures), axis=0, dtype=np.float32)
    if labels is None:
        labels = np.zeros((s.matrix, s.matrix), np.uint8)
    return picture, labels


def _painted(
    anatomy: Anatomy,
    organs: Organs,
    finish: Finish,
    geometry: Geometry,
    to_body: _ToBody,
    origin: NDArray[np.float64],
) -> Canvas:
    s = anatomy.settings
    row = to_body.vector(geometry.direction[:, 0]) * s.pixel_mm
    column = to_body.vector(geometry.direction[:, 1]) * s.pixel_mm
    canvas = Canvas(anatomy, (s.matrix, s.matrix), to_body.point(origin), row, column)
    cavity = paint_trunk(canvas)
    organs.paint(canvas, cavity)
    paint_inner_muscles(canvas)
    paint_bones(canvas)
    if s.arms_down:
        paint_arms(canvas, anatomy)
    if s.table:
        paint_table(canvas, anatomy)
    finish.tissue_texture(canvas, float(np.mean(canvas.z_range)))
    if s.metal:
        paint_metal(canvas, anatomy)
    return canvas


def _spine_pixel(anatomy: Anatomy, geometry: Geometry, to_body: _ToBody, k: int) -> NDArray[np.float64]:
    """Pixel (y, x) where the spine's axis meets the plane of slice ``k``."""
    return _meeting(anatomy, geometry, to_body, k)[0]


def _meeting(
    anatomy: Anatomy, geometry: Geometry, to_body: _ToBody, k: int
) -> tuple[NDArray[np.float64], float]:
    """(pixel, z of the body) where the axis meets the plane; found by repeated projection."""
    s = anatomy.settings
    origin = to_body.point(geometry.slice_positions_mm[k])
    row = to_body.vector(geometry.direction[:, 0]) * s.pixel_mm
    column = to_body.vector(geometry.direction[:, 1]) * s.pixel_mm
    plane = np.linalg.inv(np.stack([row[:2], column[:2]], axis=1))
    z, pixel = float(origin[2]), np.zeros(2)
    for _ in range(12):
        axis = np.array([float(anatomy.at("spine_x", z)), float(anatomy.at("spine_y", z))])
        pixel = plane @ (axis - origin[:2])
        z = float(origin[2] + pixel[0] * row[2] + pixel[1] * column[2])
    return pixel[::-1], z


def _ranges(
    anatomy: Anatomy, geometry: Geometry, to_body: _ToBody, spine: NDArray[np.float64]
) -> tuple[LevelRange, ...]:
    heights = np.array([_meeting(anatomy, geometry, to_body, k)[1] for k in range(len(spine))])
    spans, found = anatomy.level_spans(), []
    for level in reversed(LEVELS):
        low, high = spans[level]
        inside = np.flatnonzero((heights >= low) & (heights <= high))
        if inside.size:
            complete = bool(heights[0] < low and heights[-1] > high)
            found.append(LevelRange(level, int(inside[0]), int(inside[-1]), 1.0, complete))
    return tuple(found)
