"""Time to an event: Kaplan-Meier, log-rank, Aalen-Johansen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sarcoscope.cohort.stats.proportions import Test

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """A curve over the distinct times at which something happened, with a 95 % interval."""

    times: Floats
    at_risk: Floats
    events: Floats
    value: Floats
    """Survival, or cumulative incidence."""
    variance: Floats
    low: Floats
    high: Floats
    start: float
    """Before the first event: 1 for survival, 0 for an incidence."""

    def at(self, time: float) -> tuple[float, float, float]:
        """(value, low, high) at a time; before the first event the curve's start."""
        k = int(np.searchsorted(self.times, time, side="right")) - 1
        if k < 0:
            return self.start, self.start, self.start
        return float(self.value[k]), float(self.low[k]), float(self.high[k])

    @property
    def median(self) -> tuple[float, float, float]:
        """First time at which survival (and each bound of its interval) is 0.5 or less; NaN: not reached."""

        def first(values: Floats) -> float:
            below = np.flatnonzero(values <= 0.5)
            return float(self.times[below[0]]) if len(below) else float("nan")

        return first(self.value), first(self.low), first(self.high)


def risk_table(time: Floats, event: Flags) -> tuple[Floats, Floats, Floats]:
    """(distinct times of events, people at risk just before, events)."""
    ordered = np.sort(time)
    times, counts = np.unique(time[event], return_counts=True)
    at_risk = len(time) - np.searchsorted(ordered, times, side="left")
    return times, at_risk.astype(np.float64), counts.astype(np.float64)


def kaplan_meier(time: Floats, event: Flags, level: float = 0.95) -> Curve:
    """Survival with Greenwood's variance and the log(-log) interval (Kalbfleisch and Prentice)."""
    times, n, d = risk_table(time, event)
    survival = np.asarray(np.cumprod(1 - d / n), np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        hazard = np.cumsum(d / (n * (n - d)))
        variance = survival**2 * hazard
        z = float(stats.norm.ppf(0.5 + level / 2))
        log = np.log(survival)
        spread = z * np.sqrt(hazard) / np.abs(log)
        low = np.exp(log * np.exp(spread))
        high = np.exp(log * np.exp(-spread))
    gone = survival <= 0
    low[gone], high[gone], variance[gone] = 0.0, np.nan, np.nan
    return Curve(times, n, d, survival, variance, low, high, 1.0)


def log_rank(time: Floats, event: Flags, group: NDArray[np.int64]) -> Test:
    """Equality of survival between groups (numbered from 0), chi-square of groups - 1 degrees."""
    times, n, d = risk_table(time, event)
    names = np.unique(group)
    if len(names) < 2 or not len(times):
        return Test("log-rank", float("nan"), float("nan"), float("nan"))
    at_risk, seen = [], []
    for name in names:
        own = group == name
        at_risk.append(own.sum() - np.searchsorted(np.sort(time[own]), times, side="left"))
        dead = np.sort(time[own & event])
        seen.append(np.searchsorted(dead, times, "right") - np.searchsorted(dead, times, "left"))
    r, o = np.array(at_risk, np.float64), np.array(seen, np.float64)
    difference = (o - d * r / n).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(n > 1, d * (n - d) / (n - 1), 0.0)
    share = r / n
    covariance = np.diag((scale * share).sum(axis=1)) - (scale * share) @ share.T
    keep = slice(0, len(names) - 1)
    chi = float(difference[keep] @ np.linalg.pinv(covariance[keep, keep]) @ difference[keep])
    dof = len(names) - 1
    return Test("log-rank", chi, float(dof), float(stats.chi2.sf(chi, dof)))


def cumulative_incidence(time: Floats, cause: NDArray[np.int64], of: int = 1, level: float = 0.95) -> Curve:
    """Aalen-Johansen cumulative incidence of one cause where others compete.

    Args:
        time: to the first event or the end of follow-up.
        cause: 0 = still free of every event, 1, 2 ... = what happened.
        of: the cause that is asked for.
        level: of the log(-log) interval.

    The variance is that of Marubini and Valsecchi (1995).
    """
    times, n, d = risk_table(time, cause > 0)
    own = np.sort(time[cause == of])
    k = (np.searchsorted(own, times, "right") - np.searchsorted(own, times, "left")).astype(np.float64)
    before = np.concatenate([[1.0], np.cumprod(1 - d / n)[:-1]])
    value = np.cumsum(before * k / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(n > d, d / (n * (n - d)), 0.0)
        b = before**2 * k * (n - k) / n**3
        c = before * k / n**2
    first = value**2 * np.cumsum(a) - 2 * value * np.cumsum(a * value) + np.cumsum(a * value**2)
    variance = first + np.cumsum(b) - 2 * (value * np.cumsum(c) - np.cumsum(c * value))
    variance = np.maximum(variance, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = float(stats.norm.ppf(0.5 + level / 2))
        log = np.log(value)
        spread = z * np.sqrt(variance) / np.abs(value * log)
        low, high = value ** np.exp(spread), value ** np.exp(-spread)
    none = (value <= 0) | (value >= 1 - 1e-12)
    low[none], high[none] = value[none], value[none]
    return Curve(times, n, k, value, variance, low, high, 0.0)
