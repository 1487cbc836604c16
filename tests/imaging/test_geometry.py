"""Geometry and HU against other readers: SimpleITK for DICOM, nibabel for NIfTI."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.imaging import read_study, read_volume
from sarcoscope.imaging.nifti import mask_to_file_grid, nifti_affine, volume_from_grid
from sarcoscope.samples.dicom_series import write_dicom_series
from sarcoscope.samples.phantom import PhantomSettings, make_phantom


def _itk_volume(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """HU [z, y, x] and the LPS place of every slice's first pixel as SimpleITK reads the series."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    places = np.array([image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(image.GetDepth())])
    return sitk.GetArrayFromImage(image), places


@pytest.mark.parametrize("turn", [{}, {"in_plane_degrees": 12.0}, {"offset_mm": (30.0, -12.0)}])
def test_dicom_agrees_with_simpleitk(turn: dict[str, object], tmp_path: Path) -> None:
    settings_ = PhantomSettings(
        seed=2, matrix=64, pixel_mm=6.0, top_level="L2", bottom_level="L3", slice_spacing_mm=6.0, **turn
    )
    write_dicom_series(make_phantom(settings_), tmp_path / "ct")
    hu, places = _itk_volume(tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.geometry.slice_positions_mm, places, atol=0.01)


def test_tilted_gantry_keeps_planes_and_spacing(tmp_path: Path) -> None:
    phantom = make_phantom(
        PhantomSettings(seed=2, matrix=64, pixel_mm=6.0, top_level="L2", bottom_level="L4", tilt_degrees=15.0)
    )
    write_dicom_series(phantom, tmp_path / "ct")
    study = read_study(tmp_path / "ct")
    geometry = study.volume.geometry
    assert geometry.tilt_degrees == pytest.approx(15.0, abs=0.05)
    assert "gantry_tilt" in {f.code for f in study.flags}
    assert geometry.spacing_mm[0] == pytest.approx(5.0 * np.cos(np.radians(15.0)), abs=1e-3)
    np.testing.assert_allclose(geometry.slice_positions_mm, phantom.geometry.slice_positions_mm, atol=1e-3)
    np.testing.assert_array_equal(study.volume.hu, phantom.hu)


def test_hospital_study_agrees_with_simpleitk(ct_data: Path, tmp_path: Path) -> None:
    archive = ct_data / "dicom" / "abd_tcga_bc.zip"
    study = read_study(archive)
    assert {r.reason for r in study.refused} == {"secondary_capture"}
    assert "slice_gap" in {f.code for f in study.flags}
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    folders = sorted({p.parent for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size})
    held = 0
    for folder in folders:
        for file in folder.iterdir():
            if not file.stat().st_size:
                continue
            image = sitk.ReadImage(str(file))
            if "CT" not in image.GetMetaData("0008|0060"):
                continue
            z = image.GetOrigin()[2]
            k = int(np.abs(study.volume.geometry.slice_positions_mm[:, 2] - z).argmin())
            np.testing.assert_allclose(
                study.volume.geometry.slice_positions_mm[k], image.GetOrigin(), atol=1e-2
            )
            np.testing.assert_array_equal(
                study.volume.hu[k], np.maximum(sitk.GetArrayFromImage(image)[0], -1024)
            )
            held += 1
    assert held == study.volume.n_slices


def test_jpeg2000_study_with_empty_uids(ct_data: Path) -> None:
    study = read_study(ct_data / "dicom" / "tho_totalseg_dicom.zip")
    assert study.volume.n_slices == 20
    assert "uid_missing" in {f.code for f in study.flags}
    assert all(s.sop_uid for s in study.volume.sources)


def test_reference_volume_agrees_with_nibabel(ct_data: Path) -> None:
    path = ct_data / "volumes" / "abd_totalseg.nii.gz"
    volume, image = read_volume(path), nib.load(path)
    _same_places(volume, np.asanyarray(image.dataobj), image.affine)


@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    steps=st.tuples(*[st.floats(0.4, 8.0)] * 3),
    tilt=st.floats(-0.3, 0.3),
)
@settings(max_examples=60, deadline=None)
def test_any_nifti_grid(order: list[int], signs: tuple, steps: tuple, tilt: float) -> None:
    """Whatever the axis order, flips and obliquity: every voxel stays at its place, and masks go back."""
    rng = np.random.default_rng(1)
    data = rng.integers(-1000, 1500, (4, 5, 6)).astype(np.int16)
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    axes = np.zeros((3, 3))
    for file_axis, world in enumerate(order):
        axes[world, file_axis] = signs[file_axis] * steps[file_axis]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ axes, (7.0, -3.0, 11.0)
    volume = volume_from_grid(data, affine, "x")
    _same_places(volume, data, affine)
    assert volume.geometry.direction[0, 0] > 0.5
    assert volume.geometry.direction[1, 1] > 0.5
    assert volume.geometry.normal[2] > 0.5
    mask = (volume.hu > 0).astype(np.uint8)
    back, same = mask_to_file_grid(volume, mask)
    np.testing.assert_array_equal(back, data > 0)
    np.testing.assert_array_equal(same, affine)


def _same_places(volume, data, affine) -> None:
    """A few random voxels of the file lie at the same LPS place in the volume, with the same value."""
    rng = np.random.default_rng(0)
    g = volume.geometry
    for _ in range(12):
        ijk = [int(rng.integers(n)) for n in data.shape]
        lps = np.diag([-1, -1, 1]) @ (affine @ [*ijk, 1])[:3]
        z = int(np.abs((g.slice_positions_mm - lps) @ g.normal).argmin())
        offset = lps - g.slice_positions_mm[z]
        x = round(float(offset @ g.direction[:, 0]) / g.spacing_mm[2])
        y = round(float(offset @ g.direction[:, 1]) / g.spacing_mm[1])
        assert volume.hu[z, y, x] == max(int(data[tuple(ijk)]), -1024)


def test_dicom_affine_places_voxels(tmp_path: Path) -> None:
    phantom = make_phantom(
        PhantomSettings(seed=2, matrix=64, pixel_mm=6.0, top_level="L3", bottom_level="L3")
    )
    write_dicom_series(phantom, tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    affine = nifti_affine(volume)
    last = np.diag([-1, -1, 1]) @ (affine @ [0, 0, volume.n_slices - 1, 1])[:3]
    np.testing.assert_allclose(last, volume.geometry.slice_positions_mm[-1], atol=1e-3)
