from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.levels import score

from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.volume import Geometry, SliceSource, Volume
from sarcoscope.levels import LevelMap, find_levels
from sarcoscope.models.package import shipped_package
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.training.level_data import read_references
from tests.study.make import abdomen, chest


def _volume(hu: np.ndarray, spacing: tuple[float, float, float]) -> Volume:
    positions = np.array([[0.0, 0.0, k * spacing[0]] for k in range(len(hu))])
    return Volume(hu.astype(np.int16), Geometry(spacing, np.eye(3), positions), (SliceSource(),) * len(hu))


def _worst(found: LevelMap, truth: LevelMap) -> int:
    """Largest error in slices over the whole vertebrae (a missing one counts as 99)."""
    errors = [0]
    for r in truth.ranges:
        if r.complete and r.level not in ("Cervical", "Sacral"):
            mine = found.find(r.level)
            errors.append(
                99
                if mine is None
                else max(abs(mine.index_low - r.index_low), abs(mine.index_high - r.index_high))
            )
    return max(errors)


@pytest.mark.parametrize(("phantom", "slices"), [(abdomen, 1), (chest, 2)])
def test_phantoms_are_named_rightly(phantom, slices: int) -> None:
    assert _worst(find_levels(phantom().volume()), phantom().levels) <= slices


@pytest.mark.parametrize("name", ["abd_totalseg", "abd_panccb", "tho_cmbcrc", "abd_tcga_bc"])
def test_reference_ct_by_members_that_never_saw_it(name: str, ct_data: Path) -> None:
    person, readers, truth = read_references(ct_data)[name]
    volume = read_nifti(ct_data / "volumes" / f"{name}.nii.gz")
    found = find_levels(volume, person=person)
    result = score(name, readers, volume, truth, found)
    assert not result.false_l3
    assert result.l3_mm is None or result.l3_mm <= 10
    assert result.right / result.slices >= 0.9
    assert result.within_one == result.slices


def test_every_member_left_somebody_out(ct_data: Path) -> None:
    held = [set(m["held_out"]) for m in shipped_package("level-chain").card["members"]]
    people = {person for person, _, _ in read_references(ct_data).values()}
    assert set().union(*held) == people
    seeds = len(held) // 4
    assert sum(len(h) for h in held) == seeds * len(people)


@pytest.mark.parametrize(
    "hu",
    [
        np.full((40, 64, 64), -1024),
        np.random.default_rng(1).normal(0, 300, (40, 64, 64)),
        np.full((40, 64, 64), 40),
    ],
    ids=["air", "noise", "water"],
)
def test_a_volume_without_a_spine_gets_no_level(hu: np.ndarray) -> None:
    found = find_levels(_volume(hu, (5.0, 6.0, 6.0)))
    assert found.find("L3") is None
    assert {f.code for f in found.flags} & {"spine_not_found", "numbering_uncertain"}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_few_slices_get_no_name(count: int) -> None:
    v = abdomen().volume()
    g = v.geometry
    few = replace(
        v,
        hu=v.hu[:count],
        geometry=replace(g, slice_positions_mm=g.slice_positions_mm[:count]),
        sources=v.sources[:count],
    )
    found = find_levels(few)
    assert found.ranges == ()
    assert [f.code for f in found.flags] == ["short_field_of_view"]


def test_odd_grids_are_survived() -> None:
    for shape, spacing in (
        ((60, 20, 300), (3.0, 10.0, 1.0)),
        ((30, 9, 9), (10.0, 40.0, 40.0)),
        ((400, 40, 40), (0.5, 9.0, 9.0)),
    ):
        hu = np.random.default_rng(2).integers(-1024, 1500, shape)
        find_levels(_volume(hu, spacing))


def test_thin_and_thick_slices_agree() -> None:
    for spacing in (1.5, 8.0):
        phantom = make_phantom(
            PhantomSettings(
                seed=4, matrix=160, pixel_mm=2.4, slice_spacing_mm=spacing, slice_thickness_mm=spacing
            )
        )
        assert _worst(find_levels(phantom.volume()), phantom.levels) <= 2


def test_path_runs_through_the_canal() -> None:
    phantom = abdomen()
    found = find_levels(phantom.volume())
    level = phantom.levels.find("L3")
    assert level is not None
    y, x = found.spine[level.index_mid]
    body_y, body_x = phantom.spine_px[level.index_mid]
    step = phantom.settings.pixel_mm
    assert abs(x - body_x) * step < 6
    assert 15 < (y - body_y) * step < 45  # behind the vertebral body
