"""``sarcoscope sample``: a real sample CT, or a synthetic one whose areas and levels are known exactly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.choices import level_name, split_names
from sarcoscope.cli.console import progress_shown
from sarcoscope.errors import StorageError
from sarcoscope.files import make_folder
from sarcoscope.samples.dicom_series import FAULTS, SYNTAXES, SeriesSettings, write_dicom_series
from sarcoscope.samples.fetch import fetch, sample_table
from sarcoscope.samples.phantom import PhantomSettings, make_phantom

app = typer.Typer(help="Sample CT: real ones to fetch, and a phantom to make.", no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """List samples, faults and transfer syntaxes."""
    for name, entry in sample_table().items():
        typer.echo(f"{name:<10}{entry['origin']} (licence {entry['licence']})")
    typer.echo(f"phantom   faults: {', '.join(FAULTS)}")
    typer.echo(f"phantom   syntaxes: {', '.join(SYNTAXES)}")


@app.command("fetch")
def fetch_command(
    name: Annotated[str, typer.Argument(help="abdomen or chest")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for a copy.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Fetch a real sample CT (checked by SHA-256, cached)."""
    with progress_shown(quiet) as progress:
        sample = fetch(name, progress=progress)
    path = sample.path
    if out is not None:
        make_folder(out)
        try:
            path = Path(shutil.copy(sample.path, out / f"{name}.nii.gz"))
        except OSError as error:
            raise StorageError(f"The sample cannot be copied: {error.strerror}.") from error
    typer.echo(f"{path}")
    typer.echo(f"origin: {sample.origin}; licence: {sample.licence}; sha256: {sample.sha256}")


@app.command("cohort")
def cohort_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    n: Annotated[
        int | None, typer.Option("--n", help="People with a usable CT; 15 % without one come on top.")
    ] = None,
    like: Annotated[str, typer.Option(help="mixed, or p0: the sizes of P0's study.")] = "mixed",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
) -> None:
    """Make a synthetic cohort: results, clinical table, cohort file and the truth behind them."""
    # Statistics take a while to load, which the other samples can save.
    from sarcoscope.samples.population_files import write_sample_cohort

    people = write_sample_cohort(out, preset=like, n=n, seed=seed)
    typer.echo(f"{out}   ({people} people who do not exist; truth in truth.json)")
    typer.echo(f"Next: sarcoscope cohort run {out / 'cohort.toml'} --out REPORT")


@app.command("make")
def make_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the DICOM series.")],
    seed: Annotated[int, typer.Option(help="Same seed, same phantom.")] = 1,
    sex: Annotated[str, typer.Option(help="M or F.")] = "M",
    height: Annotated[float, typer.Option(help="Height in cm.")] = 170.0,
    muscle: Annotated[float, typer.Option(help="Muscle against the standard build.")] = 1.0,
    sat: Annotated[float, typer.Option(help="Subcutaneous fat in mm.")] = 18.0,
    vat: Annotated[float, typer.Option(help="Visceral fat in mm.")] = 12.0,
    top: Annotated[str, typer.Option(help="Highest level.")] = "T10",
    bottom: Annotated[str, typer.Option(help="Lowest level.")] = "Sacral",
    spacing: Annotated[float, typer.Option(help="Slice spacing in mm.")] = 5.0,
    pixel: Annotated[float, typer.Option(help="Pixel side in mm.")] = 0.8,
    matrix: Annotated[int, typer.Option(help="Pixels a side.")] = 512,
    noise: Annotated[float, typer.Option(help="SD of the noise in HU.")] = 10.0,
    tilt: Annotated[float, typer.Option(help="Gantry tilt in degrees.")] = 0.0,
    phase: Annotated[str, typer.Option(help="unenhanced, arterial, portal or delayed.")] = "portal",
    table: Annotated[bool, typer.Option(help="With the table.")] = True,
    faults: Annotated[str, typer.Option(help="Faults, such as missing-slice,shuffled (see list).")] = "",
    syntax: Annotated[str, typer.Option(help="Transfer syntax (see list).")] = "explicit",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make a synthetic CT as a DICOM series; the truth lies beside it as <folder>.truth.json."""
    settings = PhantomSettings(
        seed=seed,
        sex=sex.upper(),
        height_cm=height,
        muscle=muscle,
        sat_mm=sat,
        vat_mm=vat,
        top_level=level_name(top),
        bottom_level=level_name(bottom),
        slice_spacing_mm=spacing,
        slice_thickness_mm=spacing,
        pixel_mm=pixel,
        matrix=matrix,
        noise_hu=noise,
        tilt_degrees=tilt,
        phase=phase,
        table=table,
    )
    series = SeriesSettings(
        faults=frozenset(split_names(faults)),
        syntax=syntax,
        size_m=height / 100.0,
        seed=str(seed),
        description="Phantom " + {"portal": "portal venous"}.get(phase, phase),
    )
    with progress_shown(quiet) as progress:
        hear = None if progress is None else (lambda _, fraction: progress("make", fraction))
        phantom = make_phantom(settings, progress=hear)
        paths = write_dicom_series(phantom, out, series)
    typer.echo(f"{out}   ({len(paths)} images; truth in {out.name}.truth.json)")
