from __future__ import annotations

from tests.imaging.fuzz import fuzz


def test_mutated_files_are_read_or_refused() -> None:
    outcomes = fuzz(180, seed=4)
    assert outcomes["read"] + outcomes["refused"] == 180
    assert outcomes["refused"] > 10
