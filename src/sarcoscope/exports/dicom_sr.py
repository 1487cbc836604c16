"""DICOM SR (TID 1500): what was measured, by what, on which images and segments, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementProperties,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from sarcoscope._version import __version__
from sarcoscope.exports.dicom_codes import code, unit
from sarcoscope.exports.dicom_seg import segment_numbers
from sarcoscope.exports.dicom_source import MANUFACTURER, coding_schemes, equipment, source_images
from sarcoscope.exports.record import StudyRecord
from sarcoscope.imaging.dicom_files import new_uid
from sarcoscope.imaging.instances import Instance
from sarcoscope.measures.measurement import Measurement as Measured
from sarcoscope.measures.measurement import TissueMeasure

DESCRIPTION = "Sarcoscope measurements"
_MOST_IMAGES = 500
Group = VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def make_sr(record: StudyRecord, images: Sequence[Instance], seg: Dataset | None) -> ComprehensiveSR:
    """The measurement report of a study.

    Args:
        record: the study.
        images: [z] the image of every slice of the volume.
        seg: the Segmentation object of the same study; None when nothing was segmented.
    """
    used = sorted({i for m in record.measurements for i in m.indices} | {s.index for s in record.slices})
    shown = [images[i] for i in used] or [_middle(images)]
    evidence = source_images(shown)
    writer = _Writer(record, images, seg)
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer()),
        procedure_reported=code("procedure_ct"),
        imaging_measurements=list(writer.groups()),
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=evidence,
    )
    return ComprehensiveSR(
        evidence=[*evidence, *([seg] if seg is not None else [])],
        content=report,
        series_instance_uid=new_uid(),
        series_number=9002,
        sop_instance_uid=new_uid(),
        instance_number=1,
        is_complete=True,
        is_final=False,
        series_description=DESCRIPTION,
        coding_schemes=coding_schemes(),
        specific_character_set="ISO_IR 192",
        **equipment(),
    )


def _middle(images: Sequence[Instance]) -> Instance:
    """What a report of nothing refers to."""
    return images[len(images) // 2]


def _observer() -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=new_uid(),
            name="Sarcoscope",
            manufacturer_name=MANUFACTURER,
            model_name=f"Sarcoscope {__version__}",
        ),
    )


@dataclass(frozen=True)
class _Writer:
    record: StudyRecord
    images: Sequence[Instance]
    seg: Dataset | None

    def groups(self) -> Iterator[Group]:
        """Per measured level: one group a tissue, one of the indices, one an answer of a reference set."""
        for measured in self.record.measurements:
            for name, tissue in measured.tissues.items():
                yield self._tissue(measured, name, tissue)
            yield self._indices(measured)
            yield from self._answers(measured)
        if not self.record.measurements:
            yield MeasurementsAndQualitativeEvaluations(
                tracking_identifier=TrackingIdentifier(new_uid(), "Nothing was measured"),
                source_images=[_source(_middle(self.images))],
                algorithm_id=self._algorithm(),
                qualitative_evaluations=[_research()],
            )

    def _algorithm(self, protocol: str = "") -> AlgorithmIdentification:
        models = [f"{name} {version} sha256 {sha}" for name, version, sha in self.record.provenance.models]
        slices = [f"slice protocol {protocol}"] if protocol else []
        return AlgorithmIdentification("Sarcoscope", __version__, parameters=[*slices, *models] or None)

    def _site(self, level: str) -> list[FindingSite]:
        return [FindingSite(code(f"level_{level}"))]

    def _tissue(self, measured: Measured, name: str, tissue: TissueMeasure) -> Group:
        concept = code(f"tissue_{name}")
        common: dict[str, Any] = {
            "tracking_identifier": TrackingIdentifier(
                new_uid(), f"{measured.level} {name} {measured.protocol}"
            ),
            "finding_type": concept,
            "finding_category": code("category_tissue"),
            "finding_sites": self._site(measured.level),
            "algorithm_id": self._algorithm(measured.protocol),
            "measurements": _tissue_values(tissue),
        }
        segment = self._segment(concept, measured)
        if segment is None:
            return MeasurementsAndQualitativeEvaluations(source_images=self._sources(measured), **common)
        return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)

    def _sources(self, measured: Measured) -> list[SourceImageForMeasurementGroup]:
        return [_source(self.images[i]) for i in measured.indices[:_MOST_IMAGES]]

    def _segment(self, concept: Code, measured: Measured) -> ReferencedSegment | None:
        if self.seg is None:
            return None
        number = segment_numbers(self.seg).get((concept.value, concept.scheme_designator))
        if number is None:
            return None
        uids = dict.fromkeys(
            (self.images[i].sop_class, self.images[i].sop_uid or "") for i in measured.indices
        )
        return ReferencedSegment(
            sop_class_uid=self.seg.SOPClassUID,
            sop_instance_uid=self.seg.SOPInstanceUID,
            segment_number=number,
            source_images=[SourceImageForSegmentation(sop_class, uid) for sop_class, uid in uids],
        )

    def _indices(self, measured: Measured) -> Group:
        values = [
            Measurement(
                code(f"index_{i.name}"), round(i.value, 3), unit(i.unit), properties=_uncertainty(i.error)
            )
            for i in self.record.indices
            if i.level == measured.level and i.protocol == measured.protocol
        ]
        values += [
            Measurement(code(f"ratio_{name}"), round(ratio, 3), unit("1"))
            for name, ratio in measured.ratios.items()
            if ratio is not None
        ]
        span = self.record.levels.find(measured.level)
        if span is not None:
            values.append(Measurement(code("level_confidence"), round(span.confidence, 3), unit("1")))
        if self.record.body.bmi is not None:
            values.append(Measurement(code("bmi"), round(self.record.body.bmi, 2), unit("kg/m2")))
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                new_uid(), f"{measured.level} indices {measured.protocol}"
            ),
            source_images=self._sources(measured),
            finding_sites=self._site(measured.level),
            algorithm_id=self._algorithm(measured.protocol),
            measurements=values,
            qualitative_evaluations=[_research()],
        )

    def _answers(self, measured: Measured) -> Iterator[Group]:
        for answer in self.record.diagnoses:
            if answer.level != measured.level:
                continue
            values = []
            for key, score in (("t_score", answer.t_score), ("z_score", answer.z_score)):
                if score is not None:
                    values.append(Measurement(code(key), round(score, 2), unit("1")))
            yield MeasurementsAndQualitativeEvaluations(
                tracking_identifier=TrackingIdentifier(
                    new_uid(), f"{answer.level} {answer.index} by {answer.reference}"
                ),
                source_images=self._sources(measured),
                finding_type=code(f"index_{answer.index}"),
                finding_sites=self._site(answer.level),
                algorithm_id=AlgorithmIdentification(
                    "Sarcoscope reference set", __version__, parameters=[f"reference set {answer.reference}"]
                ),
                measurements=values or None,
                qualitative_evaluations=[
                    QualitativeEvaluation(code("class"), code(f"class_{answer.class_}"))
                ],
            )


def _source(image: Instance) -> SourceImageForMeasurementGroup:
    frames = None if image.frame is None else [image.frame + 1]
    return SourceImageForMeasurementGroup(image.sop_class, image.sop_uid or "", frames)


def _research() -> QualitativeEvaluation:
    return QualitativeEvaluation(code("research_only"), codes.SCT.Yes)


def _uncertainty(error: float | None) -> MeasurementProperties | None:
    if error is None:
        return None
    value = round(float(error), 3)
    return MeasurementProperties(upper_measurement_uncertainty=value, lower_measurement_uncertainty=value)


def _tissue_values(tissue: TissueMeasure) -> list[Measurement]:
    values = [
        Measurement(
            code("area"),
            round(tissue.area_cm2, 3),
            unit("cm2"),
            derivation=code("derivation_mean"),
            properties=_uncertainty(tissue.area_error_cm2),
        )
    ]
    if tissue.volume_cm3 is not None:
        values.append(Measurement(code("volume"), round(tissue.volume_cm3, 2), unit("cm3")))
    for key, value in (("derivation_mean", tissue.mean_hu), ("derivation_sd", tissue.sd_hu)):
        if value is not None:
            values.append(Measurement(code("mean_hu"), round(value, 2), unit("HU"), derivation=code(key)))
    for key, area in (("nama", tissue.nama_cm2), ("lama", tissue.lama_cm2)):
        if area is not None:
            values.append(Measurement(code(key), round(area, 3), unit("cm2")))
    return values
