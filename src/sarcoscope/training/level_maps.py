"""Label maps painted as CT: more people's spines and ribs for the level network.

Each organ gets a random HU, each bone a bright border and a darker inside, the rest of the body fat and
muscle in random patches. Nothing of a real picture is in it but the shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.imaging.nifti import volume_from_grid
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.coarse import STEP_MM, CoarseVolume, coarse_copy
from sarcoscope.levels.label_maps import VERTEBRAE, vertebra_spans
from sarcoscope.levels.spine import SpinePath
from sarcoscope.levels.strips import cut_strips
from sarcoscope.training.level_data import LevelCase, load_case, row_targets, save_case

MAPS: Final = ("totalseg_s0004", "totalseg_s0012", "totalseg_s0327", "totalseg_s0328")
_BODY = 120
_CORD = 79
_BONES: Final = (*range(25, 51), *range(69, 79), *range(91, 117))
_LUNGS: Final = (10, 11, 12, 13, 14)
_MUSCLES: Final = tuple(range(80, 90))


def map_cases(data: Path, variants: int, cache: Path) -> list[LevelCase]:
    """Every label map painted ``variants`` times; strips are kept in ``cache``."""
    cases = []
    for name in MAPS:
        for k in range(variants):
            kept = cache / f"{name}_{k}.npz"
            if not kept.is_file():
                save_case(kept, _case(data / "labelmaps" / f"{name}.nii.gz", name, k))
            cases.append(load_case(kept))
    return cases


@dataclass(frozen=True, eq=False)
class PaintedMap:
    """A label map painted as CT, on the coarse grid, with the canal's path as the labels have it."""

    labels: NDArray[np.int16]
    """[z, y, x] on the map's own grid"""
    volume: Volume
    coarse: CoarseVolume
    path: SpinePath


def painted_map(path: Path, name: str, variant: int) -> PaintedMap:
    """Read a label map and paint it; another ``variant``, other colours."""
    image: Any = nib.load(path)
    labels = np.asanyarray(image.dataobj).astype(np.int16)
    rng = np.random.default_rng([variant, len(name), int(labels.sum()) % 2**31])
    # Labels ride through the reader as if they were HU (offset so that they are not taken for a mask).
    as_volume = volume_from_grid(labels - 1000, image.affine, name)
    grid = as_volume.hu + 1000
    painted = Volume(_paint(grid, rng), as_volume.geometry, as_volume.sources)
    coarse = coarse_copy(painted)
    spine = SpinePath(_labelled_path(grid, painted, coarse), np.ones(len(coarse.hu)))
    return PaintedMap(grid, as_volume, coarse, spine)


def _case(path: Path, name: str, variant: int) -> LevelCase:
    painted = painted_map(path, name, variant)
    geometry = painted.volume.geometry
    spans = vertebra_spans(painted.labels, geometry.slice_offsets_mm, geometry.spacing_mm[0])
    level, gap = row_targets(spans, painted.coarse.row_offsets_mm)
    strips = cut_strips(painted.coarse, painted.path)
    return LevelCase(f"{name}_{variant}", name, "map", strips, level, gap)


def _labelled_path(labels: NDArray[np.int16], volume: Volume, coarse: CoarseVolume) -> NDArray[np.float64]:
    """[row, 2] coarse (y, x) of the canal as the labels have it: the cord, below it the vertebrae's back."""
    _, dy, dx = volume.geometry.spacing_mm
    bone = np.isin(labels, list(VERTEBRAE))
    rows, places = [], []
    for k in range(len(labels)):
        for part, share in ((labels[k] == _CORD, 50), (bone[k], 55)):
            if part.sum() >= 20:
                ys, xs = np.nonzero(part)
                rows.append(k)
                places.append((np.percentile(ys, share) * dy, xs.mean() * dx))
                break
    at = volume.geometry.slice_offsets_mm[rows]
    known = np.array(places)
    path = np.stack(
        [
            (np.interp(coarse.row_offsets_mm, at, known[:, a]) - coarse.corner_mm[a]) / STEP_MM
            for a in range(2)
        ],
        axis=1,
    )
    smooth: NDArray[np.float64] = ndi.gaussian_filter1d(path, 3.0, axis=0, mode="nearest")
    return smooth


def _paint(labels: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """HU [z, y, x] of a label map."""
    table = rng.uniform(20, 130, 256).astype(np.float32)
    table[0] = -1000
    table[list(_LUNGS)] = rng.uniform(-900, -780)
    table[list(_MUSCLES)] = rng.uniform(30, 65)
    table[[16, 20]] = (-950, rng.uniform(-300, 60))
    vessels = [51, 52, 53, 62, 63, 64]
    table[vessels] = rng.uniform(30, 70) + rng.choice([0.0, 100.0, 250.0]) * rng.random(len(vessels))
    hu = table[labels].astype(np.float64)
    noise = ndi.gaussian_filter(rng.standard_normal(labels.shape).astype(np.float32), 4.0)
    soft = np.where(noise > np.quantile(noise[::8, ::8, ::8], rng.uniform(0.4, 0.7)), 50.0, -95.0)
    canal = ndi.binary_dilation(labels == _CORD, iterations=6)
    soft = np.where(canal, 25.0, soft)
    hu = np.where(labels == _BODY, soft, hu)
    bone = np.isin(labels, _BONES)
    same = np.ones_like(bone)
    for axis in range(3):
        for shift in (-1, 1):
            same &= np.roll(labels, shift, axis) == labels
    inside, border = rng.uniform(130, 260), rng.uniform(350, 650)
    hu = np.where(bone, np.where(same, inside, border), hu)
    hu = hu + rng.normal(0, rng.uniform(5, 25), labels.shape)
    return np.clip(hu, -1024, 2000).astype(np.int16)
