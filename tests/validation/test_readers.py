"""Agreement of readers against printed and computed values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sarcoscope.anatomy.tissues import TISSUES, tissue_name
from sarcoscope.validation.overlap import overlap
from sarcoscope.validation.readers import Reading, StudyFigures, agreement, compare, icc_2_1, measure
from sarcoscope.validation.statistics import bland_altman, kappa

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    found = icc_2_1(SHROUT_FLEISS)
    assert found is not None
    # Shrout & Fleiss 1979: ICC(2,1) = 0.29; interval as R's psych::ICC prints it: 0.02 to 0.76.
    assert found.value == pytest.approx(0.2898, abs=5e-4)
    assert found.low == pytest.approx(0.019, abs=5e-3)
    assert found.high == pytest.approx(0.761, abs=5e-3)


def test_icc_needs_two_of_each() -> None:
    assert icc_2_1(np.ones((1, 3))) is None
    assert icc_2_1(np.ones((4, 1))) is None
    assert icc_2_1(np.ones((4, 2))) is None
    assert icc_2_1(np.array([[1.0, 2.0], [1.0, 2.0]])) is None
    assert icc_2_1(np.full((3, 2), 0.08)) is None
    for scale in (1.0, 0.1, 123.456):
        same = icc_2_1(np.array([[1.0, 1.0], [2.0, 2.0], [5.1, 5.1]]) * scale)
        assert same is not None
        assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))


def test_icc_of_few_and_equal_values_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        found = icc_2_1(rng.integers(1, 4, (rng.integers(2, 4), 2)).astype(float))
        assert found is None or np.isfinite(found.value)


def plain_agreement(
    readings: Sequence[Reading],
    heights_mm: Mapping[str, NDArray[np.float64]],
    pixel_cm2: Mapping[str, float],
) -> dict[str, Any]:
    """The tables with every mask in memory, pixel by pixel."""
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
        areas.append({"tissue": tissue_name(tissue), "icc": None if found is None else finite(vars(found))})
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
                "bland_altman_cm2": finite(vars(difference)) if difference is not None else None,
            }
        )
    return {
        "readers": [a, b],
        "studies": len(both),
        "level": {
            "slices_mean": mean([v["slices"] for v in levels]),
            "mm_mean": mean([v["mm"] for v in levels]),
            "mm_worst": max((v["mm"] for v in levels), default=None),
            "kappa": number(kappa([i for i, _ in inside], [j for _, j in inside])) if inside else None,
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


def mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: number(v) if isinstance(v, float) else v for name, v in values.items()}


def figures(
    readings: Sequence[Reading], heights_mm: Mapping[str, Any], pixel_cm2: Mapping[str, float]
) -> dict[str, StudyFigures]:
    """The figures of every study, one study after the other."""
    by_study: dict[str, dict[str, Reading]] = defaultdict(dict)
    for r in readings:
        by_study[r.study][r.reader] = r
    return {
        s: StudyFigures(
            {name: measure(r, pixel_cm2[s]) for name, r in found.items()},
            {(a, b): compare(found[a], found[b], heights_mm[s]) for a, b in combinations(sorted(found), 2)},
        )
        for s, found in by_study.items()
    }


@pytest.mark.parametrize("seed", range(25))
def test_figures_study_by_study_are_those_of_all_masks_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    studies, readers = [f"s{k}" for k in rng.permutation(rng.integers(1, 9))], ["bob", "ann", "cy", "dan"]
    heights = {s: np.cumsum(rng.uniform(2, 6, 30)) for s in studies}
    pixels = {s: float(rng.uniform(0.003, 0.01)) for s in studies}
    readings = []
    for s in studies:
        truth = rng.integers(0, 4, (30, 16, 16)).astype(np.uint8)
        for reader in readers[: rng.integers(1, 5)]:
            low, high = sorted(int(i) for i in rng.integers(8, 20, 2))
            drawn = {}
            for i in range(low - int(rng.integers(0, 3)), high + 1 - int(rng.integers(0, 2))):
                flipped = rng.random((16, 16)) < 0.2
                drawn[i] = np.where(flipped, rng.integers(0, 4, (16, 16)), truth[i]).astype(np.uint8)
            readings.append(Reading(reader, s, low, high, drawn))
    rng.shuffle(readings)  # type: ignore[arg-type]
    assert agreement(figures(readings, heights, pixels)) == plain_agreement(readings, heights, pixels)


def test_agreement_of_nothing() -> None:
    assert agreement({})["pairs"] == []


def test_agreement_of_two_readers_as_counted_by_hand() -> None:
    a, b = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    a[2:6, 2:6] = 1
    b[2:6, 3:7] = 1
    readings = [
        Reading("ann", "s1", 4, 5, {4: a, 5: a}),
        Reading("bob", "s1", 4, 6, {4: b, 5: b, 6: b}),
        Reading("ann", "s2", 3, 4, {3: a, 4: a}),
        Reading("bob", "s2", 3, 4, {3: a, 4: a}),
    ]
    heights = np.arange(12) * 5.0
    found = agreement(figures(readings, {"s1": heights, "s2": heights}, {"s1": 0.01, "s2": 0.01}))
    (pair,) = found["pairs"]
    assert pair["readers"] == ["ann", "bob"]
    assert pair["level"]["slices_mean"] == pytest.approx((0.5 + 0.0) / 2)
    assert pair["level"]["mm_mean"] == pytest.approx((2.5 + 0.0) / 2)
    muscle = pair["masks"][0]
    assert muscle["dice_mean"] == pytest.approx((12 / 16 + 1.0) / 2)
    assert muscle["dice_worst"] == pytest.approx(0.75)
    assert muscle["bland_altman_cm2"]["bias"] == pytest.approx(0.0)
    # 9 + 6 slices were compared; one of them is in bob's range alone.
    inside_ann, inside_bob, n = 2 + 2, 3 + 2, 9 + 6
    seen = (n - 1) / n
    chance = (inside_ann * inside_bob + (n - inside_ann) * (n - inside_bob)) / n**2
    assert pair["level"]["kappa"] == pytest.approx((seen - chance) / (1 - chance))
