"""Agreement of readers against printed and computed values."""

from __future__ import annotations

import numpy as np
import pytest

from sarcoscope.validation.readers import Reading, agreement, icc_2_1

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    found = icc_2_1(SHROUT_FLEISS)
    assert found is not None
    # Shrout & Fleiss 1979: ICC(2,1) = 0.29; interval as R's psych::ICC prints it: 0.02 to 0.76.
    assert found.value == pytest.approx(0.2898, abs=5e-4)
    assert found.low == pytest.approx(0.019, abs=5e-3)
    assert found.high == pytest.approx(0.761, abs=5e-3)


def test_icc_needs_two_of_each() -> None:
    assert icc_2_1(np.ones((1, 3))) is None
    assert icc_2_1(np.ones((4, 1))) is None
    assert icc_2_1(np.ones((4, 2))) is None
    assert icc_2_1(np.array([[1.0, 2.0], [1.0, 2.0]])) is None
    for scale in (1.0, 0.1, 123.456):
        same = icc_2_1(np.array([[1.0, 1.0], [2.0, 2.0], [5.1, 5.1]]) * scale)
        assert same is not None
        assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))


def test_agreement_of_two_readers_as_counted_by_hand() -> None:
    a, b = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    a[2:6, 2:6] = 1
    b[2:6, 3:7] = 1
    readings = [
        Reading("ann", "s1", 4, 5, {4: a, 5: a}),
        Reading("bob", "s1", 4, 6, {4: b, 5: b, 6: b}),
        Reading("ann", "s2", 3, 4, {3: a, 4: a}),
        Reading("bob", "s2", 3, 4, {3: a, 4: a}),
    ]
    heights = np.arange(12) * 5.0
    found = agreement(readings, {"s1": heights, "s2": heights}, {"s1": 0.01, "s2": 0.01})
    (pair,) = found["pairs"]
    assert pair["readers"] == ["ann", "bob"]
    assert pair["level"]["slices_mean"] == pytest.approx((0.5 + 0.0) / 2)
    assert pair["level"]["mm_mean"] == pytest.approx((2.5 + 0.0) / 2)
    muscle = pair["masks"][0]
    assert muscle["dice_mean"] == pytest.approx((12 / 16 + 1.0) / 2)
    assert muscle["dice_worst"] == pytest.approx(0.75)
    assert muscle["bland_altman_cm2"]["bias"] == pytest.approx(0.0)
    # 9 + 6 slices were compared; one of them is in bob's range alone.
    inside_ann, inside_bob, n = 2 + 2, 3 + 2, 9 + 6
    seen = (n - 1) / n
    chance = (inside_ann * inside_bob + (n - inside_ann) * (n - inside_bob)) / n**2
    assert pair["level"]["kappa"] == pytest.approx((seen - chance) / (1 - chance))
