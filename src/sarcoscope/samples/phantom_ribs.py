"""Ribs of the phantom: oblique arcs on the rib cage, each from its vertebra, with costal cartilage."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.samples.phantom_anatomy import Numbers
from sarcoscope.samples.phantom_canvas import Canvas, Mask, capsule
from sarcoscope.samples.phantom_trunk import cavity_egg

BONE_LABEL: Final = 5
"""Vertebrae with their discs and canal, and every other bone."""
CORTEX_HU: Final = 520.0
MARROW_HU: Final = 190.0
CARTILAGE_HU: Final = 110.0
_SIDES: Final = (-1.0, 1.0)

Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]

_RIB_DROP: Final = (30, 48, 60, 70, 78, 84, 88, 88, 84, 76, 66, 52)
"""mm that each rib falls from spine to sternum, were it to go all the way."""
_RIB_END: Final = (0.80, 0.82, 0.82, 0.80, 0.77, 0.75, 0.72, 0.69, 0.65, 0.59, 0.43, 0.27)
"""Where the bony part ends, in parts of the way from the spine (0) to the front midline (1)."""
_CARTILAGE_RISE: Final = (0, 2, 6, 14, 26, 42, 60, 56, 48, 40, 0, 0)
"""mm that the costal cartilage climbs again."""
_RIB_HALF: Final = (3.8, 6.0)
"""Half thickness and half height of a rib (mm)."""


def paint_ribs(canvas: Canvas) -> None:
    """Twelve pairs of ribs as oblique arcs on the rib cage, each from its vertebra, with costal cartilage."""
    anatomy = canvas.anatomy
    if not canvas.meets(anatomy.by_name["L2"].z_low, anatomy.by_name["T1"].z_high + 10):
        return
    view = canvas.body
    shell = cavity_egg(anatomy, view.z).grown(5.5, 5.5, 5.5)
    band = shell.grown(5.0, 5.0, 5.0).contains(view) & ~shell.grown(-5.0, -5.0, -5.0).contains(view)
    rows, columns = np.nonzero(band)
    if rows.size == 0:
        return
    x, y, z = (np.broadcast_to(a, band.shape)[rows, columns] for a in (view.x, view.y, view.z))
    distance, angle = _band_polar(canvas, x, y, z)
    along = angle / np.pi
    for number in range(1, 13):
        _paint_rib(canvas, number, (rows, columns), x, distance, along, z)
    for number in range(1, 13):
        _paint_rib_neck(canvas, number)


def _band_polar(canvas: Canvas, x: Numbers, y: Numbers, z: Numbers) -> tuple[Numbers, Numbers]:
    return cavity_egg(canvas.anatomy, z).grown(5.5, 5.5, 5.5).polar(x, y)


def _rib_height(start: float, drop: float, along: Numbers | float) -> Numbers:
    height: Numbers = start - drop * (1.0 - np.cos(np.pi * np.asarray(along))) / 2.0
    return height


def _paint_rib(
    canvas: Canvas,
    number: int,
    pixels: Pixels,
    x: Numbers,
    distance: Numbers,
    along: Numbers,
    z: Numbers,
) -> None:
    anatomy = canvas.anatomy
    start, drop = anatomy.by_name[f"T{number}"].z_high - 3.0, _RIB_DROP[number - 1] * anatomy.scale
    if not canvas.meets(start - drop - 10, start + 10):
        return
    end = _RIB_END[number - 1] * (anatomy.settings.last_rib if number == 12 else 1.0)
    off = z - _rib_height(start, drop, along)
    far = (distance / _RIB_HALF[0]) ** 2 + (off / _RIB_HALF[1]) ** 2
    bony = (far <= 1.0) & (along < end) & (np.abs(x) > 30.0)
    _paint_pixels(canvas, pixels, bony, CORTEX_HU)
    _paint_pixels(canvas, pixels, bony & (far <= 0.4), MARROW_HU * 1.2)
    if number > 10:
        return
    lowest = float(_rib_height(start, drop, end))
    climb = _CARTILAGE_RISE[number - 1] * np.clip((along - end) / (0.95 - end), 0.0, 1.0)
    far = (distance / _RIB_HALF[0]) ** 2 + ((z - lowest - climb) / 7.0) ** 2
    reach = 0.93 if number <= 7 else end + 0.16
    _paint_pixels(canvas, pixels, (far <= 1.0) & (along >= end) & (along < reach), CARTILAGE_HU)


def _paint_pixels(canvas: Canvas, pixels: Pixels, chosen: Mask, hu: float) -> None:
    rows, columns = pixels[0][chosen], pixels[1][chosen]
    canvas.hu[canvas.body.rows, canvas.body.columns][rows, columns] = hu
    canvas.labels[canvas.body.rows, canvas.body.columns][rows, columns] = BONE_LABEL


def _paint_rib_neck(canvas: Canvas, number: int) -> None:
    """From the vertebral body backward to the arc."""
    anatomy = canvas.anatomy
    v = anatomy.by_name[f"T{number}"]
    z = v.z_high - 3.0
    if not canvas.meets(z - 8, z + 8) or (number == 12 and anatomy.settings.last_rib <= 0):
        return
    back = float(anatomy.at("cavity_back", z)) + 4.0
    length = 44.0 if number < 12 else 30.0 + 14.0 * min(anatomy.settings.last_rib, 1.0)
    for side in _SIDES:
        view = canvas.view(side * 30, 20, 30, 30)
        if view is None:
            continue
        line = capsule(view, (side * (v.half_width - 1), 9.0), (side * length, back), 4.2)
        canvas.fill(view, line & (np.abs(view.z - z) < 5.5), CORTEX_HU * 0.9, BONE_LABEL)
