"""Run a recipe on a manifest: label check, split by person, training, scores, package, report."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sarcoscope.errors import InputError
from sarcoscope.progress import Progress
from sarcoscope.training.fitting import Fit, Place, find_place, fit
from sarcoscope.training.label_check import CheckedData, check_manifest
from sarcoscope.training.manifest import LabelOptions, SliceCase
from sarcoscope.training.recipe import AUGMENTATIONS, RecipeSettings
from sarcoscope.training.recipe_export import export_recipe
from sarcoscope.training.recipe_scores import (
    TableRow,
    beside_paper,
    l3_scores,
    level_scores,
    own_values,
    table_text,
    tissue_scores,
)
from sarcoscope.training.tasks import TASKS, SliceTask

_SCORES = {"tissue-unet": tissue_scores, "level-efficientnetv2m": level_scores, "l3-resnet50": l3_scores}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a recipe gave."""

    package: Path | None
    """Folder of the model package; None in a process that only helps (torchrun)."""
    tables: tuple[TableRow, ...]
    report: str


def checked_data(manifest: Path, settings: RecipeSettings) -> CheckedData:
    """Load and check the data of a recipe.

    Raises:
        InputError: the manifest cannot be read, or the check found what forbids training (with the table).
    """
    options = LabelOptions(settings.label_values, settings.png_window_hu, settings.flip_masks)
    masks = settings.recipe == "tissue-unet"
    data = check_manifest(manifest, options, needs_mask=masks, needs_level=not masks)
    if not data.sound:
        raise InputError(f"The label check found what forbids training:\n{data.table()}")
    if len({c.person for c in data.cases}) < 2:
        raise InputError("Training needs slices of two people or more, so that one can be held out.")
    return data


def split_cases(
    cases: Sequence[SliceCase], settings: RecipeSettings
) -> tuple[list[SliceCase], list[SliceCase], list[SliceCase]]:
    """(train, validation, test) by the manifest's split, or by dealing persons with the recipe's seed."""
    if any(c.split for c in cases):
        parts = {s: [c for c in cases if (c.split or "train") == s] for s in ("train", "validation", "test")}
        if parts["train"] and parts["validation"]:
            return parts["train"], parts["validation"], parts["test"]
        rest = parts["train"] + parts["validation"]
        train, validation = _dealt(rest, settings)
        return train, validation, parts["test"]
    train, validation = _dealt(cases, settings)
    return train, validation, []


def _dealt(cases: Sequence[SliceCase], settings: RecipeSettings) -> tuple[list[SliceCase], list[SliceCase]]:
    persons = sorted({c.person for c in cases})
    count = min(max(round(settings.validation_share * len(persons)), 1), len(persons) - 1)
    chosen = set(np.random.default_rng(settings.seed).permutation(persons)[:count])
    return [c for c in cases if c.person not in chosen], [c for c in cases if c.person in chosen]


def person_folds(cases: Sequence[SliceCase], count: int, seed: int) -> list[set[str]]:
    """Persons in ``count`` groups of about equal size."""
    persons = np.random.default_rng(seed).permutation(sorted({c.person for c in cases}))
    return [set(map(str, persons[k::count])) for k in range(min(count, len(persons)))]


def score(network: nn.Module, task: SliceTask, cases: Sequence[SliceCase]) -> list[dict[str, Any]]:
    """Scores of every case, as the recipe's paper reports them."""
    return _SCORES[task.settings.recipe](network, task, cases)


def run(
    manifest: Path,
    out: Path,
    settings: RecipeSettings,
    *,
    ablation: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train a recipe and write package, history, scores and report into ``out``.

    Args:
        manifest: CSV of the data.
        out: output folder; a checkpoint in it is gone on from.
        settings: of the recipe.
        ablation: also train once with every other augmentation and report them side by side.
        progress: hears ("train", fraction).

    Raises:
        InputError: the data forbids training.
        SettingError: a setting, or a checkpoint of other settings.
    """
    place = find_place()
    data = checked_data(manifest, settings)
    if place.leads:
        out.mkdir(parents=True, exist_ok=True)
        (out / "label_check.txt").write_text(data.table() + "\n", encoding="utf-8")
    train, validation, test = split_cases(data.cases, settings)
    network, state, rows = _trained(train, validation, test, settings, out, place, progress)
    # every process takes part in every training; the leading one alone reports
    more = []
    if settings.folds > 1:
        more.append(_cross_validated(data.cases, settings, out, place, progress))
    if ablation:
        more.append(_ablation(train, validation, test, settings, out, place, progress))
    if not place.leads:
        return Outcome(None, (), "")
    tables = beside_paper(settings.recipe, own_values(settings, rows) | _losses(settings, state))
    facts = _facts(train, validation, test, state)
    figures = {f"{t.table}: {t.row}": t.own for t in tables if t.own != "-"}
    export_recipe(network, settings, out / "package", facts, figures)
    write_rows(out / "scores.csv", rows)
    parts = [_head(settings, facts, bool(test)), table_text(tables)]
    for name, own in _per_centre(settings, rows).items():
        parts += [f"\nCentre {name}", table_text(beside_paper(settings.recipe, own))]
    report = "\n".join([*parts, *more]) + "\n"
    (out / "report.txt").write_text(report, encoding="utf-8")
    return Outcome(out / "package", tuple(tables), report)


def _trained(
    train: Sequence[SliceCase],
    validation: Sequence[SliceCase],
    test: Sequence[SliceCase],
    settings: RecipeSettings,
    out: Path,
    place: Place,
    progress: Progress | None,
) -> tuple[nn.Module, Fit, list[dict[str, Any]]]:
    task = TASKS[settings.recipe](train, validation, settings)
    network, state = fit(task, settings, out, place=place, progress=progress)
    rows = score(network, task, list(test) or list(validation)) if place.leads else []
    return network, state, rows


def _losses(settings: RecipeSettings, state: Fit) -> dict[tuple[str, str], str]:
    best = state.history[state.best_epoch - 1]
    return {("summary", "val_loss"): f"{best['val_loss']:.4f}",
            ("summary", "val_accuracy"): f"{best['val_accuracy']:.4f}"}  # fmt: skip


def _facts(
    train: Sequence[SliceCase], validation: Sequence[SliceCase], test: Sequence[SliceCase], state: Fit
) -> dict[str, Any]:
    sides = {"train": train, "validation": validation, "test": test}
    return {
        "slices": {k: len(v) for k, v in sides.items()},
        "persons": {k: len({c.person for c in v}) for k, v in sides.items()},
        "centres": len({c.centre for c in train}),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
    }


def _head(settings: RecipeSettings, facts: Mapping[str, Any], tested: bool) -> str:
    on = "the test slices" if tested else "the validation slices (no test split was given)"
    return (
        f"{settings.recipe}: {settings.network}, {facts['epochs']} epochs, best {facts['best_epoch']}\n"
        f"slices {json.dumps(facts['slices'])}, persons {json.dumps(facts['persons'])}\n"
        f"Own values are of {on}; the paper's are of its own data and not comparable case by case.\n"
    )


def _per_centre(
    settings: RecipeSettings, rows: Sequence[dict[str, Any]]
) -> dict[str, dict[tuple[str, str], str]]:
    centres = sorted({r["centre"] for r in rows})
    if len(centres) < 2:
        return {}
    return {c or "(none)": own_values(settings, [r for r in rows if r["centre"] == c]) for c in centres}


def _cross_validated(
    cases: Sequence[SliceCase], settings: RecipeSettings, out: Path, place: Place, progress: Progress | None
) -> str:
    """Train once a fold without its persons; scores of all folds together."""
    rows: list[dict[str, Any]] = []
    for k, held in enumerate(person_folds(cases, settings.folds, settings.seed)):
        rest, fold = [c for c in cases if c.person not in held], [c for c in cases if c.person in held]
        train, validation = _dealt(rest, settings)
        rows += _trained(train, validation, fold, settings, out / f"fold_{k}", place, progress)[2]
    if not place.leads:
        return ""
    write_rows(out / "scores_folds.csv", rows)
    tables = beside_paper(settings.recipe, own_values(settings, rows))
    return f"\nCross-validation by person, {settings.folds} folds, all cases\n{table_text(tables)}"


def _ablation(
    train: Sequence[SliceCase],
    validation: Sequence[SliceCase],
    test: Sequence[SliceCase],
    settings: RecipeSettings,
    out: Path,
    place: Place,
    progress: Progress | None,
) -> str:
    """The same training with every kind of augmentation."""
    lines = ["\nAblation of the augmentation (same data, split and seed)",
             f"{'augmentation':<14}{'best epoch':>11}{'val_loss':>10}{'val_accuracy':>14}"]  # fmt: skip
    for kind in AUGMENTATIONS:
        changed = settings.changed(augmentation=kind)
        folder = out if kind == settings.augmentation else out / f"ablation_{kind}"
        _, state, _ = _trained(train, validation, test, changed, folder, place, progress)
        best = state.history[state.best_epoch - 1]
        lines.append(
            f"{kind:<14}{state.best_epoch:>11}{best['val_loss']:>10.4f}{best['val_accuracy']:>14.4f}"
        )
    return "\n".join(lines)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV (nothing without a row)."""
    if rows:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
