"""DICOM SEG: a label mask as a Segmentation object that lies on the very images that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from sarcoscope.anatomy.tissues import TISSUE_COLOURS, TISSUES, tissue_name
from sarcoscope.errors import SettingError
from sarcoscope.exports.dicom_codes import code
from sarcoscope.exports.dicom_source import algorithm, equipment, source_images
from sarcoscope.imaging.dicom_files import new_uid
from sarcoscope.imaging.instances import Instance
from sarcoscope.imaging.pixels import SliceTurn

SEG_KINDS = ("binary", "labelmap")
"""Ways to store a mask; every PACS knows ``binary``."""


@dataclass(frozen=True)
class SegmentKind:
    """A label value and what it means."""

    value: int
    label: str
    type: Code
    colour: tuple[int, int, int]
    """RGB 0-255."""


def tissue_segments() -> tuple[SegmentKind, ...]:
    """The segments of a tissue mask."""
    labels = {"muscle": "Skeletal muscle", "sat": "Subcutaneous fat", "vat": "Visceral fat", "imat": "IMAT"}
    return tuple(
        SegmentKind(int(t), labels[tissue_name(t)], code(f"tissue_{tissue_name(t)}"), TISSUE_COLOURS[t])
        for t in TISSUES
    )


def make_seg(
    images: Sequence[Instance],
    indices: Sequence[int],
    labels: NDArray[np.uint8],
    models: Sequence[tuple[str, str, str]],
    *,
    segments: Sequence[SegmentKind] | None = None,
    kind: str = "binary",
    description: str = "Sarcoscope tissue masks",
    corrected: bool = False,
) -> Segmentation:
    """A Segmentation object of a mask.

    Args:
        images: [z] the image of every slice of the volume.
        indices: slices of the mask, ascending.
        labels: uint8 [n, y, x] on the volume's grid; ``labels[k]`` belongs to slice ``indices[k]``.
        models: (name, version, sha256) of what drew it; empty: a person did.
        segments: meaning of the values; tissues by default.
        kind: one of :data:`SEG_KINDS`.
        description: series description.
        corrected: a reader corrected what the models drew.

    Raises:
        SettingError: an unknown kind, or a mask without any pixel.
    """
    if kind not in SEG_KINDS:
        raise SettingError(f"'{kind}' is no kind of DICOM SEG; kinds are {', '.join(SEG_KINDS)}.")
    segments = segments or tissue_segments()
    if not labels.any():
        raise SettingError("An empty mask makes no DICOM SEG.")
    shown = [images[i] for i in indices]
    turn = SliceTurn(shown[0])
    frames = np.stack([turn.undo(plane) for plane in labels])
    present = [s for s in segments if (labels == s.value).any()]
    numbered = np.zeros_like(frames)
    for number, segment in enumerate(present, 1):
        numbered[frames == segment.value] = number
    made = algorithm(models, "masks") if models else None
    method = SegmentAlgorithmTypeValues.AUTOMATIC if models else SegmentAlgorithmTypeValues.MANUAL
    if models and corrected:
        method = SegmentAlgorithmTypeValues.SEMIAUTOMATIC
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=s.label,
            segmented_property_category=code("category_tissue"),
            segmented_property_type=s.type,
            algorithm_type=method,
            algorithm_identification=made,
            tracking_uid=new_uid(),
            tracking_id=s.label,
            display_color=CIELabColor.from_rgb(*s.colour),
        )
        for number, s in enumerate(present, 1)
    ]
    sources = source_images(shown)

    if shown[0].frame is not None:
        numbered = _all_frames(numbered, shown, int(sources[0].NumberOfFrames))
    return Segmentation(
        source_images=sources,
        pixel_array=numbered,
        segmentation_type=kind.upper(),
        segment_descriptions=descriptions,
        series_instance_uid=new_uid(),
        series_number=9001,
        sop_instance_uid=new_uid(),
        instance_number=1,
        content_label="TISSUES",
        content_description=description,
        content_creator_name="Sarcoscope^",
        specific_character_set="ISO_IR 192",
        series_description=description,
        **equipment(),
    )


def _all_frames(frames: NDArray[np.uint8], shown: Sequence[Instance], count: int) -> NDArray[np.uint8]:
    """The mask with one picture for every frame of the multi-frame file."""
    whole = np.zeros((count, *frames.shape[1:]), np.uint8)
    for picture, image in zip(frames, shown, strict=True):
        whole[image.frame or 0] = picture
    return whole


def segment_numbers(seg: Dataset) -> dict[tuple[str, str], int]:
    """(code value, scheme) of every segment's type -> its number."""
    found = {}
    for one in seg.SegmentSequence:
        kind = one.SegmentedPropertyTypeCodeSequence[0]
        found[(str(kind.CodeValue), str(kind.CodingSchemeDesignator))] = int(one.SegmentNumber)
    return found
