"""Levels of slices against a reference: confusion, right per class (P2), and slice error (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVEL_INDEX, LEVELS


def confusion(truth: Sequence[str], found: Sequence[str]) -> NDArray[np.int64]:
    """[19, 19] counts: row = reference level, column = named level (order of ``LEVELS``)."""
    table = np.zeros((len(LEVELS), len(LEVELS)), np.int64)
    for a, b in zip(truth, found, strict=True):
        table[LEVEL_INDEX[a], LEVEL_INDEX[b]] += 1
    return table


def right_per_class(table: NDArray[np.int64]) -> dict[str, tuple[int, int]]:
    """Level -> (named rightly, all) of the levels that occur."""
    return {
        level: (int(table[k, k]), int(table[k].sum())) for k, level in enumerate(LEVELS) if table[k].sum()
    }


def accuracy(table: NDArray[np.int64]) -> float:
    """Share named rightly (NaN without a slice)."""
    return float(np.trace(table) / table.sum()) if table.sum() else float("nan")


def within_one(table: NDArray[np.int64]) -> float:
    """Share named rightly or as a neighbour."""
    near = np.abs(np.subtract.outer(np.arange(len(table)), np.arange(len(table)))) <= 1
    return float(table[near].sum() / table.sum()) if table.sum() else float("nan")


@dataclass(frozen=True)
class SliceError:
    """Predicted against true slice of a level over several volumes."""

    n: int
    mean_slices: float
    """Mean absolute error in slices."""
    sd_slices: float
    mean_mm: float
    sd_mm: float
    within_10_mm: int
    r_squared: float
    """Of predicted against true position in mm (NaN with fewer than three volumes)."""


def slice_error(
    found: Sequence[float], truth: Sequence[float], spacing_mm: Sequence[float]
) -> SliceError | None:
    """Slice error of predicted and true slice numbers; None without a volume."""
    if not found:
        return None
    a, b, step = (np.asarray(v, np.float64) for v in (found, truth, spacing_mm))
    error, mm = np.abs(a - b), np.abs(a - b) * step
    spread = float(((b * step - (b * step).mean()) ** 2).sum())
    fits = len(a) > 2 and spread > 0
    r2 = 1 - float((((a - b) * step) ** 2).sum()) / spread if fits else float("nan")
    sd = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in (error, mm)]
    return SliceError(len(a), float(error.mean()), sd[0], float(mm.mean()), sd[1], int((mm <= 10).sum()), r2)
