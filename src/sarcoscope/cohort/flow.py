"""The flow chart of a cohort (STROBE): persons and studies at every step, nobody lost and nobody twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sarcoscope.cohort.definition import Title
from sarcoscope.cohort.frame import Flags, Texts


@dataclass(frozen=True)
class Step:
    """What one rule took away."""

    title: Title
    persons_out: int
    """Persons of whom no study is left."""
    studies_out: int
    persons_left: int
    studies_left: int


@dataclass
class Flow:
    """Steps in their order."""

    persons: int
    studies: int
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def start(cls, person: Texts) -> Flow:
        """The studies that there are, by whose they are."""
        return cls(len(set(person)), len(person))

    def step(self, title: Title, person: Texts, kept: Flags) -> None:
        """Record that of the studies of ``person`` those of the mask stay."""
        before, after = len(set(person)), len(set(person[kept]))
        self.steps.append(Step(title, before - after, int((~kept).sum()), after, int(np.count_nonzero(kept))))
