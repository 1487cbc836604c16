"""TotalSegmentator as a reader, on its published reference outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sarcoscope import analyze
from sarcoscope.errors import InputError, ModelError
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.study.foreign import (
    foreign_levels,
    foreign_tissues,
    read_foreign_labels,
    run_totalsegmentator,
)
from sarcoscope.training.level_data import read_references
from sarcoscope.validation.overlap import overlap
from tests.study.make import abdomen, series


def test_its_vertebrae_are_those_of_the_readers(ct_data: Path) -> None:
    volume = read_nifti(ct_data / "volumes" / "abd_totalseg.nii.gz")
    found = foreign_levels(ct_data / "labelmaps" / "abd_totalseg_total.nii.gz", volume)
    _, _, truth = read_references(ct_data)["abd_totalseg"]
    for vertebra in truth:
        own = found.find(vertebra.level)
        assert own is not None
        if vertebra.level != "Sacral" and not vertebra.cut:
            assert abs(own.index_low - vertebra.index_low) <= 2
            assert abs(own.index_high - vertebra.index_high) <= 2


def test_its_tissues_on_its_own_ct(ct_data: Path) -> None:
    volume = read_nifti(ct_data / "volumes" / "abd_totalseg.nii.gz")
    path = ct_data / "labelmaps" / "abd_totalseg_tissues_T12-L2.nii.gz"
    labels, reader = read_foreign_labels(path, volume)
    # that file has 1 muscle, 2 SAT, 3 torso fat; the task numbers them 1 SAT, 2 torso fat, 3 muscle
    numbered = np.select([labels == 1, labels == 2, labels == 3], [3, 1, 2]).astype(np.int16)
    mask = foreign_tissues(numbered, volume, [95, 98], reader)
    own = analyze(ct_data / "volumes" / "abd_totalseg.nii.gz", levels=("L1",))
    assert own.mask is not None
    k = own.mask.indices.index(98)
    assert overlap(mask.labels[1] == 1, own.mask.labels[k] == 1)[0] > 0.85
    assert overlap(mask.labels[1] == 2, own.mask.labels[k] == 2)[0] > 0.9


def test_analysis_with_its_levels(ct_data: Path) -> None:
    result = analyze(
        ct_data / "volumes" / "abd_totalseg.nii.gz",
        levels_from=ct_data / "labelmaps" / "abd_totalseg_total.nii.gz",
    )
    assert [m.level for m in result.record.measurements] == ["L3"]
    assert result.record.provenance.models[0][0] == "labels of another tool"
    assert result.record.provenance.settings["levels_from"] == "abd_totalseg_total.nii.gz"


def test_labels_of_another_grid_are_refused(ct_data: Path) -> None:
    labels = ct_data / "labelmaps" / "abd_totalseg_total.nii.gz"
    with pytest.raises(InputError, match="in size"):
        analyze(series(abdomen()), levels_from=labels)


def test_an_installed_program_is_run(ct_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_nifti(ct_data / "volumes" / "abd_totalseg.nii.gz")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="not installed"):
        run_totalsegmentator(volume, "total")
    program = tmp_path / "TotalSegmentator"
    answer = ct_data.resolve() / "labelmaps" / "abd_totalseg_total.nii.gz"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo 2.4.0 && exit\n/bin/cp "{answer}" "$4"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    labels, reader = run_totalsegmentator(volume, "total")
    assert reader[:2] == ("totalsegmentator total", "2.4.0")
    assert labels.shape == volume.hu.shape
    program.write_text("#!/bin/sh\necho no licence >&2\nexit 3\n", encoding="utf-8")
    with pytest.raises(ModelError, match="no licence"):
        run_totalsegmentator(volume, "tissue_types")


def test_its_program_finds_the_tissues(
    ct_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ct_data / "volumes" / "abd_totalseg.nii.gz"
    volume = read_nifti(source)
    labels, _ = read_foreign_labels(ct_data / "labelmaps" / "abd_totalseg_tissues_T12-L2.nii.gz", volume)
    numbered = np.select([labels == 1, labels == 2, labels == 3], [3, 1, 2]).astype(np.int16)
    z, y, x = volume.geometry.spacing_mm
    image = nib.Nifti1Image(np.transpose(numbered, (2, 1, 0)), np.diag([-x, -y, z, 1.0]))
    image.to_filename(tmp_path / "answer.nii.gz")
    program = tmp_path / "TotalSegmentator"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo 2.4.0 && exit\n/bin/cp "{tmp_path}/answer.nii.gz" "$4"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/bin")
    own = analyze(source, levels=("L1",))
    other = analyze(source, levels=("L1",), models=("totalsegmentator-tissues",))
    areas = [r.record.measurements[0].tissues["muscle"].area_cm2 for r in (own, other)]
    assert areas[0] == pytest.approx(areas[1], rel=0.25)
    assert areas[0] != areas[1]
    assert "own_tissue_model" in {f.code for f in other.record.flags}
