"""``sarcoscope demo``: the main job on a real sample CT (or on a phantom when none can be fetched)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.cli.summary import print_summary
from sarcoscope.errors import SarcoscopeError
from sarcoscope.language.catalogue import check_language
from sarcoscope.measures.body_info import GivenBody
from sarcoscope.samples.dicom_series import write_dicom_series
from sarcoscope.samples.fetch import fetch
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.study import analyze

INVENTED_BODY = GivenBody(sex="M", age_years=60.0, height_cm=172.0, weight_kg=70.0)


def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("demo-report"),
    lang: Annotated[str, typer.Option(help="Language of the report: en or ko.")] = "en",
) -> None:
    """Fetch a real abdominal CT, measure it at L3, and say where the report lies."""
    check_language(lang)
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        source = _sample_ct(Path(temporary))
        tell("Sex M, age 60, height 172 cm and weight 70 kg are INVENTED for this demonstration.")
        with progress_shown(quiet=False) as progress:
            result = analyze(source, body=INVENTED_BODY, progress=progress)
            result.write(out, language=lang, progress=progress)
    print_summary(result.record, out, lang)
    typer.echo("The body values above are invented; the CT is real unless a phantom was named.")


def _sample_ct(folder: Path) -> Path:
    try:
        with progress_shown(quiet=False) as progress:
            sample = fetch("abdomen", progress=progress)
    except SarcoscopeError as error:
        tell(f"{error} A synthetic phantom is measured instead.")
        series = folder / "phantom"
        write_dicom_series(make_phantom(PhantomSettings(seed=1)), series)
        return series
    tell(f"Sample CT: {sample.origin} (licence {sample.licence})")
    return sample.path
