"""``sarcoscope explain``: why a level was named as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import level_name
from sarcoscope.cli.console import progress_shown
from sarcoscope.study.explain import explain


def explain_command(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="DICOM folder, DICOM file, zip, or NIfTI.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures (made if missing).")],
    model: Annotated[str | None, typer.Option(help="A slice classifier whose Grad-CAM is shown.")] = None,
    slice_index: Annotated[int | None, typer.Option("--slice", help="Slice of the Grad-CAM.")] = None,
    level: Annotated[str | None, typer.Option(help="Level class of the Grad-CAM.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Show disc borders, runner-up numbering and, with a slice classifier, its Grad-CAM."""
    wanted = level_name(level) if level else None
    with progress_shown(quiet) as progress:
        shown = explain(source, out, model=model, index=slice_index, level=wanted, progress=progress)
    for sentence in shown.sentences:
        typer.echo(sentence)
    for path in shown.files:
        typer.echo(f"{path}")
