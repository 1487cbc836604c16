"""``segmentation.nii.gz``: the tissue labels on the grid of the input."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sarcoscope.files import write_bytes
from sarcoscope.imaging.nifti import mask_to_file_grid
from sarcoscope.imaging.volume import Volume
from sarcoscope.tissues.tissue_mask import TissueMask


def segmentation_bytes(volume: Volume, indices: Sequence[int], labels: NDArray[np.uint8]) -> bytes:
    """A NIfTI file (gzip) of labels; the same input gives the same bytes.

    Args:
        volume: the CT.
        indices: slices of the mask.
        labels: uint8 [n, y, x]; every other slice is 0.
    """
    whole = np.zeros(volume.hu.shape, np.uint8)
    whole[list(indices)] = labels
    array, affine = mask_to_file_grid(volume, whole)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)


def write_segmentation(volume: Volume, mask: TissueMask | None, path: Path) -> None:
    """Write labels 0-4 (uint8); slices that were not segmented are 0."""
    if mask is None:
        content = segmentation_bytes(volume, (), np.zeros((0, *volume.hu.shape[1:]), np.uint8))
    else:
        content = segmentation_bytes(volume, mask.indices, mask.labels)
    write_bytes(path, content)
