"""The trunk of the phantom: skin, subcutaneous fat, the muscle ring and the cavity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from sarcoscope.anatomy.tissues import Tissue
from sarcoscope.samples.phantom_anatomy import Anatomy, Numbers
from sarcoscope.samples.phantom_canvas import Canvas, Coordinates, Egg, Mask, View, ellipse

SAT_HU: Final = -104.0
VAT_HU: Final = -98.0
IMAT_HU: Final = -75.0
SKIN_HU: Final = 30.0
SKIN_MM: Final = 2.0
PLANE_MM: Final = 1.1
"""Thickness of the fat planes between muscles."""
_FRONT_POWER: Final = 2.35
_CAVITY_FRONT_POWER: Final = 2.3
_CAVITY_BACK_POWER: Final = 3.0


@dataclass(frozen=True)
class ShellMuscle:
    """A flat muscle on the outside of the rib cage: angles in parts of pi (0 behind, 1 in front)."""

    start: float
    end: float
    thickness_mm: float
    lowest: str
    highest: str


_SHELL_MUSCLES: Final = (
    ShellMuscle(0.60, 0.95, 15.0, "T7", "T2"),
    ShellMuscle(0.20, 0.62, 10.0, "T12", "T4"),
    ShellMuscle(0.04, 0.27, 9.0, "T10", "C7"),
)


def ring_egg(anatomy: Anatomy, z: Coordinates) -> Egg:
    """Outer border of the muscle ring (of the rib cage's wall, higher up)."""
    at = anatomy.at
    return Egg(
        at("width", z), at("front", z), at("back", z), at("centre", z), _FRONT_POWER, at("back_power", z)
    )


def cavity_egg(anatomy: Anatomy, z: Coordinates) -> Egg:
    """Inner border of the muscle ring: the cavity of belly and chest."""
    at = anatomy.at
    front, back = at("cavity_front", z), at("cavity_back", z)
    centre = back - 0.52 * (front + back)
    return Egg(at("cavity_width", z), front, back, centre, _CAVITY_FRONT_POWER, _CAVITY_BACK_POWER)


def outline_egg(anatomy: Anatomy, z: Coordinates) -> Egg:
    """The skin."""
    at, sat, pad = anatomy.at, anatomy.settings.sat_mm, anatomy.at("pad_side", z)
    egg = ring_egg(anatomy, z)
    back_pad = 5.0 + 0.15 * pad
    return egg.grown(
        at("sat_side", z) * sat + pad,
        at("sat_front", z) * sat + 0.5 * pad,
        at("sat_back", z) * sat + back_pad,
    )


def muscle_hu(anatomy: Anatomy) -> float:
    """Mean HU of muscle in this phantom's phase."""
    return anatomy.settings.muscle_hu + anatomy.hu["muscle"]


def paint_trunk(canvas: Canvas) -> Mask:
    """Paint outline, fat, ring and cavity; returns the cavity ``[y, x]``."""
    anatomy = canvas.anatomy
    _narrow(canvas)
    view = canvas.body
    z = view.z
    outline = outline_egg(anatomy, z)
    canvas.fill(view, outline.contains(view), SKIN_HU, Tissue.BACKGROUND)
    canvas.fill(view, outline.grown(-SKIN_MM, -SKIN_MM, -SKIN_MM).contains(view), SAT_HU, Tissue.SAT)
    if anatomy.settings.sex == "F":
        _paint_breasts(canvas)
    ring, cavity = ring_egg(anatomy, z), cavity_egg(anatomy, z)
    _paint_shell_muscles(canvas, ring)
    hu = muscle_hu(anatomy)
    canvas.fill(view, ring.contains(view), hu, Tissue.MUSCLE)
    _paint_wall_planes(canvas, ring, cavity)
    inside = cavity.contains(view)
    canvas.fill(view, inside, VAT_HU, Tissue.VAT)
    return canvas.spread(inside)


def _narrow(canvas: Canvas) -> None:
    """Set the rectangle of the body, so that large shapes are painted only there."""
    egg = outline_egg(canvas.anatomy, np.linspace(*canvas.z_range, 9).astype(np.float32))
    front, back = float(np.max(egg.front)) + 90.0, float(np.max(egg.back)) + 10.0
    view = canvas.view(0.0, (back - front) / 2, float(np.max(egg.width)) + 2.0, (front + back) / 2)
    if view is not None:
        canvas.body = view


def _paint_breasts(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    z, size = anatomy.z_of("T6"), 22.0 + 0.7 * anatomy.settings.sat_mm
    if not canvas.meets(z - 1.6 * size, z + 1.6 * size):
        return
    front = float(anatomy.at("front", z)) + 6.0
    for side in (-1.0, 1.0):
        x, y = side * 72.0, -front
        for shrink, hu, label in ((0.0, SKIN_HU, Tissue.BACKGROUND), (SKIN_MM, SAT_HU, Tissue.SAT)):
            view = canvas.view(x, y, 3 * size, 2 * size)
            if view is None:
                continue
            thick = np.sqrt(np.maximum(1.0 - ((view.z - z) / (1.6 * size)) ** 2, 1e-6))
            mask = ellipse(
                view,
                x,
                y,
                np.maximum(2.1 * size * thick - shrink, 0.1),
                np.maximum(1.5 * size * thick - shrink, 0.1),
            )
            behind = canvas.labels[view.rows, view.columns] == Tissue.SAT
            canvas.fill(view, mask & ~behind, hu, label)
        gland = canvas.view(x, y, size, size)
        if gland is not None:
            thick = np.sqrt(np.maximum(1.0 - ((gland.z - z) / size) ** 2, 1e-6))
            mask = ellipse(gland, x, y - 0.5 * size, 0.9 * size * thick, 0.5 * size * thick)
            canvas.fill(
                gland,
                mask & (canvas.labels[gland.rows, gland.columns] == Tissue.SAT),
                25.0,
                Tissue.BACKGROUND,
            )


def _paint_shell_muscles(canvas: Canvas, ring: Egg) -> None:
    """Pectoralis, serratus and latissimus, trapezius and rhomboids, the muscles of the shoulder."""
    anatomy, view = canvas.anatomy, canvas.body
    top, bottom = anatomy.by_name["C7"].z_high, anatomy.by_name["T12"].z_low
    if not canvas.meets(bottom, top):
        return
    fat = canvas.labels[view.rows, view.columns] == Tissue.SAT
    reach = max(m.thickness_mm for m in _SHELL_MUSCLES) * anatomy.settings.muscle
    rows, columns = np.nonzero(fat & ring.grown(reach, reach, reach).contains(view) & ~ring.contains(view))
    x, y, z = (np.broadcast_to(a, fat.shape)[rows, columns] for a in (view.x, view.y, view.z))
    distance, angle = ring_egg(anatomy, z).polar(x, y)
    covered = _shell_thickness(anatomy, angle / np.float32(np.pi), z)
    hu, labels = canvas.hu[view.rows, view.columns], canvas.labels[view.rows, view.columns]
    for near, far, value, label in (
        (PLANE_MM, covered, muscle_hu(anatomy), Tissue.MUSCLE),
        (0.0, np.minimum(covered, PLANE_MM), IMAT_HU, Tissue.IMAT),
    ):
        chosen = (distance > near) & (distance <= far)
        hu[rows[chosen], columns[chosen]] = value
        labels[rows[chosen], columns[chosen]] = label
    _paint_shoulder_muscles(canvas)


def _shell_thickness(anatomy: Anatomy, angle: Coordinates, z: Coordinates) -> Numbers:
    covered = np.zeros(angle.shape)
    for m in _SHELL_MUSCLES:
        low, high = anatomy.by_name[m.lowest].z_low, anatomy.by_name[m.highest].z_high
        along = np.clip((angle - m.start) / (m.end - m.start), 0.0, 1.0)
        upward = np.clip((z - low) / (high - low), 0.0, 1.0)
        belly = np.sqrt(np.abs(np.sin(np.pi * along) * np.sin(np.pi * upward)))
        covered = np.maximum(covered, m.thickness_mm * anatomy.settings.muscle * belly)
    return covered


def _paint_shoulder_muscles(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    z_low, z_high = anatomy.by_name["T7"].z_low, anatomy.by_name["C7"].z_mid
    for side in (-1.0, 1.0):
        middle, half = (z_low + z_high) / 2, (z_high - z_low) / 2
        upward = 1.0 - ((float(np.mean(canvas.z_range)) - middle) / half) ** 2
        if upward <= 0:
            return
        width, depth = (
            44.0 * anatomy.settings.muscle * upward**0.5,
            24.0 * anatomy.settings.muscle * upward**0.5,
        )
        x, y = side * (float(anatomy.at("width", middle)) - 18.0), 14.0
        view = canvas.view(x, y, width, depth)
        if view is None:
            continue
        fat = canvas.labels[view.rows, view.columns] == Tissue.SAT
        canvas.fill(view, ellipse(view, x, y, width, depth) & fat, muscle_hu(anatomy), Tissue.MUSCLE)


def _paint_wall_planes(canvas: Canvas, ring: Egg, cavity: Egg) -> None:
    """Fat planes between the flat muscles of the flank (below: of the buttock), and the white line."""
    anatomy, view = canvas.anatomy, canvas.body
    if not canvas.meets(anatomy.z_of("hip"), anatomy.by_name["T12"].z_mid):
        return
    pelvic = view.z < anatomy.by_name["L5"].z_low
    lateral = (np.abs(view.x) > np.where(pelvic, 0.35, 0.72) * ring.width) & (
        view.y < np.where(pelvic, 80.0, 20.0)
    )
    for share in (0.33, 0.68):
        side, front = (cavity.width - ring.width) * share, (cavity.front - ring.front) * share
        layer = ring.grown(side, front, np.where(pelvic, (cavity.back - ring.back) * share, 0.0))
        within = layer.grown(-PLANE_MM, -PLANE_MM, np.where(pelvic, -PLANE_MM, 0.0))
        canvas.fill(view, layer.contains(view) & ~within.contains(view) & lateral, IMAT_HU, Tissue.IMAT)
    white_line = (np.abs(view.x) < 1.5) & ring.contains(view) & (view.y < -40.0)
    canvas.fill(view, white_line, IMAT_HU, Tissue.IMAT)


def paint_inner_muscles(canvas: Canvas) -> None:
    """Psoas, quadratus lumborum and erector spinae, each wrapped in a thin fat plane."""
    anatomy, z = canvas.anatomy, float(np.mean(canvas.z_range))
    hu = muscle_hu(anatomy)
    for name, x, y in (
        ("quad", 64.0 * anatomy.plane_scale, 19.0 * anatomy.plane_scale),
        ("psoas", float(anatomy.at("psoas_x", z)), float(anatomy.at("psoas_y", z))),
        ("erector", float(anatomy.at("erector_x", z)), float(anatomy.at("erector_y", z))),
    ):
        width, depth = float(anatomy.at(f"{name}_w", z)), float(anatomy.at(f"{name}_d", z))
        if min(width, depth) < 2.0:
            continue
        for side in (-1.0, 1.0):
            view = canvas.view(side * x, y, width + 2, depth + 2)
            if view is None:
                continue
            person = _in_person(canvas, view)
            wrap = ellipse(view, side * x, y, width + PLANE_MM, depth + PLANE_MM) & person
            canvas.fill(
                view, wrap & (canvas.labels[view.rows, view.columns] == Tissue.MUSCLE), IMAT_HU, Tissue.IMAT
            )
            canvas.fill(view, ellipse(view, side * x, y, width, depth) & person, hu, Tissue.MUSCLE)


def _in_person(canvas: Canvas, view: View) -> Mask:
    inside: Mask = (canvas.labels[view.rows, view.columns] != Tissue.BACKGROUND) | (
        canvas.hu[view.rows, view.columns] > -300.0
    )
    return inside
