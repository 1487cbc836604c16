"""What became of the people: survival by low muscle, hazard ratios, competing risks, landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import stats

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.classes import Classified, classify, subjects_of
from sarcoscope.cohort.compare import contains_body, covariates
from sarcoscope.cohort.cutpoint import cut_points
from sarcoscope.cohort.definition import Outcome
from sarcoscope.cohort.frame import Flags, Floats, Ints
from sarcoscope.cohort.prevalence import low_by_value
from sarcoscope.cohort.stats.cox import check_proportional, cox
from sarcoscope.cohort.stats.logistic import Fit, without_constant
from sarcoscope.cohort.stats.proportions import Test
from sarcoscope.cohort.stats.splines import knots_of, spline_basis
from sarcoscope.cohort.stats.survival import Curve, cumulative_incidence, kaplan_meier, log_rank
from sarcoscope.cohort.studies import Note
from sarcoscope.diagnosis import ReferenceSet
from sarcoscope.errors import InputError, SettingError

EXPOSURE: Final = "low_muscle"
MODEL_COLUMNS: Final = (
    "model", "landmark", "term", "n", "events", "hazard_ratio", "low", "high", "p", "proportional_p",
    "problem", "few_events", "warning",
)  # fmt: skip
CURVE_COLUMNS: Final = ("curve", "muscle", "time", "at_risk", "events", "value", "low", "high")
AT_COLUMNS: Final = (
    "muscle", "n", "events", "competing", "median", "time", "survival", "survival_low", "survival_high",
    "incidence", "incidence_low", "incidence_high", "at_risk",
)  # fmt: skip
TEST_COLUMNS: Final = ("test", "landmark", "n", "events", "statistic", "dof", "p")
NOTHING: Final = {
    "hazard_ratio": float("nan"),
    "low": float("nan"),
    "high": float("nan"),
    "p": float("nan"),
    "proportional_p": None,
    "problem": "constant",
    "warning": "",
}
"""What is said of a term that is the same for everybody."""
VIOLATED: Final = 0.05
"""Below this p the hazard ratio of a term is said not to be constant."""
GROUPS: Final = ("not_low", "low")


@dataclass(frozen=True)
class Followed:
    """People with a follow-up and a class, one element each."""

    rows: Ints
    """Their rows in the cohort."""
    time: Floats
    event: Flags
    cause: Ints
    """0 free, 1 the event, 2 anything that competes."""
    low: Flags

    def take(self, mask: Flags) -> Followed:
        """Some of them."""
        return Followed(*(getattr(self, f)[mask] for f in ("rows", "time", "event", "cause", "low")))


@dataclass(frozen=True)
class OutcomeResult:
    """Tables and curves of the outcome."""

    models: tuple[dict[str, Any], ...]
    tests: tuple[dict[str, Any], ...]
    at: tuple[dict[str, Any], ...]
    survival: dict[str, Curve]
    """``low`` and ``not_low`` -> Kaplan-Meier."""
    incidence: dict[str, Curve]
    """The same -> Aalen-Johansen, where something competes."""
    spline: tuple[Floats, Floats, Floats, Floats] | None
    """(values, hazard ratio against the median, lower, upper bound)."""
    cut_points: tuple[dict[str, Any], ...]
    times: dict[str, Floats]
    """``low`` and ``not_low`` -> everybody's time of follow-up."""
    notes: tuple[Note, ...]

    def curves(self) -> list[dict[str, Any]]:
        """All curves as rows."""
        rows = []
        for kind, curves in (("survival", self.survival), ("incidence", self.incidence)):
            for muscle, c in curves.items():
                columns = (c.times, c.at_risk, c.events, c.value, c.low, c.high)
                rows += [
                    dict(zip(CURVE_COLUMNS, (kind, muscle, *map(float, point)), strict=True))
                    for point in zip(*columns, strict=True)
                ]
        return rows


def follow(cohort: Cohort, part: Outcome, sets: Sequence[ReferenceSet]) -> OutcomeResult:
    """Outcome by low muscle at the index study.

    Raises:
        SettingError: a column or reference that is not there.
    """
    found = _exposure(cohort, part, sets)
    people, notes = _followed(cohort, part, found)
    models: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    spline = None
    for landmark in (0.0, *part.landmarks):
        own = people.take(people.time > landmark) if landmark else people
        own = Followed(own.rows, own.time - landmark, own.event, own.cause, own.low)
        if not own.event.any() or len(set(own.low.tolist())) < 2:
            notes.append(Note("cohort_note_no_group_events", {"landmark": f"{landmark:g}"}))
            continue
        rank = log_rank(own.time, own.event, own.low.astype(np.int64))
        tests.append(_test_row(rank, landmark, own))
        models += _model(cohort, part, own, landmark, (), "crude")
        models += _model(cohort, part, own, landmark, part.adjust, "adjusted")
        if part.spline and not landmark:
            more, test, spline = _spline(cohort, part, own)
            models += more
            tests.append(_test_row(test, landmark, own))
    notes += _not_proportional(models)
    competing = bool((people.cause > 1).any())
    masks = {name: people.low if name == "low" else ~people.low for name in GROUPS}
    survival = {n: kaplan_meier(people.time[m], people.event[m]) for n, m in masks.items() if m.any()}
    incidence = {
        n: cumulative_incidence(people.time[m], people.cause[m])
        for n, m in masks.items()
        if m.any() and competing
    }
    if competing:
        notes.append(Note("cohort_note_competing", {"n": int((people.cause > 1).sum())}))
    cuts = cut_points(cohort, part.cutpoint, people.rows, people.time, people.event) if part.cutpoint else []
    at = _at(people, masks, survival, incidence)
    return OutcomeResult(
        tuple(models),
        tuple(tests),
        tuple(at),
        survival,
        incidence,
        spline,
        tuple(cuts),
        {n: people.time[m] for n, m in masks.items() if m.any()},
        tuple(notes),
    )


def _not_proportional(models: Sequence[dict[str, Any]]) -> list[Note]:
    main = [r for r in models if r["model"] == "adjusted" and not r["landmark"]]
    terms = [r["term"] for r in main if r["proportional_p"] is not None and r["proportional_p"] < VIOLATED]
    return [Note("cohort_note_not_proportional", {"terms": ", ".join(terms)})] if terms else []


def _exposure(cohort: Cohort, part: Outcome, sets: Sequence[ReferenceSet]) -> Classified:
    reference = next((s for s in sets if s.name == part.exposure.reference), None)
    if reference is None or part.exposure.index not in reference.indices:
        raise SettingError(
            f"The outcome asks for '{part.exposure.reference}' and {part.exposure.index}, which the "
            "references of the cohort file do not have."
        )
    studies = cohort.definition.studies
    return classify(
        subjects_of(cohort.frame, studies.level, studies.protocol), reference, part.exposure.index
    )


def _followed(cohort: Cohort, part: Outcome, found: Classified) -> tuple[Followed, list[Note]]:
    for name in filter(None, (part.time, part.status, part.spline, part.cutpoint)):
        if name not in cohort.frame:
            raise SettingError(f"The cohort has no column '{name}' for the outcome.")
        if cohort.frame.columns[name].dtype.kind not in ("fM" if name == part.time else "f"):
            raise SettingError(f"The column '{name}' holds no numbers for the outcome.")
    notes = []
    column = cohort.frame.columns[part.time]
    if column.dtype.kind == "M":
        gap = column - cohort.frame.columns["day"]
        time = np.where(np.isnat(gap), np.nan, gap.astype("timedelta64[D]").astype(np.float64) / 365.25)
    else:
        time = cohort.frame.number(part.time)
        notes.append(Note("cohort_note_time_origin", {"column": part.time}))
    status = cohort.frame.number(part.status)
    low, fits = low_by_value(found)
    known = np.isfinite(time) & np.isfinite(status)
    used = known & (time > 0) & fits
    for code, mask in (
        ("cohort_note_no_followup", ~known),
        ("cohort_note_followup_not_after", known & ~(time > 0)),
        ("cohort_note_followup_no_class", known & (time > 0) & ~fits),
    ):
        if mask.any():
            notes.append(Note(code, {"n": int(mask.sum())}))
    rows = np.flatnonzero(used)
    if not len(rows):
        raise InputError(
            f"Nobody has a time in '{part.time}', a status in '{part.status}' and a class by "
            f"'{part.exposure.reference}': there is no outcome to follow."
        )
    event = status[rows] == part.event
    cause = np.where(event, 1, np.where(status[rows] > 0, 2, 0)).astype(np.int64)
    return Followed(rows, time[rows], event, cause, low[rows]), notes


def _test_row(test: Test, landmark: float, people: Followed) -> dict[str, Any]:
    return {
        "test": test.name,
        "landmark": landmark,
        "n": len(people.time),
        "events": int(people.event.sum()),
        "statistic": test.statistic,
        "dof": test.dof,
        "p": test.p,
    }


def _model(
    cohort: Cohort, part: Outcome, people: Followed, landmark: float, adjust: Sequence[str], name: str
) -> list[dict[str, Any]]:
    extra, terms, known = covariates(cohort, adjust)
    use = known[people.rows]
    own = people.take(use)
    x = np.column_stack([own.low.astype(np.float64), extra[own.rows]])
    warning = "index_contains_body" if contains_body(part.exposure.index, adjust) else ""
    return _cox_rows(x, own, [EXPOSURE, *terms], {"model": name, "landmark": landmark}, warning)[0]


def _cox_rows(
    x: Floats, people: Followed, names: Sequence[str], place: dict[str, Any], warning: str = ""
) -> tuple[list[dict[str, Any]], Fit]:
    x, names, constant = without_constant(x, names)
    fit = cox(x, people.time, people.event, names)
    checks: dict[str, float] = {}
    if not fit.problem:
        checked = check_proportional(x, people.time, people.event, fit)
        checks = {name: test.p for name, test in checked.terms}
    low, high = fit.interval()
    rows = [
        {
            **place,
            "term": term,
            "n": fit.n,
            "events": fit.events,
            "hazard_ratio": float(fit.ratios[k]),
            "low": float(low[k]),
            "high": float(high[k]),
            "p": float(fit.p[k]),
            "proportional_p": checks.get(term),
            "problem": fit.problem,
            "few_events": fit.few_events,
            "warning": warning,
        }
        for k, term in enumerate(fit.names)
    ]
    rows += [{**place, "term": t, "n": fit.n, **NOTHING} for t in constant]
    return rows, fit


def _spline(
    cohort: Cohort, part: Outcome, people: Followed
) -> tuple[list[dict[str, Any]], Test, tuple[Floats, Floats, Floats, Floats] | None]:
    """The adjusted model with one covariate as a restricted cubic spline, and the test of its curvature."""
    others = [a for a in part.adjust if a != part.spline]
    extra, terms, known = covariates(cohort, others)
    value = cohort.frame.number(part.spline)
    use = known[people.rows] & np.isfinite(value[people.rows])
    own = people.take(use)
    if not own.event.any():
        return [], Test(f"spline of {part.spline}", float("nan"), float("nan"), float("nan")), None
    curve = value[own.rows]
    knots = knots_of(curve)
    basis = spline_basis(curve, knots)
    names = [f"{part.spline}_spline_{k + 1}" for k in range(basis.shape[1])]
    rest = np.column_stack([own.low.astype(np.float64), extra[own.rows]])
    x = np.column_stack([rest, basis])
    rows, fit = _cox_rows(x, own, [EXPOSURE, *terms, *names], {"model": "spline", "landmark": 0.0})
    straight = cox(np.column_stack([rest, curve]), own.time, own.event, [EXPOSURE, *terms, part.spline])
    dof = basis.shape[1] - 1
    chi = 2 * (fit.log_likelihood - straight.log_likelihood)
    p = float(stats.chi2.sf(chi, dof)) if dof else float("nan")
    test = Test(f"spline of {part.spline}", float(chi), float(dof), p)
    if fit.problem:
        return rows, test, None
    first, last = np.quantile(curve, (0.01, 0.99)).tolist()
    at = np.linspace(first, last, 80)
    difference = spline_basis(at, knots) - spline_basis(np.array([np.median(curve)]), knots)
    place = slice(len(fit.names) - basis.shape[1], None)
    log = difference @ fit.coefficients[place]
    spread = np.sqrt(np.einsum("ij,jk,ik->i", difference, fit.covariance[place, place], difference))
    return (
        rows,
        test,
        (at, np.exp(log), np.exp(log - 1.959963985 * spread), np.exp(log + 1.959963985 * spread)),
    )


def _at(
    people: Followed, masks: dict[str, Flags], survival: dict[str, Curve], incidence: dict[str, Curve]
) -> list[dict[str, Any]]:
    """Survival and incidence at 1, 3, 5 and 10 units of time, as far as anybody was followed."""
    rows = []
    for name, curve in survival.items():
        own = masks[name]
        time = people.time[own]
        for at in (1.0, 3.0, 5.0, 10.0):
            if at > time.max():
                continue
            row: dict[str, Any] = {"muscle": name, "n": len(time), "events": int(people.event[own].sum())}
            row |= {"competing": int((people.cause[own] > 1).sum()), "median": curve.median[0], "time": at}
            row |= dict(zip(("survival", "survival_low", "survival_high"), curve.at(at), strict=True))
            if name in incidence:
                found = incidence[name].at(at)
                row |= dict(zip(("incidence", "incidence_low", "incidence_high"), found, strict=True))
            rows.append({**row, "at_risk": int((time >= at).sum())})
    return rows
