from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.anatomy.hu_bands import HuBand, default_bands
from sarcoscope.anatomy.tissues import Tissue
from sarcoscope.errors import SettingError
from sarcoscope.models.package import shipped_package
from sarcoscope.tissues import segment_slices
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.tissues.refine import fat_to_its_side, floating_parts, reach_bone, small_parts
from sarcoscope.tissues.segment import MODEL, border_doubt, gate_by_hu
from tests.tissues.make import trunk, volume_of

HU = st.integers(-1024, 3071)


@given(st.lists(HU, min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_every_hu_gets_the_tissue_that_its_compartment_allows(values: list[int]) -> None:
    hu = np.array([values], dtype=np.int16)
    for compartment in Compartment:
        labels = gate_by_hu(hu, np.full(hu.shape, compartment, dtype=np.uint8), default_bands())
        for value, label in zip(values, labels[0], strict=True):
            assert label == _expected(compartment, value)


def _expected(compartment: Compartment, hu: int) -> Tissue:
    if compartment == Compartment.RING and -29 <= hu <= 150:
        return Tissue.MUSCLE
    if compartment == Compartment.RING and -190 <= hu <= -30:
        return Tissue.IMAT
    if compartment == Compartment.SKIN_SIDE and -190 <= hu <= -30:
        return Tissue.SAT
    if compartment == Compartment.CAVITY and -150 <= hu <= -50:
        return Tissue.VAT
    return Tissue.BACKGROUND


def test_sharp_border_has_no_doubt_and_a_ramp_has() -> None:
    sharp = np.zeros((60, 60), dtype=np.float32)
    sharp[20:40, 20:40] = 1.0
    ramp = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (60, 1))
    assert border_doubt(sharp) == 0.0
    assert border_doubt(ramp) > 0.5
    assert border_doubt(np.zeros((8, 8), dtype=np.float32)) == 0.0


def test_muscle_reaches_over_a_seam_but_not_through_bone() -> None:
    compartments = np.array([[2, 2, 4, 4, 4, 4, 4, 4]], dtype=np.uint8)
    muscle = np.array([[1, 1, 1, 1, 1, 0, 1, 1]], dtype=bool)
    assert reach_bone(compartments, muscle, (1.0, 1.0)).tolist() == [[2, 2, 2, 2, 4, 4, 4, 4]]


def test_fat_at_the_border_of_the_ring_goes_to_its_side_and_fat_within_stays() -> None:
    compartments = np.array([[1, 1, 2, 2, 2, 2, 2, 3, 3]], dtype=np.uint8)
    fat = np.array([[1, 1, 1, 0, 1, 0, 1, 1, 1]], dtype=bool)
    assert fat_to_its_side(compartments, fat, (1.0, 1.0)).tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 3]]
    assert np.array_equal(fat_to_its_side(compartments, fat, (3.0, 3.0)), compartments)


def test_parts_that_are_small_or_float_are_found() -> None:
    ring = np.zeros((40, 60), dtype=bool)
    ring[5:30, 5:30], ring[5:10, 40:45], ring[20:30, 45:55], ring[33, 33] = True, True, True, True
    inner = np.zeros_like(ring)
    inner[24:28, 56:58] = True
    assert np.argwhere(small_parts(ring, 2.0, 1.0)).tolist() == [[33, 33]]
    floating = floating_parts(ring, inner)
    assert floating[7, 42]
    assert floating[33, 33]
    assert not floating[10, 10]
    assert not floating[25, 50]


@pytest.mark.parametrize(
    "hu",
    [
        np.full((1, 64, 64), -1024),
        np.full((1, 1, 1), 40),
        np.full((1, 3, 400), 40),
        np.full((1, 300, 300), 40),
        np.full((1, 256, 256), 3071),
        np.random.default_rng(0).integers(-1024, 3071, (1, 256, 200)),
        np.random.default_rng(1).normal(0, 100, (1, 200, 256)),
    ],
    ids=["air", "pixel", "strip", "all soft", "all metal", "noise", "soft noise"],
)
def test_pictures_without_a_person_do_not_fail(hu: np.ndarray) -> None:
    mask = segment_slices(volume_of(hu.astype(np.int16)), [0])
    assert mask.labels.shape == hu.shape
    assert not mask.labels[~mask.body].any()
    assert 0.0 <= mask.doubt[0] <= 1.0


def test_empty_slice_has_an_empty_mask() -> None:
    mask = segment_slices(volume_of(np.full((1, 512, 512), -1024)), [0])
    assert not mask.labels.any()
    assert not mask.body.any()


@pytest.mark.parametrize("shape", [(1024, 1024), (700, 1024)])
def test_large_pictures(shape: tuple[int, int]) -> None:
    mask = segment_slices(volume_of(trunk(shape, 0.4), (0.4, 0.4)), [0])
    assert mask.labels.shape == (1, *shape)
    assert (mask.labels == Tissue.MUSCLE).any()


def test_pixels_need_not_be_square() -> None:
    hu = trunk((320, 400))
    square = segment_slices(volume_of(hu, (1.0, 1.0)), [0]).labels[0]
    wide = segment_slices(volume_of(hu[:, ::2], (1.0, 2.0)), [0]).labels[0]
    for tissue in (Tissue.MUSCLE, Tissue.SAT, Tissue.VAT):
        assert 2 * (wide == tissue).sum() == pytest.approx((square == tissue).sum(), rel=0.08)


def test_indices_are_answered_ascending_and_once_with_progress() -> None:
    volume = volume_of(np.stack([trunk()] * 3), (1.0, 1.0))
    seen: list[tuple[str, float]] = []
    mask = segment_slices(volume, [2, 0, 2], progress=lambda stage, share: seen.append((stage, share)))
    assert mask.indices == (0, 2)
    assert seen == [("tissues", 0.5), ("tissues", 1.0)]
    assert np.array_equal(mask.labels[0], mask.labels[1])
    assert mask.models == (shipped_package(MODEL).reference,)


def test_no_slices_is_an_empty_answer() -> None:
    assert segment_slices(volume_of(trunk()), []).labels.shape == (0, 320, 400)


@pytest.mark.parametrize("indices", [[1], [-1]])
def test_index_outside_the_series_is_refused(indices: list[int]) -> None:
    with pytest.raises(SettingError, match="does not lie in this series"):
        segment_slices(volume_of(trunk()), indices)


@pytest.mark.parametrize("members", [[], [99], [-1]])
def test_unknown_member_is_refused(members: list[int]) -> None:
    with pytest.raises(SettingError, match="members"):
        segment_slices(volume_of(trunk()), [0], members=members)


def test_bands_can_be_changed() -> None:
    volume = volume_of(trunk(), (1.0, 1.0))
    none = segment_slices(volume, [0], bands={"muscle": HuBand("muscle", 400, 500)})
    assert not (none.labels == Tissue.MUSCLE).any()
    assert (none.labels == Tissue.SAT).any()


@pytest.mark.parametrize(
    ("name", "bar"),
    [
        ("abd_acrin", 0.93),
        ("abd_panccb_L2", 0.93),
        ("luad_0084", 0.93),
        ("abd_ts0028", 0.90),
        ("m_EMC052", 0.93),
    ],
)
def test_real_slices_by_members_that_never_saw_the_person(ct_data: Path, name: str, bar: float) -> None:
    rows = csv.DictReader((ct_data / "slices.csv").read_text(encoding="utf-8").splitlines())
    row = next(r for r in rows if r["id"] == name)
    image = nib.Nifti1Image.from_filename(ct_data / "slices" / f"{name}.nii.gz")
    truth = np.asarray(nib.Nifti1Image.from_filename(ct_data / "masks" / f"{name}.nii.gz").dataobj)[:, :, 0].T
    hu = np.asarray(image.dataobj)[:, :, 0].T
    members = shipped_package(MODEL).card["members"]
    unseen = [k for k, m in enumerate(members) if row["person"] in m["held_out"]] or None
    assert unseen or name.startswith("m_")
    spacing = (float(row["spacing_y_mm"]), float(row["spacing_x_mm"]))
    labels = segment_slices(volume_of(hu, spacing), [0], members=unseen).labels[0]
    for tissue, least in ((Tissue.MUSCLE, bar), (Tissue.SAT, 0.96), (Tissue.VAT, 0.95)):
        found, real = (labels == tissue) & (truth != 5), truth == tissue
        assert 2 * (found & real).sum() / (found.sum() + real.sum()) >= least, tissue


def test_shipped_card_tells_what_is_needed() -> None:
    card = shipped_package(MODEL).card
    assert card["licence"] == "CC BY-NC 4.0"
    assert not any(p.startswith("m_") for p in card["training"]["persons"])
    held = [p for m in card["members"] for p in m["held_out"]]
    assert sorted(held) == sorted(set(held)) == card["training"]["persons"]
    assert card["figures"]["L2-L4"]["n"] == 32
