"""What diagnosis is asked and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sarcoscope.measures.measurement import IndexValue


@dataclass(frozen=True)
class Case:
    """Everything that a comparison may depend on."""

    sex: str | None
    """``M``, ``F`` or None."""
    age_years: float | None
    bmi: float | None
    level: str
    protocol: str
    phase: str
    """``portal``, ``arterial``, ``delayed``, ``unenhanced`` or ``unknown``."""
    indices: tuple[IndexValue, ...]
    kvp: float | None = None
    hu_band: tuple[int, int] = (-29, 150)
    """The muscle band that was used, whole HU, inclusive."""
    muscle_set: str = "all"
    """Which muscles the area counts: ``all`` = every skeletal muscle of the slice."""
    fluid: bool = False
    """Ascites or oedema was seen or entered, and the weight is not a dry weight."""
    doubts: tuple[str, ...] = ()
    """What makes the value itself doubtful (``level_doubtful``, ``level_incomplete``, ``tissue_cut_off``,
    ``mask_doubtful``): cautions beside every answer."""

    def __post_init__(self) -> None:
        """Values that are no numbers, and a sex other than M or F, count as not known."""
        object.__setattr__(self, "sex", self.sex if self.sex in ("M", "F") else None)
        for name, highest in (("age_years", 130.0), ("bmi", 200.0), ("kvp", 1000.0)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= highest:
                object.__setattr__(self, name, None)
        sound = tuple(i for i in self.indices if math.isfinite(i.value) and (i.value >= 0 or i.name == "SMD"))
        object.__setattr__(self, "indices", sound)


@dataclass(frozen=True)
class Caution:
    """A reason to read the answer with care."""

    code: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """The answer of one reference set for one index."""

    reference: str
    """Name of the set."""
    kind: str
    """``cutoff``, ``population`` (young: T-score) or ``population_not_young`` (z-score)."""
    index: str
    level: str
    value: float | None
    limit: float | None
    operator: str | None
    class_: str | None
    """``class_2``, ``class_1``, ``not_low``, ``not_class_2``, ``low``, ``indeterminate``, ``not_comparable``;
    None for a population that is not young (the z-score stands alone)."""
    statement: Mapping[str, str]
    """The sentence by language (``en``, ``ko``)."""
    source: str
    certainty: str
    t_score: float | None = None
    z_score: float | None = None
    reason: Caution | None = None
    """Why the answer is ``not_comparable``."""
    cautions: tuple[Caution, ...] = ()
    mean: float | None = None
    """Mean and SD of the population that was compared with, where there is one."""
    sd: float | None = None
