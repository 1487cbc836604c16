"""Zips of stored files as answers: written to the disk, then streamed, so that no size fills the memory."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Final

from fastapi.responses import StreamingResponse

from sarcoscope.errors import SarcoscopeError, StorageError
from sarcoscope.store.store import Store

_BLOCK: Final = 1 << 16
_PACKED: Final = (".gz", ".png", ".zip", ".xlsx")


def zip_answer(
    store: Store, name: str, texts: Mapping[str, str], files: Mapping[str, str]
) -> StreamingResponse:
    """A zip to be downloaded.

    Args:
        store: where the files lie.
        name: of the zip.
        texts: name in the zip -> text.
        files: name in the zip -> SHA-256 of a stored file.

    Raises:
        StorageError: the disk is full.
        NotFoundError: a stored file is missing.
    """
    out = tempfile.TemporaryFile(dir=store.data / "work")  # noqa: SIM115 - closed when it was sent
    try:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, text in texts.items():
                archive.writestr(entry, text)
            for entry, sha in files.items():
                how = zipfile.ZIP_STORED if entry.endswith(_PACKED) else zipfile.ZIP_DEFLATED
                archive.writestr(entry, store.files.read(sha), how)
    except OSError as error:
        out.close()
        raise StorageError(f"The export could not be written: {error.strerror}.") from error
    except SarcoscopeError:
        out.close()
        raise
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(out.seek(0, io.SEEK_END)),
    }
    return StreamingResponse(_blocks(out), media_type="application/zip", headers=headers)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    with stream:
        stream.seek(0)
        while block := stream.read(_BLOCK):
            yield block
