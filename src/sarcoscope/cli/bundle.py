"""``sarcoscope bundle``: give de-identified data to others, and know who has it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import split_names
from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.deid.sharing import (
    LEAST_CELL,
    Terms,
    ledger_csv,
    ledger_path,
    make_bundle,
    mark_destroyed,
    open_bundle,
    read_ledger,
    small_cells,
)
from sarcoscope.errors import InputError

app = typer.Typer(
    help="Bundles of de-identified data: make, open, ledger, check tables.", no_args_is_help=True
)
LedgerOption = Annotated[Path | None, typer.Option(help="Ledger file (by default in your data folder).")]


def _ledger(given: Path | None) -> Path:
    return given or ledger_path()


@app.command("make")
def make_command(
    source: Annotated[Path, typer.Argument(help="Folder with de-identified studies and results.")],
    out: Annotated[Path, typer.Option("--out", help="Zip to write.")],
    purpose: Annotated[str, typer.Option(help="What it may be used for.")],
    recipient: Annotated[str, typer.Option(help="Who gets it.")],
    approval: Annotated[str, typer.Option(help="Number of the ethics approval.")],
    expires: Annotated[str, typer.Option(help="Day by which it is destroyed, YYYY-MM-DD.")],
    ledger: LedgerOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Pack a folder after seeing that no DICOM file in it holds an identity."""
    terms = Terms(purpose, recipient, approval, expires)
    with progress_shown(quiet) as progress:
        entry = make_bundle(source, out, terms, _ledger(ledger), progress)
    tell(f"{out}: bundle {entry['id']}, {entry['files']} files, {entry['people']} people.")


@app.command("open")
def open_command(
    bundle: Annotated[Path, typer.Argument(help="Zip that 'bundle make' wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for its content.")],
) -> None:
    """Unpack a bundle whose every file is what its manifest says."""
    manifest = open_bundle(bundle, out)
    terms = manifest["terms"]
    tell(f"{out}: {len(manifest['files'])} files of {manifest['people']} people.")
    tell(f"Purpose: {terms['purpose']}. Approval: {terms['approval']}. Destroy by {terms['expires']}.")


@app.command("ledger")
def ledger_command(
    ledger: LedgerOption = None,
    destroyed: Annotated[str | None, typer.Option(help="Write down that this bundle was destroyed.")] = None,
) -> None:
    """What was given to whom, and when it is to be destroyed (CSV on standard output)."""
    if destroyed is not None:
        mark_destroyed(_ledger(ledger), destroyed)
    entries = read_ledger(_ledger(ledger))
    typer.echo(ledger_csv(entries), nl=False)
    today = datetime.now(UTC).date().isoformat()
    late = [e["id"] for e in entries if not e.get("destroyed") and e["terms"]["expires"] < today]
    if late:
        tell(f"To be destroyed by now, and not reported so: {', '.join(late)}.")


@app.command("check-table")
def check_table_command(
    table: Annotated[Path, typer.Argument(help="CSV or XLSX that is to be shared.")],
    columns: Annotated[str, typer.Option(help="What people could be recognised by, such as sex,decade.")],
    least: Annotated[int, typer.Option(help="Smallest group allowed.")] = LEAST_CELL,
) -> None:
    """Find groups of people so small that they may be recognised."""
    names = split_names(columns)
    small = small_cells(table, names, least)
    for cell, count in small.items():
        typer.echo(f"{count}  " + ", ".join(f"{n}={v}" for n, v in zip(names, cell, strict=True)))
    if small:
        raise InputError(f"{len(small)} groups have fewer than {least} people: join or leave some out.")
    tell(f"Every group has at least {least} people.")
