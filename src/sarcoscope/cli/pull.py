"""``sarcoscope pull``: studies from a PACS or a DICOMweb service into a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydicom.dataset import Dataset

from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.errors import NotFoundError, SettingError
from sarcoscope.imaging.instances import text_of

if TYPE_CHECKING:
    from sarcoscope.dicomnet.peer import Peer


def pull_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for the images (they hold identities).")],
    source: Annotated[str | None, typer.Option("--from", help="AE@HOST:PORT.")] = None,
    dicomweb: Annotated[str | None, typer.Option(help="Address of a DICOMweb service instead.")] = None,
    aet: Annotated[str, typer.Option(help="Our AE title.")] = "SARCOSCOPE",
    patient_id: Annotated[str | None, typer.Option(help="Patient ID.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession number.")] = None,
    study: Annotated[str | None, typer.Option(help="Study UID.")] = None,
    date: Annotated[str | None, typer.Option(help="YYYYMMDD or YYYYMMDD-YYYYMMDD.")] = None,
    modality: Annotated[str, typer.Option(help="Modality of the series.")] = "CT",
    description: Annotated[str | None, typer.Option(help="Pattern for the series description.")] = None,
    method: Annotated[str, typer.Option(help="get, or move (the PACS must know us).")] = "get",
    port: Annotated[int, typer.Option(help="Port on which we listen for move.")] = 11113,
    listing: Annotated[bool, typer.Option("--list", help="Say what would be fetched.")] = False,
    tls_authority: Annotated[
        Path | None, typer.Option(help="Encrypt: certificate (PEM) that signed the other's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Find studies (C-FIND or QIDO-RS) and fetch their series (C-GET, C-MOVE or WADO-RS)."""
    # The network libraries take half a second to import, which other commands need not pay.
    from sarcoscope.dicomnet import web
    from sarcoscope.dicomnet.peer import Peer

    if (source is None) == (dicomweb is None):
        raise SettingError("Give one source: --from AE@HOST:PORT or --dicomweb ADDRESS.")
    if method not in ("get", "move"):
        raise SettingError(f"'{method}' is no way to fetch; give get or move.")
    keys = {
        "PatientID": patient_id,
        "AccessionNumber": accession,
        "StudyInstanceUID": study,
        "StudyDate": date,
    }
    given = {k: v for k, v in keys.items() if v}
    if not given:
        raise SettingError("Say which studies: --patient-id, --accession, --study or --date.")
    try:
        pattern = re.compile(description or "", re.IGNORECASE)
    except re.error as error:
        raise SettingError(f"'{description}' is no pattern: {error}.") from error
    peer = Peer.parse(source, aet, tls_authority) if source is not None else None
    found = _series_of(peer, given) if peer is not None else web.find_series(dicomweb or "", **given)
    chosen = [s for s in found if _fits(s, modality, pattern)]
    if not chosen:
        raise NotFoundError("No series fits.")
    if listing:
        for one in chosen:
            typer.echo(
                f"{one.SeriesInstanceUID}  {text_of(one, 'Modality')}  {text_of(one, 'SeriesDescription')}"
            )
        return
    with progress_shown(quiet) as progress:
        if peer is not None:
            count = peer.fetch(chosen, out, method=method, port=port)
        else:
            count = web.fetch_series(dicomweb or "", chosen, out, progress)
    tell(f"{count} images of {len(chosen)} series: {out}")


def _series_of(peer: Peer, keys: dict[str, str]) -> list[Dataset]:
    studies = peer.find("STUDY", **keys)
    return [s for one in studies for s in peer.find("SERIES", StudyInstanceUID=str(one.StudyInstanceUID))]


def _fits(series: Dataset, modality: str, pattern: re.Pattern[str]) -> bool:
    kind = text_of(series, "Modality").upper()
    return kind in ("", modality.upper()) and pattern.search(text_of(series, "SeriesDescription")) is not None
