"""Judge a stored result again: another reference, protocol or body value, without looking at the CT."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sarcoscope.diagnosis import ReferenceSet
from sarcoscope.diagnosis.own import own_sets
from sarcoscope.errors import SettingError
from sarcoscope.exports.record import Provenance, Run, SeriesRecord, StudyRecord
from sarcoscope.imaging.series import RefusedSeries
from sarcoscope.imaging.volume import HeaderBody, SeriesInfo
from sarcoscope.levels.level_map import LevelMap, LevelRange
from sarcoscope.measures.body import BodyInfo, Known
from sarcoscope.measures.body_info import BODY_FLAGS, GivenBody, body_info
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.measurement import Flag, Measurement, SliceMeasure, TissueMeasure
from sarcoscope.measures.protocols import measure_level, protocol_indices
from sarcoscope.study.judge import Evidence, judge


def judge_again(
    result: Mapping[str, Any],
    *,
    references: tuple[str, ...] = (),
    protocol: str | None = None,
    body: GivenBody | None = None,
    fluid: bool | None = None,
    study_date: str | None = None,
    redrawn: Mapping[int, Mapping[str, Any]] | None = None,
    reader: str = "",
) -> tuple[StudyRecord, dict[str, ReferenceSet]]:
    """The record of a stored ``result.json`` under other choices; levels and masks stay what they are.

    Args:
        result: content of ``result.json``.
        references: names of the sets to ask; empty: the defaults of the level.
        protocol: slice protocol; None: that of the result.
        body: what is given now; None: the body values of the result.
        fluid: ascites or oedema is known; None: as in the result.
        study_date: YYYYMMDD (the result holds no date).
        redrawn: slices whose mask was changed since: index -> its entry as in the result's ``slices``.
        reader: who changed them.

    Raises:
        SettingError: an unknown protocol or set, or a protocol that needs the CT again.
        BodyInfoError: a value that cannot be true.
    """
    protocol = protocol or str(result["provenance"]["protocol"])
    if protocol == "slice" and protocol != result["provenance"]["protocol"]:
        raise SettingError("For the protocol 'slice' the study must be analysed again.")
    levels = levels_of(result)
    entries = {s["index"]: s for s in result["slices"]} | dict(redrawn or {})
    slices = tuple(_slice(entries[i]) for i in sorted(entries))
    flags = [Flag(f["code"], f["values"]) for f in result["flags"]]
    if body is None:
        person = _body(result["body"])
    else:
        person, more = body_info(_header(result["body"], study_date), body)
        flags = [f for f in flags if f.code not in BODY_FLAGS] + [f for f in more if f.code in BODY_FLAGS]
    if fluid is not None:
        flags = [f for f in flags if f.code != "fluid_entered"] + ([Flag("fluid_entered")] if fluid else [])
    if redrawn:
        flags = [f for f in flags if f.code not in ("muscle_border_doubtful", "mask_corrected")]
        flags.append(Flag("mask_corrected", {"reader": reader}))
    measurements = []
    for old in result["measurements"]:
        span = levels.find(old["level"])
        if span is None:
            continue
        if protocol == result["provenance"]["protocol"]:
            measured = _measurement(old)
            if redrawn:
                measured = measure_level(slices, span.level, protocol, measured.indices)
            measurements.append(measured)
        else:
            indices = protocol_indices(span, protocol)
            measurements.append(measure_level(slices, span.level, protocol, indices))
    series = result["series"]
    evidence = Evidence(
        tuple(measurements), levels, person, series["phase"]["value"], series["kvp"], tuple(flags)
    )
    values, answers, sets = judge(evidence, references, own_sets())
    provenance = _provenance(result["provenance"], protocol, references)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = StudyRecord(
        series=_series(series, study_date),
        levels=levels,
        level_z_mm={r["level"]: (r["z_mm_low"], r["z_mm_high"], r["z_mm_mid"]) for r in result["levels"]},
        slices=slices,
        measurements=tuple(measurements),
        body=person,
        indices=values,
        diagnoses=answers,
        flags=tuple(flags),
        provenance=provenance,
        run=Run(str(uuid.uuid4()), now),
    )
    return record, sets


def _provenance(old: Mapping[str, Any], protocol: str, references: tuple[str, ...]) -> Provenance:
    return Provenance(
        old["version"],
        tuple((m["name"], m["version"], m["sha256"]) for m in old["models"]),
        protocol,
        {name: (band[0], band[1]) for name, band in old["hu_bands"].items()},
        {**old["settings"], "protocol": protocol, "references": list(references)},
    )


def _series(series: Mapping[str, Any], study_date: str | None) -> SeriesRecord:
    info = SeriesInfo(
        uid=series["uid"],
        modality=series["modality"],
        description=series["description"],
        kernel=series["kernel"],
        kvp=series["kvp"],
        slice_thickness_mm=series["slice_thickness_mm"],
        study_date=study_date,
    )
    z, y, x = series["spacing_mm"]
    refused = tuple(
        RefusedSeries(r["uid"], r["description"], r["reason"], r["n_images"]) for r in series["refused"]
    )
    phase = series["phase"]
    return SeriesRecord(info, series["n_slices"], (z, y, x), phase["value"], phase["evidence"], refused)


def levels_of(result: Mapping[str, Any]) -> LevelMap:
    """The level map of a stored ``result.json``, with every model that took part in the result."""
    return LevelMap(
        tuple(
            LevelRange(
                r["level"], r["index_low"], r["index_high"], r["confidence"], r["complete"], r["runner_up"]
            )
            for r in result["levels"]
        ),
        models=tuple((m["name"], m["version"], m["sha256"]) for m in result["provenance"]["models"]),
    )


def _measurement(entry: Mapping[str, Any]) -> Measurement:
    tissues = {name: TissueMeasure(**values) for name, values in entry["tissues"].items()}
    return Measurement(entry["level"], entry["protocol"], tuple(entry["indices"]), tissues, entry["ratios"])


def _slice(entry: Mapping[str, Any]) -> SliceMeasure:
    level = entry["level"]
    tissues = {name: _tissue(values, level, name) for name, values in entry["tissues"].items()}
    return SliceMeasure(
        entry["index"], level, entry["z_mm"], tissues, entry["level_confidence"], entry["height_mm"]
    )


def _tissue(values: Mapping[str, Any], level: str | None, name: str) -> TissueMeasure:
    area = values["area_cm2"]
    measure = TissueMeasure(area, values["mean_hu"], values["sd_hu"])
    return replace(
        measure,
        area_error_cm2=area * measurement_error(level, name).area_percent / 100.0,
        nama_cm2=values.get("nama_cm2"),
        lama_cm2=values.get("lama_cm2"),
    )


def _known(entry: Mapping[str, Any]) -> Known[Any] | None:
    if entry.get("value") is None:
        return None
    return Known(entry["value"], entry["origin"], entry.get("date"), bool(entry.get("dry", False)))


def _body(body: Mapping[str, Any]) -> BodyInfo:
    names = ("sex", "age_years", "height_cm", "weight_kg")
    return BodyInfo(*(_known(body[name]) for name in names))


def _header(body: Mapping[str, Any], study_date: str | None) -> HeaderBody:
    """What of a result's body values came from the DICOM header."""

    def value(name: str) -> Any:
        return body[name]["value"] if body[name]["origin"] == "dicom" else None

    return HeaderBody(value("sex"), value("age_years"), value("height_cm"), value("weight_kg"), study_date)
