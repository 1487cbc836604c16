"""Pictures of a result: the mask on a slice, and the spine with its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage as ndi

from sarcoscope.anatomy.tissues import TISSUE_COLOURS, TISSUES, tissue_name
from sarcoscope.imaging.reformats import sagittal
from sarcoscope.imaging.volume import Volume
from sarcoscope.language.catalogue import say
from sarcoscope.language.fonts import font_path
from sarcoscope.levels.level_map import LevelMap, LevelRange
from sarcoscope.measures.measurement import SliceMeasure
from sarcoscope.tissues.tissue_mask import TissueMask

SOFT_WINDOW: Final = (-160.0, 240.0)
BONE_WINDOW: Final = (-200.0, 700.0)
FILL: Final = 0.38
_WIDTH: Final = 900
_BAND_COLOURS: Final = ((86, 156, 214), (206, 145, 88))
_BORDER: Final = (250, 220, 90)
_MEASURED: Final = (60, 220, 90)
_TEXT: Final = (235, 235, 235)
_DIM: Final = (160, 160, 160)
_SURE: Final = 0.8


@cache
def picture_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of all pictures, with Korean."""
    return ImageFont.truetype(str(font_path(bold=bold)), size)


def window_grey(hu: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """HU of a window as grey 0..255; what lies outside the volume (NaN) is black."""
    low, high = window
    scaled = (np.nan_to_num(hu, nan=low) - low) / (high - low) * 255
    grey: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return grey


def _crop(body: NDArray[np.bool_], step: tuple[float, float], margin_mm: float = 8.0) -> tuple[slice, slice]:
    """Rows and columns of the body with a margin; all of them when there is no body."""
    cuts = []
    for axis in range(2):
        held = np.flatnonzero(body.any(axis=1 - axis))
        if len(held) == 0:
            return slice(0, body.shape[0]), slice(0, body.shape[1])
        margin = int(margin_mm / step[axis])
        cuts.append(slice(max(int(held[0]) - margin, 0), min(int(held[-1]) + margin + 1, body.shape[axis])))
    return cuts[0], cuts[1]


def overlay(volume: Volume, mask: TissueMask, measure: SliceMeasure, language: str = "en") -> Image.Image:
    """The tissues of one slice over the CT (soft tissue window), seen from the feet: R is on the left."""
    k = mask.indices.index(measure.index)
    labels, step = mask.labels[k], volume.geometry.spacing_mm[1:]
    rows, columns = _crop(mask.body[k], step)
    grey = window_grey(volume.hu[measure.index].astype(np.float32), SOFT_WINDOW)
    picture = np.repeat(grey[rows, columns, None], 3, axis=2)
    shown = labels[rows, columns]
    width_mm, height_mm = picture.shape[1] * step[1], picture.shape[0] * step[0]
    size = (_WIDTH, max(round(_WIDTH * height_mm / width_mm), 1))
    base = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    large = np.asarray(Image.fromarray(shown).resize(size, Image.Resampling.NEAREST))
    out = base.astype(np.float32)
    for tissue in TISSUES:
        inside = large == tissue
        colour = np.array(TISSUE_COLOURS[tissue], np.float32)
        out[inside] = out[inside] * (1 - FILL) + colour * FILL
        out[inside & ~ndi.binary_erosion(inside)] = colour
    image = Image.fromarray(out.astype(np.uint8))
    return _framed(image, measure, size[0] / width_mm, language)


def _framed(image: Image.Image, measure: SliceMeasure, px_per_mm: float, language: str) -> Image.Image:
    """Head line, side marks, scale bar and legend around an overlay."""
    head, foot = 40, 70
    canvas = Image.new("RGB", (image.width, image.height + head + foot), (12, 12, 14))
    canvas.paste(image, (0, head))
    draw = ImageDraw.Draw(canvas)
    level = measure.level or ""
    index = say("slice", language)
    text = f"{level}   {index} {measure.index}   z {measure.z_mm:.1f} mm"
    draw.text((12, 8), text, font=picture_font(22, True), fill=_TEXT)
    middle = head + image.height // 2
    draw.text((8, middle), "R", font=picture_font(24, True), fill=_TEXT)
    draw.text((image.width - 24, middle), "L", font=picture_font(24, True), fill=_TEXT)
    draw.text((image.width // 2 - 8, head + 2), "A", font=picture_font(20), fill=_DIM)
    draw.text((image.width // 2 - 8, head + image.height - 26), "P", font=picture_font(20), fill=_DIM)
    bar = int(50 * px_per_mm)
    y = head + image.height - 14
    draw.line((14, y, 14 + bar, y), fill=_TEXT, width=4)
    draw.text((18, y - 26), "5 cm", font=picture_font(18), fill=_TEXT)
    x = 12
    for tissue in TISSUES:
        name = tissue_name(tissue)
        area = measure.tissues[name].area_cm2
        text = f"{say(f'tissue_{name}', language)} {area:.1f} cm²"
        draw.rectangle(
            (x, head + image.height + 24, x + 20, head + image.height + 44), fill=TISSUE_COLOURS[tissue]
        )
        draw.text((x + 28, head + image.height + 21), text, font=picture_font(20), fill=_TEXT)
        x += 44 + int(draw.textlength(text, font=picture_font(20)))
    return canvas


def sagittal_view(
    volume: Volume,
    levels: LevelMap,
    measured: Mapping[str, Sequence[int]],
    language: str = "en",
    *,
    explain: bool = False,
) -> Image.Image:
    """The spine from the left with the levels as bands; green lines frame the measured slices.

    Args:
        volume: HU [z, y, x].
        levels: levels in view; ``spine`` is the path that the picture follows where it is known.
        measured: slice indices by measured level.
        language: of the few words.
        explain: also draw where bodies end (disc borders) and write the runner-up numbering.
    """
    height_mm = float(np.ptp(volume.geometry.slice_offsets_mm)) + volume.geometry.spacing_mm[0]
    scale = float(np.clip(1000.0 / height_mm, 1.0, 2.5))
    view = sagittal(volume, [p[1] for p in levels.spine] or None, pixel_mm=1.0 / scale)
    grey = window_grey(view.hu, BONE_WINDOW)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[np.isnan(view.hu)] = (60, 20, 60)
    body = np.flatnonzero((np.nan_to_num(view.hu, nan=-1000.0) > -300).any(axis=0))
    if len(body):
        rgb = rgb[:, max(int(body[0]) - 6, 0) : int(body[-1]) + 7]
    left, right = 20, 190
    canvas = Image.new("RGB", (rgb.shape[1] + left + right, rgb.shape[0] + 44), (12, 12, 14))
    canvas.paste(Image.fromarray(rgb), (left, 34))
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.text((left, 4), say("sagittal_title", language), font=picture_font(18, True), fill=_TEXT)
    draw.text((4, 34 + rgb.shape[0] // 2), "A", font=picture_font(16), fill=_DIM)
    offsets, half = volume.geometry.slice_offsets_mm, volume.geometry.spacing_mm[0] / 2
    edge = left + rgb.shape[1]
    for n, r in enumerate(levels.ranges):
        top = 34 + view.row_of(float(offsets[r.index_high]) + half)
        bottom = 34 + view.row_of(float(offsets[r.index_low]) - half)
        colour = _BAND_COLOURS[n % 2]
        draw.rectangle((left, top, edge, bottom), fill=(*colour, 38))
        if explain:
            for row in (top, bottom):
                draw.line((left, row, edge, row), fill=(*_BORDER, 150), width=1)
        solid = r.complete and r.confidence >= _SURE
        _bracket(draw, edge + 4, top, bottom, colour, solid=solid)
        draw.text(
            (edge + 22, (top + bottom) / 2 - 10),
            level_label(r, explain=explain),
            font=picture_font(16, r.level in measured),
            fill=_MEASURED if r.level in measured else _TEXT,
        )
    for indices in measured.values():
        if indices:
            for row in (
                view.row_of(float(offsets[max(indices)]) + half),
                view.row_of(float(offsets[min(indices)]) - half),
            ):
                draw.line((left, 34 + row, edge, 34 + row), fill=_MEASURED, width=2)
    return canvas


def level_label(r: LevelRange, *, explain: bool) -> str:
    """Level and confidence; a star where a body is cut off; the runner-up in brackets."""
    text = f"{r.level}  {r.confidence:.2f}{'' if r.complete else ' *'}"
    return f"{text}  ({r.runner_up}?)" if explain and r.runner_up else text


def cam_overlay(volume: Volume, index: int, cam: NDArray[np.float32], text: str) -> Image.Image:
    """Grad-CAM of a slice over the CT, seen from the feet, with a head line that names its model.

    Args:
        volume: HU [z, y, x].
        index: slice.
        cam: [y, x] 0..1 over the whole slice, on any grid.
        text: head line.
    """
    step = volume.geometry.spacing_mm[1:]
    height_mm, width_mm = (n * s for n, s in zip(volume.hu.shape[1:], step, strict=True))
    size = (_WIDTH, max(round(_WIDTH * height_mm / width_mm), 1))
    grey = window_grey(volume.hu[index].astype(np.float32), SOFT_WINDOW)
    base = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC), np.float32)
    heat = np.asarray(Image.fromarray(cam).resize(size, Image.Resampling.BILINEAR), np.float32)[..., None]
    warm = np.stack([np.full(base.shape, 255.0), 200 - 140 * heat[..., 0], np.full(base.shape, 40.0)], -1)
    mixed = base[..., None] * (1 - 0.6 * heat) + warm * 0.6 * heat
    canvas = Image.new("RGB", (size[0], size[1] + 40), (12, 12, 14))
    canvas.paste(Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)), (0, 40))
    ImageDraw.Draw(canvas).text((12, 8), text, font=picture_font(20, True), fill=_TEXT)
    return canvas


def _bracket(
    draw: ImageDraw.ImageDraw,
    x: float,
    top: float,
    bottom: float,
    colour: tuple[int, int, int],
    *,
    solid: bool,
) -> None:
    """A band beside a level; dashed where the level is doubtful or cut off."""
    y = top
    while y < bottom:
        end = bottom if solid else min(y + 6, bottom)
        draw.rectangle((x, y, x + 10, end), fill=colour)
        y = end + 5
