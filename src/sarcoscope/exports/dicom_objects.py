"""The DICOM objects of a study as bytes: SEG and SR."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sarcoscope.exports.dicom_seg import make_seg
from sarcoscope.exports.dicom_sr import make_sr
from sarcoscope.exports.record import StudyRecord
from sarcoscope.imaging.dicom_files import DEIDENTIFICATION, to_bytes
from sarcoscope.imaging.instances import Instance
from sarcoscope.tissues.tissue_mask import TissueMask


def study_objects(
    record: StudyRecord, images: Sequence[Instance], mask: TissueMask | None, *, kind: str = "binary"
) -> tuple[bytes | None, bytes]:
    """(DICOM SEG, or None when nothing was segmented; DICOM SR) of a study.

    Args:
        record: the study.
        images: [z] the image of every slice of the volume.
        mask: its tissue labels.
        kind: how the SEG stores its masks (``binary`` or ``labelmap``).
    """
    with warnings.catch_warnings():
        # highdicom warns of person names with one component, which hospitals have.
        warnings.simplefilter("ignore")
        seg = None
        if mask is not None and mask.labels.any():
            seg = make_seg(
                images, mask.indices, mask.labels, mask.models, kind=kind, corrected=bool(mask.reader)
            )
        sr = make_sr(record, images, seg)
        for made in (seg, sr):
            if made is not None:
                _say_deidentified(made, images[0].file_header)
        return None if seg is None else to_bytes(seg), to_bytes(sr)


def seg_bytes(images: Sequence[Instance], labels: NDArray[np.uint8], reader: str, *, by_hand: bool) -> bytes:
    """DICOM SEG of some slices of a version.

    Args:
        images: the image of every slice.
        labels: uint8 [n, y, x], a slice an image.
        reader: who drew it: a user, or models by name and version.
        by_hand: a person drew or corrected it.

    Raises:
        SettingError: the mask is empty.
    """
    models = () if by_hand else ((reader, "", ""),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = make_seg(images, range(len(images)), labels, models)
        _say_deidentified(seg, images[0].file_header)
        return to_bytes(seg)


def _say_deidentified(made: Dataset, header: Dataset) -> None:
    """What describes a de-identified image is de-identified too, and says so."""
    for keyword in DEIDENTIFICATION:
        if keyword in header:
            setattr(made, keyword, header.get(keyword))
