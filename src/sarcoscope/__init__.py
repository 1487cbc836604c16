"""Sarcoscope."""
