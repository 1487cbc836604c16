"""Build hook of the wheel: the pages are built in a source checkout before they are packed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildPages(BuildHookInterface):  # type: ignore[type-arg]
    """Runs npm where the pages are not built yet; an editable install builds them with ``make pages``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages."""
        root = Path(self.root)
        if version == "editable" or (root / "src/sarcoscope/web/pages/index.html").is_file():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError(
                "The pages need Node.js (npm) to be built: install it, or run 'make pages' elsewhere."
            )
        for command in (("ci", "--no-audit", "--no-fund"), ("run", "build")):
            subprocess.run([npm, *command], cwd=root / "frontend", check=True)
