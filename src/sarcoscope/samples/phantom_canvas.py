"""The plane of one slice, and painting on it by pixel-centre sampling of analytic shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcoscope.samples.phantom_anatomy import Anatomy, Numbers

Mask = NDArray[np.bool_]
Coordinates = NDArray[np.float32]

AIR_HU = -1000.0


@dataclass(frozen=True, eq=False)
class View:
    """A rectangle of a slice: ``x`` and ``y`` in mm from the spine's axis, ``z`` in mm of the body.

    The arrays broadcast to the rectangle ``[rows, columns]``; in an untilted slice ``z`` is one number.
    """

    rows: slice
    columns: slice
    x: Coordinates
    y: Coordinates
    z: Coordinates


class Canvas:
    """HU and labels ``[y, x]`` of one slice.

    ``origin``, ``row`` and ``column`` are body millimetres: the centre of pixel (0, 0), and the steps to the
    next pixel along x and along y.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        shape: tuple[int, int],
        origin: Numbers,
        row: Numbers,
        column: Numbers,
    ) -> None:
        """An empty slice: air, label 0."""
        self.anatomy = anatomy
        self.hu = np.full(shape, AIR_HU, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self._inverse = np.linalg.inv(np.stack([row[:2], column[:2]], axis=1))
        self._origin = origin
        rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
        x, y, z = (_affine(origin[k], row[k], column[k], rows, columns) for k in range(3))
        spine_x, spine_y = anatomy.at("spine_x", z), anatomy.at("spine_y", z)
        self._axis = float(spine_x.mean()), float(spine_y.mean())
        self._slack = float(max(np.ptp(spine_x), np.ptp(spine_y)))
        self.z_range = float(z.min()), float(z.max())
        self._x, self._y = (x - spine_x).astype(np.float32), (y - spine_y).astype(np.float32)
        self._z = z.astype(np.float32)
        self.body = self._cut(slice(0, shape[0]), slice(0, shape[1]))
        """The rectangle that holds the trunk; the whole slice until the trunk is painted."""

    def _cut(self, rows: slice, columns: slice) -> View:
        def part(a: Coordinates) -> Coordinates:
            return a[rows if a.shape[0] > 1 else slice(None), columns if a.shape[1] > 1 else slice(None)]

        return View(rows, columns, part(self._x), part(self._y), part(self._z))

    def view(self, x: float, y: float, half_width: float, half_depth: float) -> View | None:
        """The rectangle round a shape centred at (x, y) mm from the spine; None when outside the picture."""
        half_width, half_depth = half_width + self._slack + 1.0, half_depth + self._slack + 1.0
        corners = np.array([[sx * half_width, sy * half_depth] for sx in (-1, 1) for sy in (-1, 1)])
        corners += np.array([x + self._axis[0], y + self._axis[1]]) - self._origin[:2]
        pixels = corners @ self._inverse.T
        (c0, r0), (c1, r1) = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
        rows = slice(max(int(r0), 0), min(int(r1) + 1, self.hu.shape[0]))
        columns = slice(max(int(c0), 0), min(int(c1) + 1, self.hu.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return self._cut(rows, columns)

    def spread(self, mask: Mask) -> Mask:
        """A mask of the body's rectangle on the whole slice."""
        whole = np.zeros(self.hu.shape, dtype=np.bool_)
        whole[self.body.rows, self.body.columns] = mask
        return whole

    def meets(self, z_low: float, z_high: float) -> bool:
        """Whether any pixel of the slice lies between two heights."""
        return self.z_range[1] >= z_low and self.z_range[0] <= z_high

    def fill(self, view: View, mask: Mask, hu: float | Numbers, label: int) -> None:
        """Paint the pixels of a mask (broadcast to the view)."""
        np.copyto(self.hu[view.rows, view.columns], hu, where=mask, casting="same_kind")
        np.copyto(self.labels[view.rows, view.columns], np.uint8(label), where=mask)


def _affine(
    start: float, step_x: float, step_y: float, rows: NDArray[np.int_], columns: NDArray[np.int_]
) -> Numbers:
    """start + step_x * column + step_y * row, keeping length-1 axes where a step is zero."""
    value: Numbers = np.full((1, 1), start, dtype=np.float64)
    if abs(step_x) > 1e-12:
        value = value + step_x * columns
    if abs(step_y) > 1e-12:
        value = value + step_y * rows
    return value


def ellipse(view: View, x: float, y: float, half_width: float | Numbers, half_depth: float | Numbers) -> Mask:
    """Pixels inside an ellipse."""
    inside: Mask = ((view.x - x) / half_width) ** 2 + ((view.y - y) / half_depth) ** 2 <= 1.0
    return inside


def ellipsoid(view: View, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Mask:
    """Pixels inside an ellipsoid."""
    (x, y, z), (rx, ry, rz) = centre, radii
    far = ((view.x - x) / rx) ** 2 + ((view.y - y) / ry) ** 2 + ((view.z - z) / rz) ** 2
    inside: Mask = far <= 1.0
    return inside


def capsule(view: View, start: tuple[float, float], end: tuple[float, float], radius: float) -> Mask:
    """Pixels nearer than ``radius`` to a line segment in the plane."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = max(dx * dx + dy * dy, 1e-9)
    along = np.clip(((view.x - start[0]) * dx + (view.y - start[1]) * dy) / length, 0.0, 1.0)
    inside: Mask = (view.x - start[0] - along * dx) ** 2 + (
        view.y - start[1] - along * dy
    ) ** 2 <= radius * radius
    return inside


@dataclass(frozen=True, eq=False)
class Egg:
    """Two half superellipses joined at ``centre`` (mm behind the spine's axis), as numbers or arrays over z.

    |x / width|^p + |(y - centre) / depth|^p <= 1 with its own depth and power in front and behind.
    """

    width: Numbers
    front: Numbers
    """From the spine's axis forward."""
    back: Numbers
    centre: Numbers
    front_power: float
    back_power: Numbers | float

    def grown(self, side: float | Numbers, front: float | Numbers, back: float | Numbers) -> Egg:
        """The shape with its borders moved outward by millimetres."""
        return Egg(
            self.width + side,
            self.front + front,
            self.back + back,
            self.centre,
            self.front_power,
            self.back_power,
        )

    def contains(self, view: View) -> Mask:
        """Pixels inside."""
        y = view.y - np.asarray(self.centre, dtype=np.float32)
        share = np.abs(view.x) / np.asarray(self.width, dtype=np.float32)
        ahead, behind = self.front + self.centre, self.back - self.centre
        if share.shape[0] > 1:
            depth = np.where(y < 0, ahead, behind).astype(np.float32)
            power = np.where(y < 0, self.front_power, self.back_power).astype(np.float32)
            mask: Mask = share**power + (np.abs(y) / depth) ** power <= 1.0
            return mask
        rest = np.minimum(share, 1.0)
        ahead = ahead * (1.0 - rest**self.front_power) ** (1.0 / self.front_power)
        behind = behind * (1.0 - rest**self.back_power) ** (1.0 / self.back_power)
        ahead = np.where(share <= 1.0, ahead, -1.0).astype(np.float32)
        mask = (y >= -ahead) & (y <= behind.astype(np.float32))
        return mask

    def polar(self, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """(mm outside the border along the ray from the centre, angle 0 behind .. pi in front)."""
        y = (y - self.centre).astype(np.float32)
        depth = np.where(y < 0, self.front + self.centre, self.back - self.centre)
        power = np.where(y < 0, self.front_power, self.back_power)
        scaled_x, scaled_y = np.abs(x) / self.width, y / depth
        ratio = np.maximum((scaled_x**power + np.abs(scaled_y) ** power) ** (1.0 / power), 1e-3)
        distance = np.hypot(x, y) * (1.0 - 1.0 / ratio)
        return distance.astype(np.float32), np.arctan2(scaled_x, scaled_y).astype(np.float32)
