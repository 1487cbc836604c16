"""Random views of a spine's strips: other fields of view, sizes, slice thicknesses, scanners, and faults."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.levels.coarse import STEP_MM
from sarcoscope.levels.strips import PLANS, WIDTH, network_input
from sarcoscope.training.level_data import UNKNOWN, LevelCase

_PAIRS = (("sagittal_right", "sagittal_left"), ("ribs_right", "ribs_left"))
_BODY_BEFORE_CANAL_MM = 24.0
_NAMES = tuple(p.name for p in PLANS)


def random_view(
    case: LevelCase, rows: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """(input [strip, row, 48], level [row], gap [row]) of a random part of a spine, ``rows`` rows long.

    A short spine is padded with rows that carry no target.
    """
    scale = float(np.exp(rng.normal(0.0, 0.10)))
    wanted = round(rows / scale)
    have = case.strips.shape[1]
    if rng.random() < 0.35:
        wanted = int(rng.integers(min(20, wanted), wanted + 1))
    start = int(rng.integers(0, max(have - wanted, 0) + 1))
    stop = min(start + wanted, have)
    strips = case.strips[:, start:stop]
    level, gap = case.level[start:stop], case.gap[start:stop]
    length = min(max(round((stop - start) * scale), 1), rows)
    places = np.clip((np.arange(length) + 0.5) * (stop - start) / length - 0.5, 0, stop - start - 1)
    strips = _thick_slices(_at_rows(strips, places), rng)
    nearest = np.rint(places).astype(int)
    level, gap = level[nearest], gap[nearest]
    strips = _tilted(_across(strips, rng), rng)
    strips = _values(strips, rng)
    view = np.full((len(PLANS), rows, WIDTH), -300.0, np.float32)
    begin = int(rng.integers(0, rows - length + 1))
    view[:, begin : begin + length] = strips
    if begin:
        view[:, :begin] = strips[:, :1]
    if begin + length < rows:
        view[:, begin + length :] = strips[:, -1:]
    out_level, out_gap = np.full(rows, UNKNOWN, np.int64), np.full(rows, UNKNOWN, np.int64)
    out_level[begin : begin + length], out_gap[begin : begin + length] = level, gap
    return network_input(view), out_level, out_gap


def _at_rows(strips: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, strips.shape[1] - 1)
    share = (places - low).astype(np.float32)[None, :, None]
    return np.asarray(strips[:, low] * (1 - share) + strips[:, high] * share, np.float32)


def _thick_slices(strips: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """As if the slices were 3 to 10 mm thick: averaged over the thickness, then interpolated."""
    if rng.random() < 0.5 or strips.shape[1] < 8:
        return strips
    rows = float(rng.uniform(1.5, 5.0))
    smooth = ndi.uniform_filter1d(strips, max(round(rows), 1), axis=1, mode="nearest")
    knots = np.arange(rng.uniform(0, rows), strips.shape[1], rows)
    if len(knots) < 2:
        return np.asarray(smooth, np.float32)
    kept = _at_rows(smooth, np.minimum(knots, strips.shape[1] - 1))
    back = np.clip((np.arange(strips.shape[1]) - knots[0]) / rows, 0, len(knots) - 1)
    return _at_rows(kept, back)


def _across(strips: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Mirror left and right; shift and stretch across the strips (a path beside the canal, another size)."""
    strips = strips.copy()
    if rng.random() < 0.5:
        for n, plan in enumerate(PLANS):
            if plan.across == "x":
                strips[n] = strips[n, :, ::-1]
        for right, left in _PAIRS:
            a, b = _NAMES.index(right), _NAMES.index(left)
            strips[[a, b]] = strips[[b, a]]
    move = {"x": rng.normal(0, 3.0), "y": rng.normal(0, 4.0)}
    stretch = float(np.exp(rng.normal(0, 0.08)))
    for n, plan in enumerate(PLANS):
        span = plan.y if plan.across == "y" else plan.x
        column_mm = (span[1] - span[0]) * 2.0 / WIDTH
        zero = -span[0] * 2.0 / column_mm
        places = (np.arange(WIDTH) - zero) * stretch + zero + move[plan.across] / column_mm
        places = np.clip(places, 0, WIDTH - 1)
        low = np.minimum(np.floor(places).astype(int), WIDTH - 2)
        share = (places - low).astype(np.float32)
        strips[n] = strips[n][:, low] * (1 - share) + strips[n][:, low + 1] * share
    return strips


def _tilted(strips: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A spine that leans: every strip sheared along the rows about the place of the vertebral bodies."""
    if rng.random() < 0.4:
        return strips
    lean = {"x": np.tan(np.radians(rng.normal(0, 5))), "y": np.tan(np.radians(rng.normal(0, 13)))}
    rows = np.arange(strips.shape[1], dtype=np.float64)
    out = strips.copy()
    for n, plan in enumerate(PLANS):
        span = plan.y if plan.across == "y" else plan.x
        columns_mm = (span[0] + (np.arange(WIDTH) + 0.5) * (span[1] - span[0]) / WIDTH) * STEP_MM
        about = -_BODY_BEFORE_CANAL_MM if plan.across == "y" else 0.0
        shift = lean[plan.across] * (columns_mm - about) / STEP_MM
        places = np.clip(rows[:, None] + shift[None, :], 0, len(rows) - 1)
        low = np.minimum(places.astype(int), len(rows) - 2)
        share = (places - low).astype(np.float32)
        columns = np.arange(WIDTH)[None, :]
        out[n] = strips[n][low, columns] * (1 - share) + strips[n][low + 1, columns] * share
    return out


def _values(strips: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gain of bone, offset, contrast blur, noise, and strips that are missing altogether."""
    gain, offset = float(np.exp(rng.normal(0, 0.15))), float(rng.normal(0, 15))
    strips = np.where(strips > 0, strips * gain, strips) + np.float32(offset)
    if rng.random() < 0.3:
        strips = ndi.gaussian_filter1d(strips, rng.uniform(0.4, 1.2), axis=2, mode="nearest")
    strips = strips + rng.standard_normal(strips.shape).astype(np.float32) * np.float32(rng.uniform(0, 40))
    for n in range(len(PLANS)):
        if rng.random() < 0.08:
            strips[n] = np.float32(rng.uniform(-300, 200))
    if rng.random() < 0.15:
        wide = [
            _NAMES.index(n) for n in ("front_mean", "side_mean", "ribs_behind", "ribs_right", "ribs_left")
        ]
        strips[wide] = -300.0
    return np.asarray(np.clip(strips, -300, 1200), np.float32)
