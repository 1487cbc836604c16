"""Statistics of agreement: bootstrap over persons, Bland-Altman, Cohen's kappa."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bootstrap(
    values: Sequence[float],
    persons: Sequence[Hashable],
    statistic: Callable[[Floats], float] = lambda v: float(np.mean(v)),
    *,
    draws: int = 2000,
    seed: int = 1,
) -> tuple[float, float]:
    """95 % interval of a statistic, drawing persons (not slices) with replacement.

    Returns:
        (low, high); NaN with fewer than two persons.
    """
    groups: dict[Hashable, list[float]] = {}
    for value, person in zip(values, persons, strict=True):
        groups.setdefault(person, []).append(float(value))
    if len(groups) < 2:
        return float("nan"), float("nan")
    parts = [np.array(g) for g in groups.values()]
    rng = np.random.default_rng(seed)
    found = [
        statistic(np.concatenate([parts[k] for k in rng.integers(0, len(parts), len(parts))]))
        for _ in range(draws)
    ]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class BlandAltman:
    """Mean difference and limits of agreement (mean +- 1.96 SD)."""

    n: int
    bias: float
    low: float
    high: float


def bland_altman(found: Sequence[float], truth: Sequence[float]) -> BlandAltman:
    """Of found minus true values."""
    difference = np.asarray(found, np.float64) - np.asarray(truth, np.float64)
    bias = float(difference.mean())
    sd = float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    return BlandAltman(len(difference), bias, bias - 1.96 * sd, bias + 1.96 * sd)


def kappa(found: Sequence[Hashable], truth: Sequence[Hashable]) -> float:
    """Cohen's kappa of two gradings of the same cases (NaN when only one class occurs)."""
    names = sorted({*found, *truth}, key=str)
    table = np.zeros((len(names), len(names)))
    for a, b in zip(found, truth, strict=True):
        table[names.index(a), names.index(b)] += 1
    n = table.sum()
    by_chance = float((table.sum(axis=0) * table.sum(axis=1)).sum() / n**2) if n else 1.0
    if by_chance >= 1.0:
        return float("nan")
    return float((np.trace(table) / n - by_chance) / (1 - by_chance))
