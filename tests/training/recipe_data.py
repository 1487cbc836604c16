"""A small synthetic data set with a manifest, as a user would bring it."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from sarcoscope.samples.phantom import Phantom, PhantomSettings, make_phantom


@cache
def person(seed: int) -> Phantom:
    return make_phantom(
        PhantomSettings(
            seed=seed,
            matrix=96,
            pixel_mm=4.0,
            slice_spacing_mm=12.0,
            slice_thickness_mm=12.0,
            top_level="L1",
            bottom_level="L5",
            vat_mm=20.0 + 4 * seed,
        )
    )


def write_nifti(path: Path, values: np.ndarray, phantom: Phantom) -> None:
    z, y, x = phantom.geometry.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])  # LPS axes in a file that counts RAS
    nib.Nifti1Image(np.transpose(values, (2, 1, 0)), affine).to_filename(path)


def make_manifest(
    folder: Path, persons: int = 4, *, centres: int = 2, flip_mask_of: int | None = None
) -> Path:
    """Volumes, masks and ``manifest.csv`` of some people: one row a slice, with its level."""
    rows = []
    for seed in range(1, persons + 1):
        phantom = person(seed)
        mask = np.where(np.isin(phantom.labels, (1, 2, 3)), phantom.labels, 0).astype(np.uint8)
        if flip_mask_of == seed:
            mask = mask[:, ::-1]
        write_nifti(folder / f"p{seed}.nii.gz", phantom.hu, phantom)
        write_nifti(folder / f"p{seed}_mask.nii.gz", mask, phantom)
        for index in range(len(phantom.hu)):
            level = phantom.levels.name_of(index) or ""
            rows.append(
                {
                    "image": f"p{seed}.nii.gz#{index}",
                    "mask": f"p{seed}_mask.nii.gz",
                    "level": level,
                    "person": f"p{seed}",
                    "centre": f"c{seed % centres}",
                    "split": "",
                }
            )
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
