"""Everything that a cohort file asks for, computed once: the tables that pages, figures and files show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sarcoscope.cohort import builder, compare, cutpoint, distribution, outcome, prevalence
from sarcoscope.cohort.assemble import Cohort, assemble
from sarcoscope.cohort.builder import Built
from sarcoscope.cohort.definition import Definition
from sarcoscope.cohort.outcome import OutcomeResult
from sarcoscope.cohort.sheets import Sheet
from sarcoscope.cohort.studies import Note
from sarcoscope.cohort.table_one import table_one
from sarcoscope.diagnosis import ReferenceSet, find_sets
from sarcoscope.diagnosis.own import own_sets
from sarcoscope.progress import Progress

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """A cohort with its results."""

    cohort: Cohort
    sets: tuple[ReferenceSet, ...]
    table_one: Rows
    distributions: Rows
    prevalences: Rows
    standardised: Rows
    trends: Rows
    tests: Rows
    models: Rows
    not_comparable: Rows
    built: Built | None
    outcome: OutcomeResult | None
    notes: tuple[Note, ...]

    @property
    def reference_titles(self) -> dict[str, str]:
        """Reference -> title."""
        return {s.name: s.title.replace(" ({stratum})", "") for s in self.sets}

    def sheets(self) -> list[Sheet]:
        """All tables as files; those that are empty are left out."""
        flow = self.cohort.flow
        steps: Rows = [
            {"step": 0, "reason_en": "", "persons_left": flow.persons, "studies_left": flow.studies}
        ]
        for k, s in enumerate(flow.steps, 1):
            step: dict[str, Any] = {"step": k, "reason_en": s.title.en, "reason_ko": s.title.ko}
            step |= {"persons_out": s.persons_out, "studies_out": s.studies_out}
            steps.append({**step, "persons_left": s.persons_left, "studies_left": s.studies_left})
        mixes = [
            {"column": column, "value": value, "n": n}
            for column, mix in self.cohort.mixes.items()
            for value, n in mix.items()
        ]
        groups = ("all", *self.cohort.members)
        found = [
            Sheet("flow", ("step", "reason_en", "reason_ko", "persons_out", "studies_out", "persons_left",
                           "studies_left"), steps),
            Sheet("mix", ("column", "value", "n"), mixes),
            Sheet("overlap", ("group", "with", "n"), overlaps(self.cohort)),
            Sheet("table_one", ("characteristic", *groups), self.table_one),
            Sheet("distribution", distribution.COLUMNS, self.distributions),
            Sheet("prevalence", prevalence.COLUMNS, self.prevalences),
            Sheet("not_comparable", ("reference", "index", "reason", "n"), self.not_comparable),
            Sheet("standardised", prevalence.STANDARD_COLUMNS, self.standardised),
            Sheet("trend", prevalence.TREND_COLUMNS, self.trends),
            Sheet("group_tests", compare.TEST_COLUMNS, self.tests),
            Sheet("group_models", compare.MODEL_COLUMNS, self.models),
        ]  # fmt: skip
        if self.built is not None:
            found += [
                Sheet("reference_cutoffs", builder.CUTOFF_COLUMNS, self.built.cutoffs),
                Sheet("reference_centiles", builder.CENTILE_COLUMNS, self.built.centiles),
                Sheet("reference_sensitivity", builder.SENSITIVITY_COLUMNS, self.built.sensitivity),
            ]
        if self.outcome is not None:
            found += [
                Sheet("outcome_at", outcome.AT_COLUMNS, self.outcome.at),
                Sheet("outcome_models", outcome.MODEL_COLUMNS, self.outcome.models),
                Sheet("outcome_tests", outcome.TEST_COLUMNS, self.outcome.tests),
                Sheet("outcome_curves", outcome.CURVE_COLUMNS, self.outcome.curves()),
                Sheet("outcome_cut_points", cutpoint.COLUMNS, self.outcome.cut_points),
            ]
        return [s for s in found if s.rows]


def overlaps(cohort: Cohort) -> Rows:
    """How many people are in both of two groups (of one with itself: in the group)."""
    return [
        {"group": a, "with": b, "n": int((cohort.members[a] & cohort.members[b]).sum())}
        for a in cohort.members
        for b in cohort.members
    ]


def do_study(definition: Definition, base: Path, progress: Progress | None = None) -> Study:
    """Assemble a cohort and compute all of its tables.

    Raises:
        InputError: tables that cannot be used.
        SettingError: a rule, column or reference that is not known.
    """
    report = progress or (lambda stage, fraction: None)
    known = find_sets(definition.analysis.references, own_sets())
    report("cohort", 0.0)
    cohort = assemble(definition, base)
    report("cohort", 0.4)
    part = definition.reference
    built = builder.build(cohort, part) if part is not None else None
    own = (built.reference,) if built else ()
    sets = (*(s for s in known if not built or s.name != built.reference.name), *own)
    answers = prevalence.classify_all(cohort, sets)
    report("cohort", 0.6)
    weights = prevalence.standard_weights(cohort, base)
    result = outcome.follow(cohort, definition.outcome, sets) if definition.outcome else None
    report("cohort", 0.9)
    reasons: Rows = [
        {"reference": a.reference, "index": a.index, "reason": reason, "n": n}
        for a in answers
        for reason, n in a.reasons.items()
    ]
    models = compare.group_models(cohort, answers)
    study = Study(
        cohort,
        sets,
        table_one(cohort),
        distribution.distributions(cohort),
        prevalence.prevalences(cohort, answers),
        prevalence.standardised(cohort, answers, weights),
        prevalence.trends(cohort, answers),
        compare.group_tests(cohort, answers),
        models,
        reasons,
        built,
        result,
        (*cohort.notes, *_notes(models, sets)),
    )
    report("cohort", 1.0)
    return study


def _notes(models: Rows, sets: tuple[ReferenceSet, ...]) -> list[Note]:
    notes: list[Note] = []
    if any(m["warning"] for m in models):
        notes.append(Note("cohort_note_index_contains_body", {}))
    bad: Mapping[str, None] = dict.fromkeys(m["problem"] for m in models if m["problem"])
    for problem in bad:
        notes.append(Note(f"cohort_note_{problem}", {}))
    unverified = [s.name for s in sets if not s.verified]
    if unverified:
        notes.append(Note("cohort_note_references_unverified", {"names": ", ".join(unverified)}))
    return notes
