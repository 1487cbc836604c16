"""Writes a synthetic population as the files of a centre: results, clinical table, cohort file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from sarcoscope.files import csv_text, make_folder, packaged_text, write_bytes
from sarcoscope.measures.error import measurement_error
from sarcoscope.samples.population import (
    LOW_BY,
    Course,
    People,
    composition,
    diseases,
    divisors,
    draw_course,
    draw_people,
    limits_of,
    truth_of,
)

AGAIN: Final = 0.10
"""Share of people with a second CT months later."""
SAME_DAY: Final = 0.01
"""Share with a second study of another phase on the same day."""
WITHIN_SD: Final = 3.0
"""SD in cm2 of a person's area from study to study."""
FLAWED: Final = 0.15
"""So many people come on top whose CT no careful study would take."""
_PHASES: Final = ("portal", "unenhanced", "delayed", "unknown")
_PHASE_SHARES: Final = (0.68, 0.16, 0.11, 0.05)
_FLAWS: Final = ("arterial", "kvp", "kernel", "level", "border")
_FLAW_SHARES: Final = (0.6, 0.15, 0.05, 0.1, 0.1)
_START: Final = date(2012, 1, 1)
RESULT_COLUMNS: Final = (
    "id", "person", "centre", "date", "sex", "age_years", "height_cm", "weight_kg", "bmi", "level",
    "protocol", "slices", "level_confidence", "level_complete", "muscle_area_cm2", "muscle_area_error_cm2",
    "muscle_mean_hu", "sat_area_cm2", "vat_area_cm2", "SMA", "SMA_Ht2", "SMA_Wt", "SMA_BMI", "SMD", "phase",
    "kvp", "kernel", "slice_thickness_mm", "flags", "version",
)  # fmt: skip
"""The columns of ``batch`` that a cohort reads."""
CLINICAL_COLUMNS: Final = (
    "pseudonym", "sex", "age", "visit_date", "height_cm", "weight_kg", "icd10", "albumin", "alt", "platelets",
    "followup_years", "status",
)  # fmt: skip


def write_sample_cohort(out: Path, *, preset: str, n: int | None, seed: int) -> int:
    """Write ``results.csv``, ``clinical.csv``, ``mapping.toml``, ``cohort.toml`` and ``truth.json``.

    Args:
        out: folder.
        preset: ``p0`` (the sizes of P0) or ``mixed``.
        n: people, where the preset has shares.
        seed: same seed, same bytes.

    Returns:
        number of people.

    Raises:
        SettingError: no such preset, or too few people.
        StorageError: the folder cannot be written.
    """
    counts = composition(preset, n)
    rng = np.random.default_rng(seed)
    extra = {k: round(FLAWED * v) for k, v in counts.items()}
    people = draw_people({k: v + extra[k] for k, v in counts.items()}, rng)
    sound = np.concatenate([np.arange(v + extra[k]) < v for k, v in counts.items()])
    shuffle = rng.permutation(len(people))
    sma = np.round(people.mean_sma + people.sd_sma * rng.normal(size=len(people)), 3)
    sma = np.maximum(sma, 25.0)
    limits = limits_of(*LOW_BY)
    low = sma / divisors(people)[LOW_BY[1]] < np.where(people.sex == "M", limits["M"], limits["F"])
    course = draw_course(people, low, rng)
    days = rng.integers(0, 3650, len(people))
    make_folder(out)
    studies = list(_studies(people, sound, sma, days, shuffle, rng))
    clinical = list(_clinical(people, course, days, shuffle, rng))
    truth = {
        "preset": preset,
        "seed": seed,
        "people": len(people),
        "people_with_usable_ct": int(sound.sum()),
        "studies": len(studies),
        "people_with_two_studies": len(studies) - len(people),
        "counts": {
            f"{name}:{sex}": int((has & sound & (people.sex == sex)).sum())
            for name, has in people.has.items()
            for sex in ("M", "F")
        },
        "people_with_two_diseases": int((np.sum([h for h in people.has.values()], axis=0) > 1).sum()),
        **truth_of(counts),
    }
    files = {
        "results.csv": csv_text(RESULT_COLUMNS, studies),
        "clinical.csv": csv_text(CLINICAL_COLUMNS, clinical),
        "truth.json": json.dumps(truth, ensure_ascii=False, indent=1) + "\n",
        "mapping.toml": packaged_text("sarcoscope.samples", "sample_mapping.toml"),
        "cohort.toml": packaged_text("sarcoscope.samples", "sample_cohort.toml"),
    }
    for name, text in files.items():
        write_bytes(out / name, text.encode())
    return len(people)


def _studies(
    people: People, sound: Any, sma: Any, days: Any, order: Any, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    n = len(people)
    second = rng.uniform(size=n)
    later = rng.integers(200, 1500, n)
    phase = rng.choice(_PHASES, n, p=_PHASE_SHARES)
    flaw = np.where(sound, "", rng.choice(_FLAWS, n, p=_FLAW_SHARES))
    phase = np.where(flaw == "arterial", "arterial", phase)
    kvp = np.where(flaw == "kvp", 140, rng.choice([120, 100], n, p=[0.87, 0.13]))
    thickness = rng.choice([5.0, 3.0, 2.5, 1.0], n, p=[0.6, 0.25, 0.1, 0.05])
    blank = rng.uniform(size=n)
    fluid = people.has["cirrhosis"] & (rng.uniform(size=n) < 0.15)
    noise, wobble = rng.normal(size=(n, 4)), rng.normal(size=n)
    percent = measurement_error("L3", "muscle").area_percent / 100
    for place, k in enumerate(order):
        flags = [f for f, is_so in (("ascites_suspected", fluid[k]), ("phase_unknown", phase[k] == "unknown"),
                                    ("level_confidence_low", flaw[k] == "level"),
                                    ("muscle_border_doubtful", flaw[k] == "border")) if is_so]  # fmt: skip
        missing = blank[k] < 0.01
        times = [(0, 0.0)]
        if second[k] < AGAIN:
            times.append((int(later[k]), float(wobble[k]) * WITHIN_SD))
        elif second[k] > 1 - SAME_DAY:
            times.append((0, float(wobble[k]) * WITHIN_SD / 3))
        for number, (after, change) in enumerate(times, start=1):
            area = max(float(sma[k]) + change - 0.9 * after / 365.25, 20.0)
            height = None if missing else float(people.height_cm[k])
            weight = None if missing else round(float(people.bmi[k]) * (people.height_cm[k] / 100) ** 2, 1)
            bmi = None if height is None or weight is None else weight / (height / 100) ** 2
            same_day = number == 2 and after == 0
            yield {
                "id": f"S{place:06d}-{number}",
                "person": f"P{place:06d}",
                "centre": "A" if k % 3 else "B",
                "date": (_START + timedelta(days=int(days[k]) + after)).isoformat(),
                "sex": people.sex[k],
                "age_years": round(float(people.age[k]) + after / 365.25, 1),
                "height_cm": height,
                "weight_kg": weight,
                "bmi": None if bmi is None else round(bmi, 4),
                "level": "L3",
                "protocol": "range",
                "slices": 6,
                "level_confidence": 0.55 if flaw[k] == "level" else 0.98,
                "level_complete": True,
                "muscle_area_cm2": round(area, 3),
                "muscle_area_error_cm2": round(area * percent, 3),
                "muscle_mean_hu": round(38 + 8 * float(noise[k, 0]), 2),
                "sat_area_cm2": round(max(150 + 50 * float(noise[k, 1]), 5), 3),
                "vat_area_cm2": round(max(110 + 50 * float(noise[k, 2]), 5), 3),
                "SMA": round(area, 6),
                "SMA_Ht2": None if height is None else round(area / (height / 100) ** 2, 6),
                "SMA_Wt": None if weight is None else round(area / weight, 6),
                "SMA_BMI": None if bmi is None else round(area / bmi, 6),
                "SMD": round(38 + 8 * float(noise[k, 0]), 2),
                "phase": "arterial" if same_day else phase[k],
                "kvp": int(kvp[k]),
                "kernel": "B60f" if flaw[k] == "kernel" else "B30f",
                "slice_thickness_mm": float(thickness[k]),
                "flags": " ".join(sorted(flags)),
                "version": "sample",
            }


def _clinical(
    people: People, course: Course, days: Any, order: Any, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    n = len(people)
    away, labs = rng.integers(-25, 60, n), rng.normal(size=(n, 3))
    cirrhosis = people.has["cirrhosis"]
    for place, k in enumerate(order):
        codes = [d.code for d in diseases() if people.has[d.name][k]]
        yield {
            "pseudonym": f"P{place:06d}",
            "sex": people.sex[k],
            "age": float(people.age[k]),
            "visit_date": (_START + timedelta(days=int(days[k] + away[k]))).isoformat(),
            "height_cm": float(people.height_cm[k]),
            "weight_kg": round(float(people.bmi[k]) * (people.height_cm[k] / 100) ** 2, 1),
            "icd10": ";".join(codes),
            "albumin": round(max(4.3 - 0.6 * cirrhosis[k] + 0.3 * float(labs[k, 0]), 1.5), 1),
            "alt": round(float(np.exp(3.2 + 0.5 * labs[k, 1]))),
            "platelets": round(max(230 - 100 * cirrhosis[k] + 45 * float(labs[k, 2]), 20)),
            "followup_years": float(course.years[k]),
            "status": int(course.status[k]),
        }
