"""The store: one folder (and one database) that holds everything of the platform."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sarcoscope.deid.mapping import FileMapping
from sarcoscope.errors import StorageError
from sarcoscope.store.database import Database
from sarcoscope.store.files import FileStore

DATABASE = "sarcoscope.sqlite"


@dataclass(frozen=True)
class Store:
    """Where the platform keeps its data.

    ::

        data/
          sarcoscope.sqlite   the database, unless another one is named by its URL
          files/              de-identified images, masks, reports: content-addressed
          mapping/            who is who, a file and key a centre (readable by the owner alone)
          incoming/           uploads until they are de-identified (readable by the owner alone)
          work/               what is being made; may be emptied when nothing runs
    """

    data: Path
    database: Database

    @classmethod
    def open(cls, data: Path, address: str | None = None) -> Store:
        """Open a store; its folder and tables are made when they are not there.

        Raises:
            StorageError: the folder cannot be written, or a newer version made the database.
            SettingError: the address of the database is none.
        """
        data = Path(data)
        try:
            for name in ("files", "mapping", "incoming", "work"):
                folder = data / name
                folder.mkdir(parents=True, exist_ok=True)
                if name != "files":
                    folder.chmod(0o700)
        except OSError as error:
            raise StorageError(f"The folder '{data.name}' cannot be used: {error.strerror}.") from error
        database = Database(address or f"sqlite:///{(data / DATABASE).resolve()}")
        database.migrate()
        return cls(data.resolve(), database)

    @property
    def files(self) -> FileStore:
        """The content-addressed files."""
        return FileStore(self.data / "files")

    def mapping_path(self, centre: str) -> Path:
        """The mapping of a centre."""
        return self.data / "mapping" / f"{centre}.sqlite"

    @contextmanager
    def mapping(self, centre: str, project: str) -> Iterator[FileMapping]:
        """The mapping of a centre's people in a project."""
        with FileMapping(self.mapping_path(centre), project=project) as mapping:
            yield mapping

    def upload_folder(self, upload: str) -> Path:
        """Where the files of an upload wait."""
        return self.data / "incoming" / upload

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        """A folder on the disk of the files, removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.data / "work") as folder:
            yield Path(folder)

    def place(self, sha256: str, target: Path) -> None:
        """Put a stored file under a name, without copying it where the disk allows."""
        try:
            os.link(self.files.path(sha256), target)
        except OSError:
            shutil.copyfile(self.files.path(sha256), target)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
