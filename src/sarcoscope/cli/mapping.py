"""``sarcoscope mapping``: further numbers of patients, and who used the mapping for what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import tell
from sarcoscope.cli.deidentify import mapping_path
from sarcoscope.deid.link import add_person_ids
from sarcoscope.deid.mapping import FileMapping

app = typer.Typer(help="The mapping of pseudonyms: add person IDs, show its audit log.", no_args_is_help=True)
MappingOption = Annotated[Path | None, typer.Option(help="Mapping that 'deidentify' wrote.")]
ProjectOption = Annotated[str, typer.Option(help="Project of the mapping.")]


@app.command("ids")
def ids_command(
    table: Annotated[Path, typer.Argument(help="CSV or XLSX with columns patient_id and person_id.")],
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    centre: Annotated[str, typer.Option(help="Only people of this hospital.")] = "",
) -> None:
    """Tell the mapping the person IDs of the hospital's data model, so that tables can be joined by them."""
    with FileMapping(mapping_path(mapping, project), project=project, create=False) as opened:
        added, unknown = add_person_ids(table, opened, centre)
        opened.record("ids", {"added": added, "unknown": unknown})
    tell(f"{added} person IDs were added; {unknown} rows name nobody of the mapping or several people.")


@app.command("log")
def log_command(mapping: MappingOption = None, project: ProjectOption = "default") -> None:
    """Who used the mapping for what, oldest first."""
    with FileMapping(mapping_path(mapping, project), project=project, create=False) as opened:
        for entry in opened.audit():
            details = ", ".join(f"{k} {v}" for k, v in entry.items() if k not in ("time", "who", "what"))
            typer.echo(f"{entry['time']}  {entry['who']}  {entry['what']}  {details}")
