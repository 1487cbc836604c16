"""What the deciding level model saw: the straightened spine, its answer row by row, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.exports.pictures import BONE_WINDOW, level_label, picture_font, window_grey
from sarcoscope.imaging.volume import Volume
from sarcoscope.language.catalogue import say
from sarcoscope.levels.coarse import STEP_MM
from sarcoscope.levels.find import SpineView
from sarcoscope.levels.level_map import LevelMap
from sarcoscope.levels.strips import PLANS, WIDTH

SHOWN: Final = ("sagittal_middle", "coronal_bodies", "ribs_behind")
"""The strips that a person reads best, of all that the model is given."""
_TALLEST: Final = 1000
_COLUMN: Final = 20
_GAPS: Final = 70
_LABELS: Final = 180
_HEAD: Final = 64
_SPACE: Final = 10
_BACK: Final = (12, 12, 14)
_TEXT: Final = (235, 235, 235)
_DIM: Final = (160, 160, 160)
_BANDS: Final = ((86, 156, 214), (206, 145, 88))
_GAP: Final = (250, 220, 90)


@dataclass(frozen=True, eq=False)
class EvidencePicture:
    """The picture, and where the slices lie on it."""

    image: Image.Image
    slice_y: tuple[float, ...]
    """Row of the picture of every slice's centre, slice 0 first."""


def evidence_view(volume: Volume, levels: LevelMap, seen: SpineView, language: str = "en") -> EvidencePicture:
    """Strips of the straightened spine, shares of all levels and of "disc" on every row, and the decision.

    Args:
        volume: whose slices the levels name.
        levels: what was decided.
        seen: what it was decided from.
        language: of the few words.
    """
    rows = len(seen.rows_mm)
    scale = max(1, min(4, _TALLEST // rows))
    height = rows * scale
    lefts, right = _columns(scale)
    canvas = Image.new("RGB", (right, height + _HEAD + _SPACE), _BACK)
    draw = ImageDraw.Draw(canvas, "RGBA")
    small, plain = picture_font(13), picture_font(15)

    def row_of(mm: float) -> float:
        return _HEAD + height - (mm - float(seen.rows_mm[0]) + STEP_MM / 2) / STEP_MM * scale

    names = [plan.name for plan in PLANS]
    for strip, left in zip(SHOWN, lefts, strict=False):
        canvas.paste(
            _enlarged(window_grey(seen.strips[names.index(strip)], BONE_WINDOW), scale), (left, _HEAD)
        )
        draw.text((left, _HEAD - 22), say(f"strip_{strip}", language), font=plain, fill=_TEXT)
    heat, gaps, words = lefts[len(SHOWN) :]
    shares = np.repeat(np.asarray(255 * np.sqrt(seen.shares.T)).astype(np.uint8), _COLUMN, axis=1)
    canvas.paste(_enlarged(shares, 1, rows_scale=scale), (heat, _HEAD))
    draw.text((heat, 4), say("evidence_shares", language), font=plain, fill=_TEXT)
    for n, level in enumerate(LEVELS):
        name = {"Cervical": "C", "Sacral": "S"}.get(level, level)
        at = heat + n * _COLUMN
        draw.text((at + 1, _HEAD - (20 if n % 2 else 36)), name, font=small, fill=_DIM)
        draw.line((at, _HEAD, at, _HEAD + height), fill=(255, 255, 255, 28))
    draw.text((gaps, _HEAD - 22), say("evidence_gaps", language), font=plain, fill=_TEXT)
    curve = [
        (gaps + (_GAPS - 4) * float(g), row_of(float(mm)))
        for g, mm in zip(seen.gaps, seen.rows_mm, strict=True)
    ]
    draw.line(curve, fill=_GAP, width=2)
    _decision(draw, volume, levels, row_of, words, lefts[0], language)
    return EvidencePicture(
        canvas, tuple(round(row_of(float(mm)), 1) for mm in volume.geometry.slice_offsets_mm)
    )


def _columns(scale: int) -> tuple[list[int], int]:
    """Left edges of strips, shares, discs and words, and the picture's width."""
    widths = [WIDTH * scale] * len(SHOWN) + [len(LEVELS) * _COLUMN, _GAPS, _LABELS]
    lefts = [_SPACE]
    for width in widths:
        lefts.append(lefts[-1] + width + _SPACE)
    return lefts[:-1], lefts[-1]


def _enlarged(picture: NDArray[np.uint8], scale: int, rows_scale: int | None = None) -> Image.Image:
    """Rows from below as a picture with the head above, every pixel as a square."""
    tall = np.repeat(picture[::-1], rows_scale or scale, axis=0)
    return Image.fromarray(np.repeat(tall, scale, axis=1))


def _decision(
    draw: ImageDraw.ImageDraw,
    volume: Volume,
    levels: LevelMap,
    row_of: Callable[[float], float],
    words: int,
    left: int,
    language: str,
) -> None:
    """Borders of every body over the whole width, its name and runner-up beside it."""
    offsets, half = volume.geometry.slice_offsets_mm, volume.geometry.spacing_mm[0] / 2
    draw.text((words, _HEAD - 22), say("evidence_decision", language), font=picture_font(15), fill=_TEXT)
    for n, level in enumerate(levels.ranges):
        top = row_of(float(offsets[level.index_high]) + half)
        bottom = row_of(float(offsets[level.index_low]) - half)
        draw.rectangle((words - 8, top, words - 3, bottom), fill=_BANDS[n % 2])
        for row in (top, bottom):
            draw.line((left, row, words - 8, row), fill=(*_BANDS[n % 2], 120))
        text = level_label(level, explain=True)
        draw.text(
            (words, (top + bottom) / 2 - 9), text, font=picture_font(15, level.level == "L3"), fill=_TEXT
        )
