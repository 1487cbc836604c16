"""``sarcoscope receive``: a DICOM service that takes studies, de-identifies them and hands them on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.cli.choices import level_name, split_names
from sarcoscope.cli.console import tell
from sarcoscope.cli.identity import OPTION_HELP, MappingOption, ProjectOption, chosen_profile, mapping_path
from sarcoscope.cli.store_options import DatabaseOption, DataOption, opened_store
from sarcoscope.deid.folder import Choices
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.errors import RetriableError, SettingError
from sarcoscope.home import user_folder
from sarcoscope.language.catalogue import check_language
from sarcoscope.study import AnalysisSettings
from sarcoscope.study.faces import head_and_neck

if TYPE_CHECKING:
    from sarcoscope.dicomnet.handover import Handover
    from sarcoscope.dicomnet.store_handover import StoreHandover


def receive_command(
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the de-identified studies.")] = None,
    into_store: Annotated[
        bool, typer.Option("--into-store", help="Into the platform's store instead (see 'serve').")
    ] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    port: Annotated[int, typer.Option(help="TCP port (0: any free one).")] = 11112,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    aet: Annotated[str, typer.Option(help="Our AE title.")] = "SARCOSCOPE",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Who may send: AE, AE@ADDRESS or AE@NETWORK/BITS (again)."),
    ] = None,
    mapping: MappingOption = None,
    project: ProjectOption = "default",
    centre: Annotated[str, typer.Option(help="Hospital that sends.")] = "local",
    spool: Annotated[Path | None, typer.Option(help="Folder for what is arriving.")] = None,
    quiet_time: Annotated[float, typer.Option(help="Quiet seconds that complete a study.")] = 60.0,
    rules: Annotated[Path | None, typer.Option(help="CSV: which series are analysed.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder for results of analyses.")] = None,
    levels: Annotated[str, typer.Option(help="Levels to measure.")] = "L3",
    lang: Annotated[str, typer.Option(help="Language of the reports: en or ko.")] = "en",
    quarantine: Annotated[Path | None, typer.Option(help="Folder for what is set aside.")] = None,
    option: Annotated[list[str] | None, typer.Option(help=OPTION_HELP)] = None,
    without: Annotated[list[str] | None, typer.Option(help="Default option to leave out.")] = None,
    dates: Annotated[str, typer.Option(help="modified, full or remove.")] = "modified",
    associations: Annotated[int, typer.Option(help="Associations at once.")] = 16,
    timeout: Annotated[float, typer.Option(help="Silent seconds that end an association.")] = 60.0,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate (PEM): encrypt.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    tls_authority: Annotated[Path | None, typer.Option(help="Senders need a certificate of it.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop after the first study.")] = False,
) -> None:
    """Take DICOM from scanners and PACS (C-STORE), de-identify complete studies, analyse by the rules."""
    # The network libraries take half a second to import, which other commands need not pay.
    from sarcoscope.dicomnet.handover import Handover
    from sarcoscope.dicomnet.receiver import Receiver, Sender, Tls
    from sarcoscope.dicomnet.rules import Rules
    from sarcoscope.dicomnet.spool import Spool
    from sarcoscope.dicomnet.store_handover import StoreHandover, destination

    check_language(lang)
    if (out is None) != into_store:
        raise SettingError("Give --out for a folder, or --into-store for the platform.")
    if (tls_certificate is None) != (tls_key is None):
        raise SettingError("TLS needs a certificate and its key.")
    queue = Spool(spool or user_folder("spool") / project)
    senders = [Sender.parse(text) for text in allow or []]
    tls = Tls(tls_certificate, tls_key, tls_authority) if tls_certificate and tls_key else None
    if not senders and address not in ("127.0.0.1", "localhost", "::1"):
        raise SettingError("Beyond this computer the receiver needs --allow: who may send.")
    receiver = Receiver(
        queue, title=aet, port=port, address=address, senders=senders, associations=associations,
        timeout_s=timeout, tls=tls,
    )  # fmt: skip
    tell(f"{aet} listens on {address or 'all addresses'}, port {receiver.port}{' (TLS)' if tls else ''}.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if out is None:
            with opened_store(data, database) as store:
                taking = StoreHandover(queue, store, *destination(store, project, centre), tell)
                _hand_over(taking, quiet_time, stop, once)
        else:
            place = mapping_path(mapping, project)
            FileMapping(place, project=project).close()
            table = Rules.load(rules) if rules else Rules(otherwise="analyze" if results else "store")
            profile = chosen_profile(option or [], without or [], dates)
            choices = Choices(profile, centre, None, quarantine, False, head_and_neck)
            settings = AnalysisSettings(levels=tuple(level_name(n) for n in split_names(levels)))
            handover = Handover(queue, out, place, project, choices, table, results, settings, lang, tell)
            _hand_over(handover, quiet_time, stop, once)
    finally:
        receiver.close()
        tell(f"Stopped: {receiver.received} images came, {receiver.refused} calls were refused.")


def _hand_over(
    handover: Handover | StoreHandover, quiet_time: float, stop: threading.Event, once: bool
) -> None:
    while not stop.is_set():
        try:
            handed = handover.step(quiet_time)
        except RetriableError as error:
            tell(f"{error} It is tried again.")
            handed = False
            stop.wait(10.0)
        if handed and once:
            return
        if not handed:
            stop.wait(min(max(quiet_time / 4, 0.2), 5.0))
