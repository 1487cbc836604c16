"""From painted shapes to a picture: texture, streaks of fat, table, arms, metal, kernel, noise, view."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.anatomy.tissues import TISSUES, Tissue, tissue_name
from sarcoscope.samples.phantom_anatomy import Anatomy
from sarcoscope.samples.phantom_canvas import AIR_HU, Canvas, capsule, ellipse
from sarcoscope.samples.phantom_settings import PhantomSettings
from sarcoscope.samples.phantom_trunk import IMAT_HU, SAT_HU, muscle_hu, outline_egg

OUTSIDE_HU: Final = -1024
"""Outside the field of view."""
_TEXTURE_MM: Final = 2.2
_TEXTURE_LAYERS: Final = 4
_TEXTURE_STEP_MM: Final = 9.0
_NOISE_LAYERS: Final = 6

Picture = NDArray[np.float32]


def _per_label(default: float, values: dict[int, float]) -> Picture:
    table = np.full(256, default, dtype=np.float32)
    for label, value in values.items():
        table[label] = value
    return table


_BANDS: Final = {int(t): default_bands()[tissue_name(t)] for t in TISSUES}
_LABEL_TEXTURE: Final = _per_label(0.0, {0: 4.0, 1: 9.0, 2: 7.0, 3: 8.0, 4: 8.0, 5: 35.0})
"""SD of the grain of each label, HU."""
_LABEL_LOW: Final = _per_label(-1024.0, {label: float(band.low) for label, band in _BANDS.items()})
_LABEL_HIGH: Final = _per_label(3071.0, {label: float(band.high) for label, band in _BANDS.items()})


class Finish:
    """What is the same on every slice of one phantom: texture and noise tiles, bands, circle of view."""

    def __init__(self, settings: PhantomSettings, rng: np.random.Generator) -> None:
        """Draw the tiles; ``rng`` decides them."""
        self.settings = settings
        n, sigma = settings.matrix, _TEXTURE_MM / settings.pixel_mm
        self._texture = [_tile(rng, n, (sigma / 2, sigma)) for _ in range(_TEXTURE_LAYERS)]
        kernel = max(settings.blur_mm / settings.pixel_mm * 0.8, 0.0)
        layers = _NOISE_LAYERS if settings.noise_hu else 0
        self._noise = [_tile(rng, n, (kernel, kernel)) for _ in range(layers)]
        self._outside = _outside(settings)
        self._streaks = float(ndtri(1.0 - settings.imat)) if settings.imat else np.inf

    def tissue_texture(self, canvas: Canvas, z_mm: float) -> None:
        """Streak the muscles with fat and give every tissue its grain; each pixel stays in its HU band."""
        layer = z_mm / _TEXTURE_STEP_MM
        k, part = int(np.floor(layer)), (layer - np.floor(layer)) * np.pi / 2
        body = canvas.body
        first, second = (self._texture[(k + i) % _TEXTURE_LAYERS][body.rows, body.columns] for i in (0, 1))
        grain = np.float32(np.cos(part)) * first + np.float32(np.sin(part)) * second
        labels, hu = canvas.labels[body.rows, body.columns], canvas.hu[body.rows, body.columns]
        hu += _LABEL_TEXTURE[labels] * grain
        streaks = (grain > self._streaks) & (labels == Tissue.MUSCLE)
        canvas.fill(body, streaks, IMAT_HU - 10.0 * grain, Tissue.IMAT)
        np.clip(np.rint(hu), _LABEL_LOW[labels], _LABEL_HIGH[labels], out=hu)

    def picture(self, hu: Picture, rng: np.random.Generator) -> Picture:
        """The reconstructed slice: kernel, noise and field of view."""
        s = self.settings
        if s.blur_mm:
            hu = gaussian_filter(hu, s.blur_mm / s.pixel_mm)
        if self._noise:
            tile = self._noise[int(rng.integers(len(self._noise)))]
            shift = tuple(int(v) for v in rng.integers(0, s.matrix, 2))
            hu = hu + np.float32(s.noise_hu) * np.roll(tile, shift, axis=(0, 1))
        hu = np.clip(np.rint(hu), -1024, 3071)
        if self._outside is not None:
            hu[self._outside] = OUTSIDE_HU
        return hu

    @property
    def outside(self) -> NDArray[np.bool_] | None:
        """Pixels [y, x] outside the field of view, if it is a circle."""
        return self._outside


def _tile(rng: np.random.Generator, n: int, sigma: tuple[float, float]) -> Picture:
    tile = rng.standard_normal((n, n), dtype=np.float32)
    if max(sigma) > 0.05:
        tile = gaussian_filter(tile, sigma, mode="wrap")
    tile /= tile.std()
    return tile


def _outside(settings: PhantomSettings) -> NDArray[np.bool_] | None:
    if settings.field_of_view_mm is None:
        return None
    offset = (np.arange(settings.matrix) - (settings.matrix - 1) / 2) * settings.pixel_mm
    outside: NDArray[np.bool_] = np.hypot(offset[:, None], offset[None, :]) > settings.field_of_view_mm / 2
    return outside


def paint_table(canvas: Canvas, anatomy: Anatomy) -> None:
    """A carbon couch under the lowest part of the back."""
    z = float(np.mean(canvas.z_range))
    heights = np.arange(anatomy.sacrum_low - 30, anatomy.by_name["T2"].z_high, 5.0)
    skin = outline_egg(anatomy, heights.astype(np.float32)).back + anatomy.at("spine_y", heights)
    x, y = -float(anatomy.at("spine_x", z)), float(np.max(skin) - anatomy.at("spine_y", z)) - 10.0
    view = canvas.view(x, y, 212.0, 60.0)
    if view is None:
        return
    depth = view.y - y + ((view.x - x) / 230.0) ** 2 * 45.0
    within = np.abs(view.x - x) < 210.0
    air = (canvas.labels[view.rows, view.columns] == 0) & (canvas.hu[view.rows, view.columns] <= AIR_HU)
    canvas.fill(view, (depth > 4) & (depth < 34) & within & air, -940.0, 0)
    canvas.fill(view, ((np.abs(depth - 4) < 1.6) | (np.abs(depth - 34) < 1.6)) & within & air, -120.0, 0)


def paint_arms(canvas: Canvas, anatomy: Anatomy) -> None:
    """Arms beside the trunk: skin, fat, muscle and bone, all label 0 (arms are never measured)."""
    z = float(np.mean(canvas.z_range))
    if z > anatomy.z_of("T2"):
        return
    outline = outline_egg(anatomy, canvas.body.z)
    size = np.interp(z, [anatomy.z_of("S5"), anatomy.z_of("T4")], [27.0, 44.0])
    half = float(np.max(outline.width)) + size + 14.0
    for side in (-1.0, 1.0):
        x, y = side * half, 12.0
        view = canvas.view(x, y, size, size)
        if view is None:
            continue
        for radius, hu in (
            (1.0, 30.0),
            (0.96, SAT_HU),
            (0.82, muscle_hu(anatomy)),
            (0.27, 520.0),
            (0.17, 120.0),
        ):
            air = canvas.labels[view.rows, view.columns] == 0
            canvas.fill(view, ellipse(view, x, y, size * radius, size * radius) & air, hu, 0)


def paint_metal(canvas: Canvas, anatomy: Anatomy) -> None:
    """A pair of screws through the pedicles of L4, with bright and dark streaks."""
    v = anatomy.by_name["L4"]
    z = v.z_low + 0.65 * v.height
    if not canvas.meets(z - 4, z + 4):
        return
    view = canvas.body
    angle, far = np.arctan2(view.y - 20, view.x), np.hypot(view.x, view.y - 20)
    hu = canvas.hu[view.rows, view.columns]
    hu += np.where(hu > -300.0, np.cos(angle * 14.0) * 140.0 * np.exp(-far / 55.0), 0.0)
    for side in (-1.0, 1.0):
        screw = capsule(view, (side * 9.0, -8.0), (side * 24.0, 40.0), 3.0)
        canvas.fill(view, screw, 2900.0, 5)
