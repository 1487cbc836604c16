"""``levels.csv`` and ``measurements.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from sarcoscope.exports.record import StudyRecord
from sarcoscope.files import write_bytes
from sarcoscope.measures.measurement import TissueMeasure

LEVEL_COLUMNS = (
    "level",
    "index_low",
    "index_high",
    "index_mid",
    "z_mm_low",
    "z_mm_high",
    "z_mm_mid",
    "confidence",
    "complete",
)
MEASUREMENT_COLUMNS = (
    "level",
    "scope",
    "index",
    "z_mm",
    "tissue",
    "area_cm2",
    "volume_cm3",
    "mean_hu",
    "sd_hu",
)


def write_levels(record: StudyRecord, path: Path) -> None:
    """One row a level, from below."""
    rows = []
    for r in record.levels.ranges:
        z = [_cell(v, 2) for v in record.level_z_mm[r.level]]
        complete = "true" if r.complete else "false"
        rows.append([r.level, r.index_low, r.index_high, r.index_mid, *z, _cell(r.confidence, 3), complete])
    _write(path, LEVEL_COLUMNS, rows)


def write_measurements(record: StudyRecord, path: Path) -> None:
    """One row a tissue: first of every level by its protocol, then of every slice."""
    rows: list[list[object]] = []
    for m in record.measurements:
        for name, tissue in m.tissues.items():
            rows.append([m.level, m.protocol, "", "", name, *_numbers(tissue)])
    for s in record.slices:
        for name, tissue in s.tissues.items():
            rows.append([s.level or "", "slice", s.index, _cell(s.z_mm, 2), name, *_numbers(tissue)])
    _write(path, MEASUREMENT_COLUMNS, rows)


def _numbers(tissue: TissueMeasure) -> list[str]:
    return [
        _cell(tissue.area_cm2, 3),
        _cell(tissue.volume_cm3, 2),
        _cell(tissue.mean_hu, 2),
        _cell(tissue.sd_hu, 2),
    ]


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
