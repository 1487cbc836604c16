"""``sarcoscope reference``: the reference sets, and one's own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import level_name
from sarcoscope.diagnosis import ReferenceSet, find_sets, shipped_sets
from sarcoscope.diagnosis.own import OwnOptions, build_reference, own_sets, remove_reference, save_reference
from sarcoscope.errors import SettingError, StorageError

app = typer.Typer(help="Reference sets: limits and populations, and your own.", no_args_is_help=True)
COLUMNS = ("index", "level", "sex", "age", "bmi", "kind", "limit", "mean", "sd")


@app.command("list")
def list_command() -> None:
    """List all sets."""
    typer.echo(f"{'name':<20}{'levels':<16}{'indices':<34}{'checked':<9}title")
    for s in (*shipped_sets(), *own_sets()):
        mark = "default" if s.default else ("own" if s.own else ("yes" if s.verified else "NO"))
        typer.echo(f"{s.name:<20}{','.join(s.levels):<16}{','.join(s.indices):<34}{mark:<9}{_title(s)}")


@app.command("show")
def show_command(name: str) -> None:
    """Show what a set was made for, its numbers and its source."""
    (s,) = find_sets((name,), own_sets())
    band = f"{s.hu_band[0]}..{s.hu_band[1]}" if s.hu_band else None
    facts = (
        ("title", _title(s)),
        ("source", s.source),
        ("certainty", s.certainty if s.verified else f"{s.certainty} (not checked against the source)"),
        ("protocol", s.protocol),
        ("phase", s.phase),
        ("population", s.population["en"] if s.population else None),
        ("HU band", band),
        ("muscles", s.muscle_set),
        ("operator", s.operator),
        ("note", s.note or "-"),
    )
    for what, fact in facts:
        typer.echo(f"{what:<12}{fact or 'unknown'}")
    typer.echo(_line(COLUMNS))
    for row in _rows(s):
        typer.echo(_line(row))


@app.command("add")
def add_command(
    table: Annotated[Path, typer.Argument(help="CSV: sex, age, and index columns or sma_cm2, height_cm …")],
    name: Annotated[str | None, typer.Option(help="Name of the set; the file's name by default.")] = None,
    young: Annotated[str, typer.Option(help="Ages that count, such as 20-44.")] = "20-44",
    level: Annotated[str, typer.Option(help="Level of the values.")] = "L3",
    protocol: Annotated[str, typer.Option(help="Slice protocol of the values.")] = "range",
    phase: Annotated[str | None, typer.Option(help="Contrast phase of the scans.")] = None,
    title: Annotated[str, typer.Option(help="Title on reports.")] = "",
) -> None:
    """Build your own young reference from a table of healthy people."""
    options = OwnOptions(
        name=name or table.stem.lower().replace(" ", "_"),
        young=_ages(young),
        level=level_name(level),
        protocol=protocol,
        phase=phase,
        title=title,
    )
    reference, notes = build_reference(table, options)
    save_reference(reference)
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"Reference set '{reference.name}' is ready: analyze … --reference {reference.name}")


@app.command("remove")
def remove_command(name: str) -> None:
    """Remove one of your own sets."""
    remove_reference(name)
    typer.echo(f"Reference set '{name}' was removed.")


@app.command("export")
def export_command(name: str, out: Annotated[Path, typer.Option("--out", help="CSV file to write.")]) -> None:
    """Write the numbers of a set as CSV."""
    (s,) = find_sets((name,), own_sets())
    try:
        with out.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_rows(s))
    except OSError as error:
        raise StorageError(f"'{out.name}' could not be written: {error.strerror}.") from error
    typer.echo(f"{out}")


def _line(cells: Sequence[str]) -> str:
    widths = (20 if name == "kind" else 8 for name in COLUMNS)
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _title(s: ReferenceSet) -> str:
    return s.title.replace(" ({stratum})", "")


def _rows(s: ReferenceSet) -> list[list[str]]:
    def span(low: float | None, high: float | None) -> str:
        if low is None and high is None:
            return "any"
        return f"{'' if low is None else f'{low:g}'}-{'' if high is None else f'<{high:g}'}"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    return [
        [
            r.index,
            r.level,
            r.sex or "both",
            span(r.ages.low, r.ages.high),
            span(r.bmis.low, r.bmis.high),
            r.kind,
            number(r.limit),
            number(r.mean),
            number(r.sd),
        ]
        for r in s.rows
    ]


def _ages(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        if dash:
            return float(low), float(high)
    except ValueError:
        pass
    raise SettingError(f"'{text}' is no range of ages; write it as 20-44.")
