"""``sarcoscope link``: a clinical table joined to pseudonyms, every date moved with its patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import split_names
from sarcoscope.cli.console import tell
from sarcoscope.cli.identity import MappingOption, ProjectOption, known_mapping
from sarcoscope.deid.link import KEYS, LinkSettings, link_table


def link_command(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or XLSX with a heading row.")],
    out: Annotated[Path, typer.Option("--out", help="CSV to write.")],
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    key: Annotated[str, typer.Option(help=f"What rows are joined by: {', '.join(KEYS)}.")] = "patient_id",
    key_column: Annotated[str | None, typer.Option(help="Column of the key, if it has another name.")] = None,
    dates: Annotated[
        str | None, typer.Option(help="Date columns, such as drawn,seen (else those that hold dates).")
    ] = None,
    centre: Annotated[str, typer.Option(help="Only people of this hospital.")] = "",
    keep: Annotated[
        str, typer.Option(help="Columns to keep although their name sounds like an identifier.")
    ] = "",
) -> None:
    """Replace hospital numbers by pseudonyms and shift every date by its patient's offset."""
    names = tuple(split_names(dates)) if dates is not None else None
    settings = LinkSettings(key, key_column, names, centre, tuple(split_names(keep)))
    with known_mapping(mapping, project) as opened:
        report = link_table(table, opened, out, settings)
        opened.record("link", {"rows": report.rows, "linked": report.linked})
    tell(f"{report.linked} of {report.rows} rows were joined to {len(report.people)} people: {out}")
    if report.unmatched or report.ambiguous:
        beside = out.with_name(f"{out.name.removesuffix('.csv')}.unmatched.csv")
        tell(f"{report.unmatched} rows name nobody of the mapping, {report.ambiguous} name several: {beside}")
    tell(f"Dates shifted: {', '.join(report.date_columns) or 'none'}.")
    if report.doubtful_dates:
        tell(f"{report.doubtful_dates} cells of them are no dates and were emptied.")
    if report.without_zeros:
        tell(f"{report.without_zeros} rows were joined by their number without leading zeros: check them.")
    if report.named_cells:
        tell(f"{report.named_cells} cells held the patient's own name, number or birth date: emptied.")
    if report.dropped_columns:
        tell(f"Dropped as identifiers: {', '.join(report.dropped_columns)}.")
