"""Database and content-addressed files of the platform."""

from sarcoscope.store.store import Store

__all__ = ["Store"]
