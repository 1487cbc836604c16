"""From measurements and body values to indices and answers of the reference sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.diagnosis import Case, Diagnosis, ReferenceSet, default_sets, diagnose, find_sets
from sarcoscope.levels import LevelMap
from sarcoscope.levels.find import SURE
from sarcoscope.measures.body import BodyInfo
from sarcoscope.measures.indices import muscle_indices
from sarcoscope.measures.measurement import Flag, IndexValue, Measurement

FLUID_FLAGS: Final = ("ascites_suspected", "oedema_suspected", "fluid_entered")


@dataclass(frozen=True)
class Evidence:
    """Everything that the answers rest on."""

    measurements: tuple[Measurement, ...]
    levels: LevelMap
    person: BodyInfo
    phase: str
    kvp: float | None
    flags: tuple[Flag, ...]


def judge(
    evidence: Evidence, references: tuple[str, ...], own: tuple[ReferenceSet, ...]
) -> tuple[tuple[IndexValue, ...], tuple[Diagnosis, ...], dict[str, ReferenceSet]]:
    """Indices, answers, and the sets that were asked by name.

    Args:
        evidence: measurements with what is known beside them.
        references: names of the sets to ask; empty: the defaults of every measured level.
        own: the centre's own sets.

    Raises:
        SettingError: a set that is not known.
    """
    person = evidence.person
    indices = tuple(i for m in evidence.measurements for i in muscle_indices(m, person))
    wet = any(f.code in FLUID_FLAGS for f in evidence.flags)
    wet = wet and not (person.weight_kg and person.weight_kg.dry)
    answers: list[Diagnosis] = []
    asked: dict[str, ReferenceSet] = {}
    muscle = default_bands()["muscle"]
    for measurement in evidence.measurements:
        chosen = find_sets(references, own) or default_sets(measurement.level)
        case = Case(
            sex=person.sex.value if person.sex else None,
            age_years=person.age_years.value if person.age_years else None,
            bmi=person.bmi,
            level=measurement.level,
            protocol=measurement.protocol,
            phase=evidence.phase,
            indices=indices,
            kvp=evidence.kvp,
            hu_band=(muscle.low, muscle.high),
            fluid=wet,
            doubts=_doubts(measurement, evidence),
        )
        answers += diagnose(case, chosen)
        asked |= {s.name: s for s in chosen}
    return indices, tuple(answers), asked


def _doubts(measurement: Measurement, evidence: Evidence) -> tuple[str, ...]:
    """What makes a measurement doubtful, as cautions of its answers."""
    codes = {f.code for f in evidence.flags if f.values.get("level", measurement.level) == measurement.level}
    span = evidence.levels.find(measurement.level)
    doubtful = span is not None and span.confidence < SURE
    pairs = (
        ("level_doubtful", doubtful or "numbering_uncertain" in codes),
        ("level_incomplete", "level_cut_off" in codes),
        ("tissue_cut_off", "tissue_cut_off" in codes),
        ("mask_doubtful", "muscle_border_doubtful" in codes),
    )
    return tuple(code for code, holds in pairs if holds)
