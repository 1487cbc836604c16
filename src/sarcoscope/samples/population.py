"""A synthetic population: bodies, liver diseases with overlaps, muscle that declines with age, survival.

Everything is drawn from the model written here and in the tables ``population_*``: what a study of the
population should find is therefore known. The numbers are invented, plausible, and say nothing of people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sarcoscope.diagnosis import find_sets
from sarcoscope.errors import SettingError
from sarcoscope.files import packaged_rows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

HEIGHT: Final = {"M": (172.0, 6.0), "F": (159.0, 5.5)}
"""Mean and SD in cm."""
BMI: Final = {"M": (24.2, 3.0), "F": (22.8, 3.2)}
MUSCLE: Final = {"M": (172.0, 0.95, 1.2, 3.0, 20.0), "F": (112.0, 0.50, 0.7, 1.6, 13.0)}
"""L3 area in cm2: at 40 years and average build; loss a year after 40; gain per cm of height and per unit of
BMI; SD of the rest."""
HAZARD: Final[Mapping[str, float]] = {"baseline": 0.012, "age_10": 1.6, "male": 1.3, "low_muscle": 1.8}
"""Deaths a year at 55 years for women without disease, and hazard ratios."""
TRANSPLANT: Final = 0.03
"""Transplants a year among people with cirrhosis: they compete with death."""
LOW_BY: Final = ("p0", "SMA_BMI")
"""The reference and index whose class II carries the hazard."""
AGES: Final = (20.0, 89.0)


@dataclass(frozen=True)
class Disease:
    """What a disease does to body, muscle and hazard."""

    name: str
    title: Mapping[str, str]
    code: str
    bmi_shift: float
    muscle: Mapping[str, float]
    hazard_ratio: float


@cache
def diseases() -> tuple[Disease, ...]:
    """The diseases of the population, in the order of P0."""
    return tuple(
        Disease(
            r["disease"],
            {"en": r["en"], "ko": r["ko"]},
            r["code"],
            float(r["bmi_shift"]),
            {"M": float(r["muscle_m_cm2"]), "F": float(r["muscle_f_cm2"])},
            float(r["hazard_ratio"]),
        )
        for r in packaged_rows("sarcoscope.samples", "population_groups")
    )


def composition(preset: str, n: int | None) -> dict[tuple[str, str], int]:
    """(first disease or empty, sex) -> number of people.

    Raises:
        SettingError: an unknown preset, or no number where the preset has shares.
    """
    rows = [r for r in packaged_rows("sarcoscope.samples", "population_presets") if r["preset"] == preset]
    if not rows:
        raise SettingError(f"There is no sample cohort like '{preset}'; there are p0 and mixed.")
    values = {(r["first"], sex): float(r[c]) for r in rows for sex, c in (("M", "men"), ("F", "women"))}
    if sum(values.values()) > 1.5:
        return {k: int(v) for k, v in values.items()}
    if n is None or n < 100:
        raise SettingError("A sample cohort needs at least 100 people: give --n.")
    counts = {k: int(np.floor(v * n)) for k, v in values.items()}
    counts["", "F"] += n - sum(counts.values())
    return counts


@dataclass(frozen=True)
class People:
    """A drawn population, one element a person."""

    sex: NDArray[np.str_]
    age: Floats
    height_cm: Floats
    bmi: Floats
    has: Mapping[str, Flags]
    mean_sma: Floats
    """Expected area of a person of this build, age and disease, in cm2."""
    sd_sma: Floats

    def __len__(self) -> int:
        return len(self.age)


def draw_people(counts: Mapping[tuple[str, str], int], rng: np.random.Generator) -> People:
    """Draw a population of this composition."""
    first = np.repeat([k[0] for k in counts], list(counts.values()))
    sex = np.repeat([k[1] for k in counts], list(counts.values()))
    n = len(sex)
    lean = first == ""
    low, high = (AGES[0] - 53) / 13, (AGES[1] - 53) / 13
    ill = stats.truncnorm.rvs(low, high, loc=53, scale=13, size=n, random_state=rng)
    age = np.round(np.where(lean, rng.uniform(20, 75, n), ill), 1)
    has = {d.name: first == d.name for d in diseases()}
    for r in packaged_rows("sarcoscope.samples", "population_overlaps"):
        also = (first == r["first"]) & (rng.uniform(size=n) < float(r["share"]))
        has[r["second"]] = has[r["second"]] | also
    male = sex == "M"

    def of(table: Mapping[str, tuple[float, ...]], k: int) -> Floats:
        return np.where(male, table["M"][k], table["F"][k])

    height = np.round(of(HEIGHT, 0) - 0.06 * (age - 50) + of(HEIGHT, 1) * rng.normal(size=n), 1)
    shift = sum((d.bmi_shift * has[d.name] for d in diseases()), np.zeros(n))
    bmi = np.clip(of(BMI, 0) + shift + of(BMI, 1) * rng.normal(size=n), 15.5, 45.0)
    weight = np.round(bmi * (height / 100) ** 2, 1)
    bmi = weight / (height / 100) ** 2
    effect = sum(
        (np.where(male, d.muscle["M"], d.muscle["F"]) * has[d.name] for d in diseases()), np.zeros(n)
    )
    mean = of(MUSCLE, 0) - of(MUSCLE, 1) * np.maximum(age - 40, 0) + effect
    mean += of(MUSCLE, 2) * (height - of(HEIGHT, 0)) + of(MUSCLE, 3) * (bmi - of(BMI, 0))
    return People(sex, np.asarray(age, np.float64), height, bmi, has, mean, of(MUSCLE, 4))


def divisors(people: People) -> dict[str, Floats]:
    """What the area is divided by for each index."""
    metres = (people.height_cm / 100) ** 2
    ones = np.ones(len(people))
    return {"SMA": ones, "SMA_Ht2": metres, "SMA_Wt": people.bmi * metres, "SMA_BMI": people.bmi}


def limits_of(reference: str, index: str) -> dict[str, float]:
    """Limit by sex of a set that has one for every adult."""
    (found,) = find_sets((reference,))
    return {r.sex: r.limit for r in found.rows if r.index == index and r.limit is not None}


def chance_below(people: People, reference: str, index: str) -> Floats:
    """Chance of each person to lie below the limit of a reference."""
    limits = limits_of(reference, index)
    limit = np.where(people.sex == "M", limits["M"], limits["F"])
    return stats.norm.cdf((limit * divisors(people)[index] - people.mean_sma) / people.sd_sma)


@dataclass(frozen=True)
class Course:
    """What became of the people: years to death (1), transplant (2) or the end of follow-up (0)."""

    years: Floats
    status: NDArray[np.int64]


def draw_course(people: People, low: Flags, rng: np.random.Generator) -> Course:
    """Draw the follow-up; ``low`` says whose muscle is in class II."""
    n = len(people)
    log_hazard = np.log(HAZARD["baseline"]) + np.log(HAZARD["age_10"]) * (people.age - 55) / 10
    log_hazard = (
        log_hazard + np.log(HAZARD["male"]) * (people.sex == "M") + np.log(HAZARD["low_muscle"]) * low
    )
    for d in diseases():
        log_hazard = log_hazard + np.log(d.hazard_ratio) * people.has[d.name]
    death = rng.exponential(1 / np.exp(log_hazard))
    with np.errstate(divide="ignore"):
        transplant = rng.exponential(1.0, n) / np.where(people.has["cirrhosis"], TRANSPLANT, 1e-9)
    end = rng.uniform(1.0, 10.0, n)
    years = np.minimum(np.minimum(death, transplant), end)
    status = np.where(years == death, 1, np.where(years == transplant, 2, 0))
    return Course(np.maximum(np.round(years, 3), 0.001), status.astype(np.int64))


def truth_of(counts: Mapping[tuple[str, str], int], size: int = 200_000) -> dict[str, Any]:
    """What a study of this population should find, averaged over ``size`` people of the same composition."""
    total = sum(counts.values())
    larger = {k: max(round(v * size / total), 1) for k, v in counts.items()}
    people = draw_people(larger, np.random.default_rng(20_260_000))
    prevalence: dict[str, Any] = {}
    for reference, index in (("p0", "SMA_BMI"), *(("kim2021", i) for i in divisors(people))):
        chance = chance_below(people, reference, index)
        table: dict[str, Any] = {}
        for name, has in people.has.items():
            for sex in ("M", "F"):
                own = has & (people.sex == sex)
                decades = {
                    f"{d}-{d + 9}": round(float(chance[own & (people.age // 10 == d // 10)].mean()), 6)
                    for d in range(30, 70, 10)
                }
                table[f"{name}:{sex}"] = {"all": round(float(chance[own].mean()), 6), **decades}
        prevalence[f"{reference}:{index}"] = table
    return {
        "prevalence_class_2": prevalence,
        "hazard_ratios": {
            "age_10": HAZARD["age_10"],
            "male": HAZARD["male"],
            "low_muscle": HAZARD["low_muscle"],
            **{d.name: d.hazard_ratio for d in diseases()},
        },
        "low_muscle": f"class II by {LOW_BY[0]}, {LOW_BY[1]}",
        "muscle_cm2": {
            sex: dict(zip(("at_40", "loss_a_year", "per_cm", "per_bmi", "sd"), MUSCLE[sex], strict=True))
            for sex in ("M", "F")
        },
        "disease_effects_cm2": {d.name: dict(d.muscle) for d in diseases()},
        "note": "Invented numbers. Prevalence is by value, without measurement error.",
    }
