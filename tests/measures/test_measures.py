from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.errors import BodyInfoError, SettingError
from sarcoscope.imaging.volume import Geometry, HeaderBody, SliceSource, Volume
from sarcoscope.levels.level_map import LevelMap, LevelRange
from sarcoscope.measures.areas import measure_slices
from sarcoscope.measures.body import BodyInfo, Known
from sarcoscope.measures.body_info import GivenBody, body_info
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.indices import muscle_indices
from sarcoscope.measures.measurement import PROTOCOLS
from sarcoscope.measures.protocols import measure_level, protocol_indices, slice_heights_mm
from sarcoscope.samples.phantom import make_phantom, random_settings
from sarcoscope.tissues.tissue_mask import TissueMask


@pytest.mark.parametrize("seed", range(50))
def test_areas_of_phantoms_on_their_true_masks(seed: int) -> None:
    """Fifty random phantoms, every protocol: areas and volumes within 0.2 % of the truth."""
    rng = np.random.default_rng([2024, seed])
    phantom = make_phantom(random_settings(rng, matrix=128, top_level="L1", bottom_level="L5"))
    volume, levels = phantom.volume(), phantom.levels
    slices = measure_slices(volume, phantom.tissue_mask(), levels)
    true_areas = phantom.areas_cm2
    for level in levels.ranges:
        for protocol in PROTOCOLS:
            chosen = protocol_indices(level, protocol, slice_index=level.index_high)
            found = measure_level(slices, level.level, protocol, chosen)
            for name, tissue in found.tissues.items():
                expected = float(np.mean([true_areas[name][k] for k in chosen]))
                assert tissue.area_cm2 == pytest.approx(expected, rel=0.002, abs=1e-9)
                if len(chosen) > 1:
                    step = volume.geometry.spacing_mm[0] / 10.0
                    assert tissue.volume_cm3 == pytest.approx(
                        expected * len(chosen) * step, rel=0.002, abs=1e-9
                    )


def _volume(hu: np.ndarray, spacing: tuple[float, float, float], z: list[float]) -> Volume:
    positions = np.array([[0.0, 0.0, v] for v in z])
    return Volume(hu.astype(np.int16), Geometry(spacing, np.eye(3), positions), (SliceSource(),) * len(hu))


def test_a_hand_computed_slice() -> None:
    hu = np.array([[[60, -20, -29, 30], [150, -100, -100, 29], [-60, 0, 0, 0]]])
    labels = np.array([[[1, 1, 1, 1], [1, 2, 3, 1], [4, 0, 0, 0]]], np.uint8)
    volume = _volume(hu, (5.0, 2.0, 5.0), [0.0])
    mask = TissueMask((0,), labels, labels > 0)
    levels = LevelMap((LevelRange("L3", 0, 0, 1.0, False),))
    (s,) = measure_slices(volume, mask, levels)
    muscle = s.tissues["muscle"]
    assert s.level == "L3"
    assert muscle.area_cm2 == pytest.approx(0.6)  # six pixels of 10 mm2
    assert muscle.mean_hu == pytest.approx((60 - 20 - 29 + 30 + 150 + 29) / 6)
    assert muscle.nama_cm2 == pytest.approx(0.3)  # 60, 30, 150
    assert muscle.lama_cm2 == pytest.approx(0.3)  # -20, -29, 29
    assert s.tissues["sat"].area_cm2 == pytest.approx(0.1)
    assert s.tissues["imat"].mean_hu == -60


def test_empty_tissue_has_no_hu_and_no_ratio() -> None:
    volume = _volume(np.zeros((1, 4, 4)), (5.0, 1.0, 1.0), [0.0])
    mask = TissueMask((0,), np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), bool))
    slices = measure_slices(volume, mask, LevelMap(()))
    found = measure_level(slices, "L3", "mid", (0,))
    assert found.tissues["muscle"].mean_hu is None
    assert found.ratios == {"muscle_to_sat": None, "muscle_to_vat": None, "vat_to_sat": None}


@given(st.integers(0, 200), st.integers(1, 40))
def test_protocols_stay_in_the_level(low: int, count: int) -> None:
    level = LevelRange("L3", low, low + count - 1, 1.0, True)
    for protocol in ("range", "mid", "inferior-endplate", "two-adjacent"):
        chosen = protocol_indices(level, protocol)
        assert chosen
        assert chosen == tuple(sorted(set(chosen)))
        assert level.index_low <= chosen[0] <= chosen[-1] <= level.index_high
    assert len(protocol_indices(level, "range")) == count
    assert len(protocol_indices(level, "two-adjacent")) == min(2, count)
    assert protocol_indices(level, "inferior-endplate") == (low,)


def test_unknown_protocol_and_missing_slice() -> None:
    level = LevelRange("L3", 0, 4, 1.0, True)
    with pytest.raises(SettingError):
        protocol_indices(level, "best")
    with pytest.raises(SettingError):
        protocol_indices(level, "slice")


def test_a_gap_adds_no_volume() -> None:
    heights = slice_heights_mm(np.array([0.0, 5.0, 10.0, 30.0, 35.0]), 5.0)
    assert heights.tolist() == [5.0, 5.0, 5.0, 5.0, 5.0]
    uneven = slice_heights_mm(np.array([0.0, 4.0, 9.0, 13.0]), 5.0)
    assert uneven.tolist() == [4.0, 4.5, 4.5, 4.0]
    assert slice_heights_mm(np.array([0.0]), 5.0).tolist() == [5.0]


def _measured(area: float):
    volume = _volume(np.full((1, 10, 10), 50), (5.0, 10.0, 10.0), [0.0])
    labels = np.zeros((1, 10, 10), np.uint8)
    labels.reshape(-1)[: round(area)] = 1
    slices = measure_slices(
        volume, TissueMask((0,), labels, labels > 0), LevelMap((LevelRange("L3", 0, 0, 1.0, False),))
    )
    return measure_level(slices, "L3", "mid", (0,))


def test_indices_by_hand() -> None:
    body = BodyInfo(height_cm=Known(160.0, "given"), weight_kg=Known(64.0, "given"))
    found = {i.name: i for i in muscle_indices(_measured(90), body)}
    assert found["SMA"].value == pytest.approx(90.0)
    assert found["SMA_Ht2"].value == pytest.approx(35.15625)
    assert found["SMA_Wt"].value == pytest.approx(1.40625)
    assert found["SMA_BMI"].value == pytest.approx(3.6)  # BMI 25
    assert found["SMD"].value == pytest.approx(50.0)
    assert found["SMA_Ht2"].unit == "cm2/m2"
    share = measurement_error("L3", "muscle").area_percent / 100
    assert found["SMA_BMI"].error == pytest.approx(3.6 * share)


def test_what_cannot_be_computed_is_left_out() -> None:
    assert {i.name for i in muscle_indices(_measured(90), BodyInfo())} == {"SMA", "SMD"}
    tall = BodyInfo(height_cm=Known(160.0, "given"))
    assert {i.name for i in muscle_indices(_measured(90), tall)} == {"SMA", "SMA_Ht2", "SMD"}


def test_given_values_go_before_the_header() -> None:
    header = HeaderBody("M", 60.0, 172.0, 80.0, "20250102")
    body, flags = body_info(
        header, GivenBody(sex="f", weight_kg=60.0, dry_weight=True, weight_date="2025-01-01")
    )
    assert body.sex == Known("F", "given")
    assert body.height_cm == Known(172.0, "dicom", "2025-01-02")
    assert body.weight_kg == Known(60.0, "given", "2025-01-01", True)
    assert [f.code for f in flags] == ["given_differs_from_header"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (HeaderBody("F", 60.0, 17000.0, 60.0), "header_value_ignored"),
        (HeaderBody("F", 60.0, 160.0, 6000.0), "header_value_ignored"),
        (HeaderBody("F", 12.0, 150.0, 40.0), "child"),
        (HeaderBody("F", 60.0, 200.0, 30.0), "bmi_implausible"),
        (HeaderBody(None, 60.0, 160.0, 60.0), "sex_missing"),
        (HeaderBody("F", None, 160.0, 60.0), "age_missing"),
        (HeaderBody("F", 60.0, None, 60.0), "height_missing"),
        (HeaderBody("F", 60.0, 160.0, None), "weight_missing"),
    ],
)
def test_doubtful_headers_are_flagged(header: HeaderBody, code: str) -> None:
    assert code in {f.code for f in body_info(header)[1]}


def test_old_weight_is_flagged() -> None:
    header = HeaderBody("F", 60.0, 160.0, None, "20250301")
    for day, old in (
        ("2025-01-29", True),
        ("2025-01-30", False),
        ("2025-03-30", False),
        ("2025-04-01", True),
    ):
        flags = body_info(header, GivenBody(weight_kg=60.0, weight_date=day))[1]
        assert ("weight_old" in {f.code for f in flags}) == old


@pytest.mark.parametrize(
    "given_body",
    [
        GivenBody(sex="X"),
        GivenBody(age_years=130),
        GivenBody(height_cm=1.7),
        GivenBody(weight_kg=700),
        GivenBody(weight_kg=float("nan")),
        GivenBody(weight_kg=70, weight_date="yesterday"),
    ],
)
def test_impossible_given_values_are_refused(given_body: GivenBody) -> None:
    with pytest.raises(BodyInfoError):
        body_info(HeaderBody(), given_body)


@given(st.floats(0, 300), st.floats(0, 1000), st.floats(0, 5000))
@settings(max_examples=50)
def test_any_header_is_survived(age: float, height: float, weight: float) -> None:
    body, _ = body_info(HeaderBody("M", age, height, weight, "2025xx01"))
    assert body.bmi is None or body.bmi > 0
