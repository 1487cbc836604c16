"""Fixed data on which this project's statistics and other programs' are compared."""

from __future__ import annotations

import numpy as np


def people(n: int = 300, seed: int = 7) -> dict[str, np.ndarray]:
    """Covariates, an answer, and tied times with two causes."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(30, 80, n)
    sex = rng.integers(0, 2, n).astype(float)
    bmi = rng.normal(24, 3.5, n)
    logit = -4 + 0.05 * age - 0.4 * sex + 0.05 * (bmi - 24)
    answer = rng.uniform(size=n) < 1 / (1 + np.exp(-logit))
    hazard = 0.05 * np.exp(0.04 * (age - 55) + 0.5 * sex)
    time = np.ceil(np.minimum(rng.exponential(1 / hazard), rng.uniform(2, 20, n)) * 2) / 2
    happened = rng.uniform(size=n) < 0.65
    cause = np.where(happened, np.where(rng.uniform(size=n) < 0.7, 1, 2), 0)
    return {
        "age": age,
        "sex": sex,
        "bmi": bmi,
        "answer": answer,
        "time": time,
        "cause": cause,
        "group": rng.integers(0, 3, n),
        "value": np.exp(rng.normal(np.log(50 - 0.2 * (age - 55)), 0.15, n)),
    }
