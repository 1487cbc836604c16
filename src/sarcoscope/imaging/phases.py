"""Contrast phase from the words of the header, in English and Korean."""

from __future__ import annotations

import re
from functools import cache

from sarcoscope.files import packaged_rows
from sarcoscope.imaging.volume import SeriesInfo


@cache
def _words() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (r["phase"], re.compile(r["pattern"], re.IGNORECASE))
        for r in packaged_rows("sarcoscope.imaging", "phase_words")
    )


def header_phase(series: SeriesInfo) -> tuple[str, str]:
    """(phase or ``unknown``, the words that it rests on).

    Words of two phases in one header cancel each other. A named contrast agent alone gives no phase.
    """
    for text in (series.description, series.protocol_name):
        found = {phase: m.group(0) for phase, pattern in _words() if (m := pattern.search(text))}
        if len(found) == 1:
            ((phase, word),) = found.items()
            return phase, f"'{word.strip()}' in the series' name"
        if len(found) > 1:
            return "unknown", "the series' name holds words of several phases"
    if series.contrast_agent:
        return "unknown", "contrast agent given, phase not named"
    return "unknown", "the header names no phase"
