"""Stores of the tests: every one of them on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sarcoscope.store.store import Store
from tests.store.postgres import fresh_database, running_postgres
from tests.web.server import add_users

KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    address = None
    if request.param == "postgresql":
        address = fresh_database(request.getfixturevalue("postgres"))
    one = Store.open(tmp_path / "data", address)
    add_users(one)
    yield one
    one.close()
