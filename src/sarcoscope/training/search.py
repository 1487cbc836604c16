"""P3's search: seven design variables by Bayesian optimisation, objective 1/F1, five folds by person.

For every outer fold the search sees the other persons only: it trains on most of them and looks at the F1 of
the rest. The fold itself is scored once, with the variables found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from sarcoscope.errors import SettingError
from sarcoscope.progress import Progress
from sarcoscope.training.fitting import find_place, fit
from sarcoscope.training.manifest import SliceCase
from sarcoscope.training.recipe import RecipeSettings
from sarcoscope.training.recipe_scores import beside_paper, f1_score, l3_scores, own_values, table_text
from sarcoscope.training.run_recipe import Outcome, checked_data, person_folds, split_cases, write_rows
from sarcoscope.training.tasks import L3Task

_WORST_F1 = 1e-3


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    """P3's seven variables and their ranges."""
    return {
        "l2": trial.suggest_float("l2", 1e-5, 1e-2, log=True),
        "rate": trial.suggest_float("rate", 1e-5, 1e-2, log=True),
        "batch": trial.suggest_int("batch", 16, 64, step=16),
        "clip_threshold": trial.suggest_float("clip_threshold", 1.0, 6.0),
        "clip_method": trial.suggest_categorical("clip_method", ["l2norm", "global-l2norm"]),
        "oversample": trial.suggest_float("oversample", 0.0, 0.25),
        "class_weight": trial.suggest_float("class_weight", 0.0, 1.0),
    }


def search_fold(
    cases: Sequence[SliceCase], settings: RecipeSettings, trials: int, out: Path, told: Callable[[], None]
) -> dict[str, Any]:
    """The best variables on the persons of ``cases``; trials that were done before are not done again."""
    train, validation, _ = split_cases([_unsplit(c) for c in cases], settings)
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'search.db'}",
        study_name="l3",
        sampler=optuna.samplers.GPSampler(seed=settings.seed, n_startup_trials=min(10, max(trials // 2, 1))),
        load_if_exists=True,
    )

    def objective(trial: optuna.Trial) -> float:
        chosen = settings.changed(**suggested(trial))
        task = L3Task(train, validation, chosen)
        try:
            network, _ = fit(task, chosen, out / f"trial_{trial.number}", place=find_place())
        except SettingError:  # ran away: as bad as can be
            return 1.0 / _WORST_F1
        finally:
            told()
        return 1.0 / max(f1_score(l3_scores(network, task, validation)), _WORST_F1)

    done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    study.optimize(objective, n_trials=max(trials - len(done), 0))
    write_rows(
        out / "trials.csv",
        [{"trial": t.number, "objective": t.value, **t.params} for t in study.trials if t.params],
    )
    return dict(study.best_params)


def run_search(
    manifest: Path, out: Path, settings: RecipeSettings, trials: int, progress: Progress | None = None
) -> Outcome:
    """Search, train and score every outer fold; the report has the paper's figures beside the own ones.

    Raises:
        InputError: the data forbids training.
    """
    data = checked_data(manifest, settings)
    folds = person_folds(data.cases, max(settings.folds, 2), settings.seed)
    rows: list[dict[str, Any]] = []
    lines, steps, done = [], len(folds) * (trials + 1), 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("search", done / steps)

    for k, held in enumerate(folds):
        inner, fold = ([c for c in data.cases if (c.person in held) == side] for side in (False, True))
        best = search_fold(inner, settings, trials, out / f"fold_{k}", told)
        chosen = settings.changed(**best)
        train, validation, _ = split_cases([_unsplit(c) for c in inner], chosen)
        task = L3Task(train, validation, chosen)
        network, _ = fit(task, chosen, out / f"fold_{k}" / "best", place=find_place())
        told()
        rows += l3_scores(network, task, fold)
        lines.append(f"fold {k}: {len(held)} persons, best {json.dumps(best)}")
    write_rows(out / "scores_folds.csv", rows)
    tables = beside_paper(settings.recipe, own_values(settings, rows))
    head = f"{settings.recipe} --search: {len(folds)} folds by person, {trials} trials; none saw its fold"
    report = "\n".join([head, *lines, "", table_text(tables)]) + "\n"
    (out / "report_search.txt").write_text(report, encoding="utf-8")
    return Outcome(None, tuple(tables), report)


def _unsplit(case: SliceCase) -> SliceCase:
    """The case without the manifest's split: folds by person take its place."""
    return SliceCase(case.name, case.person, case.centre, "", case.level, case.hu, case.mask, case.spacing_mm)
