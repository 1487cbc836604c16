"""Why a level was named as it was: the deciding model's view, and Grad-CAM of a slice classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sarcoscope.errors import SettingError, StorageError
from sarcoscope.exports.pictures import cam_overlay, sagittal_view
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.reader import read_study
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels import LevelMap
from sarcoscope.levels.find import find_levels_by
from sarcoscope.levels.slice_classifier import level_map_of, slice_level
from sarcoscope.models.package import ModelPackage
from sarcoscope.models.registry import find_package
from sarcoscope.progress import Progress

SPINE_REACH_MM = 45.0
"""Attention within this distance of the spinal canal counts as on the spine."""


@dataclass(frozen=True)
class Attention:
    """Where a slice classifier looked."""

    on_spine: float
    """Share of the attention within :data:`SPINE_REACH_MM` of the canal."""
    by_chance: float
    """That disc's share of the slice: what attention without aim would give."""


@dataclass(frozen=True)
class Explanation:
    """What was written, and what must be said of it."""

    files: tuple[Path, ...]
    sentences: tuple[str, ...]


def attention_on_spine(cam: NDArray[np.float32], volume: Volume, spine_yx: tuple[float, float]) -> Attention:
    """How much of a Grad-CAM lies on the spine.

    Args:
        cam: [y, x] 0..1 over the whole slice, on any grid.
        volume: whose slice it is.
        spine_yx: the canal's place on that slice in pixels.
    """
    _, dy, dx = volume.geometry.spacing_mm
    y, x = (
        (np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(cam.shape, volume.hu.shape[1:], strict=True)
    )
    # the middle of vertebra and canal lies in front of the canal's centre
    away = np.hypot((y[:, None] - spine_yx[0]) * dy + SPINE_REACH_MM / 3, (x[None, :] - spine_yx[1]) * dx)
    near = away <= SPINE_REACH_MM
    total = float(cam.sum())
    return Attention(float(cam[near].sum()) / total if total > 0 else 0.0, float(near.mean()))


def explain(
    path: Path,
    out: Path,
    *,
    model: str | None = None,
    index: int | None = None,
    level: str | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Write ``explanation.png``, and with a slice classifier ``grad_cam.png`` and ``grad_cam.npy``.

    Args:
        path: CT.
        out: folder, made when missing.
        model: a slice classifier (kind ``slice-levels`` or ``l3-slice``); None: no Grad-CAM.
        index: slice of the Grad-CAM; the middle of L3 (or of the lowest level) by default.
        level: class of the Grad-CAM; what the deciding model says of that slice by default.
        progress: hears (stage, fraction).

    Raises:
        InputError: a CT that cannot be used.
        SettingError: a slice outside the series, or a model of another kind.
    """
    volume = read_study(path, policy=SeriesPolicy.load(None), progress=progress).volume
    levels = find_levels_by(volume, {}, progress)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "explanation.png"]
        sagittal_view(volume, levels, {}, explain=True).save(files[0])
        said = [_spine_sentence(levels)]
        if model is not None:
            package = find_package(model)
            more, sentence = _grad_cam(volume, levels, package, index, level, out)
            files, said = files + more, [*said, sentence]
    except OSError as error:
        raise StorageError(f"'{out.name}' could not be written: {error.strerror}.") from error
    return Explanation(tuple(files), tuple(said))


def _spine_sentence(levels: LevelMap) -> str:
    if not levels.ranges:
        return "No vertebra was named: there is nothing to explain."
    names = [name for name, _, _ in levels.models]
    marks = [r.level for r in levels.ranges if r.level in ("Sacral", "Cervical")]
    seen = " and ".join({"Sacral": "the sacrum", "Cervical": "the neck"}[m] for m in marks)
    landmarks = f"{seen} in view" if seen else "neither sacrum nor neck in view: count on the confidence"
    return f"Decided by {' and '.join(names)}; landmarks: {landmarks}."


def _grad_cam(
    volume: Volume,
    levels: LevelMap,
    package: ModelPackage,
    index: int | None,
    level: str | None,
    out: Path,
) -> tuple[list[Path], str]:
    if package.kind not in ("slice-levels", "l3-slice"):
        raise SettingError(f"'{package.name}' is no slice classifier and has no Grad-CAM.")
    if index is None:
        span = levels.find("L3") or (levels.ranges[0] if levels.ranges else None)
        index = span.index_mid if span else volume.n_slices // 2
    if not 0 <= index < volume.n_slices:
        raise SettingError(f"Slice {index} does not lie in this series, which has {volume.n_slices} slices.")
    decided = levels.name_of(index)
    wanted = level or decided
    if wanted is None:
        return [], "No Grad-CAM: no level was named for this slice."
    named, share = slice_level(volume, index, package)
    agrees = named == decided or (package.kind == "l3-slice" and (named == "L3") == (decided == "L3"))
    if not agrees:
        return [], (f"No Grad-CAM: '{package.name}' takes slice {index} for {named}, the deciding model for "
                    f"{decided}; it cannot explain a decision that it does not share.")  # fmt: skip
    cam = level_map_of(volume, index, wanted, package)
    np.save(out / "grad_cam.npy", cam)
    text = f"Grad-CAM of {package.name} {package.version}: {wanted}, slice {index} (share {share:.2f})"
    cam_overlay(volume, index, cam, text).save(out / "grad_cam.png")
    sentence = f"{text}."
    if levels.spine:
        where = attention_on_spine(cam, volume, levels.spine[index])
        sentence += f" On the spine: {where.on_spine:.0%} of the attention ({where.by_chance:.0%} by chance)."
    return [out / "grad_cam.png", out / "grad_cam.npy"], sentence
