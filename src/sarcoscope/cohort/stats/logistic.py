"""Logistic regression by Newton's method, with Wald intervals and a look at what makes it worthless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
_STEPS: Final = 60
_TOLERANCE: Final = 1e-10
_FLAT: Final = 1e-8
"""A column whose coefficient runs this near to certainty separates the answers."""
EVENTS_A_TERM: Final = 10
"""Fewer events than this for every coefficient make the estimates unsafe (Peduzzi 1996)."""


@dataclass(frozen=True)
class Fit:
    """Coefficients of a regression (log odds or log hazard) with 95 % Wald intervals."""

    names: tuple[str, ...]
    coefficients: Floats
    errors: Floats
    covariance: Floats
    log_likelihood: float
    log_likelihood_null: float
    n: int
    events: int
    problem: str = ""
    """``""``, ``no_events``, ``collinear``, ``separated`` or ``not_converged``: then read no number."""

    @property
    def few_events(self) -> bool:
        """Fewer than ten events a coefficient (of the rarer answer in a logistic regression)."""
        terms = len([n for n in self.names if n != INTERCEPT])
        return self.events < EVENTS_A_TERM * max(terms, 1)

    @property
    def ratios(self) -> Floats:
        """Odds or hazard ratios."""
        return np.exp(self.coefficients)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Wald interval of the ratios."""
        z = float(stats.norm.ppf(0.5 + level / 2))
        with np.errstate(over="ignore"):
            low = np.exp(self.coefficients - z * self.errors)
            return low, np.exp(self.coefficients + z * self.errors)

    @property
    def p(self) -> Floats:
        """Two-sided Wald p-values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 2 * stats.norm.sf(np.abs(self.coefficients / self.errors))


INTERCEPT: Final = "intercept"


def unusable(names: Sequence[str], n: int, events: int, problem: str) -> Fit:
    """A fit that could not be made, with its reason."""
    nan = np.full(len(names), np.nan)
    return Fit(
        tuple(names), nan, nan, np.full((len(names), len(names)), np.nan), np.nan, np.nan, n, events, problem
    )


def without_constant(columns: Floats, names: Sequence[str]) -> tuple[Floats, list[str], list[str]]:
    """(columns that vary, their names, names of those that are the same for everybody)."""
    varies = np.ptp(columns, axis=0) > 0 if len(columns) else np.zeros(len(names), np.bool_)
    kept = [n for n, v in zip(names, varies, strict=True) if v]
    return columns[:, varies], kept, [n for n in names if n not in kept]


def logistic(columns: Floats, answer: NDArray[np.bool_], names: Sequence[str]) -> Fit:
    """Fit P(answer) = 1 / (1 + exp(-(b0 + x b))).

    Args:
        columns: [person, term], without the intercept and without missing values.
        answer: of every person.
        names: of the terms.
    """
    x = np.column_stack([np.ones(len(answer)), columns])
    y = np.asarray(answer, np.float64)
    terms, rare = (INTERCEPT, *names), int(min(y.sum(), len(y) - y.sum()))
    if rare == 0:
        return unusable(terms, len(y), rare, "no_events")
    scale = np.maximum(np.abs(x).max(axis=0), 1e-300)
    if np.linalg.matrix_rank(x / scale) < x.shape[1]:
        return unusable(terms, len(y), rare, "collinear")
    b, before = np.zeros(x.shape[1]), -np.inf
    problem = "not_converged"
    for _ in range(_STEPS):
        eta = x @ b
        p = 1 / (1 + np.exp(-np.clip(eta, -500, 500)))
        weight = p * (1 - p)
        likelihood = float((y * eta - np.logaddexp(0, eta)).sum())
        information = x.T @ (x * weight[:, None])
        if weight.max() < _FLAT or np.linalg.cond(information / np.outer(scale, scale)) > 1e14:
            return unusable(terms, len(y), rare, "separated")
        step = np.linalg.solve(information, x.T @ (y - p))
        if (
            abs(likelihood - before) < _TOLERANCE * (abs(likelihood) + 1)
            and np.abs(step * scale).max() < 1e-7
        ):
            problem = ""
            break
        b, before = b + step, likelihood
    if np.abs(b[1:] * x[:, 1:].std(axis=0)).max(initial=0.0) > 15:
        return unusable(terms, len(y), rare, "separated")
    covariance = np.linalg.inv(information)
    share = y.mean()
    null = float(len(y) * (share * np.log(share) + (1 - share) * np.log(1 - share)))
    errors = np.sqrt(np.diag(covariance))
    return Fit(terms, b, errors, covariance, likelihood, null, len(y), rare, problem)
