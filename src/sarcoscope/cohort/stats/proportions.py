"""Shares and their comparison: Wilson, trend, contingency tables, standardisation, many tests at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
EXPECTED_ENOUGH = 5.0
"""The chi-square test is taken when every expected count is at least this (Cochran's rule)."""
_RESAMPLES = 9999


def wilson(cases: ArrayLike, totals: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson score interval of shares, element by element (Wilson 1927); NaN where the total is 0."""
    k, n = np.asarray(cases, np.float64), np.asarray(totals, np.float64)
    z = float(stats.norm.ppf(0.5 + level / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = np.where(k == 0, np.where(n > 0, 0.0, np.nan), middle - half)
    high = np.where(k == n, np.where(n > 0, 1.0, np.nan), middle + half)
    return low, high


@dataclass(frozen=True)
class Test:
    """A test of a hypothesis."""

    __test__ = False
    name: str
    statistic: float
    dof: float
    p: float


def cochran_armitage(cases: ArrayLike, totals: ArrayLike, scores: ArrayLike | None = None) -> Test:
    """Trend of shares over ordered groups, two-sided (Armitage 1955); groups without people are left out.

    The statistic is z, positive when the share grows with the score. p is NaN without a spread.
    """
    k, n = np.asarray(cases, np.float64), np.asarray(totals, np.float64)
    s = np.arange(len(k), dtype=np.float64) if scores is None else np.asarray(scores, np.float64)
    used = n > 0
    k, n, s = k[used], n[used], s[used]
    if len(k) < 2:
        return Test("Cochran-Armitage", float("nan"), 1.0, float("nan"))
    share, mean = k.sum() / n.sum(), (n * s).sum() / n.sum()
    variance = share * (1 - share) * (n * (s - mean) ** 2).sum()
    if variance <= 0:
        return Test("Cochran-Armitage", float("nan"), 1.0, float("nan"))
    z = float((k * (s - mean)).sum() / np.sqrt(variance))
    return Test("Cochran-Armitage", z, 1.0, float(2 * stats.norm.sf(abs(z))))


def compare_counts(table: ArrayLike, seed: int = 1) -> Test:
    """Independence of rows and columns: chi-square without correction, or Fisher where counts are small.

    Args:
        table: counts [group, answer]; empty rows and columns are left out.
        seed: of the resampling that stands for Fisher's exact test on tables larger than 2 x 2.
    """
    counts = np.asarray(table, np.int64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape, default=0) < 2:
        return Test("none", float("nan"), float("nan"), float("nan"))
    found = stats.chi2_contingency(counts, correction=False)
    if found.expected_freq.min() >= EXPECTED_ENOUGH:
        return Test("chi-square", float(found.statistic), float(found.dof), float(found.pvalue))
    if counts.shape == (2, 2):
        exact = stats.fisher_exact(counts)
        return Test("Fisher", float(exact.statistic), float("nan"), float(exact.pvalue))
    return Test("Fisher-Freeman-Halton (resampled)", float("nan"), float("nan"), _resampled(counts, seed))


def _resampled(counts: NDArray[np.int64], seed: int) -> float:
    """p-value of the exact test of a larger table, by drawing tables with the same margins."""
    tables = stats.random_table(counts.sum(axis=1), counts.sum(axis=0))
    drawn = tables.rvs(size=_RESAMPLES, random_state=np.random.default_rng(seed))
    rarity = np.atleast_1d(tables.logpmf(drawn))
    at_least = (rarity <= float(tables.logpmf(counts)) + 1e-9).sum()
    return float((at_least + 1) / (_RESAMPLES + 1))


@dataclass(frozen=True)
class Standardised:
    """A directly standardised share."""

    share: float
    low: float
    high: float
    strata_empty: int
    """Strata of the standard in which nobody was seen; the others' weights were scaled up."""


def standardise(cases: ArrayLike, totals: ArrayLike, weights: ArrayLike, level: float = 0.95) -> Standardised:
    """Direct standardisation with the gamma interval of Fay and Feuer (1997).

    Args:
        cases: of each stratum.
        totals: people of each stratum.
        weights: of the standard population, of any sum.
        level: of the interval.
    """
    k, n = np.asarray(cases, np.float64), np.asarray(totals, np.float64)
    w = np.asarray(weights, np.float64)
    seen = (n > 0) & (w > 0)
    empty = int(((n <= 0) & (w > 0)).sum())
    if not seen.any():
        return Standardised(float("nan"), float("nan"), float("nan"), empty)
    k, n, w = k[seen], n[seen], w[seen] / w[seen].sum()
    each = w / n
    share, variance, most = float((each * k).sum()), float((each**2 * k).sum()), float(each.max())
    tail = (1 - level) / 2
    low = 0.0 if share == 0 else float(stats.gamma.ppf(tail, share**2 / variance, scale=variance / share))
    up, up_variance = share + most, variance + most**2
    high = float(stats.gamma.ppf(1 - tail, up**2 / up_variance, scale=up_variance / up))
    return Standardised(share, low, min(high, 1.0), empty)


def adjusted_p(values: Sequence[float], method: str = "holm") -> Floats:
    """p-values corrected for their number: ``holm`` (family-wise) or ``bh`` (false discovery); NaN stay.

    Raises:
        ValueError: an unknown method.
    """
    p = np.asarray(values, np.float64)
    known = np.isfinite(p)
    out = np.full(len(p), np.nan)
    q = p[known]
    order, m = np.argsort(q, kind="stable"), len(q)
    if method == "holm":
        stepped = np.maximum.accumulate(q[order] * (m - np.arange(m)))
    elif method == "bh":
        stepped = np.minimum.accumulate((q[order] * m / (np.arange(m) + 1))[::-1])[::-1]
    else:
        raise ValueError(f"unknown method '{method}'")
    back = np.empty(m)
    back[order] = np.minimum(stepped, 1.0)
    out[known] = back
    return out
