"""RTSTRUCT: tissue masks as contours for planning and research systems that read no SEG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import contourpy
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from sarcoscope._version import __version__
from sarcoscope.exports.dicom_seg import SegmentKind, tissue_segments
from sarcoscope.exports.dicom_source import MANUFACTURER, source_images
from sarcoscope.imaging.dicom_files import PATIENT_AND_STUDY, explicit_file_meta, new_uid
from sarcoscope.imaging.foreign_masks import RTSTRUCT_CLASS
from sarcoscope.imaging.instances import Instance
from sarcoscope.imaging.volume import Geometry

_STUDY_CLASS: Final = "1.2.840.10008.3.1.2.3.1"


def make_rtstruct(
    images: Sequence[Instance],
    geometry: Geometry,
    indices: Sequence[int],
    labels: NDArray[np.uint8],
    *,
    segments: Sequence[SegmentKind] | None = None,
) -> Dataset:
    """A structure set with one structure a tissue; a hole is a contour inside another.

    Args:
        images: [z] the image of every slice of the volume.
        geometry: of the volume.
        indices: slices of the mask.
        labels: uint8 [n, y, x] on the volume's grid.
        segments: meaning of the values; tissues by default.
    """
    sources = source_images(images)
    one = sources[0]
    out = Dataset()
    for keyword in (*PATIENT_AND_STUDY, "StudyInstanceUID"):
        setattr(out, keyword, one.get(keyword, ""))
    now = datetime.now(UTC)
    out.SpecificCharacterSet = "ISO_IR 192"
    out.SOPClassUID, out.SOPInstanceUID = UID(RTSTRUCT_CLASS), new_uid()
    out.SeriesInstanceUID, out.SeriesNumber, out.Modality = new_uid(), 9004, "RTSTRUCT"
    out.Manufacturer, out.ManufacturerModelName, out.SoftwareVersions = (
        MANUFACTURER,
        "Sarcoscope",
        __version__,
    )
    out.OperatorsName, out.InstanceNumber = "", 1
    out.StructureSetLabel, out.SeriesDescription = "TISSUES", "Sarcoscope tissue contours"
    out.StructureSetDate, out.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    out.FrameOfReferenceUID, out.PositionReferenceIndicator = one.FrameOfReferenceUID, ""
    out.ApprovalStatus = "UNAPPROVED"
    out.ReferencedFrameOfReferenceSequence = [_frame_of_reference(sources)]
    structures, contours, observations = [], [], []
    for number, segment in enumerate(segments or tissue_segments(), 1):
        if not (labels == segment.value).any():
            continue
        structure, roi, observation = Dataset(), Dataset(), Dataset()
        structure.ROINumber, structure.ROIName = number, segment.label
        structure.ReferencedFrameOfReferenceUID = one.FrameOfReferenceUID
        structure.ROIGenerationAlgorithm = "AUTOMATIC"
        roi.ROIDisplayColor, roi.ReferencedROINumber = list(segment.colour), number
        roi.ContourSequence = [
            c
            for k, index in enumerate(indices)
            for c in _contours(labels[k] == segment.value, geometry, index, images[index])
        ]
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", ""
        structures.append(structure)
        contours.append(roi)
        observations.append(observation)
    out.StructureSetROISequence, out.ROIContourSequence = structures, contours
    out.RTROIObservationsSequence = observations
    out.file_meta = explicit_file_meta(out)
    return out


def _frame_of_reference(sources: Sequence[Dataset]) -> Dataset:
    frame, study, series = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = sources[0].FrameOfReferenceUID
    study.ReferencedSOPClassUID = UID(_STUDY_CLASS)
    study.ReferencedSOPInstanceUID = sources[0].StudyInstanceUID
    series.SeriesInstanceUID = sources[0].SeriesInstanceUID
    series.ContourImageSequence = [_image(s.SOPClassUID, s.SOPInstanceUID) for s in sources]
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(sop_class: str, uid: str, frame: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = UID(sop_class), UID(uid)
    if frame is not None:
        item.ReferencedFrameNumber = frame + 1
    return item


def _contours(where: NDArray[np.bool_], geometry: Geometry, index: int, image: Instance) -> list[Dataset]:
    """Closed contours half a pixel around the pixels' centres."""
    padded = np.pad(where, 1).astype(np.float64)
    found = []
    for line in contourpy.contour_generator(z=padded).lines(0.5):
        corners = np.asarray(line)[:-1] - 1.0
        if len(corners) < 3:
            continue
        places = (
            geometry.slice_positions_mm[index]
            + corners[:, :1] * geometry.spacing_mm[2] * (geometry.direction[:, 0])
        )
        places = places + corners[:, 1:] * geometry.spacing_mm[1] * geometry.direction[:, 1]
        contour = Dataset()
        contour.ContourImageSequence = [_image(image.sop_class, image.sop_uid or "", image.frame)]
        contour.ContourGeometricType = "CLOSED_PLANAR"
        contour.NumberOfContourPoints = len(corners)
        contour.ContourData = [f"{v:.3f}" for v in places.ravel()]
        found.append(contour)
    return found
