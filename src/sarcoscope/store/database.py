"""The database: SQLite (WAL) by default, PostgreSQL by its URL; the same code on both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from sarcoscope.errors import InputError, SettingError, StorageError

if TYPE_CHECKING:
    from alembic.config import Config

_BUSY_S: Final = 60
_IMMEDIATE: Final = "sarcoscope_immediate"


class Database:
    """Connections to one database.

    Args:
        address: an SQLAlchemy URL, or the path of an SQLite file.

    Raises:
        SettingError: the URL is none, or its driver is not installed.
    """

    def __init__(self, address: str | Path) -> None:
        url = f"sqlite:///{address}" if isinstance(address, Path) else str(address)
        if url.startswith("postgresql://"):
            url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        try:
            self.engine = _engine(url, sqlite=self.is_sqlite)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            raise SettingError("The address of the database is no URL of SQLite or PostgreSQL.") from error
        except ModuleNotFoundError as error:
            raise SettingError(
                "For PostgreSQL install the extra: pip install 'sarcoscope[postgres]'."
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state and writes nothing."""
        with _said(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are written together or not at all; SQLite has one writer at a time."""
        engine = self.engine.execution_options(**{_IMMEDIATE: True})
        with _said(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A writing connection for single statements."""
        engine = self.engine.execution_options(**{_IMMEDIATE: True})
        with _said(), engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to this version's form (makes them in an empty database).

        Raises:
            StorageError: the database does not answer, or a newer version made it.
        """
        # Alembic takes half a second to import, which workers need not pay.
        from alembic import command
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        config = _alembic()
        with self.connected() as connection:
            now = MigrationContext.configure(connection).get_current_revision()
            known = {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}
            if now is not None and now not in known:
                raise StorageError("A newer version of Sarcoscope made this database; update this one.")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _alembic() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("sarcoscope.store").joinpath("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str, *, sqlite: bool) -> Engine:
    if not sqlite:
        return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S}, pool_size=20, max_overflow=20)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    # pysqlite's own transaction handling is switched off: _on_begin says BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _said() -> Iterator[None]:
    """Failures of the database as sentences (a broken rule of a table stays what it is)."""
    try:
        yield
    except (DataError, UnicodeError, OverflowError) as error:
        raise InputError("A value cannot be stored: it is too large, or no text.") from error
    except OperationalError as error:
        raise StorageError("The database does not answer, is full, or is no database.") from error
    except DBAPIError as error:
        if "not a database" in str(error.orig) or error.connection_invalidated:
            raise StorageError("The database does not answer, is full, or is no database.") from error
        raise
