"""Muscle and fat masks on chosen slices."""
