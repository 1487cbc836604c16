"""Augmentation of compartment cases: shape, intensity, and synthesis of lean, obese and ill people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi
from torch.nn import functional as nnf

from sarcoscope.tissues.compartments import Compartment
from sarcoscope.tissues.grid import AIR_HU, body_only, centred_place, to_grid
from sarcoscope.training.tissue_data import TissueCase

CANVAS = (208, 288)
PATCH = (144, 208)
_BINS = 180

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A case on the network's grid, with what synthesis needs to know of its shape."""

    hu: Floats
    """[y, x], air outside the body"""
    target: NDArray[np.uint8]
    """[y, x]"""
    centre: tuple[float, float]
    ribs: NDArray[np.bool_]
    """[y, x] bone that is not the vertebra"""
    reach: Floats
    """[angle] distance in pixels from the centre to the outer border of the muscle ring"""


def make_canvas(case: TissueCase) -> Canvas:
    """Bring a case onto the grid."""
    body = case.compartments > 0
    place = centred_place(body, case.spacing_mm, CANVAS)
    onehot = np.stack([case.compartments == k for k in Compartment]).astype(np.float32)
    onehot[0] -= 1.0  # beyond the slice: outside
    shares = to_grid(onehot, place, case.spacing_mm, 0.0)
    shares[0] += 1.0
    target = shares.argmax(axis=0).astype(np.uint8)
    hu = to_grid(body_only(case.hu, body)[None], place, case.spacing_mm, AIR_HU)[0]
    inner = target >= Compartment.RING
    y, x = np.nonzero(inner)
    centre = (float(y.mean()), float(x.mean()))
    radius = np.hypot(y - centre[0], x - centre[1])
    angle = np.arctan2(y - centre[0], x - centre[1])
    reach = np.zeros(_BINS, dtype=np.float32)
    np.maximum.at(reach, ((angle + np.pi) / (2 * np.pi) * _BINS).astype(int) % _BINS, radius)
    reach = ndi.gaussian_filter1d(ndi.maximum_filter1d(reach, 5, mode="wrap"), 1.5, mode="wrap")
    return Canvas(hu, target, centre, _ribs(target), reach)


def _ribs(target: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bone but for its largest piece, the vertebra."""
    pieces, count = ndi.label(target == Compartment.BONE)
    if count < 2:
        return np.zeros(target.shape, dtype=bool)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    ribs: NDArray[np.bool_] = (pieces > 0) & (pieces != largest)
    return ribs


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], knots: int) -> Floats:
    """Smooth random field [y, x] of about unit range."""
    coarse = torch.from_numpy(rng.standard_normal((1, 1, knots, knots + 2)).astype(np.float32))
    field: Floats = nnf.interpolate(coarse, size=shape, mode="bilinear", align_corners=True)[0, 0].numpy()
    return field


def _ill_or_lean(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """HU after filling the cavity's fat, taking contrast away, ribs as cartilage, and oedema."""
    hu = canvas.hu.copy()
    cavity = canvas.target == Compartment.CAVITY
    if rng.random() < 0.4:
        share = np.full(hu.shape, rng.uniform(0.3, 1.0), dtype=np.float32)
        if rng.random() < 0.5:
            share = np.clip(
                share + _smooth_noise(rng, (hu.shape[0], hu.shape[1]), int(rng.integers(4, 12))), 0, 1
            )
        soft = rng.uniform(15, 65) + 6 * _smooth_noise(rng, (hu.shape[0], hu.shape[1]), 10)
        fat = cavity & (hu < 10) & (hu > -200)
        hu = np.where(fat, hu * (1 - share) + soft * share, hu)
    if rng.random() < 0.4:
        enhanced = cavity & (hu > 20)
        hu = np.where(enhanced, 45 + (hu - 45) * rng.uniform(0.0, 1.4), hu)
    if rng.random() < 0.3 and canvas.ribs.any():
        # as costal cartilage: brighter than muscle, darker than bone
        grey = rng.uniform(70, 140) + 10 * _smooth_noise(rng, (hu.shape[0], hu.shape[1]), 12)
        hu = np.where(canvas.ribs & (hu > 20), grey, hu)
    if rng.random() < 0.15:
        patch = np.clip(_smooth_noise(rng, (hu.shape[0], hu.shape[1]), 6), 0, 1) * rng.uniform(40, 120)
        hu = np.where((canvas.target == Compartment.SKIN_SIDE) & (hu < -30), np.minimum(hu + patch, 15), hu)
    result: Floats = hu.astype(np.float32)
    return result


def _sampling_map(canvas: Canvas, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Canvas coordinates (y, x) that each pixel of the patch is taken from."""
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in PATCH), indexing="ij")
    angle = np.radians(rng.normal(0, 6))
    zoom = np.exp(rng.uniform(-0.22, 0.2))
    stretch = np.exp(rng.uniform(-0.08, 0.08))
    y, x = y * zoom * stretch, x * zoom / stretch * rng.choice([-1.0, 1.0])
    y, x = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    wobble = rng.uniform(0, 4.0)
    y = y + wobble * _smooth_noise(rng, PATCH, 7) + rng.uniform(-8, 8) + (CANVAS[0] - 1) / 2
    x = x + wobble * _smooth_noise(rng, PATCH, 7) + rng.uniform(-8, 8) + (CANVAS[1] - 1) / 2
    if rng.random() < 0.5:
        share = np.exp(rng.uniform(np.log(0.15), np.log(1.6)))
        dy, dx = y - canvas.centre[0], x - canvas.centre[1]
        radius = np.hypot(dy, dx) + 1e-3
        place = (np.arctan2(dy, dx) + np.pi) / (2 * np.pi) * _BINS
        reach = np.interp(place, np.arange(_BINS + 1) + 0.5, np.append(canvas.reach, canvas.reach[0]))
        ratio = np.where(radius > reach, (reach + (radius - reach) / share) / radius, 1.0)
        y, x = canvas.centre[0] + dy * ratio, canvas.centre[1] + dx * ratio
    return y.astype(np.float32), x.astype(np.float32)


def _sample(values: Floats, y: Floats, x: Floats) -> Floats:
    """Bilinear samples of ``values`` [channel, y, x], zero beyond the canvas."""
    grid = np.stack([x * 2 / (CANVAS[1] - 1) - 1, y * 2 / (CANVAS[0] - 1) - 1], axis=-1)[None]
    out = nnf.grid_sample(
        torch.from_numpy(values)[None], torch.from_numpy(grid.astype(np.float32)), align_corners=True
    )
    sampled: Floats = out[0].numpy()
    return sampled


def _add_arms(hu: Floats, target: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw an arm (fat around muscle) at one or both sides, where there is air."""
    columns = np.flatnonzero((target > 0).any(axis=0))
    if not columns.size:
        return
    y, x = np.ogrid[: hu.shape[0], : hu.shape[1]]
    radius = rng.uniform(10, 24)
    for edge, sign in ((columns[0], -1), (columns[-1], 1)):
        cy, cx = hu.shape[0] * rng.uniform(0.35, 0.7), edge + sign * radius * rng.uniform(0.5, 1.2)
        distance = np.hypot(y - cy, x - cx)
        free = (target == 0) & (hu < -800)
        hu[free & (distance < radius)] = -100
        hu[free & (distance < radius * rng.uniform(0.6, 0.9))] = rng.uniform(30, 80)


def augmented(canvas: Canvas, rng: np.random.Generator) -> tuple[Floats, NDArray[np.uint8]]:
    """One random patch: HU [y, x] and its compartments."""
    y, x = _sampling_map(canvas, rng)
    onehot = np.stack([canvas.target == k for k in Compartment]).astype(np.float32)
    hu = _sample((_ill_or_lean(canvas, rng) - np.float32(AIR_HU))[None], y, x)[0] + np.float32(AIR_HU)
    target = _sample(onehot, y, x).argmax(axis=0).astype(np.uint8)
    if rng.random() < 0.1:
        _add_arms(hu, target, rng)
    if rng.random() < 0.3:
        hu = ndi.gaussian_filter(hu, rng.uniform(0.3, 1.0))
    if rng.random() < 0.12:
        cut = int(rng.integers(8, 45))
        sides = slice(None, cut) if rng.random() < 0.5 else slice(-cut, None)
        hu[:, sides], target[:, sides] = AIR_HU, 0
    noise = rng.standard_normal(hu.shape).astype(np.float32) * rng.uniform(0, 22)
    if rng.random() < 0.5:
        noise = ndi.gaussian_filter(noise, 0.7)
    hu = np.where(hu > -800, hu * rng.uniform(0.95, 1.05) + rng.uniform(-10, 10) + noise, hu)
    return hu.astype(np.float32), target
