"""Body information: sex, age, height and weight, each with its origin and date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value that is known, and how."""

    value: T
    origin: str
    """``given``, ``dicom`` or ``imported``."""
    date: str | None = None
    """ISO date (YYYY-MM-DD) of the value, if known."""
    dry: bool = False
    """For a weight: free of ascites and oedema (dry weight)."""


@dataclass(frozen=True)
class BodyInfo:
    """What is known of the person; ``None`` where nothing is."""

    sex: Known[str] | None = None
    age_years: Known[float] | None = None
    height_cm: Known[float] | None = None
    weight_kg: Known[float] | None = None

    @property
    def bmi(self) -> float | None:
        """Body-mass index in kg/m2, or None without height and weight."""
        if self.height_cm is None or self.weight_kg is None:
            return None
        return self.weight_kg.value / (self.height_cm.value / 100.0) ** 2
