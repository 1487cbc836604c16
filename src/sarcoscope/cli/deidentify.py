"""``sarcoscope deidentify``: DICOM in, DICOM without identity out; the mapping stays here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sarcoscope.cli.console import progress_shown, stderr, tell
from sarcoscope.cli.identity import OPTION_HELP, MappingOption, ProjectOption, chosen_profile, mapping_path
from sarcoscope.deid.folder import Choices, DeidReport, StudyReport, deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.quarantine import quarantine_texts
from sarcoscope.language.catalogue import check_language
from sarcoscope.study.faces import head_and_neck


def deidentify_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="DICOM folder, file or zip.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the de-identified copies.")],
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    centre: Annotated[
        str, typer.Option(help="Hospital: the same number elsewhere is another person.")
    ] = "local",
    issuer: Annotated[str | None, typer.Option(help="Issuer of the patient IDs.")] = None,
    option: Annotated[list[str] | None, typer.Option(help=OPTION_HELP)] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave out: clean-descriptors or retain-patient-characteristics."),
    ] = None,
    dates: Annotated[str, typer.Option(help="modified (one shift a patient), full or remove.")] = "modified",
    quarantine: Annotated[
        Path | None, typer.Option(help="Folder for the originals of what is set aside (holds identities).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing, say what would be done.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    lang: Annotated[str, typer.Option(help="Language of the reasons: en or ko.")] = "en",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> None:
    """Remove identity by PS3.15 Annex E; pseudonyms, dates and UIDs stay consistent through the mapping."""
    check_language(lang)
    profile = chosen_profile(option or [], without or [], dates)
    choices = Choices(profile, centre, issuer, quarantine, dry_run, head_and_neck)
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        # A plan must not leave pseudonyms behind.
        place = Path(temporary) / "plan.sqlite" if dry_run else mapping_path(mapping, project)
        with FileMapping(place, project=project) as opened, progress_shown(quiet) as progress:
            report = deidentify_folder(source, out, opened, choices, progress)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=1))
    elif not quiet:
        _show(report, lang, plan=dry_run)
        if not dry_run:
            tell(f"{out}: {report.written} images, report.json.")
            tell(f"Who is who: {place} (keep it, and its key, safe).")


def _show(report: DeidReport, lang: str, *, plan: bool) -> None:
    for study in report.studies:
        images = sum(study.series.values())
        head = "would be" if plan else "is"
        tell(f"A study of {len(study.series)} series and {images} images {head} {study.pseudonym}.")
        stderr.print(_table(study))
        if study.suspected_text:
            tell(f"  Letters may stand in {study.suspected_text} of its pictures: look at them.")
    for reason, count in sorted(report.quarantined.items()):
        tell(f"Set aside: {count} files. {quarantine_texts()[reason][lang]}")
    if report.other_files:
        tell(f"{report.other_files} files are no DICOM images and were passed over.")


def _table(study: StudyReport) -> Table:
    table = Table("Attribute", "Name", "Done", "Why", box=None, pad_edge=True)
    shown = {(c.tag, c.name, c.action, c.reason) for c in study.changes if c.reason != "not in Table E.1-1"}
    for tag, name, action, reason in sorted(shown):
        table.add_row(f"({tag[:4]},{tag[4:]})", name, action, reason.replace("_", " "))
    kept = {c.tag for c in study.changes if c.reason == "not in Table E.1-1"}
    table.add_row("", f"{len(kept)} others", "kept", "not in Table E.1-1")
    return table
