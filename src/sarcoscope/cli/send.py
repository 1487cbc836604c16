"""``sarcoscope send``: DICOM files to a PACS, a research archive or a DICOMweb service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.errors import SettingError


def send_command(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="DICOM file or folder.")],
    to: Annotated[str | None, typer.Option("--to", help="AE@HOST:PORT.")] = None,
    dicomweb: Annotated[str | None, typer.Option(help="Address of a DICOMweb service instead.")] = None,
    aet: Annotated[str, typer.Option(help="Our AE title.")] = "SARCOSCOPE",
    research: Annotated[
        bool, typer.Option("--research", help="The receiver is a research system: pseudonyms may go there.")
    ] = False,
    tls_authority: Annotated[
        Path | None, typer.Option(help="Encrypt: certificate (PEM) that signed the other's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Send DICOM files (C-STORE or STOW-RS). Pseudonymous objects never go to a clinical system."""
    # The network libraries take half a second to import, which other commands need not pay.
    from sarcoscope.dicomnet import web
    from sarcoscope.dicomnet.peer import Peer, dicom_files, refuse_pseudonyms

    if (to is None) == (dicomweb is None):
        raise SettingError("Give one receiver: --to AE@HOST:PORT or --dicomweb ADDRESS.")
    files = dicom_files(source)
    if not research:
        refuse_pseudonyms(files)
    with progress_shown(quiet) as progress:
        if to is not None:
            count = Peer.parse(to, aet, tls_authority).send(files, progress)
        else:
            count = web.store(dicomweb or "", files, progress)
    tell(f"{count} objects arrived.")
