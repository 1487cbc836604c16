"""The sections of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sarcoscope.cohort.page import Part
from sarcoscope.cohort.page_tables import (
    characteristics,
    distribution_tables,
    flow_table,
    mix_table,
    overlap_table,
    plain_table,
    prevalence_tables,
)
from sarcoscope.cohort.study import Study
from sarcoscope.cohort.words import Words
from sarcoscope.language.catalogue import say

_MODELS: Final = (
    "reference",
    "index",
    "model",
    "term",
    "n",
    "events",
    "odds_ratio",
    "p",
    "p_corrected",
    "problem",
)
_OUTCOME: Final = (
    "model",
    "landmark",
    "term",
    "n",
    "events",
    "hazard_ratio",
    "p",
    "proportional_p",
    "problem",
)


def parts_of(study: Study, words: Words, drawn: Sequence[str]) -> list[Part]:
    """Sections in the order of a paper."""
    makers = (_people, _distribution, _prevalence, _comparison, _reference, _outcome)
    parts = [part for make in makers if (part := make(study, words)) is not None]
    for part in parts:
        part.pictures = [(f"figures/{n}.svg", c) for n, c in part.pictures if n in drawn]
    return parts


def _people(study: Study, words: Words) -> Part:
    cohort = study.cohort
    return Part(
        words.say("cohort_part_people"),
        [("flow", words.say("cohort_table_flow"))],
        [characteristics(cohort, study.table_one, words)],
        [flow_table(cohort, words), mix_table(cohort, words), overlap_table(cohort, words)],
    )


def _distribution(study: Study, words: Words) -> Part:
    tables = distribution_tables(study.cohort, study.distributions, words)
    pictures = [("distribution", words.say("cohort_figure_distribution"))]
    return Part(words.say("cohort_part_distribution"), pictures, [], tables)


def _prevalence(study: Study, words: Words) -> Part:
    pictures = [
        (f"prevalence_{name}", words.say("cohort_figure_prevalence", reference=title))
        for name, title in study.reference_titles.items()
    ]
    folded = prevalence_tables(study.cohort, study.prevalences, study.reference_titles, words)
    columns = (
        "reference",
        "index",
        "group",
        "sex",
        "n",
        "low_by_value",
        "crude",
        "standardised",
        "strata_empty",
    )
    folded.append(
        plain_table("cohort_table_standardised", study.standardised, columns, words, "cohort_standard_note")
    )
    trend = ("reference", "index", "group", "sex", "n", "z", "p", "p_corrected")
    folded.append(plain_table("cohort_table_trend", study.trends, trend, words, _correction(study)))
    reasons = [{**r, "reason": _reason(str(r["reason"]))} for r in study.not_comparable]
    why = ("reference", "index", "reason", "n")
    folded.append(plain_table("cohort_table_not_comparable", reasons, why, words))
    return Part(words.say("cohort_part_prevalence"), pictures, [], folded)


def _reason(code: str) -> str:
    return f"reason_{code}"


def _correction(study: Study) -> str:
    return f"cohort_correction_{study.cohort.definition.analysis.correction}"


def _comparison(study: Study, words: Words) -> Part:
    folded = []
    if study.tests:
        columns = ("reference", "index", "sex", "n", "test", "statistic", "dof", "p", "p_corrected")
        folded.append(plain_table("cohort_table_tests", study.tests, columns, words, _correction(study)))
    folded.append(
        plain_table(
            "cohort_table_models", study.models, _MODELS, words, "cohort_models_note", _correction(study)
        )
    )
    pictures = [("group_models", words.say("cohort_figure_models"))]
    return Part(words.say("cohort_part_comparison"), pictures, [], folded)


def _reference(study: Study, words: Words) -> Part | None:
    if study.built is None:
        return None
    columns = ("index", "sex", "n", "mean", "sd", "t_minus_1", "t_minus_2", "p5", "p50", "p95", "skewness",
               "normality_test", "normality_p", "warning")  # fmt: skip
    table = plain_table("cohort_table_cutoffs", study.built.cutoffs, columns, words, "cohort_cutoffs_note")
    across = ("young", "index", "sex", "n_young", "t_minus_1", "t_minus_2", "group", "n",
              "class_2_prevalence", "class_1_prevalence")  # fmt: skip
    folded = [plain_table("cohort_table_sensitivity", study.built.sensitivity, across, words)]
    pictures = [
        ("reference_centiles", words.say("cohort_figure_centiles", n=study.built.healthy)),
        ("reference_sensitivity", words.say("cohort_table_sensitivity")),
    ]
    title = words.say("cohort_part_reference", name=study.built.reference.name)
    return Part(title, pictures, [table], folded, list(study.built.notes))


def _outcome(study: Study, words: Words) -> Part | None:
    result, part = study.outcome, study.cohort.definition.outcome
    if result is None or part is None:
        return None
    at = ("muscle", "n", "events", "competing", "time", "survival", "incidence", "at_risk")
    tables = [
        plain_table("cohort_table_at", result.at, at, words),
        plain_table("cohort_table_cox", result.models, _OUTCOME, words, "cohort_cox_note"),
    ]
    tests = ("test", "landmark", "n", "events", "statistic", "dof", "p")
    folded = [plain_table("cohort_table_outcome_tests", result.tests, tests, words)]
    if result.cut_points:
        columns = ("index", "sex", "n", "events", "cut_point", "hazard_ratio_found", "hazard_ratio_validated",
                   "p_validated", "label")  # fmt: skip
        folded.append(
            plain_table(
                "cohort_table_cut_points", result.cut_points, columns, words, "cohort_cut_points_note"
            )
        )
    pictures = [
        ("outcome", words.say("cohort_figure_outcome")),
        ("outcome_spline", words.say("cohort_figure_spline")),
    ]
    title = words.say("cohort_part_outcome", event=part.title.say(words.language))
    warnings = [say(n.code, words.language, n.values) for n in result.notes]
    return Part(title, pictures, tables, folded, warnings)
