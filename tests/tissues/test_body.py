from __future__ import annotations

import numpy as np

from sarcoscope.tissues.body import body_mask
from tests.tissues.make import ellipse, trunk


def test_trunk_alone_is_found_whole() -> None:
    hu = trunk()
    truth = hu > -1000
    found = body_mask(hu, (1.0, 1.0))
    assert (found & truth).sum() / (found | truth).sum() > 0.995


def test_table_under_the_back_is_left_out() -> None:
    hu = trunk()
    truth = hu > -1000
    hu[268:273, 40:360] = np.where(hu[268:273, 40:360] > -1000, hu[268:273, 40:360], 100)
    found = body_mask(hu, (1.0, 1.0))
    assert (found & ~truth).sum() < 0.01 * truth.sum()
    assert (found & truth).sum() > 0.99 * truth.sum()


def test_arms_that_touch_by_a_bridge_are_left_out() -> None:
    hu = trunk((320, 520))
    truth = hu > -1000
    for x in (75, 445):
        hu[ellipse(hu.shape, (170, x), (28, 26)) & ~truth] = 40
        hu[ellipse(hu.shape, (170, x), (8, 8))] = 900
    found = body_mask(hu, (1.0, 1.0))
    assert (found & ~truth).sum() < 0.02 * truth.sum()
    assert (found & truth).sum() > 0.99 * truth.sum()


def test_lung_and_bowel_gas_belong_to_the_body() -> None:
    hu = trunk()
    hu[ellipse(hu.shape, (140, 200), (20, 30))] = -950
    assert body_mask(hu, (1.0, 1.0))[140, 200]


def test_body_that_fills_the_picture() -> None:
    assert body_mask(np.full((200, 200), 40, dtype=np.int16), (1.0, 1.0)).all()


def test_air_has_no_body() -> None:
    assert not body_mask(np.full((128, 128), -1024, dtype=np.int16), (0.8, 0.8)).any()


def test_small_things_are_no_body() -> None:
    hu = np.full((128, 128), -1024, dtype=np.int16)
    hu[60:70, 60:70] = 40
    assert not body_mask(hu, (1.0, 1.0)).any()


def test_tiny_pictures() -> None:
    for shape in ((1, 1), (2, 3), (5, 1)):
        assert body_mask(np.full(shape, -1000, dtype=np.int16), (1.0, 1.0)).shape == shape
