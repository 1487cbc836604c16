"""Progress and messages on the terminal: results go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn

from sarcoscope.errors import StorageError
from sarcoscope.progress import Progress

STAGES: Final[dict[str, str]] = {
    "read": "Reading the CT",
    "levels": "Finding vertebral levels",
    "tissues": "Segmenting muscle and fat",
    "measure": "Measuring",
    "write": "Writing report and files",
    "fetch": "Fetching the sample CT",
    "make": "Making the phantom",
    "train": "Training",
    "search": "Searching",
    "bundle": "Packing",
    "send": "Sending",
    "fetch_images": "Fetching images",
    "deidentify": "De-identifying",
    "validate": "Comparing with references",
    "check": "Reading every file",
    "backup": "Backing up",
    "restore": "Restoring",
    "demo": "Making the sample studies",
    "cohort": "Assembling and computing the cohort",
    "figures": "Drawing figures",
}
"""What a stage is called on the terminal."""

stderr = Console(stderr=True, highlight=False)


def tell(text: str) -> None:
    """A sentence for the user, on standard error."""
    stderr.print(text, markup=False)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turns a failure to write into a sentence.

    Raises:
        StorageError: the folder cannot be written (no right, disk full).
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"'{folder.name}' could not be written: {error.strerror or error}.") from error


@contextmanager
def progress_shown(quiet: bool) -> Iterator[Progress | None]:
    """A progress callback ``(stage, fraction)``: a bar on a terminal, one line a stage elsewhere."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with rich.progress.Progress(*columns, console=stderr, transient=True) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


class _Bars:
    """One bar a stage."""

    def __init__(self, bars: rich.progress.Progress) -> None:
        self._bars = bars
        self._task: dict[str, TaskID] = {}

    def __call__(self, stage: str, fraction: float) -> None:
        if stage not in self._task:
            self._task[stage] = self._bars.add_task(STAGES.get(stage, stage), total=1.0)
        self._bars.update(self._task[stage], completed=min(max(fraction, 0.0), 1.0))


class _Lines:
    """A line when a stage begins, and at most one every ten seconds after that."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        if stage != self._stage:
            tell(f"{STAGES.get(stage, stage)} ...")
        elif now - self._told > 10:
            tell(f"  {fraction:.0%}")
        else:
            return
        self._stage, self._told = stage, now
