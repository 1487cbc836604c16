"""From painted shapes to a picture: texture, streaks of fat, table, arms, metal, kernel, noise, field of view."""

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
_TEXTURE_HU: Final = {0: 4.0, Tissue.MUSCLE: 9.0, Tissue.SAT: 7.0, Tissue.VAT: 8.0, Tissue.IMAT: 8.0, 5: 35.0}
_NOISE_LAYERS: Final = 6

Picture = NDArray[np.float32]


class Finish:
    """What is the same on every slice of one phantom: texture and noise tiles, bands, circle of view."""

    def __init__(self, settings: PhantomSettings, rng: np.random.Generator) -> None:
        """Draw the tiles; ``rng`` decides them."""
        self.settings = settings
        n, sigma = settings.matrix, _TEXTURE_MM / settings.pixel_mm
        self._texture = [_tile(rng, n, sigma) for _ in range(_TEXTURE_LAYERS)]
        kernel = max(settings.blur_mm / settings.pixel_mm * 0.8, 0.0)
        layers = _NOISE_LAYERS if settings.noise_hu else 0
        self._noise = [_tile(rng, n, kernel) for _ in range(layers)]
        self._outside = _outside(settings)
        self._streaks = float(ndtri(1.0 - settings.imat)) if settings.imat else np.inf

    def tissue_texture(self, canvas: Canvas, z_mm: float) -> None:
        """Streak the muscles with fat and give every tissue its grain; each pixel stays in its HU band."""
        layer = z_mm / _TEXTURE_STEP_MM
        k, part = int(np.floor(layer)), (layer - np.floor(layer)) * np.pi / 2
        first, second = (self._texture[(k + i) % _TEXTURE_LAYERS] for i in (0, 1))
        grain = np.float32(np.cos(part)) * first + np.float32(np.sin(part)) * second
        streaks = (grain > self._streaks) & (canvas.labels == Tissue.MUSCLE)
        canvas.fill(canvas.whole, streaks, IMAT_HU, Tissue.IMAT)
        amplitude = np.zeros(256, dtype=np.float32)
        for label, sd in _TEXTURE_HU.items():
            amplitude[label] = sd
        canvas.hu += amplitude[canvas.labels] * np.where(streaks, np.float32(-0.3), np.float32(1)) * grain
        self._keep_bands(canvas)

    def _keep_bands(self, canvas: Canvas) -> None:
        low, high = np.full(256, -1024.0, np.float32), np.full(256, 3000.0, np.float32)
        for tissue in TISSUES:
            band = default_bands()[tissue_name(tissue)]
            low[tissue], high[tissue] = band.low, band.high
        np.clip(np.rint(canvas.hu), low[canvas.labels], high[canvas.labels], out=canvas.hu)

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


def _tile(rng: np.random.Generator, n: int, sigma: float) -> Picture:
    tile = rng.standard_normal((n, n), dtype=np.float32)
    if sigma > 0.05:
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
    """A carbon couch under the back (does not turn with the patient's curve: it follows the lowest back)."""
    view = canvas.whole
    spine = anatomy.at("spine_y", view.z)
    heights = np.arange(anatomy.sacrum_low - 30, anatomy.by_name["T2"].z_high, 5.0)
    skin = outline_egg(anatomy, heights.astype(np.float32)).back + anatomy.at("spine_y", heights)
    y = view.y + spine - float(np.max(skin)) - 6.0
    x = view.x + anatomy.at("spine_x", view.z)
    sag = y + (x / 230.0) ** 2 * 45.0
    shell = (np.abs(sag - 4) < 1.6) | (np.abs(sag - 34) < 1.6)
    within = np.abs(x) < 210.0
    core = (sag > 4) & (sag < 34) & within
    air = (canvas.labels == 0) & (canvas.hu <= AIR_HU)
    canvas.fill(view, core & air, -940.0, 0)
    canvas.fill(view, shell & within & air, -120.0, 0)


def paint_arms(canvas: Canvas, anatomy: Anatomy) -> None:
    """Arms beside the trunk: skin, fat, muscle and bone, all label 0 (arms are no part of the measured body)."""
    z = float(np.mean(canvas.z_range))
    if z > anatomy.z_of("T2"):
        return
    outline = outline_egg(anatomy, canvas.whole.z)
    size = np.interp(z, [anatomy.z_of("S5"), anatomy.z_of("T4")], [27.0, 44.0])
    half = float(np.max(outline.width)) + size + 14.0
    for side in (-1.0, 1.0):
        x, y = side * half, 12.0
        view = canvas.view(x, y, size, size)
        if view is None:
            continue
        for radius, hu in ((1.0, 30.0), (0.96, SAT_HU), (0.82, muscle_hu(anatomy)), (0.27, 520.0), (0.17, 120.0)):
            air = canvas.labels[view.rows, view.columns] == 0
            canvas.fill(view, ellipse(view, x, y, size * radius, size * radius) & air, hu, 0)


def paint_metal(canvas: Canvas, anatomy: Anatomy) -> None:
    """A pair of screws through the pedicles of L4, with bright and dark streaks."""
    v = anatomy.by_name["L4"]
    z = v.z_low + 0.65 * v.height
    if not canvas.meets(z - 4, z + 4):
        return
    view = canvas.whole
    angle = np.arctan2(view.y - 20, view.x)
    far = np.hypot(view.x, view.y - 20)
    streak = np.cos(angle * 14.0) * 140.0 * np.exp(-far / 55.0)
    body = canvas.hu > -300.0
    canvas.hu[:] = np.where(body, canvas.hu + streak, canvas.hu)
    for side in (-1.0, 1.0):
        screw = capsule(view, (side * 9.0, -8.0), (side * 24.0, 40.0), 3.0)
        canvas.fill(view, screw, 2900.0, 5)
