"""JPEG decoded in a process of its own: gdcm ends its whole process when a stream is damaged.

The child is ``python -m sarcoscope.imaging.jpeg_process``: it reads a path as JSON a line, and answers with a
line of JSON (``dtype``, ``shape``, ``bytes`` or ``error``) and the array's bytes.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
import warnings
from functools import cache
from typing import Any, Final

import numpy as np
import pydicom
from numpy.typing import NDArray

_PATIENCE_S: Final = 60.0


class JpegProcess:
    """A child that decodes files; it is started when it is needed, and again when it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def decode(self, path: str) -> NDArray[Any]:
        """Stored values of a file.

        Raises:
            ValueError: it cannot be decoded.
        """
        with self._lock:
            child = self._child or self._start()
            assert child.stdin is not None
            assert child.stdout is not None
            guard = threading.Timer(_PATIENCE_S, child.kill)
            guard.start()
            try:
                child.stdin.write(json.dumps(path).encode() + b"\n")
                child.stdin.flush()
                head = json.loads(child.stdout.readline() or b"null")
                if head is None:
                    raise ValueError("the decoder ended on this picture")
                content = child.stdout.read(head["bytes"])
            except (OSError, ValueError) as error:
                self._end()
                raise ValueError("the picture is damaged") from error
            finally:
                guard.cancel()
        if "error" in head or len(content) != head["bytes"]:
            raise ValueError("the picture is damaged")
        return np.frombuffer(content, head["dtype"]).reshape(head["shape"])

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sarcoscope.imaging.jpeg_process"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._child = subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                continue
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@cache
def jpeg_process() -> JpegProcess:
    """The child of this process."""
    return JpegProcess()


def _serve() -> None:
    # What gdcm prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for line in sys.stdin.buffer:
        try:
            dataset = pydicom.dcmread(json.loads(line), force=True)
            dataset.pixel_array_options(decoding_plugin="gdcm")
            array = np.ascontiguousarray(dataset.pixel_array)
            head: dict[str, Any] = {"dtype": array.dtype.str, "shape": array.shape}
            content = array.tobytes()
        except Exception as error:
            head, content = {"error": type(error).__name__}, b""
        answers.write(json.dumps({**head, "bytes": len(content)}).encode() + b"\n" + content)
        answers.flush()


if __name__ == "__main__":
    _serve()
