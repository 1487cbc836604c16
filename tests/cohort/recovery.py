"""Does a study of a synthetic cohort find the truth it was made from? Shared by the tests and the soak."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from sarcoscope.cohort.assemble import assemble
from sarcoscope.cohort.definition import read_definition
from sarcoscope.cohort.outcome import follow
from sarcoscope.cohort.prevalence import classify_all, prevalences
from sarcoscope.diagnosis import find_sets
from sarcoscope.samples.population_files import write_sample_cohort
from tests.cohort.make import changed

PEOPLE = 2500
RATIOS = {"low_muscle": "low_muscle", "age_years_10": "age_10", "male": "male", "cirrhosis": "cirrhosis"}


def recovered(folder: Path, seed: int, people: int = PEOPLE) -> dict[str, bool]:
    """For one cohort: quantity -> does its 95 % interval hold the truth?"""
    write_sample_cohort(folder, preset="mixed", n=people, seed=seed)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    definition = read_definition(folder / "cohort.toml")
    outcome = definition.outcome.model_copy(update={"spline": "", "landmarks": (), "cutpoint": ""})
    definition = changed(definition.model_copy(update={"outcome": outcome}), "analysis", decades=(30, 70))
    cohort = assemble(definition, folder)
    sets = find_sets(("p0", "kim2021"))
    found: dict[str, bool] = {}
    for row in prevalences(cohort, classify_all(cohort, sets)):
        key, group = f"{row['reference']}:{row['index']}", f"{row['group']}:{row['sex']}"
        if row["decade"] == "all" and group in truth["prevalence_class_2"][key]:
            true = truth["prevalence_class_2"][key][group]["all"]
            found[f"prevalence {key} {group}"] = row["prevalence_low"] <= true <= row["prevalence_high"]
    for row in follow(cohort, outcome, sets).models:
        if row["model"] == "adjusted" and row["term"] in RATIOS:
            true = truth["hazard_ratios"][RATIOS[row["term"]]]
            found[f"hazard ratio {row['term']}"] = row["low"] <= true <= row["high"]
    return found


def coverage(folder: Path, runs: int, seed: int) -> tuple[Counter[str], int]:
    """(quantity -> runs whose interval held the truth, runs)."""
    held: Counter[str] = Counter()
    for k in range(runs):
        held.update(name for name, good in recovered(folder / "cohort", seed + k).items() if good)
    return held, runs
