"""Restricted cubic splines (natural splines in Harrell's form)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_KNOTS: Final = {3: (0.10, 0.50, 0.90), 4: (0.05, 0.35, 0.65, 0.95), 5: (0.05, 0.275, 0.50, 0.725, 0.95)}
"""Harrell's places of the knots, as quantiles (Regression Modeling Strategies, table 2.3)."""


def knots_of(values: Floats, count: int = 4) -> Floats:
    """Knots at Harrell's quantiles; fewer when quantiles coincide."""
    return np.unique(np.quantile(values, _KNOTS[count]))


def spline_basis(values: Floats, knots: Floats) -> Floats:
    """Columns [person, knots - 1]: the value itself and the cubic terms, linear beyond the outer knots.

    The cubic terms are divided by the square of the knots' span, as Harrell's ``rcs`` does.
    """
    x = np.asarray(values, np.float64)
    if len(knots) < 3:
        return x[:, None]
    last, second = knots[-1], knots[-2]

    def cubed(at: float) -> Floats:
        return np.maximum(x - at, 0.0) ** 3

    scale = (last - knots[0]) ** 2
    terms = [
        (
            cubed(k)
            - cubed(second) * (last - k) / (last - second)
            + cubed(last) * (second - k) / (last - second)
        )
        / scale
        for k in knots[:-2]
    ]
    return np.column_stack([x, *terms])
