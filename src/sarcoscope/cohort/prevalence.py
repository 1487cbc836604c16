"""How many have low muscle: by reference, index and cell; standardised; trend over age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import ALL, SEXES, cells, decade_names, decade_of, group_masks
from sarcoscope.cohort.classes import CODE, LOW, Classified, classify, subjects_of
from sarcoscope.cohort.frame import Flags, Floats, read_frame
from sarcoscope.cohort.stats.proportions import adjusted_p, cochran_armitage, standardise, wilson
from sarcoscope.diagnosis import ReferenceSet
from sarcoscope.errors import InputError

COLUMNS: Final = (
    "reference", "index", "group", "sex", "decade", "n", "not_comparable", "comparable", "indeterminate",
    "low", "class_1", "not_low", "low_by_value", "prevalence", "prevalence_low", "prevalence_high",
    "class_1_by_value", "class_1_prevalence", "class_1_prevalence_low", "class_1_prevalence_high",
    "prevalence_certain", "prevalence_possible", "small",
)  # fmt: skip
STANDARD_COLUMNS: Final = (
    "reference", "index", "group", "sex", "n", "low_by_value", "crude", "standardised", "standardised_low",
    "standardised_high", "strata_empty",
)  # fmt: skip
TREND_COLUMNS: Final = ("reference", "index", "group", "sex", "n", "z", "p", "p_corrected")


def classify_all(cohort: Cohort, sets: Sequence[ReferenceSet]) -> list[Classified]:
    """Everybody against every set, for the indices of the study that the set has."""
    part = cohort.definition
    people = subjects_of(cohort.frame, part.studies.level, part.studies.protocol)
    return [
        classify(people, reference, index)
        for reference in sets
        for index in reference.indices
        if index in part.analysis.indices
    ]


def low_by_value(found: Classified) -> tuple[Flags, Flags]:
    """(who lies below the limit by value, who is comparable)."""
    return np.isin(found.by_value, LOW), comparable(found)


def comparable(found: Classified) -> Flags:
    """Whom the set gives a class."""
    return ~np.isin(found.by_value, (CODE["not_comparable"], CODE["z_score"]))


def prevalences(cohort: Cohort, answers: Sequence[Classified]) -> list[dict[str, Any]]:
    """A row for every set, index and cell.

    ``prevalence`` is by value: those below the limit among the comparable, with the Wilson interval.
    ``prevalence_certain`` counts as low only who is below by more than the measurement error, and
    ``prevalence_possible`` also everybody within it.
    """
    least = cohort.definition.analysis.small_cell
    every = list(cells(cohort))
    rows: list[dict[str, Any]] = []
    for found in answers:
        low, fits = low_by_value(found)
        first = found.by_value == CODE["class_1"]
        scored = bool(np.isfinite(found.score).any())
        masks: dict[str, Flags] = {
            "comparable": fits,
            "not_comparable": found.by_value == CODE["not_comparable"],
            "indeterminate": found.answer == CODE["indeterminate"],
            "low": np.isin(found.answer, LOW),
            "class_1": found.answer == CODE["class_1"],
            "not_low": np.isin(found.answer, (CODE["not_low"], CODE["not_class_2"])),
            "low_by_value": low,
            "class_1_by_value": first,
            "near_low": low | ((found.answer == CODE["indeterminate"]) & ~_nearer_upper(found)),
        }
        stacked = np.array(list(masks.values()))
        for cell in every:
            counts = dict(zip(masks, stacked[:, cell.people].sum(axis=1).tolist(), strict=True))
            near = counts.pop("near_low")
            row = {"reference": found.reference, "index": found.index, **cell.place}
            row |= {"n": int(cell.people.sum()), **counts, "small": counts["comparable"] < least}
            if not scored:
                row["class_1"] = row["class_1_by_value"] = None
            n = counts["comparable"]
            row |= _share("prevalence", counts["low_by_value"], n)
            if scored:
                row |= _share("class_1_prevalence", counts["class_1_by_value"], n)
            if n:
                row |= {"prevalence_certain": counts["low"] / n, "prevalence_possible": near / n}
            rows.append(row)
    return rows


def _nearer_upper(found: Classified) -> Flags:
    """Indeterminate people whose T-score is nearer to the limit of class I than to that of class II."""
    return np.isfinite(found.score) & (found.score > -1.5)


def _share(name: str, k: int, n: int) -> dict[str, Any]:
    if not n:
        return {}
    low, high = wilson(k, n)
    return {name: k / n, f"{name}_low": float(low), f"{name}_high": float(high)}


def standard_weights(cohort: Cohort, base: Path) -> dict[tuple[str, str], float]:
    """(sex, decade) -> weight: of the file of the cohort, or the people of the cohort themselves.

    Raises:
        InputError: a stratum of the file that the study does not have, or a weight that is none.
    """
    part = cohort.definition.analysis
    names = decade_names(part.decades)
    if not part.standard:
        sex, decade = cohort.frame.text("sex"), decade_of(cohort.frame, part.decades)
        return {
            (s, name): float(((sex == s) & (decade == k)).sum())
            for s in SEXES
            for k, name in enumerate(names)
        }
    table = read_frame(base / part.standard, ("sex", "decade", "weight"))
    weights = {}
    rows = zip(table.text("sex"), table.text("decade"), table.number("weight"), strict=True)
    for sex_name, decade_name, weight in rows:
        if sex_name not in SEXES or decade_name not in names or not weight >= 0:
            raise InputError(
                f"'{part.standard}' has a row '{sex_name}, {decade_name}, {weight:g}'; "
                f"it needs sex (M, F), decade ({', '.join(names)}) and a weight."
            )
        weights[sex_name, decade_name] = float(weight)
    return weights


def standardised(
    cohort: Cohort, answers: Sequence[Classified], weights: Mapping[tuple[str, str], float]
) -> list[dict[str, Any]]:
    """Directly standardised prevalence (by value) of every group, for both sexes and each."""
    edges = cohort.definition.analysis.decades
    names = decade_names(edges)
    sex, decade = cohort.frame.text("sex"), decade_of(cohort.frame, edges)
    strata = {(s, n): (sex == s) & (decade == k) for s in SEXES for k, n in enumerate(names)}
    rows: list[dict[str, Any]] = []
    for found in answers:
        low, fits = low_by_value(found)
        for group, members in group_masks(cohort).items():
            for which in (ALL, *SEXES):
                used = [k for k in strata if which in (ALL, k[0])]
                cases = [int((low & fits & members & strata[k]).sum()) for k in used]
                totals = [int((fits & members & strata[k]).sum()) for k in used]
                one = standardise(cases, totals, [weights.get(k, 0.0) for k in used])
                n = sum(totals)
                rows.append(
                    {
                        "reference": found.reference,
                        "index": found.index,
                        "group": group,
                        "sex": which,
                        "n": n,
                        "low_by_value": sum(cases),
                        "crude": sum(cases) / n if n else None,
                        "standardised": one.share,
                        "standardised_low": one.low,
                        "standardised_high": one.high,
                        "strata_empty": one.strata_empty,
                    }
                )
    return rows


def trends(cohort: Cohort, answers: Sequence[Classified]) -> list[dict[str, Any]]:
    """Cochran-Armitage trend of low muscle over the decades, for every group and sex."""
    part = cohort.definition.analysis
    names = decade_names(part.decades)
    sex, decade = cohort.frame.text("sex"), decade_of(cohort.frame, part.decades)
    rows: list[dict[str, Any]] = []
    for found in answers:
        low, fits = low_by_value(found)
        for group, members in group_masks(cohort).items():
            for which in SEXES:
                own = members & fits & (sex == which)
                cases = [int((own & low & (decade == k)).sum()) for k in range(len(names))]
                totals = [int((own & (decade == k)).sum()) for k in range(len(names))]
                test = cochran_armitage(cases, totals)
                row = {"reference": found.reference, "index": found.index, "group": group, "sex": which}
                rows.append({**row, "n": sum(totals), "z": test.statistic, "p": test.p})
    return corrected(rows, part.correction)


def corrected(rows: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    """The rows with ``p_corrected`` for all p-values of the table."""
    p: Floats = adjusted_p([float(r["p"]) for r in rows], method)
    return [{**r, "p_corrected": float(c)} for r, c in zip(rows, p, strict=True)]
