"""Muscle indices of a measurement."""

from __future__ import annotations

from typing import Final

from sarcoscope.measures.body import BodyInfo
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.measurement import IndexValue, Measurement

INDEX_UNITS: Final[dict[str, str]] = {
    "SMA": "cm2",
    "SMA_Ht2": "cm2/m2",
    "SMA_Wt": "cm2/kg",
    "SMA_BMI": "cm2/(kg/m2)",
    "SMD": "HU",
}
"""Index names and their units."""
WEIGHT_INDICES: Final = ("SMA_Wt", "SMA_BMI")
"""Indices that ascites and oedema spoil."""


def muscle_indices(measurement: Measurement, body: BodyInfo) -> tuple[IndexValue, ...]:
    """The indices that can be had with the body information there is; errors are those of the area."""
    muscle = measurement.tissues["muscle"]
    divisors: dict[str, float | None] = {
        "SMA": 1.0,
        "SMA_Ht2": (body.height_cm.value / 100.0) ** 2 if body.height_cm else None,
        "SMA_Wt": body.weight_kg.value if body.weight_kg else None,
        "SMA_BMI": body.bmi,
    }

    def value(name: str, number: float, error: float | None) -> IndexValue:
        return IndexValue(name, measurement.level, measurement.protocol, number, INDEX_UNITS[name], error)

    found = [
        value(name, muscle.area_cm2 / by, (muscle.area_error_cm2 or 0.0) / by)
        for name, by in divisors.items()
        if by is not None
    ]
    if muscle.mean_hu is not None:
        found.append(value("SMD", muscle.mean_hu, measurement_error(measurement.level, "muscle").mean_hu))
    return tuple(found)
