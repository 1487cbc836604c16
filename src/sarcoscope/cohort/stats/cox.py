"""Cox regression with Efron's ties, and the check of proportional hazards by scaled Schoenfeld residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sarcoscope.cohort.stats.logistic import Fit, unusable
from sarcoscope.cohort.stats.proportions import Test
from sarcoscope.cohort.stats.survival import kaplan_meier

Floats = NDArray[np.float64]
_STEPS: Final = 40
_FAR: Final = 15.0


class _Data:
    """Persons in order of time, with the sums that every step needs."""

    def __init__(self, columns: Floats, time: Floats, event: NDArray[np.bool_]) -> None:
        order = np.argsort(time, kind="stable")
        self.time, self.event = time[order], event[order]
        self.mean = columns.mean(axis=0)
        self.x = columns[order] - self.mean
        self.times, self.first_event, self.deaths = np.unique(
            self.time[self.event], return_index=True, return_counts=True
        )
        self.first = np.searchsorted(self.time, self.times, side="left")
        self.seen = np.searchsorted(self.times, self.time, side="right")
        """How many times of events lie at or before each person's time."""
        self.step = np.repeat(np.arange(len(self.times)), self.deaths)
        self.part = (np.arange(len(self.step)) - self.first_event[self.step]) / self.deaths[self.step]

    def evaluate(self, b: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Log partial likelihood, gradient, information, and the mean of the risk set at every death."""
        eta = self.x @ b
        theta = np.exp(np.clip(eta, -500, 500))
        dead = self.x[self.event]
        dead_theta = theta[self.event]
        s0 = np.cumsum(theta[::-1])[::-1][self.first]
        s1 = np.cumsum((self.x * theta[:, None])[::-1], axis=0)[::-1][self.first]
        d0 = np.add.reduceat(dead_theta, self.first_event)
        d1 = np.add.reduceat(dead * dead_theta[:, None], self.first_event, axis=0)
        phi = s0[self.step] - self.part * d0[self.step]
        mean = (s1[self.step] - self.part[:, None] * d1[self.step]) / phi[:, None]
        likelihood = float(eta[self.event].sum() - np.log(phi).sum())
        whole = np.concatenate([[0.0], np.cumsum(np.add.reduceat(1 / phi, self.first_event))])
        tied = np.add.reduceat(self.part / phi, self.first_event)
        weight = theta * whole[self.seen]
        weight[self.event] -= dead_theta * tied[self.step]
        gradient = dead.sum(axis=0) - mean.sum(axis=0)
        information = self.x.T @ (self.x * weight[:, None]) - mean.T @ mean
        return likelihood, gradient, information, mean


def cox(columns: Floats, time: Floats, event: NDArray[np.bool_], names: Sequence[str]) -> Fit:
    """Fit the hazard h0(t) exp(x b).

    Args:
        columns: [person, term], no missing values.
        time: of follow-up, more than 0.
        event: did it happen?
        names: of the terms.
    """
    if not event.any():
        return unusable(names, len(time), 0, "no_events")
    return _fitted(_Data(columns, time, event), names)


def _fitted(data: _Data, names: Sequence[str]) -> Fit:
    n, events = len(data.time), int(data.event.sum())
    if events == 0:
        return unusable(names, n, events, "no_events")
    scale = np.maximum(data.x.std(axis=0), 1e-300)
    if np.linalg.matrix_rank(data.x / scale) < data.x.shape[1]:
        return unusable(names, n, events, "collinear")
    b = np.zeros(data.x.shape[1], np.float64)
    likelihood, gradient, information, _ = data.evaluate(b)
    null, problem = likelihood, "not_converged"
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError:
            return unusable(names, n, events, "separated")
        new = data.evaluate(b + step)
        while not new[0] >= likelihood - 1e-9 and np.abs(step).max() > 1e-12:
            step = step / 2
            new = data.evaluate(b + step)
        done = np.abs(step * scale).max() < 1e-9 or abs(new[0] - likelihood) < 1e-13 * (1 + abs(likelihood))
        b, (likelihood, gradient, information, _) = b + step, new
        if done:
            problem = ""
            break
    if np.abs(b * scale).max() > _FAR:
        return unusable(names, n, events, "separated")
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    errors = np.sqrt(np.diag(covariance))
    return Fit(tuple(names), b, errors, covariance, likelihood, null, n, events, problem)


@dataclass(frozen=True)
class Proportionality:
    """Do the hazard ratios stay the same over time?"""

    terms: tuple[tuple[str, Test], ...]
    """A test of every coefficient against the transformed time."""
    residual_times: Floats
    residuals: Floats
    """Scaled Schoenfeld residuals [event, term] plus the coefficients."""


def check_proportional(
    columns: Floats, time: Floats, event: NDArray[np.bool_], fit: Fit, transform: str = "km"
) -> Proportionality:
    """Grambsch and Therneau's test of each term (1994).

    Args:
        columns: as the fit had them.
        time: of follow-up.
        event: did it happen?
        fit: of the same persons.
        transform: of time: ``km`` (1 - survival), ``rank`` or ``identity``.
    """
    data = _Data(columns, time, event)
    _, _, _, mean = data.evaluate(fit.coefficients)
    averaged = np.add.reduceat(mean, data.first_event, axis=0) / data.deaths[:, None]
    raw = data.x[data.event] - averaged[data.step]
    scaled = raw @ fit.covariance * len(raw)
    when = data.time[data.event]
    g = _transformed(when, data, transform)
    g = g - g.mean()
    terms = []
    if not g @ g > 0:  # all events at one time: nothing can be told from it
        nothing = Test("Schoenfeld", float("nan"), 1.0, float("nan"))
        return Proportionality(tuple((name, nothing) for name in fit.names), when, scaled + fit.coefficients)
    for k, name in enumerate(fit.names):
        chi = float((g @ scaled[:, k]) ** 2 / (len(raw) * fit.covariance[k, k] * (g @ g)))
        terms.append((name, Test("Schoenfeld", chi, 1.0, float(stats.chi2.sf(chi, 1)))))
    return Proportionality(tuple(terms), when, scaled + fit.coefficients)


def _transformed(when: Floats, data: _Data, transform: str) -> Floats:
    if transform == "identity":
        return when.astype(np.float64)
    if transform == "rank":
        return np.arange(1, len(when) + 1, dtype=np.float64)
    curve = kaplan_meier(data.time, data.event)
    before = np.concatenate([[1.0], curve.value[:-1]])
    return 1 - before[np.searchsorted(curve.times, when)]
