"""``sarcoscope validate``: predictions against references, with the papers' tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import split_names
from sarcoscope.cli.console import progress_shown, writing_to
from sarcoscope.errors import SettingError
from sarcoscope.imaging.label_files import OUR_VALUES
from sarcoscope.validation.cases import ValidationOptions
from sarcoscope.validation.preview import preview
from sarcoscope.validation.runs import (
    merge_validations,
    validate_end_to_end,
    validate_levels,
    validate_masks,
    validate_repeat,
)
from sarcoscope.validation.summary import Table

app = typer.Typer(help="Predictions against references: report, tables and pictures.", no_args_is_help=True)
Out = Annotated[Path, typer.Option("--out", help="Folder of the report (made if missing).")]
Source = Annotated[Path, typer.Argument(metavar="TABLE", help="CSV of the cases.")]
Labels = Annotated[str, typer.Option(help="Values in the references, such as muscle=1,sat=2,vat=3.")]
FoundLabels = Annotated[str, typer.Option(help="Values in the predictions.")]
Flip = Annotated[str, typer.Option(help="Mirror the references in x, y or xy.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


@app.command("masks")
def masks_command(
    table: Source,
    out: Out,
    labels: Labels = "",
    found_labels: FoundLabels = "",
    flip: Flip = "",
    quiet: Quiet = False,
) -> None:
    """Tissue masks: columns case,person,prediction,reference[,image,centre,level,sex,age,bmi,phase,…]."""
    options = _options(labels, found_labels, flip)
    with writing_to(out), progress_shown(quiet) as progress:
        tables = validate_masks(table, out, options, progress)
    _print(tables, out)


@app.command("levels")
def levels_command(table: Source, out: Out, quiet: Quiet = False) -> None:
    """Levels: columns volume,person,reference,prediction (level tables), or case,… (single slices)."""
    with writing_to(out), progress_shown(quiet) as progress:
        tables = validate_levels(table, out, progress)
    _print(tables, out)


@app.command("end-to-end")
def end_to_end_command(table: Source, out: Out, quiet: Quiet = False) -> None:
    """CT in, area and class out: columns path,person,reference_area_cm2[,reference_class,sex,age,…]."""
    with writing_to(out), progress_shown(quiet) as progress:
        tables = validate_end_to_end(table, out, progress)
    _print(tables, out)


@app.command("repeat")
def repeat_command(table: Source, out: Out) -> None:
    """Two measurements of the same people: columns person,area_a,area_b."""
    with writing_to(out):
        tables = validate_repeat(table, out)
    _print(tables, out)


@app.command("merge")
def merge_command(
    sites: Annotated[list[Path], typer.Argument(help="Folders of 'validate masks', or their cases.csv.")],
    out: Out,
) -> None:
    """Join the tables of several sites; images need not travel."""
    with writing_to(out):
        tables = merge_validations(sites, out)
    _print(tables, out)


@app.command("preview")
def preview_command(
    table: Source, out: Out, labels: Labels = "", found_labels: FoundLabels = "", flip: Flip = ""
) -> None:
    """Look at foreign labels first: values, orientation, picture."""
    options = _options(labels, found_labels, flip)
    with writing_to(out):
        seen = preview(table, out / "preview.png", options)
    typer.echo(f"values in the references: {', '.join(map(str, seen.values))}")
    if seen.unnamed:
        typer.echo(f"not named (--labels) and left out: {', '.join(map(str, seen.unnamed))}")
    if seen.flip:
        typer.echo(f"the references fit better when mirrored: --flip {seen.flip}")
    typer.echo(f"picture: {seen.picture}")


def _options(labels: str, found_labels: str, flip: str) -> ValidationOptions:
    if set(flip) - set("xy"):
        raise SettingError("--flip is x, y or xy.")
    return ValidationOptions(label_values(found_labels), label_values(labels), flip)


def label_values(text: str) -> dict[str, int]:
    """Label map of ``name=value`` pairs; the empty text is ours.

    Raises:
        SettingError: a pair that is none, or an unknown tissue.
    """
    if not text:
        return dict(OUR_VALUES)
    values = {"background": 0}
    for pair in split_names(text):
        name, _, number = pair.partition("=")
        if name not in OUR_VALUES or not number.strip().isdecimal():
            raise SettingError(f"'{pair}' is no label; write muscle=1,sat=2,vat=3.")
        values[name] = int(number)
    return values


def _print(tables: Sequence[Table], out: Path) -> None:
    for table in tables:
        typer.echo(table.text() + "\n")
    typer.echo(f"report: {out / 'report.html'}")
