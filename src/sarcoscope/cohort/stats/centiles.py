"""Smooth centiles over age by the LMS method (Cole and Green 1992), fitted by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from sarcoscope.cohort.stats.splines import knots_of, spline_basis

Floats = NDArray[np.float64]
CENTILES: Final = (0.03, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.97)
_NEAR_LOG: Final = 1e-6


@dataclass(frozen=True)
class Lms:
    """Box-Cox power L (constant), median M and coefficient of variation S (splines of age)."""

    power: float
    median: Floats
    """Coefficients of log M on the basis of age."""
    variation: Floats
    """Coefficients of log S on (1, age)."""
    knots: Floats
    centre: float
    ages: tuple[float, float]
    """Youngest and oldest who were seen: outside there is no centile."""
    n: int
    converged: bool

    def parameters(self, age: Floats) -> tuple[float, Floats, Floats]:
        """(L, M, S) at ages; NaN outside the ages seen."""
        age = np.asarray(age, np.float64)
        inside = (age >= self.ages[0]) & (age <= self.ages[1])
        m = np.exp(_design(age, self.knots, self.centre) @ self.median)
        s = np.exp(np.column_stack([np.ones(len(age)), (age - self.centre) / 10]) @ self.variation)
        return self.power, np.where(inside, m, np.nan), np.where(inside, s, np.nan)

    def z(self, age: Floats, value: Floats) -> Floats:
        """z-scores of values at ages."""
        power, m, s = self.parameters(age)
        return _z(np.asarray(value, np.float64), power, m, s)

    def value(self, age: Floats, share: float) -> Floats:
        """The value below which a share of people of an age lies."""
        power, m, s = self.parameters(age)
        z = float(stats.norm.ppf(share))
        if abs(power) < _NEAR_LOG:
            return m * np.exp(s * z)
        with np.errstate(invalid="ignore"):
            return m * (1 + power * s * z) ** (1 / power)


def _design(age: Floats, knots: Floats, centre: float) -> Floats:
    return np.column_stack([np.ones(len(age)), spline_basis((age - centre) / 10, (knots - centre) / 10)])


def _z(value: Floats, power: float, m: Floats, s: Floats) -> Floats:
    ratio = value / m
    if abs(power) < _NEAR_LOG:
        return np.log(ratio) / s
    return (ratio**power - 1) / (power * s)


def fit_lms(age: Floats, value: Floats, *, knots: int = 3) -> Lms:
    """Fit L, M and S to positive values of people of known age.

    Args:
        age: years.
        value: of the index, more than 0.
        knots: of the spline of the median (3 to 5).
    """
    centre = float(np.mean(age))
    places = knots_of(age, knots)
    x = _design(age, places, centre)
    tens = np.column_stack([np.ones(len(age)), (age - centre) / 10])
    log = np.log(value)
    start_m, *_ = np.linalg.lstsq(x, log, rcond=None)
    spread = float(np.std(log - x @ start_m))
    start = np.concatenate([[1.0], start_m, [np.log(spread), 0.0]])
    terms = x.shape[1]

    def cost(parameters: Floats) -> tuple[float, Floats]:
        power, m = parameters[0], np.exp(x @ parameters[1 : terms + 1])
        s = np.exp(tens @ parameters[terms + 1 :])
        u = log - np.log(m)
        a = np.exp(power * u)
        if abs(power) < _NEAR_LOG:
            z, dz_power = u / s, u**2 / (2 * s)
        else:
            z = (a - 1) / (power * s)
            dz_power = (a * u - (a - 1) / power) / (power * s)
        loss = 0.5 * z**2 + np.log(s) - power * u
        by_power = z * dz_power - u
        by_m = -z * a / s + power
        by_s = 1 - z**2
        gradient = np.concatenate([[by_power.mean()], x.T @ by_m / len(u), tens.T @ by_s / len(u)])
        return float(loss.mean()), gradient

    found = optimize.minimize(cost, start, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 500})
    b = found.x
    return Lms(
        float(b[0]),
        b[1 : terms + 1],
        b[terms + 1 :],
        places,
        centre,
        (float(age.min()), float(age.max())),
        len(age),
        bool(np.abs(found.jac).max() < 1e-4),
    )
