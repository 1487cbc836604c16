"""The canal's path against points that were checked by eye, by members that never saw the person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.levels.canal import MULTIPLE, canal_input, cells_of
from sarcoscope.levels.coarse import STEP_MM, CoarseVolume, coarse_copy
from sarcoscope.levels.spine import find_spine
from sarcoscope.models.package import shipped_package
from sarcoscope.training.canal_points import phantom_path, read_points, reference_path
from sarcoscope.training.level_data import read_references
from tests.study.make import abdomen


@pytest.mark.parametrize("name", ["tho_aorta", "abd_cort", "abd_ircad19", "abd_totalseg", "tho_acrin"])
def test_path_on_ct_that_no_member_saw(name: str, ct_data: Path) -> None:
    """Contrast in heart and aorta, kyphosis, a narrow view, coarse voxels, a head in view."""
    package = shipped_package("spine-canal")
    person = read_references(ct_data)[name][0]
    coarse = coarse_copy(read_nifti(ct_data / "volumes" / f"{name}.nii.gz"))
    truth = reference_path(read_points()[name], coarse)
    found = find_spine(coarse, package, package.members_without(person))
    known = truth.score > 0
    away = np.hypot(*(found.yx - truth.yx)[known].T) * STEP_MM
    assert np.median(away) < 3
    assert np.percentile(away, 98) < 10
    assert found.quality > 0.5


def test_path_on_a_phantom() -> None:
    coarse = coarse_copy(abdomen().volume())
    package = shipped_package("spine-canal")
    found = find_spine(coarse, package, range(4))
    away = np.hypot(*(found.yx - phantom_path(abdomen(), coarse).yx).T) * STEP_MM
    assert np.median(away) < 6


def test_cells_are_means_padded_with_air() -> None:
    hu = np.random.default_rng(1).normal(0, 100, (5, 70, 91)).astype(np.float32)
    cells = cells_of(hu)
    assert cells.shape[1] % MULTIPLE == cells.shape[2] % MULTIPLE == 0
    assert cells[2, 3, 4] == pytest.approx(hu[2, 6:8, 8:10].mean(), abs=1e-3)
    assert (cells[:, 35:] == -1024).all()
    image = canal_input(cells, [0, 4])
    assert image.shape == (2, 6, *cells.shape[1:])
    assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize("shape", [(3, 4, 4), (6, 200, 10), (4, 33, 65)])
def test_odd_shapes_are_survived(shape: tuple[int, int, int]) -> None:
    for value in (-1024.0, 40.0):
        coarse = CoarseVolume(np.full(shape, value, np.float32), np.arange(shape[0]) * 2.0, (0.0, 0.0))
        path = find_spine(coarse, shipped_package("spine-canal"), [0])
        assert path.yx.shape == (shape[0], 2)
        assert path.quality <= 1
