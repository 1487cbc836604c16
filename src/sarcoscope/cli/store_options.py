"""Options that the platform's commands share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sarcoscope.home import user_folder

if TYPE_CHECKING:
    from sarcoscope.store.store import Store

DATABASE_VARIABLE = "SARCOSCOPE_DATABASE"
DataOption = Annotated[
    Path | None, typer.Option(help="Folder of the store (by default in your data folder).")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help=f"URL of a PostgreSQL database (or in {DATABASE_VARIABLE}); SQLite in the folder otherwise."
    ),
]


@contextmanager
def opened_store(data: Path | None, database: str | None) -> Iterator[Store]:
    """The store of the options."""
    # The database libraries take half a second to import, which other commands need not pay.
    from sarcoscope.store.store import Store

    store = Store.open(data or user_folder("store"), database or os.environ.get(DATABASE_VARIABLE))
    try:
        yield store
    finally:
        store.close()
