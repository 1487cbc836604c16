"""The version of this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sarcoscope")
except PackageNotFoundError:
    __version__ = "0+unknown"
