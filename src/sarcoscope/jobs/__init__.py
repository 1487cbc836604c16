"""Durable jobs: a table that survives every crash, and processes (or a Dask cluster) that work it off."""
