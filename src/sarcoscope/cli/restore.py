"""``sarcoscope restore``: results under a pseudonym get their identity back, for the clinical PACS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydicom
import typer

from sarcoscope.cli.console import tell
from sarcoscope.cli.identity import MappingOption, ProjectOption, known_mapping
from sarcoscope.deid.restore import Target, encapsulated_report, restore, result_files
from sarcoscope.errors import NotFoundError, SettingError, UnreadableError
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.instances import read_header


def restore_command(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of 'analyze', or a DICOM file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the identified objects.")],
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    target: Annotated[
        Path | None, typer.Option(help="A DICOM file of the patient's study from the clinical PACS.")
    ] = None,
    name: Annotated[str, typer.Option(help="Instead: the patient's name.")] = "",
    birth_date: Annotated[str, typer.Option(help="Birth date, YYYY-MM-DD.")] = "",
    sex: Annotated[str, typer.Option(help="M or F.")] = "",
) -> None:
    """Give SEG, SR and report the patient's identity and UIDs again, after comparing who it is. Audited."""
    who = _target(target, name, birth_date, sex)
    files = list(result_files(results)) if results.exists() else []
    if not files:
        raise NotFoundError(f"No DICOM result was found in '{results.name}'.")
    make_folder(out)
    with known_mapping(mapping, project) as opened:
        done = None
        for path in files:
            try:
                dataset = pydicom.dcmread(path)
            except Exception as error:
                raise UnreadableError(f"'{path.name}' is no DICOM file, or it is damaged.") from error
            done = restore(dataset, opened, who)
            write_bytes(out / path.name, to_bytes(done))
        report = results / "report.pdf"
        if done is not None and report.is_file():
            write_bytes(out / "report.dcm", to_bytes(encapsulated_report(report.read_bytes(), done)))
    tell(f"{len(files)} objects carry the patient's identity again: {out} (identified data).")


def _target(path: Path | None, name: str, birth_date: str, sex: str) -> Target:
    if path is None:
        if not (name or birth_date):
            raise SettingError("Say whose results these are: --target FILE, or --name and --birth-date.")
        return Target(name, birth_date.replace("-", ""), sex)
    header = read_header(path) if path.is_file() else None
    if header is None:
        raise UnreadableError(f"'{path.name}' is no DICOM file, or it is damaged.")
    return Target.of(header)
