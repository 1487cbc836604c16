"""Figures against hand-made masks, the papers' rules, and scipy/numpy as independent readers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.validation.cases import MaskPair, case_row
from sarcoscope.validation.level_tables import accuracy, confusion, right_per_class, slice_error, within_one
from sarcoscope.validation.overlap import (
    BANDS,
    band_counts,
    band_of,
    micro_iou,
    overlap,
    scores_of,
    surface_distance,
)
from sarcoscope.validation.protocol_check import protocol_sentences, region_habits
from sarcoscope.validation.statistics import bland_altman, bootstrap, kappa
from sarcoscope.validation.summary import area_errors, band_table, centre_tables, error_rows, subgroup_table


def _square(low: int, high: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


@pytest.mark.parametrize(
    ("iou", "band"),
    [
        (1.0, "0.9-1.0"),
        (0.9, "0.9-1.0"),
        (0.8999, "0.8-0.9"),
        (0.8, "0.8-0.9"),
        (0.7999, "0.7-0.8"),
        (0.7, "0.7-0.8"),
        (0.6999, "<0.7"),
        (0.0, "<0.7"),
    ],
)
def test_bands_are_half_open(iou: float, band: str) -> None:
    assert band_of(iou) == band


@given(st.lists(st.floats(0, 1), min_size=1))
def test_every_slice_lies_in_one_band(ious: list[float]) -> None:
    assert sum(band_counts(ious).values()) == len(ious)
    assert list(band_counts(ious)) == [b[0] for b in BANDS]


def test_overlap_of_known_squares() -> None:
    dice, iou = overlap(_square(0, 10), _square(5, 15))
    assert dice == pytest.approx(2 * 25 / 200)
    assert iou == pytest.approx(25 / 175)
    assert overlap(_square(3, 3), _square(3, 3)) == (1.0, 1.0)


def test_union_and_micro_average_differ_as_they_should() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[:5], truth[5:] = 1, 2
    found = np.where(truth == 1, 2, 1).astype(np.uint8)  # every tissue is the other one
    scores = scores_of(found, truth, {"muscle": 1, "sat": 2, "vat": 3})
    assert scores["iou_union"] == 1.0
    assert scores["iou_micro"] == 0.0
    pairs = [(_square(0, 10), _square(0, 10)), (_square(0, 4), _square(0, 2))]
    assert micro_iou(pairs) == pytest.approx((100 + 4) / (100 + 16))


def test_surface_distance_is_in_mm() -> None:
    a, b = _square(10, 20), _square(10, 20)
    b = np.roll(b, 3, axis=1)
    away = surface_distance(a, b, (1.0, 2.0))
    assert away is not None
    assert away.p95_mm == pytest.approx(6.0)
    assert surface_distance(a, np.zeros_like(a), (1, 1)) is None


def test_confusion_and_classes() -> None:
    truth = ["L3"] * 8 + ["L4"] * 2 + ["T12"]
    found = ["L3"] * 6 + ["L4", "L2", "L4", "L4", "L3"]
    table = confusion(truth, found)
    assert table.sum() == 11
    assert right_per_class(table) == {"T12": (0, 1), "L3": (6, 8), "L4": (2, 2)}
    assert accuracy(table) == pytest.approx(8 / 11)
    assert within_one(table) == pytest.approx(10 / 11)
    assert table[LEVELS.index("L3"), LEVELS.index("L4")] == 1


def test_slice_error_like_p3() -> None:
    found, truth = [10.0, 12.0, 20.0, 31.0], [10.0, 11.0, 22.0, 30.0]
    error = slice_error(found, truth, [5.0] * 4)
    assert error is not None
    assert error.mean_slices == pytest.approx(1.0)
    assert error.sd_slices == pytest.approx(np.std([0, 1, 2, 1], ddof=1))
    assert error.mean_mm == pytest.approx(5.0)
    assert error.within_10_mm == 4
    residual = np.sum((np.array(found) - truth) ** 2)
    assert error.r_squared == pytest.approx(1 - residual / np.sum((np.array(truth) - np.mean(truth)) ** 2))
    assert slice_error([], [], []) is None


def test_kappa_of_a_published_example() -> None:
    # Cohen 1960 in the usual 2 x 2 form: 20/5/10/15 gives 0.4
    found = ["y"] * 25 + ["n"] * 25
    truth = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert kappa(found, truth) == pytest.approx(0.4)
    assert np.isnan(kappa(["a"], ["a"]))


def test_bland_altman_limits() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(150, 30, 60)
    found = truth + rng.normal(2, 3, 60)
    agree = bland_altman(found, truth)
    assert agree.bias == pytest.approx(float(np.mean(found - truth)))
    assert agree.high - agree.bias == pytest.approx(1.96 * np.std(found - truth, ddof=1))


def test_bootstrap_draws_persons() -> None:
    values = [0.0] * 50 + [1.0] * 50  # two people of 50 slices each: the interval spans everything
    persons = ["a"] * 50 + ["b"] * 50
    assert bootstrap(values, persons) == (0.0, 1.0)
    assert np.isnan(bootstrap([1.0, 2.0], ["a", "a"])[0])
    many = np.random.default_rng(2).normal(10, 1, 400)
    low, high = bootstrap(list(many), list(range(400)))
    half = stats.t.ppf(0.975, 399) * stats.sem(many)
    assert high - low == pytest.approx(2 * half, rel=0.15)


def _pair(found: np.ndarray, truth: np.ndarray, **row: str) -> MaskPair:
    hu = np.where(truth == 1, 50, -100).astype(np.int16)
    return MaskPair(
        row.get("case", "c"),
        {"person": "p", **row},
        found.astype(np.uint8),
        truth.astype(np.uint8),
        (1.0, 1.0),
        hu,
    )


def _ring(*, without_spine: bool = False, size: int = 80) -> np.ndarray:
    y, x = np.ogrid[:size, :size]
    radius = np.hypot(y - size / 2, x - size / 2)
    labels = np.zeros((size, size), np.uint8)
    labels[radius < 38], labels[radius < 30], labels[radius < 22] = 2, 1, 3
    if without_spine:
        labels[(labels == 1) & (y > size / 2) & (np.abs(x - size / 2) < (y - size / 2) * 0.5)] = 0
    return labels


def test_a_protocol_that_leaves_out_the_spine_is_named() -> None:
    pairs = [_pair(_ring(), _ring(without_spine=True)) for _ in range(5)]
    sentences = protocol_sentences(region_habits(pairs))
    assert len(sentences) == 1
    assert "reference leaves out" in sentences[0]
    assert "'spine'" in sentences[0]
    assert protocol_sentences(region_habits([_pair(_ring(), _ring())] * 5)) == []


def test_a_single_bad_slice_is_no_protocol() -> None:
    pairs = [_pair(_ring(), _ring())] * 4 + [_pair(_ring(), _ring(without_spine=True))]
    assert protocol_sentences(region_habits(pairs)) == []


def test_left_and_right_of_the_patient() -> None:
    half = _ring()
    half[:, :40][half[:, :40] == 1] = 0  # columns go from the patient's right: the right half is missing
    names = " ".join(protocol_sentences(region_habits([_pair(_ring(), half)] * 4)))
    assert "'right'" in names
    assert "'left'" not in names


def test_case_row_and_tables() -> None:
    truth = _ring()
    found = truth.copy()
    found[:, :4] = 0
    rows = [
        case_row(
            _pair(
                found,
                truth,
                case=f"c{k}",
                person=f"p{k}",
                centre="AB"[k % 2],
                level="L3",
                sex="MF"[k % 2],
                age=str(35 + 10 * k),
            )
        )
        for k in range(4)
    ]
    assert rows[0]["area_muscle"] == pytest.approx((truth == 1).sum() / 100)
    assert rows[0]["hu_muscle"] == 50.0
    assert area_errors(rows, "muscle") == [0.0] * 4
    assert area_errors(rows, "sat")[0] < 0
    table = band_table(rows, "t")
    assert table.rows[0][1] == "4 (100.0 %)"
    assert [t.title.split(":")[0] for t in centre_tables(rows)] == [
        "IoU bands, hospital A",
        "IoU bands, hospital B",
    ]
    groups = {(r[0], r[1]): r for r in subgroup_table(rows).rows}
    assert groups["sex", "M"][2] == "2"
    assert ("age", "30-<40") in groups
    errors = error_rows(rows, "here")
    assert {(e["levels"], e["tissue"]) for e in errors} == {("L3", "muscle"), ("L3", "sat"), ("L3", "vat")}
    assert all(e["provisional"] == "yes" for e in errors)
    sat = next(e for e in errors if e["tissue"] == "sat")
    assert sat["area_percent"] == pytest.approx(1.96 * abs(area_errors(rows, "sat")[0]), abs=0.06)
