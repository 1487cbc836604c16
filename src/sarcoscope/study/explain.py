"""Why a level was named as it was: the deciding model's view, and Grad-CAM of a slice classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sarcoscope.errors import SettingError, StorageError
from sarcoscope.exports.evidence import evidence_view
from sarcoscope.exports.pictures import cam_overlay, sagittal_view
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.reader import read_study
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels import LevelMap
from sarcoscope.levels.find import see_levels
from sarcoscope.levels.slice_classifier import level_map_of, slice_level
from sarcoscope.models.package import ModelPackage
from sarcoscope.models.registry import find_package
from sarcoscope.progress import Progress

SLICE_CLASSIFIERS = ("slice-levels", "l3-slice")
"""Kinds of model that have a Grad-CAM."""
SPINE_REACH_MM = 45.0
"""Attention within this distance of the spinal canal counts as on the spine."""


@dataclass(frozen=True)
class Attention:
    """Where a slice classifier looked."""

    on_spine: float
    """Share of the attention within :data:`SPINE_REACH_MM` of the canal."""
    by_chance: float
    """That disc's share of the slice: what attention without aim would give."""


@dataclass(frozen=True, eq=False)
class GradCam:
    """What a slice classifier says of a slice, and where it looked for the level that was decided."""

    index: int
    level: str
    """The class that the map is of."""
    named: str
    """What the classifier itself takes the slice for."""
    share: float
    """Its share of ``named``."""
    heat: NDArray[np.float32] | None
    """[y, x] 0..1 over the whole slice; None where the classifier does not share the decision."""
    attention: Attention | None
    """None where the spine is not known."""


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
    """Write ``explanation.png``, ``evidence.png``, and with a slice classifier ``grad_cam.png`` and ``.npy``.

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
    levels, seen = see_levels(volume, progress=progress)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = [out / "explanation.png"]
        sagittal_view(volume, levels, {}, explain=True).save(files[0])
        if seen is not None:
            files.append(out / "evidence.png")
            evidence_view(volume, levels, seen).image.save(files[-1])
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
    marks = " and ".join({"Sacral": "the sacrum", "Cervical": "the neck"}[m] for m in landmarks(levels))
    text = f"{marks} in view" if marks else "neither sacrum nor neck in view: count on the confidence"
    return f"Decided by {' and '.join(names)}; landmarks: {text}."


def landmarks(levels: LevelMap) -> tuple[str, ...]:
    """Ends of the spine in view, from which vertebrae can be counted: ``Sacral``, ``Cervical``."""
    return tuple(r.level for r in levels.ranges if r.level in ("Sacral", "Cervical"))


def grad_cam(
    volume: Volume,
    package: ModelPackage,
    index: int,
    *,
    decided: str,
    wanted: str | None = None,
    spine: Sequence[tuple[float, float]] = (),
) -> GradCam:
    """Grad-CAM of a slice classifier, shown only where it shares the decision.

    Args:
        volume: HU [z, y, x].
        package: a model of the kind ``slice-levels`` or ``l3-slice``.
        index: slice.
        decided: level of the slice as the deciding model (or a reader) has it.
        wanted: class of the map; ``decided`` by default.
        spine: (y, x) of the canal in pixels by slice, where it is known.

    Raises:
        SettingError: a slice outside the series, or a model of another kind.
    """
    if package.kind not in SLICE_CLASSIFIERS:
        raise SettingError(f"'{package.name}' is no slice classifier and has no Grad-CAM.")
    if not 0 <= index < volume.n_slices:
        raise SettingError(f"Slice {index} does not lie in this series, which has {volume.n_slices} slices.")
    named, share = slice_level(volume, index, package)
    agrees = named == decided or (package.kind == "l3-slice" and (named == "L3") == (decided == "L3"))
    level = wanted or decided
    if not agrees:
        return GradCam(index, level, named, share, None, None)
    heat = level_map_of(volume, index, level, package)
    attention = attention_on_spine(heat, volume, spine[index]) if spine else None
    return GradCam(index, level, named, share, heat, attention)


def _grad_cam(
    volume: Volume,
    levels: LevelMap,
    package: ModelPackage,
    index: int | None,
    level: str | None,
    out: Path,
) -> tuple[list[Path], str]:
    if index is None:
        span = levels.find("L3") or (levels.ranges[0] if levels.ranges else None)
        index = span.index_mid if span else volume.n_slices // 2
    decided = levels.name_of(index) if 0 <= index < volume.n_slices else None
    found = grad_cam(volume, package, index, decided=decided or "", wanted=level, spine=levels.spine)
    if decided is None:
        return [], "No Grad-CAM: no level was named for this slice."
    if found.heat is None:
        return [], (f"No Grad-CAM: '{package.name}' takes slice {index} for {found.named}, the deciding "
                    f"model for {decided}; it cannot explain a decision that it does not share.")  # fmt: skip
    np.save(out / "grad_cam.npy", found.heat)
    model = f"{package.name} {package.version}"
    text = f"Grad-CAM of {model}: {found.level}, slice {index} (share {found.share:.2f})"
    cam_overlay(volume, index, found.heat, text).save(out / "grad_cam.png")
    sentence = f"{text}."
    if found.attention:
        where = found.attention
        sentence += f" On the spine: {where.on_spine:.0%} of the attention ({where.by_chance:.0%} by chance)."
    return [out / "grad_cam.png", out / "grad_cam.npy"], sentence
