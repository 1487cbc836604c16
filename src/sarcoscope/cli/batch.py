"""``sarcoscope batch``: many studies overnight; it goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sarcoscope.cli.choices import level_name, split_names
from sarcoscope.cli.console import stderr, tell
from sarcoscope.errors import SettingError
from sarcoscope.jobs.batch import do_study, gather, prepare, read_list, settings_of
from sarcoscope.jobs.queue import JobQueue
from sarcoscope.jobs.workers import Watcher, run_on_dask, run_workers
from sarcoscope.language.catalogue import check_language


def batch_command(
    source: Annotated[
        Path, typer.Argument(metavar="LIST", help="Folder of studies, or CSV with a column 'path'.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the batch in this folder.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed studies again.")] = False,
    workers: Annotated[int, typer.Option(help="Processes on this computer.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler instead.")] = None,
    levels: Annotated[str, typer.Option(help="Levels to measure, such as L3,T12.")] = "L3",
    assume_level: Annotated[str | None, typer.Option(help="All slices belong to this level.")] = None,
    protocol: Annotated[str, typer.Option(help="Slice protocol.")] = "range",
    reference: Annotated[str | None, typer.Option(help="Reference sets.")] = None,
    series_policy: Annotated[Path | None, typer.Option(help="Which series is measured.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Model in place of one that ships.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the reports: en or ko.")] = "en",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Analyse every study of a list into a folder each; results.csv has a row a study and level."""
    check_language(lang)
    if workers < 1:
        raise SettingError("A batch needs at least one worker.")
    settings = {
        "levels": [level_name(n) for n in split_names(levels)],
        "assume_level": level_name(assume_level) if assume_level else None,
        "protocol": protocol,
        "references": list(split_names(reference or "")),
        "series_policy": str(series_policy.resolve()) if series_policy else None,
        "models": list(model or ()),
    }
    # Mistakes of the user are told before the work begins.
    settings_of(settings)
    table = prepare(read_list(source), out, settings, lang, resume=resume)
    if retry_failed:
        with JobQueue(table) as queue:
            queue.retry()
    with _progress(quiet) as watch:
        if scheduler is not None:
            run_on_dask(table, do_study, scheduler, watch)
        else:
            run_workers(table, do_study, workers, watch)
    done, failed = gather(out)
    tell(f"{out}: {done} studies done, {failed} failed. results.csv, failures.csv")


@contextmanager
def _progress(quiet: bool) -> Iterator[Watcher | None]:
    if quiet:
        yield None
        return
    columns = (
        TextColumn("Analysing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=False) as bars:
        task = bars.add_task("", total=None, failed=0)

        def watch(counts: dict[str, int]) -> None:
            over = counts["done"] + counts["failed"] + counts["cancelled"]
            bars.update(task, completed=over, total=sum(counts.values()), failed=counts["failed"])

        yield watch
