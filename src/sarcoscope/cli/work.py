"""``sarcoscope work``: workers of the platform on a computer that serves no pages."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from sarcoscope.cli.console import tell
from sarcoscope.cli.store_options import DatabaseOption, DataOption, opened_store


def work_command(
    data: DataOption = None,
    database: DatabaseOption = None,
    workers: Annotated[int, typer.Option(help="Processes that analyse.", min=1)] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler instead.")] = None,
) -> None:
    """Analyse the platform's studies until stopped; any number of computers may share one store."""
    from sarcoscope.jobs.study_job import keep_working

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with opened_store(data, database) as store:
        tell(f"{workers if scheduler is None else 'Dask'} at work  (stop with Ctrl+C).")
        keep_working(store, workers, scheduler, stop)
    tell("Stopped.")
