"""The analysis of one study: from files to a study record."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sarcoscope._version import __version__
from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.diagnosis import ReferenceSet, find_sets
from sarcoscope.diagnosis.own import own_sets
from sarcoscope.errors import BodyInfoError, SettingError
from sarcoscope.exports.json_result import flags_list, levels_list, series_dict
from sarcoscope.exports.record import Provenance, Run, SeriesRecord, StudyRecord
from sarcoscope.imaging.foreign_masks import read_mask
from sarcoscope.imaging.phases import header_phase
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.reader import ReadStudy, read_study
from sarcoscope.imaging.volume import HeaderBody, Volume
from sarcoscope.levels import LevelMap
from sarcoscope.levels.find import find_levels_by
from sarcoscope.levels.label_maps import levels_of_labels
from sarcoscope.measures.areas import measure_slices
from sarcoscope.measures.body import BodyInfo
from sarcoscope.measures.body_info import GivenBody, body_info
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.measurement import Flag, Measurement, SliceMeasure
from sarcoscope.measures.phase import picture_phase
from sarcoscope.measures.protocols import measure_level, protocol_indices
from sarcoscope.measures.quality import Phase, mask_flags, series_flags, settled_phase, value_flags
from sarcoscope.models.package import ModelPackage
from sarcoscope.models.registry import chosen_packages, shipped_folder
from sarcoscope.progress import Progress
from sarcoscope.study.choose import MeasurePlan, assumed_levels, plan_levels, slices_to_segment
from sarcoscope.study.correct import Correction, check_volume, corrected_mask
from sarcoscope.study.foreign import (
    FOREIGN,
    TOTALSEGMENTATOR,
    TOTALSEGMENTATOR_TISSUES,
    foreign_levels,
    foreign_tissues,
    masks_of,
    run_totalsegmentator,
)
from sarcoscope.study.judge import Evidence, judge
from sarcoscope.study.result import StudyResult
from sarcoscope.study.settings import AnalysisSettings
from sarcoscope.tissues import segment_slices, slice_quality
from sarcoscope.tissues.tissue_mask import TissueMask


class _Clock:
    """Seconds of every stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begin


def analyze(
    path: Path | str,
    *,
    body: GivenBody | Mapping[str, Any] | None = None,
    settings: AnalysisSettings | None = None,
    progress: Progress | None = None,
    correction: Correction | None = None,
    **choices: Any,
) -> StudyResult:
    """Analyse one CT study.

    Args:
        path: DICOM folder or file, zip, or NIfTI file.
        body: sex, age, height, weight; they go before what the header says. A mapping has the field names
            of :class:`~sarcoscope.measures.body_info.GivenBody`.
        settings: choices of the analysis; instead, its fields may be given by name (``levels=("L3", "T12")``,
            ``protocol="mid"``, ``assume_level="L3"`` …).
        progress: hears (stage, fraction).
        correction: what readers decided; models then do only what it leaves open.

    Raises:
        InputError: an input that cannot be used.
        SettingError: a choice that is not known.
    """
    settings = settings or _settings(choices)
    given = _given(body)
    own = own_sets()
    # Mistakes of the user are told before the work begins.
    find_sets(settings.references, own)
    body_info(HeaderBody(), given)
    policy = SeriesPolicy.load(settings.series_policy)
    packages = chosen_packages([m for m in settings.models if m not in FOREIGN])
    clock = _Clock()
    with clock.stage("read"):
        study = read_study(Path(path), policy=policy, series_uid=settings.series_uid, progress=progress)
    person, person_flags = body_info(study.header_body, given)
    with clock.stage("levels"):
        if correction is None:
            levels, level_flags = _levels(study.volume, settings, packages, progress)
        else:
            check_volume(correction, study.volume)
            levels, level_flags = correction.levels, list(correction.flags)
    plan = plan_levels(levels, settings)
    with clock.stage("tissues"):
        indices = slices_to_segment(plan, levels, study.volume.n_slices, settings)
        if correction is not None:
            indices = tuple(i for i in indices if i not in correction.indices)
        mask = _tissues(study.volume, indices, settings, packages, progress) if indices else None
        if correction is not None:
            mask = corrected_mask(study.volume, correction, mask)
    with clock.stage("measure"):
        flags = [Flag(f.code, dict(f.values)) for f in study.flags]
        flags += [*level_flags, *plan.flags, *person_flags]
        record, sets = _record(study, levels, plan, mask, person, tuple(flags), settings, own, clock)
    if correction is not None:
        said = replace(
            record.provenance, settings={**record.provenance.settings, "corrections": dict(correction.record)}
        )
        record = replace(record, provenance=said)
    return StudyResult(record, study.volume, mask, sets, study.images)


def find_study_levels(
    path: Path | str,
    *,
    series_policy: Path | None = None,
    models: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The ``series``, ``levels`` and ``flags`` of a study, as in ``result.json``."""
    study = read_study(Path(path), policy=SeriesPolicy.load(series_policy), progress=progress)
    settings = AnalysisSettings(models=tuple(models))
    packages = chosen_packages([m for m in models if m not in FOREIGN])
    levels, level_flags = _levels(study.volume, settings, packages, progress)
    phase, phase_flags = _phase(study.volume, levels, settings)
    flags = [Flag(f.code, dict(f.values)) for f in study.flags]
    flags += [*level_flags, *phase_flags, *series_flags(study.volume)]
    if levels.find("L3") is None:
        flags.append(Flag("l3_not_in_view"))
    provenance = Provenance(__version__, levels.models, settings.protocol, {}, settings.record())
    record = StudyRecord(
        _series(study, phase), levels, _level_z(study.volume, levels), (), (), BodyInfo(), (), (),
        tuple(flags), provenance, Run("", ""),
    )  # fmt: skip
    return {
        "series": series_dict(record.series),
        "levels": levels_list(record),
        "flags": flags_list(record.flags),
    }


def _settings(choices: Mapping[str, Any]) -> AnalysisSettings:
    try:
        return AnalysisSettings(**choices)
    except TypeError as error:
        raise SettingError(f"An analysis has no such choice: {error}.") from error


def _given(body: GivenBody | Mapping[str, Any] | None) -> GivenBody:
    if body is None or isinstance(body, GivenBody):
        return body or GivenBody()
    try:
        return GivenBody(**body)
    except TypeError as error:
        raise BodyInfoError(f"The body information has no such value: {error}.") from error


def _levels(
    volume: Volume,
    settings: AnalysisSettings,
    packages: Mapping[str, ModelPackage],
    progress: Progress | None,
) -> tuple[LevelMap, list[Flag]]:
    if settings.assume_level:
        height = float(np.ptp(volume.geometry.slice_offsets_mm))
        levels, flags = assumed_levels(volume.n_slices, height, settings.assume_level)
        return levels, list(flags)
    if settings.levels_from is not None:
        return foreign_levels(settings.levels_from, volume), []
    if TOTALSEGMENTATOR in settings.models:
        levels = levels_of_labels(volume, *run_totalsegmentator(volume, "total"))
    else:
        levels = find_levels_by(volume, packages, progress)
    return levels, [Flag(f.code, dict(f.values)) for f in levels.flags]


def _tissues(
    volume: Volume,
    indices: Sequence[int],
    settings: AnalysisSettings,
    packages: Mapping[str, ModelPackage],
    progress: Progress | None,
) -> TissueMask:
    if settings.tissues_from is not None:
        return masks_of(read_mask(settings.tissues_from, volume), volume, indices)
    if TOTALSEGMENTATOR_TISSUES in settings.models:
        labels, reader = run_totalsegmentator(volume, "tissue_types")
        return foreign_tissues(labels, volume, indices, reader)
    package = packages.get("tissue-classes") or packages.get("tissue-compartments")
    return segment_slices(volume, indices, progress=progress, package=package)


def _phase(volume: Volume, levels: LevelMap, settings: AnalysisSettings) -> tuple[Phase, tuple[Flag, ...]]:
    return settled_phase(settings.phase, header_phase(volume.series), picture_phase(volume, levels))


def _series(study: ReadStudy, phase: Phase) -> SeriesRecord:
    volume = study.volume
    return SeriesRecord(
        volume.series,
        volume.n_slices,
        volume.geometry.spacing_mm,
        phase.value,
        phase.evidence,
        study.refused,
    )


def _level_z(volume: Volume, levels: LevelMap) -> dict[str, tuple[float, float, float]]:
    z = volume.z_mm
    return {
        r.level: (float(z[r.index_low]), float(z[r.index_high]), float(z[r.index_mid])) for r in levels.ranges
    }


def _record(
    study: ReadStudy,
    levels: LevelMap,
    plan: MeasurePlan,
    mask: TissueMask | None,
    person: BodyInfo,
    flags: tuple[Flag, ...],
    settings: AnalysisSettings,
    own: tuple[ReferenceSet, ...],
    clock: _Clock,
) -> tuple[StudyRecord, dict[str, ReferenceSet]]:
    volume = study.volume
    bands = default_bands()
    slices: tuple[SliceMeasure, ...] = ()
    found: list[Flag] = [*flags, *series_flags(volume)]
    phase, phase_flags = _phase(volume, levels, settings)
    found += phase_flags
    found += _model_flags(levels, mask)
    if mask is not None:
        slices = measure_slices(volume, mask, levels, bands)
        found += mask_flags(mask, slice_quality(volume, mask))
        if mask.reader:
            found.append(Flag("mask_corrected", {"reader": mask.reader}))
    measurements = _measurements(slices, levels, plan, settings)
    found += value_flags(measurements, slices, levels, assumed=settings.assume_level is not None)
    found += _provisional(measurements)
    if settings.fluid:
        found.append(Flag("fluid_entered"))
    indices, diagnoses, sets = judge(
        Evidence(measurements, levels, person, phase.value, volume.series.kvp, tuple(found)),
        settings.references,
        own,
    )
    models = dict.fromkeys((*levels.models, *(mask.models if mask is not None else ())))
    hu_bands = {name: (band.low, band.high) for name, band in bands.items()}
    provenance = Provenance(__version__, tuple(models), settings.protocol, hu_bands, settings.record())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = StudyRecord(
        series=_series(study, phase),
        levels=levels,
        level_z_mm=_level_z(volume, levels),
        slices=slices,
        measurements=measurements,
        body=person,
        indices=indices,
        diagnoses=diagnoses,
        flags=tuple(_each_once(found)),
        provenance=provenance,
        run=Run(str(uuid.uuid4()), now, clock.seconds),
    )
    return record, sets


def _measurements(
    slices: tuple[SliceMeasure, ...],
    levels: LevelMap,
    plan: MeasurePlan,
    settings: AnalysisSettings,
) -> tuple[Measurement, ...]:
    found = []
    for level in plan.levels:
        span = levels.find(level)
        if span is None or not slices:
            continue
        indices = protocol_indices(span, settings.protocol, slice_index=settings.slice_index)
        found.append(measure_level(slices, level, settings.protocol, indices))
    return tuple(found)


def _model_flags(levels: LevelMap, mask: TissueMask | None) -> list[Flag]:
    """Who did a step that the shipped models did not do."""
    shipped = {p.name for p in shipped_folder().iterdir()}
    pairs = (("own_level_model", levels.models), ("own_tissue_model", mask.models if mask else ()))
    return [
        Flag(code, {"model": name}) for code, models in pairs for name, _, _ in models if name not in shipped
    ]


def _provisional(measurements: tuple[Measurement, ...]) -> list[Flag]:
    return [
        Flag("error_provisional", {"level": m.level})
        for m in measurements
        if measurement_error(m.level, "muscle").provisional
    ]


def _each_once(flags: list[Flag]) -> list[Flag]:
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], Flag] = {}
    for flag in flags:
        seen.setdefault((flag.code, tuple(sorted(flag.values.items()))), flag)
    return list(seen.values())
