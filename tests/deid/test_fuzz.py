"""A fixed-seed sample of the fuzzing; `make soak` runs 100,000 files."""

from __future__ import annotations

import pytest

from tests.deid.fuzz import fuzz_objects


@pytest.mark.parametrize("seed", range(2))
def test_mutated_objects_harm_nobody(seed: int) -> None:
    outcomes = fuzz_objects(150, seed=seed)
    assert outcomes["written"] > 20
    assert outcomes["refused"] + outcomes["set aside"] > 10
