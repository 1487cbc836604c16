"""Agreement of readers: where they see a level, and what they draw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.validation.overlap import overlap
from sarcoscope.validation.statistics import bland_altman, kappa

_BEYOND: Final = 0.05


@dataclass(frozen=True, eq=False)
class Reading:
    """What one reader said of one study."""

    reader: str
    study: str
    low: int
    high: int
    """First and last slice of the level's range."""
    labels: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)
    """Slice index -> labels [y, x]."""


@dataclass(frozen=True)
class Icc:
    """Intraclass correlation: two-way random effects, single measure, absolute agreement."""

    value: float
    low: float
    high: float
    """95 % interval."""
    subjects: int
    raters: int


def icc_2_1(table: NDArray[np.float64]) -> Icc | None:
    """ICC(2,1) of a table [subject, rater]; None with fewer than two of either, or without any spread.

    Shrout and Fleiss 1979; interval by McGraw and Wong 1996, table 7.
    """
    n, k = table.shape
    if n < 2 or k < 2:
        return None
    total = table.mean()
    rows = k * float(((table.mean(axis=1) - total) ** 2).sum()) / (n - 1)
    columns = n * float(((table.mean(axis=0) - total) ** 2).sum()) / (k - 1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + total
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    if below <= 0 or (rows <= 0 and error <= 0):
        return None
    value = (rows - error) / below
    tiny = 1e-12 * rows
    if error <= tiny and columns <= tiny:
        return Icc(value, value, value, n, k)
    a = k * value / (n * (1 - value)) if value < 1 else np.inf
    b = 1 + k * value * (n - 1) / (n * (1 - value)) if value < 1 else np.inf
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    upper = stats.f.ppf(1 - _BEYOND / 2, n - 1, freedom)
    lower = stats.f.ppf(1 - _BEYOND / 2, freedom, n - 1)
    spread = k * columns + (k * n - k - n) * error
    low = n * (rows - upper * error) / (upper * spread + n * rows)
    high = n * (lower * rows - error) / (spread + n * lower * rows)
    return Icc(value, float(low), float(high), n, k)


def agreement(
    readings: Sequence[Reading],
    heights_mm: Mapping[str, NDArray[np.float64]],
    pixel_cm2: Mapping[str, float],
) -> dict[str, Any]:
    """Tables of agreement for readings of one arm: between every two readers, and over all of them.

    Args:
        readings: one a reader and study.
        heights_mm: by study: [z] place of every slice along the normal.
        pixel_cm2: by study: area of a pixel.
    """
    by_study: dict[str, dict[str, Reading]] = defaultdict(dict)
    for reading in readings:
        by_study[reading.study][reading.reader] = reading
    readers = sorted({r.reader for r in readings})
    pairs = [
        _pair(a, b, [(s[a], s[b]) for s in by_study.values() if a in s and b in s], heights_mm, pixel_cm2)
        for a, b in combinations(readers, 2)
    ]
    whole = {s: found for s, found in by_study.items() if len(found) == len(readers)}
    areas = []
    for tissue in TISSUES:
        table = np.array(
            [[_area(found[r], tissue, pixel_cm2[s]) for r in readers] for s, found in sorted(whole.items())]
        )
        found = icc_2_1(table) if table.size else None
        areas.append({"tissue": tissue_name(tissue), "icc": None if found is None else _finite(vars(found))})
    return {"readers": readers, "studies": len(by_study), "pairs": pairs, "areas": areas}


def _pair(
    a: str,
    b: str,
    both: Sequence[tuple[Reading, Reading]],
    heights_mm: Mapping[str, NDArray[np.float64]],
    pixel_cm2: Mapping[str, float],
) -> dict[str, Any]:
    levels = [_level(x, y, heights_mm[x.study]) for x, y in both]
    inside = [(x.low <= i <= x.high, y.low <= i <= y.high) for x, y in both for i in _around(x, y)]
    masks = []
    for tissue in TISSUES:
        dice = []
        for x, y in both:
            shared = sorted(set(x.labels) & set(y.labels))
            if shared:
                mine, theirs = (np.stack([r.labels[i] == tissue for i in shared]) for r in (x, y))
                if mine.any() or theirs.any():
                    dice.append(overlap(mine, theirs)[0])
        areas = [
            (_area(x, tissue, pixel_cm2[x.study]), _area(y, tissue, pixel_cm2[y.study])) for x, y in both
        ]
        difference = bland_altman([p[0] for p in areas], [p[1] for p in areas]) if areas else None
        masks.append(
            {
                "tissue": tissue_name(tissue),
                "dice_mean": float(np.mean(dice)) if dice else None,
                "dice_worst": float(np.min(dice)) if dice else None,
                "bland_altman_cm2": _finite(vars(difference)) if difference is not None else None,
            }
        )
    return {
        "readers": [a, b],
        "studies": len(both),
        "level": {
            "slices_mean": _mean([v["slices"] for v in levels]),
            "mm_mean": _mean([v["mm"] for v in levels]),
            "mm_worst": max((v["mm"] for v in levels), default=None),
            "kappa": _number(kappa([i for i, _ in inside], [j for _, j in inside])) if inside else None,
        },
        "masks": masks,
    }


def _level(x: Reading, y: Reading, heights: NDArray[np.float64]) -> dict[str, float]:
    """Mean distance of the two ends."""
    ends = ((x.low, y.low), (x.high, y.high))
    return {
        "slices": float(np.mean([abs(i - j) for i, j in ends])),
        "mm": float(np.mean([abs(heights[i] - heights[j]) for i, j in ends])),
    }


def _around(x: Reading, y: Reading) -> range:
    """The slices of either range, and as many again on both sides."""
    low, high = min(x.low, y.low), max(x.high, y.high)
    return range(low - (high - low + 1), high + (high - low + 1) + 1)


def _area(reading: Reading, tissue: int, pixel_cm2: float) -> float:
    """Mean area over the reader's own range."""
    counts = [
        int((reading.labels[i] == tissue).sum()) if i in reading.labels else 0
        for i in range(reading.low, reading.high + 1)
    ]
    return float(np.mean(counts)) * pixel_cm2


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(v) if isinstance(v, float) else v for name, v in values.items()}
