"""The spine made straight: strips along the canal in which every vertebra looks like every other.

Each strip is a picture ``[row, 48]``: rows go up the spine, columns across it. Whatever lies at the same
place relative to the canal stands in the same column on every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.levels.coarse import CoarseVolume
from sarcoscope.levels.spine import SpinePath

WIDTH: Final = 48
"""Columns of every strip."""


@dataclass(frozen=True)
class StripPlan:
    """How a strip is cut: offsets from the canal in coarse pixels (2 mm); y > 0 is behind, x > 0 is left.

    ``across`` says which axis runs along the columns (``y`` or ``x``); the other one is pooled.
    """

    name: str
    across: str
    y: tuple[int, int]
    x: tuple[int, int]
    pool: str = "mean"


PLANS: Final[tuple[StripPlan, ...]] = (
    StripPlan("sagittal_middle", "y", (-32, 16), (-2, 3)),
    StripPlan("sagittal_right", "y", (-32, 16), (-8, -4)),
    StripPlan("sagittal_left", "y", (-32, 16), (5, 9)),
    StripPlan("coronal_bodies", "x", (-16, -7), (-24, 24)),
    StripPlan("coronal_canal", "x", (-3, 4), (-36, 36)),
    StripPlan("coronal_behind", "x", (4, 12), (-24, 24)),
    StripPlan("coronal_joints", "x", (-12, 1), (-48, 48), "max"),
    StripPlan("ribs_behind", "x", (-30, 24), (-72, 72), "max"),
    StripPlan("ribs_right", "y", (-48, 24), (-40, -18), "max"),
    StripPlan("ribs_left", "y", (-48, 24), (19, 41), "max"),
    StripPlan("front_mean", "x", (-96, 24), (-96, 96)),
    StripPlan("side_mean", "y", (-96, 48), (-40, 41)),
)
"""The strips, in the order of the network's input channels."""


def cut_strips(coarse: CoarseVolume, path: SpinePath) -> NDArray[np.float32]:
    """[strip, row, 48] of HU, clipped to -300..900, from a coarse volume and the canal's path."""
    hu = np.clip(coarse.hu, -300.0, 900.0)
    margin = 100
    padded = np.pad(hu, ((0, 0), (margin, margin), (margin, margin)), constant_values=-300.0)
    height, width = padded.shape[1:]
    y0 = np.clip(np.rint(path.yx[:, 0]).astype(int) + margin, margin, height - margin)
    x0 = np.clip(np.rint(path.yx[:, 1]).astype(int) + margin, margin, width - margin)
    rows = np.arange(len(hu))
    strips = np.empty((len(PLANS), len(hu), WIDTH), np.float32)
    for n, plan in enumerate(PLANS):
        ys = np.arange(*plan.y)
        xs = np.arange(*plan.x)
        for row in rows:
            top, left = y0[row] + ys[0], x0[row] + xs[0]
            patch = padded[row, top : top + len(ys), left : left + len(xs)]
            axis = 1 if plan.across == "y" else 0
            line = patch.max(axis=axis) if plan.pool == "max" else patch.mean(axis=axis)
            strips[n, row] = _to_width(line)
    return strips


def network_input(strips: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU of strips (any shape) scaled to about -1..2 for the network."""
    scaled: NDArray[np.float32] = ((strips - 100.0) / 400.0).astype(np.float32)
    return scaled


def _to_width(line: NDArray[np.float32]) -> NDArray[np.float32]:
    """A line of a multiple of 24 pixels averaged or doubled to 48 columns."""
    if len(line) == WIDTH:
        return line
    if len(line) % WIDTH == 0:
        return np.asarray(line.reshape(WIDTH, -1).mean(axis=1), np.float32)
    places = (np.arange(WIDTH) + 0.5) * len(line) / WIDTH - 0.5
    return np.interp(places, np.arange(len(line)), line).astype(np.float32)
