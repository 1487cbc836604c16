"""The short answer on the terminal."""

from __future__ import annotations

from pathlib import Path

import typer

from sarcoscope.exports.record import StudyRecord
from sarcoscope.language.catalogue import say, severity

_SEVERITIES = ("warning", "caution", "info")


def print_summary(record: StudyRecord, folder: Path, language: str) -> None:
    """Print measurements, statements and doubts, and where the files lie."""
    for m in record.measurements:
        typer.echo("")
        protocol = say(f"protocol_{m.protocol}", language)
        typer.echo(say("measures_heading", language, {"level": m.level, "protocol": protocol}))
        for name, tissue in m.tissues.items():
            error = f" ± {tissue.area_error_cm2:.1f}" if tissue.area_error_cm2 is not None else ""
            hu = "" if tissue.mean_hu is None else f"   {tissue.mean_hu:.0f} HU"
            typer.echo(f"  {say(f'tissue_{name}', language):<8} {tissue.area_cm2:7.1f}{error} cm²{hu}")
        for i in record.indices:
            if i.level == m.level:
                error = f" ± {i.error:.2f}" if i.error is not None else ""
                typer.echo(f"  {i.name:<8} {i.value:7.2f}{error} {i.unit}")
    if not record.measurements:
        typer.echo(say("no_level", language))
    if record.diagnoses:
        typer.echo("")
        typer.echo(say("statements_heading", language))
        for d in record.diagnoses:
            typer.echo(f"  {d.level} {d.index:<8} {d.statement[language]}")
    if record.flags:
        typer.echo("")
        typer.echo(say("flags_heading", language))
        for flag in sorted(record.flags, key=lambda f: _SEVERITIES.index(severity(f.code))):
            mark = say(f"severity_{severity(flag.code)}", language)
            typer.echo(f"  {mark}: {say(flag.code, language, flag.values)}")
    typer.echo("")
    typer.echo(say("research_only", language))
    names = ["report.pdf", *(f"overlay_{m.level}.png" for m in record.measurements), "sagittal.png"]
    names += ["result.json", "levels.csv", "measurements.csv", "segmentation.nii.gz"]
    names += [n for n in ("segmentation.dcm", "measurements_sr.dcm") if (folder / n).exists()]
    typer.echo(f"{folder}: {', '.join(names)}")
