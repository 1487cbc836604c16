"""``segmentation.nii.gz``: the tissue labels on the grid of the input."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from sarcoscope.files import write_bytes
from sarcoscope.imaging.nifti import mask_to_file_grid
from sarcoscope.imaging.volume import Volume
from sarcoscope.tissues.tissue_mask import TissueMask


def write_segmentation(volume: Volume, mask: TissueMask | None, path: Path) -> None:
    """Write labels 0-4 (uint8); slices that were not segmented are 0. The same input gives the same bytes."""
    labels = np.zeros(volume.hu.shape, np.uint8)
    if mask is not None:
        labels[list(mask.indices)] = mask.labels
    array, affine = mask_to_file_grid(volume, labels)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))
