"""``sarcoscope cohort``: clinical tables in, a cohort study out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.choices import split_names
from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.diagnosis.own import save_reference
from sarcoscope.errors import SettingError
from sarcoscope.language.catalogue import check_language, say

# The statistics and the figures take half a second to load, which every other command can save.
if TYPE_CHECKING:
    from sarcoscope.cohort import Cohort

app = typer.Typer(help="Cohort studies: import, check, run, own reference.", no_args_is_help=True)
CohortFile = Annotated[Path, typer.Argument(metavar="COHORT_FILE", help="TOML or JSON (see docs/cohort.md).")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for everything.")]
Language = Annotated[str, typer.Option(help="en or ko.")]


@app.command("import")
def import_command(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV or XLSX, by pseudonym.")],
    out: OutFolder,
    mapping: Annotated[Path | None, typer.Option(help="Confirmed mapping of the columns.")] = None,
    results: Annotated[Path | None, typer.Option(help="results.csv, to show who has a CT.")] = None,
) -> None:
    """Without a mapping: suggest one. With it: check every row, then write table, dictionary and preview."""
    from sarcoscope.cohort.import_files import import_table, suggest_mapping

    if mapping is None:
        path = suggest_mapping(table, out)
        tell(f"{path}: check every line, say confirmed = true, then import again with --mapping {path}.")
        return
    done = import_table(table, mapping, out, results)
    tell(f"{done.rows} rows of {done.people} people were imported: {out / 'clinical.csv'}, dictionary.csv.")
    if done.matched is not None:
        tell(f"{done.matched} people have a CT; days between CT and values: {done.days}. See matches.csv.")
    for sentence in done.warnings:
        tell(sentence)


@app.command("check")
def check_command(cohort_file: CohortFile, lang: Language = "en") -> None:
    """Carry out the cohort file and tell its people and its warnings; nothing is written."""
    from sarcoscope.cohort import do_study, read_definition

    check_language(lang)
    study = do_study(read_definition(cohort_file), cohort_file.parent)
    _tell_people(study.cohort, lang)
    for note in study.notes[len(study.cohort.notes) :]:
        tell(f"! {say(note.code, lang, note.values)}")


@app.command("run")
def run_command(
    cohort_file: CohortFile,
    out: OutFolder,
    lang: Language = "en",
    formats: Annotated[str, typer.Option(help="Formats of the figures.")] = "png,svg,pdf",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Do the whole study: tables, figures, report, manifest."""
    from sarcoscope.cohort.run import run_cohort

    kinds = split_names(formats)
    with progress_shown(quiet) as progress:
        study = run_cohort(cohort_file, out, language=lang, formats=kinds, progress=progress)
    if not quiet:
        _tell_people(study.cohort, lang)
    typer.echo(f"{out / 'report.html'}")


@app.command("reference")
def reference_command(
    cohort_file: CohortFile,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the file here.")] = None,
) -> None:
    """Build the reference of the cohort file and keep it for analyses (--reference NAME)."""
    from sarcoscope.cohort import assemble, read_definition
    from sarcoscope.cohort.builder import build

    definition = read_definition(cohort_file)
    if definition.reference is None:
        raise SettingError(f"'{cohort_file.name}' has no part [reference].")
    built = build(assemble(definition, cohort_file.parent), definition.reference)
    path = save_reference(built.reference, details=built.details())
    if out is not None:
        save_reference(built.reference, out, built.details())
    version = json.loads(path.read_text(encoding="utf-8"))["version"]
    for row in built.cutoffs:
        low, high = row["t_minus_2_low"], row["t_minus_2_high"]
        typer.echo(
            f"{row['index']:<8}{row['sex']}  n={row['n']:<6}mean {row['mean']:.4g}  SD {row['sd']:.4g}  "
            f"T -1 {row['t_minus_1']:.4g}  T -2 {row['t_minus_2']:.4g} ({low:.4g} to {high:.4g})  "
            f"{row['warning']}"
        )
    for note in built.notes:
        typer.echo(f"note: {note}")
    name = built.reference.name
    typer.echo(f"Reference set '{name}' (version {version}) is ready: analyze … --reference {name}")


def _tell_people(cohort: Cohort, language: str) -> None:
    flow = cohort.flow
    tell(
        say("cohort_flow_start", language, {"persons": flow.persons, "studies": flow.studies}).replace(
            "\n", " "
        )
    )
    for step in flow.steps:
        if step.persons_out or step.studies_out:
            out = {"persons": step.persons_out, "studies": step.studies_out}
            tell(f"- {say('cohort_flow_out', language, out)}: {step.title.say(language)}")
    left = {"persons": len(cohort), "studies": len(cohort)}
    tell(say("cohort_flow_left", language, left))
    titles = cohort.titles(language)
    tell("; ".join(f"{titles[g]} {int(m.sum())}" for g, m in cohort.members.items()))
    for note in cohort.notes:
        tell(f"! {say(note.code, language, note.values)}")
