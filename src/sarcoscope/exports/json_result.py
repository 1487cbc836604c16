"""``result.json``: the whole record, in the shape that other programs rely on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sarcoscope.diagnosis import Diagnosis, ReferenceSet, cautions_said, reason_text
from sarcoscope.exports.record import SeriesRecord, StudyRecord
from sarcoscope.files import write_bytes
from sarcoscope.imaging.series import refusal_texts
from sarcoscope.language.catalogue import LANGUAGES, say_all, severity
from sarcoscope.measures.body import BodyInfo, Known
from sarcoscope.measures.measurement import Flag, Measurement, SliceMeasure, TissueMeasure

SCHEMA_VERSION = "1.0"
Json = dict[str, Any]


@cache
def result_schema() -> Mapping[str, Any]:
    """The JSON Schema (2020-12) of ``result.json``."""
    text = files("sarcoscope.exports").joinpath("data/result_schema.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def write_json(record: StudyRecord, sets: Mapping[str, ReferenceSet], path: Path) -> None:
    """Write ``result.json``."""
    text = json.dumps(result_dict(record, sets), ensure_ascii=False, indent=1, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def result_dict(record: StudyRecord, sets: Mapping[str, ReferenceSet]) -> Json:
    """The record as plain JSON values.

    Args:
        record: the study.
        sets: the reference sets that were asked, by name (for the words of their cautions).
    """
    provenance = record.provenance
    return {
        "schema": SCHEMA_VERSION,
        "series": series_dict(record.series),
        "levels": levels_list(record),
        "slices": [slice_dict(s) for s in record.slices],
        "measurements": [_measurement(m) for m in record.measurements],
        "body": _body(record.body),
        "indices": [
            {
                "name": i.name,
                "level": i.level,
                "protocol": i.protocol,
                "value": _round(i.value, 3),
                "unit": i.unit,
                "error": _round(i.error, 3),
            }
            for i in record.indices
        ],
        "diagnosis": [_diagnosis(d, sets) for d in record.diagnoses],
        "flags": flags_list(record.flags),
        "provenance": {
            "version": provenance.version,
            "models": [{"name": n, "version": v, "sha256": s} for n, v, s in provenance.models],
            "protocol": provenance.protocol,
            "hu_bands": {name: list(band) for name, band in provenance.hu_bands.items()},
            "settings": dict(provenance.settings),
        },
        "run": {
            "id": record.run.id,
            "time": record.run.time,
            "seconds": {stage: round(s, 2) for stage, s in record.run.seconds.items()},
        },
    }


def series_dict(series: SeriesRecord) -> Json:
    """The ``series`` object."""
    info = series.info
    return {
        "uid": info.uid,
        "modality": info.modality,
        "description": info.description,
        "n_slices": series.n_slices,
        "spacing_mm": [_round(s, 4) for s in series.spacing_mm],
        "slice_thickness_mm": _round(info.slice_thickness_mm, 3),
        "phase": {"value": series.phase, "evidence": series.phase_evidence},
        "kvp": info.kvp,
        "kernel": info.kernel,
        "refused": [
            {
                "uid": r.uid,
                "description": r.description,
                "reason": r.reason,
                "text": refusal_texts()[r.reason],
                "n_images": r.n_images,
            }
            for r in series.refused
        ],
    }


def levels_list(record: StudyRecord) -> list[Json]:
    """The ``levels`` array, from below."""
    found = []
    for r in record.levels.ranges:
        low, high, mid = record.level_z_mm[r.level]
        found.append(
            {
                "level": r.level,
                "index_low": r.index_low,
                "index_high": r.index_high,
                "index_mid": r.index_mid,
                "z_mm_low": _round(low, 2),
                "z_mm_high": _round(high, 2),
                "z_mm_mid": _round(mid, 2),
                "confidence": _round(r.confidence, 3),
                "complete": r.complete,
                "runner_up": r.runner_up,
            }
        )
    return found


def flags_list(flags: tuple[Flag, ...]) -> list[Json]:
    """The ``flags`` array."""
    return [
        {
            "code": f.code,
            "severity": severity(f.code),
            "text": say_all(f.code, f.values),
            "values": dict(f.values),
        }
        for f in flags
    ]


def _round(value: float | None, digits: int) -> float | None:
    """A number with fixed decimals (never ``-0.0``); None stays None."""
    return None if value is None else round(float(value), digits) + 0.0


def _tissue(measure: TissueMeasure, *, whole: bool) -> Json:
    out: Json = {"area_cm2": _round(measure.area_cm2, 3)}
    if whole:
        out["area_error_cm2"] = _round(measure.area_error_cm2, 3)
        out["volume_cm3"] = _round(measure.volume_cm3, 2)
    out["mean_hu"], out["sd_hu"] = _round(measure.mean_hu, 2), _round(measure.sd_hu, 2)
    if measure.nama_cm2 is not None:
        out["nama_cm2"], out["lama_cm2"] = _round(measure.nama_cm2, 3), _round(measure.lama_cm2, 3)
    return out


def slice_dict(measure: SliceMeasure) -> Json:
    """An entry of ``slices``."""
    return {
        "index": measure.index,
        "level": measure.level,
        "level_confidence": _round(measure.level_confidence, 3),
        "z_mm": _round(measure.z_mm, 2),
        "height_mm": _round(measure.height_mm, 4),
        "tissues": {name: _tissue(t, whole=False) for name, t in measure.tissues.items()},
    }


def _measurement(measure: Measurement) -> Json:
    return {
        "level": measure.level,
        "protocol": measure.protocol,
        "indices": list(measure.indices),
        "tissues": {name: _tissue(t, whole=True) for name, t in measure.tissues.items()},
        "ratios": {name: _round(r, 3) for name, r in measure.ratios.items()},
    }


def _known(known: Known[Any] | None) -> Json:
    if known is None:
        return {"value": None, "origin": None}
    return {"value": known.value, "origin": known.origin, "date": known.date}


def _body(body: BodyInfo) -> Json:
    weight = _known(body.weight_kg)
    weight["dry"] = body.weight_kg.dry if body.weight_kg else False
    return {
        "sex": _known(body.sex),
        "age_years": _known(body.age_years),
        "height_cm": _known(body.height_cm),
        "weight_kg": weight,
        "bmi": {"value": _round(body.bmi, 2), "origin": "computed" if body.bmi is not None else None},
    }


def _diagnosis(d: Diagnosis, sets: Mapping[str, ReferenceSet]) -> Json:
    reason = None
    if d.reason is not None:
        said = {language: reason_text(d.reason, language) for language in LANGUAGES}
        reason = {"code": d.reason.code, "text": said}
    return {
        "reference": d.reference,
        "kind": d.kind,
        "index": d.index,
        "level": d.level,
        "value": _round(d.value, 3),
        "limit": _round(d.limit, 4),
        "operator": d.operator,
        "t_score": _round(d.t_score, 2),
        "z_score": _round(d.z_score, 2),
        "class": d.class_,
        "reason": reason,
        "cautions": cautions_said(sets[d.reference], d),
        "statement": dict(d.statement),
        "source": d.source,
        "certainty": d.certainty,
    }
