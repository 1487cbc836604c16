"""``sarcoscope analyze``: one CT in, all outputs in a folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import level_name, split_names
from sarcoscope.cli.console import progress_shown
from sarcoscope.cli.identity import MappingOption, ProjectOption, mapping_path
from sarcoscope.cli.summary import print_summary
from sarcoscope.deid.folder import Choices, deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.errors import SettingError
from sarcoscope.language.catalogue import check_language
from sarcoscope.measures.body_info import GivenBody
from sarcoscope.progress import Progress
from sarcoscope.study import AnalysisSettings, analyze


def analyze_command(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="DICOM folder, DICOM file, zip, or NIfTI file.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results (made if missing).")],
    sex: Annotated[str | None, typer.Option(help="M or F.")] = None,
    age: Annotated[float | None, typer.Option(help="Age in years.")] = None,
    height: Annotated[float | None, typer.Option(help="Height in cm.")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight in kg.")] = None,
    weight_date: Annotated[str | None, typer.Option(help="Date of the weight, YYYY-MM-DD.")] = None,
    dry_weight: Annotated[bool, typer.Option(help="The weight is free of ascites and oedema.")] = False,
    fluid: Annotated[bool, typer.Option(help="The person has ascites or oedema.")] = False,
    levels: Annotated[str, typer.Option(help="Levels to measure, such as L3,T12.")] = "L3",
    assume_level: Annotated[
        str | None, typer.Option(help="All slices belong to this level (levels are not searched).")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="range, mid, inferior-endplate, two-adjacent, or slice.")
    ] = "range",
    slice_index: Annotated[
        int | None, typer.Option("--slice", help="Slice of the protocol 'slice' (0 = lowest).")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference sets, such as p0,martin2013 (see 'reference list').")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="Contrast phase, if the file does not say it.")] = None,
    series_policy: Annotated[
        Path | None, typer.Option(help="File that says which series is measured.")
    ] = None,
    series: Annotated[str | None, typer.Option(help="UID of the series to measure.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model in place of one that ships (see 'models list'); may be repeated."),
    ] = None,
    levels_from: Annotated[
        Path | None, typer.Option(help="Label map of vertebrae by another tool (TotalSegmentator's ids).")
    ] = None,
    tissues_from: Annotated[
        Path | None, typer.Option(help="Mask of another reader: DICOM SEG, RTSTRUCT or NIfTI.")
    ] = None,
    deidentified: Annotated[
        bool, typer.Option("--deidentified", help="Results under a pseudonym, for sharing (DICOM input).")
    ] = False,
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    centre: Annotated[str, typer.Option(help="Hospital of the study.")] = "local",
    lang: Annotated[str, typer.Option(help="Language of the report: en or ko.")] = "en",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json on standard output.")] = False,
) -> None:
    """Measure muscle and fat in a CT and write report, tables, masks and pictures into a folder."""
    check_language(lang)
    settings = AnalysisSettings(
        levels=tuple(level_name(name) for name in split_names(levels)),
        assume_level=level_name(assume_level) if assume_level else None,
        protocol=protocol,
        slice_index=slice_index,
        references=split_names(reference or ""),
        series_policy=series_policy,
        series_uid=series,
        phase=phase,
        fluid=fluid,
        models=tuple(model or ()),
        levels_from=levels_from,
        tissues_from=tissues_from,
    )
    body = GivenBody(
        sex=sex,
        age_years=age,
        height_cm=height,
        weight_kg=weight,
        weight_date=weight_date,
        dry_weight=dry_weight,
    )
    with progress_shown(quiet) as progress, ExitStack() as stack:
        if deidentified:
            source = stack.enter_context(_under_pseudonym(source, out, mapping, project, centre, progress))
        result = analyze(source, body=body, settings=settings, progress=progress)
        result.write(out, language=lang, progress=progress)
    if as_json:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False, indent=1))
    elif not quiet:
        print_summary(result.record, out, lang)


@contextmanager
def _under_pseudonym(
    source: Path, out: Path, mapping: Path | None, project: str, centre: str, progress: Progress | None
) -> Iterator[Path]:
    """A de-identified copy of the input, for as long as it is needed."""
    place = mapping_path(mapping, project)
    if place.resolve().is_relative_to(out.resolve()):
        raise SettingError("The mapping must not lie in the folder of the results.")
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        folder = Path(temporary) / "study"
        with FileMapping(place, project=project) as opened:
            deidentify_folder(source, folder, opened, Choices(centre=centre), progress)
        yield folder
