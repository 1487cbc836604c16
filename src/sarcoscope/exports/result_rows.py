"""A result as rows of a table: one a measured level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sarcoscope.anatomy.tissues import TISSUES, tissue_name

_TISSUES: Final = tuple(tissue_name(t) for t in TISSUES)


def result_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Body, measurements, indices, answers and how the series was made, of every measured level.

    Args:
        result: content of ``result.json``.
    """
    series, body = result["series"], result["body"]
    common = {k: body[k]["value"] for k in ("sex", "age_years", "height_cm", "weight_kg", "bmi")}
    after = {
        "phase": series["phase"]["value"],
        "kvp": series["kvp"],
        "kernel": series["kernel"],
        "slice_thickness_mm": series["slice_thickness_mm"],
        "flags": " ".join(sorted({f["code"] for f in result["flags"]})),
        "version": result["provenance"]["version"],
    }
    levels = {r["level"]: r for r in result["levels"]}
    rows = []
    for measured in result["measurements"]:
        span = levels.get(measured["level"], {})
        row = {
            **common,
            "level": measured["level"],
            "protocol": measured["protocol"],
            "slices": len(measured["indices"]),
            "level_confidence": span.get("confidence"),
            "level_complete": span.get("complete"),
        }
        for name in _TISSUES:
            tissue = measured["tissues"].get(name, {})
            for value in ("area_cm2", "area_error_cm2", "volume_cm3", "mean_hu", "sd_hu"):
                row[f"{name}_{value}"] = tissue.get(value)
        for name in ("nama_cm2", "lama_cm2"):
            row[name] = measured["tissues"]["muscle"].get(name)
        row |= measured["ratios"]
        row |= {i["name"]: i["value"] for i in result["indices"] if i["level"] == measured["level"]}
        for answer in result["diagnosis"]:
            if answer["level"] == measured["level"]:
                row[f"{answer['reference']}:{answer['index']}"] = answer["class"]
                if answer["t_score"] is not None:
                    row[f"{answer['reference']}:{answer['index']}:t"] = answer["t_score"]
        rows.append({**row, **after})
    return rows or [{**common, "level": "", **after}]
