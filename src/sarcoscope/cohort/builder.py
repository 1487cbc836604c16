"""A reference of the centre's own healthy people: young mean and SD, cut-offs, centiles over age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import stats

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import SEXES, group_masks
from sarcoscope.cohort.classes import CODE, classify, subjects_of
from sarcoscope.cohort.conditions import holds
from sarcoscope.cohort.definition import OwnReference
from sarcoscope.cohort.frame import Flags, Floats
from sarcoscope.cohort.stats.centiles import CENTILES, Lms, fit_lms
from sarcoscope.cohort.stats.proportions import wilson
from sarcoscope.diagnosis import ReferenceSet
from sarcoscope.diagnosis.own import FEWEST, OwnOptions, check_options, own_set, population_rows
from sarcoscope.errors import InputError

CUTOFF_COLUMNS: Final = (
    "index", "sex", "young", "n", "mean", "sd", "t_minus_1", "t_minus_1_low", "t_minus_1_high", "t_minus_2",
    "t_minus_2_low", "t_minus_2_high", "p2_5", "p5", "p10", "p50", "p90", "p95", "p97_5", "skewness",
    "normality_test", "normality_p", "warning",
)  # fmt: skip
CENTILE_COLUMNS: Final = (
    "index", "sex", "age", "n", "l", "m", "s", *(f"p{c * 100:g}" for c in CENTILES), "converged",
)  # fmt: skip
SENSITIVITY_COLUMNS: Final = (
    "young", "index", "sex", "n_young", "mean", "sd", "t_minus_1", "t_minus_2", "group", "n", "class_2",
    "class_2_prevalence", "class_2_low", "class_2_high", "class_1", "class_1_prevalence",
)  # fmt: skip
MOST_SHAPIRO: Final = 5000
"""Above so many values Shapiro and Wilk's p-value is not exact, and D'Agostino's test is taken."""
SKEWED: Final = 0.5
"""From this skewness on, mean - 2 SD and the percentile tell different stories."""
LEAST_CENTILES: Final = 100
AGE_STEP: Final = 5


@dataclass(frozen=True)
class Built:
    """A reference with everything that tells how good it is."""

    reference: ReferenceSet
    healthy: int
    """People who met the conditions, of any age."""
    young: int
    cutoffs: tuple[dict[str, Any], ...]
    centiles: tuple[dict[str, Any], ...]
    sensitivity: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    curves: Mapping[tuple[str, str], Lms]
    """(index, sex) -> centiles over age."""

    def details(self) -> dict[str, Any]:
        """How it was built, for its file."""
        return {
            "healthy": self.healthy,
            "young": self.young,
            "cutoffs": [_rounded(r) for r in self.cutoffs],
            "centiles": [_rounded(r) for r in self.centiles],
            "notes": list(self.notes),
        }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items() if v == v}


def build(cohort: Cohort, part: OwnReference) -> Built:
    """Build the reference that a cohort file asks for.

    Raises:
        InputError: too few healthy young people.
        SettingError: a name that is taken, or a condition on no column.
    """
    healthy = healthy_people(cohort, part)
    young = healthy & young_people(cohort, part.young)
    options = options_of(cohort, part, part.young)
    check_options(options)
    rows, notes = population_rows(_values(cohort, young), options.level)
    if not rows:
        raise InputError(
            f"Only {int(young.sum())} healthy people of {part.young[0]:g} to {part.young[1]:g} years are in "
            f"the cohort; a reference needs {FEWEST} of one sex."
        )
    origin = f"cohort '{cohort.definition.name}'"
    reference = own_set(rows, options, origin, int(young.sum()))
    curves, centiles = _centiles(cohort, healthy)
    return Built(
        reference,
        int(healthy.sum()),
        int(young.sum()),
        tuple(_cutoffs(cohort, young, part)),
        tuple(centiles),
        tuple(_sensitivity(cohort, healthy, part)),
        tuple(notes),
        curves,
    )


def healthy_people(cohort: Cohort, part: OwnReference) -> Flags:
    """Who meets all conditions and has no fluid; the phase too, where one is asked for."""
    found = ~(cohort.frame.number("fluid") > 0)
    for condition in part.where:
        met, _ = holds(cohort.frame, condition)
        found &= met
    if part.phase is not None:
        found &= np.asarray(cohort.frame.text("phase") == part.phase, np.bool_)
    return found


def young_people(cohort: Cohort, young: tuple[float, float]) -> Flags:
    """Whose age in completed years lies in the span."""
    age = cohort.frame.number("age_years")
    return np.asarray((age >= young[0]) & (np.floor(age) <= young[1]), np.bool_)


def options_of(cohort: Cohort, part: OwnReference, young: tuple[float, float]) -> OwnOptions:
    """What the reference was made for."""
    muscle = default_bands()["muscle"]
    phases = [p for p in cohort.mixes["phase"] if p]
    only = phases[0] if len(phases) == 1 and phases[0] != "unknown" else None
    return OwnOptions(
        name=part.name,
        young=young,
        level=cohort.definition.studies.level,
        protocol=cohort.definition.studies.protocol,
        phase=part.phase or only,
        hu_band=(muscle.low, muscle.high),
        muscle_set="all",
    )


def _values(cohort: Cohort, people: Flags) -> dict[tuple[str, str], list[float]]:
    return {
        (sex, index): _of(cohort, people, sex, index).tolist()
        for sex in SEXES
        for index in cohort.definition.analysis.indices
    }


def _of(cohort: Cohort, people: Flags, sex: str, index: str) -> Floats:
    values = cohort.frame.number(index)[people & (cohort.frame.text("sex") == sex)]
    return np.asarray(values[np.isfinite(values)], np.float64)


def bootstrap_limits(values: Floats, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """95 % percentile intervals of mean - 1 SD and mean - 2 SD, drawing people with replacement."""
    found = np.empty((draws, 2))
    for k in range(draws):
        drawn = values[rng.integers(0, len(values), len(values))]
        mean, sd = drawn.mean(), drawn.std(ddof=1)
        found[k] = mean - sd, mean - 2 * sd
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return {
        "t_minus_1_low": float(low[0]),
        "t_minus_1_high": float(high[0]),
        "t_minus_2_low": float(low[1]),
        "t_minus_2_high": float(high[1]),
    }


def _cutoffs(cohort: Cohort, young: Flags, part: OwnReference) -> list[dict[str, Any]]:
    rows = []
    for index in cohort.definition.analysis.indices:
        for sex in SEXES:
            values = _of(cohort, young, sex, index)
            if len(values) < FEWEST:
                continue
            mean, sd = float(values.mean()), float(values.std(ddof=1))
            skewness = float(stats.skew(values, bias=False))
            name, p = normality(values)
            row: dict[str, Any] = {
                "index": index,
                "sex": sex,
                "young": f"{part.young[0]:g}-{part.young[1]:g}",
                "n": len(values),
                "mean": mean,
                "sd": sd,
                "t_minus_1": mean - sd,
                "t_minus_2": mean - 2 * sd,
                **bootstrap_limits(
                    values, part.draws, np.random.default_rng(cohort.definition.analysis.seed)
                ),
                "skewness": skewness,
                "normality_test": name,
                "normality_p": p,
                "warning": "skewed" if abs(skewness) > SKEWED else "",
            }
            shares = (0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975)
            names = ("p2_5", "p5", "p10", "p50", "p90", "p95", "p97_5")
            row |= dict(zip(names, np.quantile(values, shares).tolist(), strict=True))
            rows.append(row)
    return rows


def normality(values: Floats) -> tuple[str, float]:
    """(test, p) of the values being normal."""
    if len(values) <= MOST_SHAPIRO:
        return "Shapiro-Wilk", float(stats.shapiro(values).pvalue)
    return "D'Agostino-Pearson", float(stats.normaltest(values).pvalue)


def _centiles(cohort: Cohort, healthy: Flags) -> tuple[dict[tuple[str, str], Lms], list[dict[str, Any]]]:
    age = cohort.frame.number("age_years")
    curves: dict[tuple[str, str], Lms] = {}
    rows: list[dict[str, Any]] = []
    for index in cohort.definition.analysis.indices:
        value = cohort.frame.number(index)
        for sex in SEXES:
            own = (
                healthy
                & (cohort.frame.text("sex") == sex)
                & np.isfinite(value)
                & np.isfinite(age)
                & (value > 0)
            )
            if own.sum() < LEAST_CENTILES or np.ptp(age[own]) < 2 * AGE_STEP:
                continue
            fit = fit_lms(age[own], value[own])
            curves[index, sex] = fit
            first = int(np.ceil(fit.ages[0] / AGE_STEP) * AGE_STEP)
            ages = np.arange(first, fit.ages[1] + 1e-9, AGE_STEP, dtype=np.float64)
            power, m, s = fit.parameters(ages)
            at = {f"p{c * 100:g}": fit.value(ages, c) for c in CENTILES}
            for k, years in enumerate(ages):
                row = {
                    "index": index,
                    "sex": sex,
                    "age": float(years),
                    "n": fit.n,
                    "l": power,
                    "m": float(m[k]),
                }
                row |= {"s": float(s[k]), **{name: float(v[k]) for name, v in at.items()}}
                rows.append({**row, "converged": fit.converged})
    return curves, rows


def _sensitivity(cohort: Cohort, healthy: Flags, part: OwnReference) -> list[dict[str, Any]]:
    """Prevalence in every group by references of other young ages, side by side."""
    people = subjects_of(cohort.frame, cohort.definition.studies.level, cohort.definition.studies.protocol)
    sex = cohort.frame.text("sex")
    rows: list[dict[str, Any]] = []
    for span in sorted({part.young, *part.compare_young}):
        young = healthy & young_people(cohort, span)
        limits, _ = population_rows(_values(cohort, young), cohort.definition.studies.level)
        reference = own_set(limits, options_of(cohort, part, span), "", 0)
        for index in reference.indices:
            found = classify(people, reference, index)
            fits = found.by_value != CODE["not_comparable"]
            for limit in (r for r in limits if r.index == index):
                mean, sd = limit.mean or 0.0, limit.sd or 0.0
                for group, members in group_masks(cohort).items():
                    own = members & fits & np.asarray(sex == limit.sex, np.bool_)
                    n, two = int(own.sum()), int((own & (found.by_value == CODE["class_2"])).sum())
                    one = int((own & (found.by_value == CODE["class_1"])).sum())
                    low, high = wilson(two, n)
                    rows.append(
                        {
                            "young": f"{span[0]:g}-{span[1]:g}",
                            "index": index,
                            "sex": limit.sex,
                            "n_young": int(limit.stratum.removeprefix("n=")),
                            "mean": mean,
                            "sd": sd,
                            "t_minus_1": mean - sd,
                            "t_minus_2": mean - 2 * sd,
                            "group": group,
                            "n": n,
                            "class_2": two,
                            "class_2_prevalence": two / n if n else None,
                            "class_2_low": float(low),
                            "class_2_high": float(high),
                            "class_1": one,
                            "class_1_prevalence": one / n if n else None,
                        }
                    )
    return rows
