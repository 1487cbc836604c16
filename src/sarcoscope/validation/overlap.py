"""Overlap of masks: Dice, IoU, P1's bands of IoU, distances between surfaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.anatomy.tissues import TISSUES
from sarcoscope.errors import GeometryError

Mask = NDArray[np.bool_]
BANDS: Final[tuple[tuple[str, float, float], ...]] = (
    ("0.9-1.0", 0.9, float("inf")),
    ("0.8-0.9", 0.8, 0.9),
    ("0.7-0.8", 0.7, 0.8),
    ("<0.7", float("-inf"), 0.7),
)
"""P1's bands, half-open: [0.9, 1], [0.8, 0.9), [0.7, 0.8), below 0.7."""


def overlap(found: Mask, truth: Mask) -> tuple[float, float]:
    """Dice and IoU of two masks of the same shape (1 when both are empty)."""
    both, either = int((found & truth).sum()), int((found | truth).sum())
    return (1.0, 1.0) if either == 0 else (2 * both / (both + either), both / either)


def band_of(iou: float) -> str:
    """The band of an IoU."""
    return next(name for name, low, high in BANDS if low <= iou < high)


def band_counts(ious: Iterable[float]) -> dict[str, int]:
    """How many values lie in every band."""
    names = [band_of(v) for v in ious]
    return {name: names.count(name) for name, _, _ in BANDS}


def micro_iou(pairs: Sequence[tuple[Mask, Mask]]) -> float:
    """IoU over several tissues of one slice: intersections and unions added before the division."""
    both = sum(int((a & b).sum()) for a, b in pairs)
    either = sum(int((a | b).sum()) for a, b in pairs)
    return both / either if either else 1.0


@dataclass(frozen=True)
class MaskDifference:
    """Two masks with labels on the same slices, in counts of pixels."""

    pixels: Mapping[int, int]
    """Slice index -> pixels that differ."""
    one: Mapping[int, int]
    """Label -> pixels in the first mask; likewise below."""
    other: Mapping[int, int]
    both: Mapping[int, int]

    def dice(self, label: int) -> float | None:
        """Dice of a label; None where neither mask has it."""
        total = self.one[label] + self.other[label]
        return 2 * self.both[label] / total if total else None


def mask_difference(
    one: Mapping[int, NDArray[np.uint8]], other: Mapping[int, NDArray[np.uint8]], indices: Iterable[int]
) -> MaskDifference:
    """Count the tissues of two masks (slice index -> labels [y, x]) on some slices; one that is missing in
    either mask is empty there.

    Raises:
        GeometryError: they were drawn on images of different sizes.
    """
    differ: dict[int, int] = {}
    counts = [dict.fromkeys(map(int, TISSUES), 0) for _ in range(3)]
    for index in indices:
        planes = [p for p in (one.get(index), other.get(index)) if p is not None]
        a, b = (m.get(index, np.zeros_like(planes[0])) for m in (one, other))
        if a.shape != b.shape:
            raise GeometryError("The masks were drawn on images of different sizes and cannot be compared.")
        changed = a != b
        lost = a[changed]
        differ[index] = int(lost.size)
        for label in counts[0]:
            mine = int(np.count_nonzero(a == label))
            counts[0][label] += mine
            counts[1][label] += int(np.count_nonzero(b == label))
            counts[2][label] += mine - int(np.count_nonzero(lost == label))
    return MaskDifference(differ, *counts)


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between the outlines of two masks in mm."""

    mean_mm: float
    """Mean of both directions."""
    p95_mm: float
    """95th percentile of both directions together (HD95)."""


def surface_distance(found: Mask, truth: Mask, spacing_mm: tuple[float, float]) -> SurfaceDistance | None:
    """Distances between two outlines [y, x]; None when one of the masks is empty."""
    if not found.any() or not truth.any():
        return None
    edges = [m & ~ndi.binary_erosion(m) for m in (found, truth)]
    ways = []
    for edge, other in (edges, edges[::-1]):
        away = ndi.distance_transform_edt(~other, sampling=spacing_mm)
        ways.append(np.asarray(away)[edge])
    both = np.concatenate(ways)
    return SurfaceDistance(float(both.mean()), float(np.percentile(both, 95)))


def scores_of(
    found: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    tissues: Mapping[str, int],
    *,
    counted: Mask | None = None,
) -> dict[str, float]:
    """Dice and IoU of every tissue, IoU of their union and their micro-average, of one slice.

    Args:
        found: predicted labels [y, x].
        truth: reference labels [y, x].
        tissues: name -> label value.
        counted: [y, x] pixels that count; None: all.

    Returns:
        ``dice_<tissue>``, ``iou_<tissue>``, ``iou_union``, ``iou_micro``.
    """
    inside = np.ones(truth.shape, bool) if counted is None else counted
    pairs = {name: ((found == value) & inside, (truth == value) & inside) for name, value in tissues.items()}
    out = {}
    for name, (a, b) in pairs.items():
        out[f"dice_{name}"], out[f"iou_{name}"] = overlap(a, b)
    values = list(tissues.values())
    out["iou_union"] = overlap(np.isin(found, values) & inside, np.isin(truth, values) & inside)[1]
    out["iou_micro"] = micro_iou(list(pairs.values()))
    return out
