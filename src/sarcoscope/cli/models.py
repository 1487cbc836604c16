"""``sarcoscope models``: the model packages of this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.errors import ModelError
from sarcoscope.models.package import load_package
from sarcoscope.models.registry import (
    add_package,
    card_text,
    find_package,
    package_folders,
    remove_package,
    shipped_folder,
    verify_package,
)

app = typer.Typer(help="Model packages: those that ship, and your own.", no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """List all model packages."""
    typer.echo(f"{'name':<26}{'version':<10}{'kind':<22}{'from':<9}licence")
    for folder in package_folders():
        origin = "shipped" if folder.parent == shipped_folder() else "own"
        try:
            p = load_package(folder)
        except ModelError as error:
            typer.echo(f"{folder.name:<26}{'-':<10}{'DAMAGED':<22}{origin:<9}{error}")
            continue
        typer.echo(f"{p.name:<26}{p.version:<10}{p.kind:<22}{origin:<9}{p.card.get('licence', '-')}")


@app.command("show")
def show_command(name: str) -> None:
    """Print a model's card."""
    typer.echo(card_text(find_package(name)))


@app.command("verify")
def verify_command(
    name: Annotated[str | None, typer.Argument(help="All when none is named.")] = None,
) -> None:
    """See that card, checksum and network of models hold together."""
    folders = [find_package(name).folder] if name else list(package_folders())
    damaged = []
    for folder in folders:
        try:
            package = verify_package(folder)
        except ModelError as error:
            damaged.append(folder.name)
            typer.echo(f"{folder.name}: {error}")
        else:
            typer.echo(f"{package.name}: sound ({package.sha256[:16]})")
    if damaged:
        raise ModelError(f"Not sound: {', '.join(damaged)}.")


@app.command("add")
def add_command(
    source: Annotated[Path, typer.Argument(help="Folder or zip with model.onnx and card.json.")],
) -> None:
    """Install a model package."""
    package = add_package(source)
    typer.echo(f"Model '{package.name}' {package.version} is installed: analyze ... --model {package.name}")


@app.command("remove")
def remove_command(name: str) -> None:
    """Remove one of your own model packages."""
    remove_package(name)
    typer.echo(f"Model '{name}' was removed.")
