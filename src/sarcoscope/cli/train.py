"""``sarcoscope train``: the papers' recipes on one's own data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown, writing_to
from sarcoscope.errors import SettingError


def train_command(
    recipe: Annotated[str, typer.Argument(help="tissue-unet, level-efficientnetv2m or l3-resnet50.")],
    data: Annotated[
        Path | None, typer.Option(help="Manifest: CSV image,mask,level,person,centre,split.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the training (resumed if it has begun).")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="TOML file over the recipe's own settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value over both; may be repeated.")
    ] = None,
    search: Annotated[
        int, typer.Option("--search", help="l3-resnet50: trials of the search in every fold.")
    ] = 0,
    ablation: Annotated[bool, typer.Option(help="Also train with every other kind of augmentation.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the labels.")] = False,
    show: Annotated[bool, typer.Option("--show-settings", help="Print the recipe's settings file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a recipe on your own data; makes a model package for ``analyze --model``."""
    from sarcoscope.training.recipe import load_recipe, recipe_text

    if show:
        typer.echo(recipe_text(recipe), nl=False)
        return
    chosen = load_recipe(recipe, settings, set_ or ())
    if data is None:
        raise SettingError("Say with --data where the manifest of the training data is.")
    if importlib.util.find_spec("torch") is None:
        raise SettingError("Training needs PyTorch: install Sarcoscope with its 'train' extra.")
    from sarcoscope.training.run_recipe import checked_data, run

    if check:
        found = checked_data(data, chosen)
        typer.echo(found.table() or "no findings")
        typer.echo(
            f"{len(found.cases)} slices of {len({c.person for c in found.cases})} people can be trained with."
        )
        return
    if out is None:
        raise SettingError("Say with --out where the training is kept.")
    if search and recipe != "l3-resnet50":
        raise SettingError("--search belongs to the recipe l3-resnet50.")
    with writing_to(out), progress_shown(quiet) as progress:
        if search:
            from sarcoscope.training.search import run_search

            outcome = run_search(data, out, chosen, search, progress)
        else:
            outcome = run(data, out, chosen, ablation=ablation, progress=progress)
    if outcome.report:
        typer.echo(outcome.report, nl=False)
    if outcome.package is not None:
        typer.echo(f"\nModel package: {outcome.package}  (sarcoscope models add {outcome.package})")
