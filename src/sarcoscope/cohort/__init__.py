"""Many studies: clinical tables, cohort definitions, prevalence, references of a centre, outcome."""

from sarcoscope.cohort.assemble import Cohort, assemble
from sarcoscope.cohort.clinical import Clinical, import_clinical
from sarcoscope.cohort.definition import Definition, read_definition
from sarcoscope.cohort.study import Study, do_study

__all__ = [
    "Clinical",
    "Cohort",
    "Definition",
    "Study",
    "assemble",
    "do_study",
    "import_clinical",
    "read_definition",
]
