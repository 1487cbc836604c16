"""``sarcoscope levels``: which slices belong to which vertebra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown
from sarcoscope.study import find_study_levels


def levels_command(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="DICOM folder, DICOM file, zip, or NIfTI file.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print series, levels and flags as JSON.")] = False,
    series_policy: Annotated[Path | None, typer.Option(help="File that says which series is read.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model in place of the one that ships (see 'models list').")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Find the vertebral level of every slice."""
    with progress_shown(quiet or as_json) as progress:
        answer = find_study_levels(
            source, series_policy=series_policy, models=tuple(model or ()), progress=progress
        )
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    typer.echo("level      slices        z (mm)              confidence  runner-up  complete")
    for row in reversed(answer["levels"]):
        slices = f"{row['index_low']}-{row['index_high']}"
        span = f"{row['z_mm_low']:.1f} to {row['z_mm_high']:.1f}"
        typer.echo(
            f"{row['level']:<10} {slices:<13} {span:<19} {row['confidence']:<11.2f} "
            f"{row['runner_up'] or '-':<10} {'yes' if row['complete'] else 'no'}"
        )
    for flag in answer["flags"]:
        typer.echo(f"{flag['severity']}: {flag['text']['en']}")
