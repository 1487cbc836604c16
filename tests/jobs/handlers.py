"""What the tests' jobs do: importable, so that other processes find it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sarcoscope.errors import InputError, StorageError


def count(payload: Mapping[str, Any], report: Callable[[str, float], None]) -> None:
    """Leave a mark, slowly; or fail as the payload says."""
    place = Path(payload["out"]) / payload["name"]
    what = payload.get("what", "")
    with place.open("a", encoding="utf-8") as stream:
        stream.write("begun\n")
    report("count", 0.5)
    time.sleep(float(payload.get("seconds", 0.0)))
    if what == "bad":
        raise InputError("The input is bad.")
    if what == "later" and place.read_text(encoding="utf-8").count("begun") < 2:
        raise StorageError("The disk was full.")
    if what == "fault":
        raise ZeroDivisionError("oh")
    if what == "die":
        os.kill(os.getpid(), 9)
    with place.open("a", encoding="utf-8") as stream:
        stream.write("done\n")
