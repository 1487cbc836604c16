"""Where a user's own models and reference sets are kept."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder(name: str) -> Path:
    """``SARCOSCOPE_HOME/<name>``, else a folder of that name in the user's data folder."""
    home = os.environ.get("SARCOSCOPE_HOME")
    if home:
        return Path(home) / name
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "sarcoscope" / name
