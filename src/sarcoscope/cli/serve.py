"""``sarcoscope serve``: the platform in a browser, with no set-up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.cli.console import progress_shown, tell
from sarcoscope.cli.store_options import DatabaseOption, DataOption, opened_store
from sarcoscope.errors import SettingError


def serve_command(
    data: DataOption = None,
    database: DatabaseOption = None,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.")] = 8010,
    workers: Annotated[int, typer.Option(help="Processes that analyse (0: other hosts do).")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler instead.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front does TLS.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Fill it with sample studies.")] = False,
) -> None:
    """Serve the worklist, upload and results in a browser; the first start makes an administrator."""
    from sarcoscope.store.accounts import first_start
    from sarcoscope.web.demo import DEMO_PASSWORD, add_demo
    from sarcoscope.web.serve import Listening, serve

    if workers < 0:
        raise SettingError("The number of workers is 0 or more.")
    where = Listening(
        address,
        port,
        str(tls_certificate) if tls_certificate else None,
        str(tls_key) if tls_key else None,
        behind_proxy,
    )
    if demo and not where.is_loopback:
        raise SettingError("The demonstration has a known password: it is served on this computer only.")
    with opened_store(data, database) as store:
        if demo:
            with progress_shown(False) as progress:
                add_demo(store, progress)
            tell(f"Sign in as 'demo' with the password '{DEMO_PASSWORD}'.")
        made = first_start(store.database)
        if made is not None:
            tell(f"First start: sign in as '{made[0]}' with the one-time password {made[1]}")
        tell(f"Sarcoscope is at {where.url}  (stop with Ctrl+C). Research use only.")
        serve(store, where, workers, scheduler)
