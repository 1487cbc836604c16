"""Agreement of readers: where they see a level, and what they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.validation.overlap import mask_difference
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
class Read:
    """The figures of one reading."""

    low: int
    high: int
    areas_cm2: tuple[float, ...]
    """Of every tissue, in the order of ``TISSUES``: mean over the reader's own range."""


@dataclass(frozen=True)
class Compared:
    """Two readings of a study."""

    slices: float
    """Mean distance of the two ends of the level."""
    mm: float
    dice: tuple[float | None, ...]
    """Of every tissue on the slices that both drew; None: neither drew it."""


@dataclass(frozen=True)
class StudyFigures:
    """What agreement needs of one study; its masks can be forgotten."""

    readers: Mapping[str, Read]
    pairs: Mapping[tuple[str, str], Compared]
    """Of every two readers, in the order of their names."""


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
    if n < 2 or k < 2 or np.ptp(table) <= 1e-12 * np.abs(table).max():
        return None
    total = table.mean()
    rows = k * ((table.mean(axis=1) - total) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(axis=0) - total) ** 2).sum() / (k - 1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + total
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    if below <= 0 or (rows <= 0 and error <= 0):
        return None
    value = float((rows - error) / below)
    tiny = 1e-12 * rows
    if error <= tiny and columns <= tiny:
        return Icc(value, value, value, n, k)
    # Few and equal values leave nothing for the interval: it is NaN then.
    with np.errstate(divide="ignore", invalid="ignore"):
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


def measure(reading: Reading, pixel_cm2: float) -> Read:
    """The figures of a reading; ``pixel_cm2`` is the area of a pixel."""
    areas = tuple(_area(reading, tissue, pixel_cm2) for tissue in TISSUES)
    return Read(reading.low, reading.high, areas)


def compare(x: Reading, y: Reading, heights_mm: NDArray[np.float64]) -> Compared:
    """Two readings of a study, whose slices lie at ``heights_mm`` [z] along the normal."""
    found = mask_difference(x.labels, y.labels, common_slices(x, y))
    slices, mm = ends_apart(x, y, heights_mm)
    return Compared(slices, mm, tuple(found.dice(tissue) for tissue in TISSUES))


def ends_apart(x: Reading, y: Reading, heights_mm: NDArray[np.float64]) -> tuple[float, float]:
    """Mean distance of the two ends of the level, in slices and in mm."""
    ends = ((x.low, y.low), (x.high, y.high))
    slices = float(np.mean([abs(i - j) for i, j in ends]))
    return slices, float(np.mean([abs(heights_mm[i] - heights_mm[j]) for i, j in ends]))


def common_slices(x: Reading, y: Reading) -> list[int]:
    """The slices that both readings drew, from below."""
    return sorted({*x.labels} & {*y.labels})


def agreement(studies: Mapping[str, StudyFigures]) -> dict[str, Any]:
    """Tables of agreement for readings of one arm: between every two readers, and over all of them."""
    readers = sorted({name for s in studies.values() for name in s.readers})
    pairs = [
        _pair(a, b, [s for s in studies.values() if {a, b} <= {*s.readers}])
        for a, b in combinations(readers, 2)
    ]
    whole = [s for _, s in sorted(studies.items()) if len(s.readers) == len(readers)]
    areas = []
    for n, tissue in enumerate(TISSUES):
        table = np.array([[s.readers[r].areas_cm2[n] for r in readers] for s in whole])
        found = icc_2_1(table) if table.size else None
        areas.append({"tissue": tissue_name(tissue), "icc": None if found is None else _finite(vars(found))})
    return {"readers": readers, "studies": len(studies), "pairs": pairs, "areas": areas}


def _pair(a: str, b: str, both: Sequence[StudyFigures]) -> dict[str, Any]:
    read = [(s.readers[a], s.readers[b]) for s in both]
    compared = [s.pairs[a, b] for s in both]
    inside = [(x.low <= i <= x.high, y.low <= i <= y.high) for x, y in read for i in _around(x, y)]
    masks = []
    for n, tissue in enumerate(TISSUES):
        dice = [value for c in compared if (value := c.dice[n]) is not None]
        areas = [[r.areas_cm2[n] for r in two] for two in zip(*read, strict=True)]
        difference = bland_altman(*areas) if areas else None
        masks.append(
            {
                "tissue": tissue_name(tissue),
                "dice_mean": _mean(dice),
                "dice_worst": min(dice, default=None),
                "bland_altman_cm2": _finite(vars(difference)) if difference is not None else None,
            }
        )
    return {
        "readers": [a, b],
        "studies": len(both),
        "level": {
            "slices_mean": _mean([c.slices for c in compared]),
            "mm_mean": _mean([c.mm for c in compared]),
            "mm_worst": max((c.mm for c in compared), default=None),
            "kappa": _number(kappa([i for i, _ in inside], [j for _, j in inside])) if inside else None,
        },
        "masks": masks,
    }


def _around(x: Read, y: Read) -> range:
    """The slices of either range, and as many again on both sides."""
    low, high = min(x.low, y.low), max(x.high, y.high)
    return range(low - (high - low + 1), high + (high - low + 1) + 1)


def _area(reading: Reading, tissue: int, pixel_cm2: float) -> float:
    """Mean area over the reader's own range."""
    counts = [
        int(np.count_nonzero(reading.labels[i] == tissue)) if i in reading.labels else 0
        for i in range(reading.low, reading.high + 1)
    ]
    return float(np.mean(counts)) * pixel_cm2


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(v) if isinstance(v, float) else v for name, v in values.items()}
