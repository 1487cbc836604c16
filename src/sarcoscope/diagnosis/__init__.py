"""Reference sets, their fit, classes and statements."""

from sarcoscope.diagnosis.diagnose import cautions_said, diagnose, reason_text
from sarcoscope.diagnosis.reference_set import (
    ReferenceSet,
    best_level,
    default_sets,
    find_sets,
    shipped_sets,
)
from sarcoscope.diagnosis.statement import Case, Caution, Diagnosis

__all__ = [
    "Case",
    "Caution",
    "Diagnosis",
    "ReferenceSet",
    "best_level",
    "cautions_said",
    "default_sets",
    "diagnose",
    "find_sets",
    "reason_text",
    "shipped_sets",
]
