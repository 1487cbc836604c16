"""Where things lie in the phantom: vertebrae, the curve of the spine, sizes of trunk and muscles by height.

Millimetres of the body: x to the patient's left, y to the back, z up; z = 0 is the upper endplate of S1. The
tables under ``data/phantom_*.csv`` are construction values of a standard adult of 170 cm (how this phantom is
drawn, not measurements of people).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from sarcoscope.files import packaged_rows
from sarcoscope.samples.phantom_settings import PhantomSettings

SACRUM_MM: Final = 104.0
"""Length of the sacrum along z in the standard adult."""
_SACRAL_ANCHORS: Final = {"S1": -14.0, "S2": -40.0, "S3": -62.0, "S5": -97.0, "hip": -150.0}
_SCALED_IN_PLANE: Final = frozenset(
    {"width", "front", "back", "centre", "cavity_width", "cavity_front", "cavity_back"}
)
_PLANE_SIZES: Final = frozenset(
    {"half_width", "half_depth", "canal_half_width", "canal_half_depth", "spinous_mm", "transverse_mm"}
)
_BACK_PUSH: Final = 0.12
"""Share of ``vat_mm`` by which the back of the cavity moves."""
_SIDE_PUSH: Final = 0.6

Array = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Vertebra:
    """One vertebra: its body along z (mm) and its sizes in the plane (mm)."""

    name: str
    z_low: float
    z_high: float
    half_width: float
    half_depth: float
    canal_half_width: float
    canal_half_depth: float
    spinous_mm: float
    spinous_drop: float
    transverse_mm: float

    @property
    def z_mid(self) -> float:
        """Middle of the body."""
        return (self.z_low + self.z_high) / 2

    @property
    def height(self) -> float:
        """Height of the body."""
        return self.z_high - self.z_low

    @property
    def canal_y(self) -> float:
        """Centre of the spinal canal behind the centre of the body."""
        return self.half_depth + self.canal_half_depth - 0.5


@cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    return tuple(packaged_rows("sarcoscope.samples", name))


def contrast_hu(phase: str) -> dict[str, float]:
    """Mean HU of vessels and organs in a contrast phase."""
    row = next(r for r in _table("phantom_contrast") if r["phase"] == phase)
    return {key: float(value) for key, value in row.items() if key != "phase"}


def _vertebrae(scale: float, plane_scale: float) -> tuple[Vertebra, ...]:
    rows = {
        r["name"]: {k: float(v) for k, v in r.items() if k != "name"} for r in _table("phantom_vertebrae")
    }
    found, z = [], 0.0
    for name in reversed(rows):
        r = rows[name]
        low = z + r["disc_below_mm"] * scale
        z = low + r["body_mm"] * scale
        sizes = {name: value * plane_scale for name, value in r.items() if name in _PLANE_SIZES}
        found.append(Vertebra(name, low, z, spinous_drop=r["spinous_drop"], **sizes))
    return tuple(found)


class Anatomy:
    """The body of one phantom; every method takes z in mm (any shape) and answers in mm."""

    def __init__(self, settings: PhantomSettings) -> None:
        """Lay out the body that ``settings`` describe."""
        self.settings = settings
        self.scale = settings.height_cm / 170.0
        self.plane_scale = float(np.sqrt(self.scale))
        self.vertebrae = _vertebrae(self.scale, self.plane_scale)
        self.by_name = {v.name: v for v in self.vertebrae}
        self.hu = contrast_hu(settings.phase)
        self.sacrum_low = -SACRUM_MM * self.scale
        self._grid = np.arange(-190.0, 660.0, 1.0) * self.scale
        self._columns = self._profile()
        self._slope_y = np.gradient(self._columns["spine_y"], self._grid)
        self._columns["spine_x"] = self._lateral_curve()
        self._slope_x = np.gradient(self._columns["spine_x"], self._grid)

    def at(self, column: str, z: float | Numbers) -> Array:
        """The value of a profile column at height z."""
        return np.asarray(np.interp(z, self._grid, self._columns[column]))

    def slopes(self, z: float | Numbers) -> tuple[Array, Array]:
        """Slopes (dx/dz, dy/dz) of the spine's axis at height z."""
        slope_x, slope_y = (np.interp(z, self._grid, slope) for slope in (self._slope_x, self._slope_y))
        return np.asarray(slope_x), np.asarray(slope_y)

    def z_of(self, name: str) -> float:
        """Middle of a vertebral body, or of a part of the sacrum."""
        if name in _SACRAL_ANCHORS:
            return _SACRAL_ANCHORS[name] * self.scale
        if name == "top":
            return self.vertebrae[-1].z_high + 15.0
        return self.by_name[name].z_mid

    def level_spans(self) -> dict[str, tuple[float, float]]:
        """z from lower to upper endplate of each of the 19 levels, on the spine's axis."""
        spans = {v.name: (v.z_low, v.z_high) for v in self.vertebrae if not v.name.startswith("C")}
        spans["Cervical"] = (self.by_name["C7"].z_low, self.vertebrae[-1].z_high)
        spans["Sacral"] = (self.sacrum_low, 0.0)
        return spans

    def _profile(self) -> dict[str, Array]:
        s = self.settings
        rows = sorted(_table("phantom_profile"), key=lambda r: self.z_of(r["anchor"]))
        heights = np.array([self.z_of(r["anchor"]) for r in rows])
        grid = np.clip(self._grid, heights[0], heights[-1])
        columns = {
            name: np.asarray(
                PchipInterpolator(heights, [float(r[name]) for r in rows])(grid), dtype=np.float64
            )
            for name in rows[0]
            if name != "anchor"
        }
        columns["spine_y"] = columns["spine_y"] * s.lordosis
        female = columns["female_width"] if s.sex == "F" else np.ones_like(self._grid)
        for name in _SCALED_IN_PLANE:
            columns[name] = columns[name] * self.plane_scale * (female if "width" in name else 1.0)
        self._push_by_fat(columns)
        self._build_muscle(columns)
        return columns

    def _push_by_fat(self, columns: dict[str, Array]) -> None:
        push = self.settings.vat_mm * columns["vat"]
        for prefix in ("", "cavity_"):
            columns[f"{prefix}width"] = columns[f"{prefix}width"] + _SIDE_PUSH * push
            columns[f"{prefix}front"] = columns[f"{prefix}front"] + push
        columns["cavity_back"] = columns["cavity_back"] + _BACK_PUSH * push
        columns["centre"] = columns["centre"] - 0.3 * push

    def _build_muscle(self, columns: dict[str, Array]) -> None:
        """Thicken or thin the wall and the muscle bellies by the build of the person."""
        build = self.settings.muscle
        for outer, inner in (("width", "cavity_width"), ("front", "cavity_front")):
            columns[outer] = columns[inner] + (columns[outer] - columns[inner]) * build
        root = float(np.sqrt(build)) * self.plane_scale
        for name in ("psoas_w", "psoas_d", "quad_w", "quad_d", "erector_w", "erector_d"):
            columns[name] = columns[name] * root

    def _lateral_curve(self) -> Array:
        top, bottom = self.by_name["T5"].z_mid, self.z_of("S1")
        phase = np.clip((self._grid - bottom) / (top - bottom), 0.0, 1.0)
        return self.settings.scoliosis_mm * np.sin(2.0 * np.pi * phase) * np.sin(np.pi * phase)
