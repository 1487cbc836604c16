"""How far a measurement may be off: half-widths of the 95 % interval, from validation (a data file)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from sarcoscope.files import packaged_rows

_ELSEWHERE: Final = "*"


@dataclass(frozen=True)
class MeasurementError:
    """Error of one tissue at one level."""

    area_percent: float
    """Half-width of the 95 % interval of the area, in percent of it."""
    mean_hu: float | None
    """Half-width of the 95 % interval of the mean HU; None: not measured."""
    n: int
    """Reference slices that it rests on."""
    provisional: bool
    """Rests on too few slices, or on a guess."""
    source: str


@cache
def _table() -> dict[tuple[str, str], MeasurementError]:
    table = {}
    for row in packaged_rows("sarcoscope.measures", "measurement_error"):
        hu = float(row["mean_hu"]) if row["mean_hu"] else None
        entry = MeasurementError(
            float(row["area_percent"]), hu, int(row["n"]), row["provisional"] == "yes", row["source"]
        )
        for level in row["levels"].split():
            table[level, row["tissue"]] = entry
    return table


def measurement_error(level: str | None, tissue: str) -> MeasurementError:
    """The error of a tissue (``muscle``, ``sat``, ``vat``, ``imat``) at a level."""
    table = _table()
    return table.get((level or _ELSEWHERE, tissue), table[_ELSEWHERE, tissue])
