"""Bones of the phantom: vertebrae, sternum, shoulder blade, sacrum, pelvis and hips."""

from __future__ import annotations

from typing import Final

import numpy as np

from sarcoscope.samples.phantom_anatomy import Numbers, Vertebra
from sarcoscope.samples.phantom_canvas import Canvas, Mask, View, capsule, ellipse, ellipsoid
from sarcoscope.samples.phantom_ribs import BONE_LABEL, CORTEX_HU, MARROW_HU, paint_ribs

DISC_HU: Final = 95.0
CANAL_HU: Final = 14.0
CORD_HU: Final = 42.0
_SIDES: Final = (-1.0, 1.0)


def paint_bones(canvas: Canvas) -> None:
    """Paint every bone that the slice meets."""
    paint_ribs(canvas)
    _paint_sternum(canvas)
    _paint_shoulder(canvas)
    _paint_pelvis(canvas)
    _paint_sacrum(canvas)
    for vertebra in canvas.anatomy.vertebrae:
        _paint_vertebra(canvas, vertebra)


def _along_axis(canvas: Canvas, view: View) -> Numbers:
    """Height of every pixel measured along the curved axis of the spine (endplates lie across it)."""
    slope_x, slope_y = canvas.anatomy.slopes(view.z)
    along: Numbers = view.z + slope_x * view.x + slope_y * view.y
    return along


def _paint_vertebra(canvas: Canvas, v: Vertebra) -> None:
    reach = 30.0
    if not canvas.meets(v.z_low - 3 * reach, v.z_high + reach):
        return
    view = canvas.view(0.0, 25.0, v.transverse_mm + 10, 80.0)
    if view is None:
        return
    along = _along_axis(canvas, view)
    _paint_arch(canvas, view, v, along)
    _paint_body(canvas, view, v, along)


def _paint_body(canvas: Canvas, view: View, v: Vertebra, along: Numbers) -> None:
    disc_low = _lower_neighbour(canvas, v)
    disc = (
        ellipse(view, 0, 0, v.half_width * 0.98, v.half_depth * 0.98)
        & (along >= disc_low)
        & (along < v.z_low)
    )
    canvas.fill(view, disc, DISC_HU, BONE_LABEL)
    waist = 1.0 - 0.09 * (1.0 - (2.0 * (along - v.z_mid) / v.height) ** 2)
    inside = (along >= v.z_low) & (along <= v.z_high)
    body = ellipse(view, 0, 0, v.half_width * waist, v.half_depth * waist) & inside
    canvas.fill(view, body, CORTEX_HU, BONE_LABEL)
    core = ellipse(view, 0, 0, v.half_width * waist - 1.6, v.half_depth * waist - 1.6)
    core &= (along >= v.z_low + 1.5) & (along <= v.z_high - 1.5)
    canvas.fill(view, core, MARROW_HU, BONE_LABEL)


def _lower_neighbour(canvas: Canvas, v: Vertebra) -> float:
    below = [other.z_high for other in canvas.anatomy.vertebrae if other.z_high < v.z_low]
    return max(below, default=0.0)


def _paint_arch(canvas: Canvas, view: View, v: Vertebra, along: Numbers) -> None:
    """Canal with cord, pedicles, laminae, spinous and transverse processes."""
    y, wall = v.canal_y, 5.0
    section = (along >= _lower_neighbour(canvas, v)) & (along < v.z_high)
    outer = ellipse(view, 0, y + 1, v.canal_half_width + wall, v.canal_half_depth + wall) & section
    upper = along > v.z_low + 0.45 * v.height
    lamina = outer & ((view.y > y) & (along < v.z_low + 0.75 * v.height) | upper & (along < v.z_high - 2.0))
    canvas.fill(view, lamina, CORTEX_HU * 0.85, BONE_LABEL)
    facet = (np.abs(np.abs(view.x) - v.canal_half_width - 5) < 6.5) & (np.abs(view.y - y - 6) < 6)
    canvas.fill(view, facet & section & (along < v.z_low + 0.3 * v.height), CORTEX_HU * 0.8, BONE_LABEL)
    _paint_processes(canvas, view, v, along)
    canal = ellipse(view, 0, y, v.canal_half_width, v.canal_half_depth) & section
    canvas.fill(view, canal, CANAL_HU, BONE_LABEL)
    if v.z_low >= canvas.anatomy.by_name["L1"].z_low:
        cord = ellipse(view, 0, y, 5.5, 4.5) & section
        canvas.fill(view, cord, CORD_HU, BONE_LABEL)


def _paint_processes(canvas: Canvas, view: View, v: Vertebra, along: Numbers) -> None:
    root, y = v.canal_y + v.canal_half_depth, view.y
    backward = y - root
    middle = v.z_low + 0.3 * v.height - v.spinous_drop * backward
    spinous = (np.abs(view.x) < 3.5) & (backward >= 0) & (backward < v.spinous_mm)
    spinous &= np.abs(along - middle) < 0.38 * v.height
    _paint_shell(canvas, view, spinous, np.abs(view.x) < 1.8)
    lift = v.z_low + 0.68 * v.height
    thoracic = v.name.startswith("T")
    sweep = 0.55 if thoracic else 0.12
    lateral = np.abs(view.x) - v.canal_half_width
    bar = np.abs(y - (v.canal_y - 2.0) - sweep * lateral) < (5.0 if thoracic else 4.0)
    bar &= (lateral >= 0) & (np.abs(view.x) < v.transverse_mm) & (np.abs(along - lift) < 5.5)
    _paint_shell(canvas, view, bar, np.abs(along - lift) < 3.0)


def _paint_shell(canvas: Canvas, view: View, whole: Mask, core: Mask) -> None:
    canvas.fill(view, whole, CORTEX_HU, BONE_LABEL)
    canvas.fill(view, whole & core, MARROW_HU * 1.4, BONE_LABEL)


def _paint_sternum(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    top, bottom = anatomy.by_name["T3"].z_high, anatomy.by_name["T9"].z_mid
    if not canvas.meets(bottom, top):
        return
    z = float(np.mean(canvas.z_range))
    front = float(anatomy.at("cavity_front", z)) + 6.0
    half = np.interp(z, [bottom, bottom + 25, top - 45, top - 30, top], [6.0, 17.0, 16.0, 28.0, 30.0])
    view = canvas.view(0, -front, half, 8)
    if view is None:
        return
    depth = 5.5
    within = (view.z >= bottom) & (view.z <= top)
    plate = (np.abs(view.x) <= half) & (np.abs(view.y + front) <= depth) & within
    canvas.fill(view, plate, CORTEX_HU * 0.7, BONE_LABEL)
    core = (np.abs(view.x) <= half - 1.5) & (np.abs(view.y + front) <= depth - 1.5) & within
    canvas.fill(view, core, MARROW_HU * 0.7, BONE_LABEL)


def _paint_shoulder(canvas: Canvas) -> None:
    """Shoulder blades and collar bones."""
    anatomy = canvas.anatomy
    z, width = float(np.mean(canvas.z_range)), float(anatomy.at("width", anatomy.z_of("T4")))
    low, high = anatomy.by_name["T7"].z_mid, anatomy.by_name["T1"].z_mid
    if low < z < high:
        tip = (z - low) / (high - low)
        for side in _SIDES:
            view = canvas.view(side * (width - 20), 20, 50, 40)
            if view is not None:
                inner, outer = side * (width - 42.0 - 6 * tip), side * (width - 20.0 + 20.0 * tip)
                blade = capsule(view, (inner, 36.0), (outer, 16.0 - 14.0 * tip), 2.6 + 2.0 * tip)
                canvas.fill(view, blade, CORTEX_HU * 0.9, BONE_LABEL)
    collar = anatomy.by_name["T2"].z_mid
    if abs(z - collar) < 18:
        for side in _SIDES:
            view = canvas.view(side * 70, -45, 70, 50)
            if view is not None:
                shift = 14.0 * np.clip((np.abs(view.x) - 25.0) / 90.0, 0.0, 1.0)
                bar = capsule(view, (side * 24.0, -72.0), (side * 118.0, -24.0), 5.5)
                canvas.fill(view, bar & (np.abs(view.z - collar - shift + 6.0) < 6.0), CORTEX_HU, BONE_LABEL)


_ILIUM: Final = (
    # z, inner (back) end x y, outer (front) end x y
    (40.0, 84.0, 22.0, 96.0, 8.0),
    (28.0, 68.0, 36.0, 116.0, -18.0),
    (0.0, 54.0, 42.0, 126.0, -58.0),
    (-25.0, 46.0, 36.0, 124.0, -88.0),
    (-50.0, 46.0, 20.0, 116.0, -104.0),
    (-68.0, 66.0, -28.0, 110.0, -112.0),
    (-85.0, 72.0, -52.0, 106.0, -112.0),
)


def _paint_pelvis(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    z = float(np.mean(canvas.z_range)) / anatomy.scale
    wide = anatomy.plane_scale * (1.04 if anatomy.settings.sex == "F" else 1.0)
    table = np.array(_ILIUM)
    if table[-1, 0] <= z <= table[0, 0]:
        x0, y0, x1, y1 = (float(np.interp(z, table[::-1, 0], table[::-1, k])) for k in range(1, 5))
        for side in _SIDES:
            view = canvas.view(side * 85 * wide, -30, 70, 100)
            if view is not None:
                _paint_wing(canvas, view, (side * x0 * wide, y0), (side * x1 * wide, y1))
    _paint_hips(canvas, wide)


def _paint_wing(canvas: Canvas, view: View, back: tuple[float, float], front: tuple[float, float]) -> None:
    bow = (back[0] + front[0]) / 2 + np.sign(front[0]) * 5.0, (back[1] + front[1]) / 2 + 6.0
    for radius, hu in ((5.2, CORTEX_HU), (3.0, MARROW_HU)):
        mask = capsule(view, back, bow, radius) | capsule(view, bow, front, radius)
        canvas.fill(view, mask, hu, BONE_LABEL)


def _paint_hips(canvas: Canvas, wide: float) -> None:
    anatomy = canvas.anatomy
    z = -112.0 * anatomy.scale
    if not canvas.meets(z - 80, z + 45):
        return
    for side in _SIDES:
        x, y = side * 88.0 * wide, -60.0
        view = canvas.view(x, y, 75, 75)
        if view is None:
            continue
        socket = ellipsoid(view, (x - side * 4, y, z + 3), (37, 37, 37)) & (side * (view.x - x) < 14)
        canvas.fill(view, socket, CORTEX_HU * 0.75, BONE_LABEL)
        canvas.fill(view, ellipsoid(view, (x, y, z), (27, 27, 27)), 60.0, BONE_LABEL)
        canvas.fill(view, ellipsoid(view, (x, y, z), (24, 24, 24)), CORTEX_HU, BONE_LABEL)
        canvas.fill(view, ellipsoid(view, (x, y, z), (22, 22, 22)), MARROW_HU * 1.5, BONE_LABEL)
        seat = ellipsoid(view, (side * 66 * wide, y + 32, z - 25), (15, 20, 42))
        canvas.fill(view, seat, CORTEX_HU * 0.7, BONE_LABEL)
        pubis = capsule(view, (side * 4.0, -112.0), (side * 70.0 * wide, -78.0), 8.0) & (
            np.abs(view.z - z + 12) < 9
        )
        canvas.fill(view, pubis, CORTEX_HU * 0.7, BONE_LABEL)


def _paint_sacrum(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    if not canvas.meets(anatomy.sacrum_low - 40, 30):
        return
    view = canvas.view(0, 10, 70, 60)
    if view is None:
        return
    along = _along_axis(canvas, view)
    inside = (along <= 0) & (along >= anatomy.sacrum_low)
    down = np.clip(along / anatomy.sacrum_low, 0.0, 1.0)
    half = np.interp(down, [0, 0.25, 0.5, 0.75, 1], [54, 56, 44, 30, 10]) * anatomy.plane_scale
    deep = np.interp(down, [0, 0.3, 0.6, 1], [19, 17, 12, 6])
    for shrink, hu in ((0.0, CORTEX_HU * 0.85), (1.8, MARROW_HU * 0.9)):
        wing = ellipse(view, 0, 8.0, half - shrink, deep - shrink) & inside
        wing |= (
            ellipse(view, 0, 0.0, 26.0 * (1 - 0.75 * down) - shrink, 17.5 * (1 - 0.65 * down) - shrink)
            & inside
        )
        canvas.fill(view, wing, hu, BONE_LABEL)
    crest = (np.abs(view.x) < 4) & (view.y > 8) & (view.y < 36 - 22 * down) & inside
    canvas.fill(view, crest, CORTEX_HU * 0.7, BONE_LABEL)
    ring = ellipse(view, 0, 21 - 8 * down, 17.0 - 10 * down, 11.0 - 6 * down) & inside & (down < 0.75)
    canvas.fill(view, ring, CORTEX_HU * 0.8, BONE_LABEL)
    hole = ellipse(view, 0, 21 - 8 * down, 13.0 - 10 * down, 7.5 - 5 * down) & inside & (down < 0.7)
    canvas.fill(view, hole, CANAL_HU, BONE_LABEL)
    foramen = (
        (np.abs(np.abs(view.x) - 20) < 4)
        & (np.abs(view.y - 6) < 4)
        & (np.abs(np.mod(down * 5, 1.0) - 0.85) < 0.15)
    )
    canvas.fill(view, foramen & inside & (down < 0.8), 10.0, BONE_LABEL)
