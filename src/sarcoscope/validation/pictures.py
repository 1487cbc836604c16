"""Pictures of a validation: outlines of found and reference, Bland-Altman, confusion, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage as ndi

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.imaging.label_files import DEFAULT_VALUES
from sarcoscope.validation.cases import MaskPair

_COLOURS = {"muscle": (255, 90, 80), "sat": (90, 170, 255), "vat": (250, 210, 80)}
_WINDOW = (-160.0, 240.0)
_WIDTH = 420


def pair_picture(pair: MaskPair) -> Image.Image:
    """Prediction (left) and reference (right) as outlines, on the CT where it is known."""
    halves = [_outlined(labels, pair.hu) for labels in (pair.found, pair.truth)]
    picture = np.concatenate(halves, axis=1)
    height = round(
        _WIDTH * pair.truth.shape[0] * pair.spacing_mm[0] / (pair.truth.shape[1] * pair.spacing_mm[1])
    )
    return Image.fromarray(picture).resize((2 * _WIDTH, max(height, 1)), Image.Resampling.BILINEAR)


def _outlined(labels: NDArray[np.uint8], hu: NDArray[np.int16] | None) -> NDArray[np.uint8]:
    low, high = _WINDOW
    grey = np.zeros(labels.shape) if hu is None else np.clip((hu - low) / (high - low), 0, 1) * 255
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    for name, colour in _COLOURS.items():
        inside = labels == DEFAULT_VALUES[name]
        tint = np.array(colour)
        picture[inside] = (0.75 * picture[inside] + 0.25 * tint).astype(np.uint8)
        picture[inside & ~ndi.binary_erosion(inside)] = tint
    return picture


def save_bland_altman(found: Sequence[float], truth: Sequence[float], path: Path, unit: str) -> None:
    """Mean against difference with bias and limits."""
    a, b = np.asarray(found), np.asarray(truth)
    difference, middle = a - b, (a + b) / 2
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(middle, difference, s=16)
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    for value, style in ((0.0, "-"), (1.96 * spread, "--"), (-1.96 * spread, "--")):
        axes.axhline(float(difference.mean()) + value, color="grey", linestyle=style, linewidth=1)
    axes.set_xlabel(f"mean of both ({unit})")
    axes.set_ylabel(f"found - reference ({unit})")
    figure.savefig(path, dpi=110)


def save_confusion(table: NDArray[np.int64], path: Path) -> None:
    """19 x 19 confusion, rows to one."""
    figure = Figure(figsize=(7.4, 6.6), layout="constrained")
    axes = figure.subplots()
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for y, x in zip(*np.nonzero(table), strict=True):
        axes.text(x, y, str(table[y, x]), ha="center", va="center", fontsize=6,
                  color="white" if share[y, x] > 0.5 else "black")  # fmt: skip
    axes.set_xticks(range(len(LEVELS)), LEVELS, rotation=90, fontsize=7)
    axes.set_yticks(range(len(LEVELS)), LEVELS, fontsize=7)
    axes.set_xlabel("named")
    axes.set_ylabel("reference")
    figure.savefig(path, dpi=120)


def save_scatter(found: Sequence[float], truth: Sequence[float], path: Path, unit: str) -> None:
    """Found against reference with the line of identity (P3's figure 4)."""
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.scatter(truth, found, s=18)
    ends = [min(*truth, *found), max(*truth, *found)]
    axes.plot(ends, ends, color="grey", linewidth=1)
    axes.set_xlabel(f"reference ({unit})")
    axes.set_ylabel(f"found ({unit})")
    figure.savefig(path, dpi=110)
