"""``sarcoscope mapping``: further numbers of patients, and who used the mapping for what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import tell
from sarcoscope.cli.identity import MappingOption, ProjectOption, known_mapping
from sarcoscope.deid.link import add_person_ids

app = typer.Typer(help="The mapping of pseudonyms: add person IDs, show its audit log.", no_args_is_help=True)


@app.command("ids")
def ids_command(
    table: Annotated[Path, typer.Argument(help="CSV or XLSX with columns patient_id and person_id.")],
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    centre: Annotated[str, typer.Option(help="Only people of this hospital.")] = "",
) -> None:
    """Tell the mapping the person IDs of the hospital's data model, so that tables can be joined by them."""
    with known_mapping(mapping, project) as opened:
        added, unknown = add_person_ids(table, opened, centre)
        opened.record("ids", {"added": added, "unknown": unknown})
    tell(f"{added} person IDs were added; {unknown} rows name nobody of the mapping or several people.")


@app.command("log")
def log_command(mapping: MappingOption = None, project: ProjectOption = "default") -> None:
    """Who used the mapping for what, oldest first."""
    with known_mapping(mapping, project) as opened:
        for entry in opened.audit():
            details = ", ".join(f"{k} {v}" for k, v in entry.items() if k not in ("time", "who", "what"))
            typer.echo(f"{entry['time']}  {entry['who']}  {entry['what']}  {details}")
