"""Levels, tissues, HU bands: tables without I/O."""
