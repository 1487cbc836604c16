"""Text that may stay: descriptions reduced to harmless words, and texts without anybody's name or number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from sarcoscope.files import packaged_rows

_MEASURE: Final = r"\d{1,3}(?:\.\d{1,2})? ?(?:mm|cm|sec|s|kvp?|min)"
_TOKEN: Final = re.compile(rf"(?<![\w.]){_MEASURE}(?![\w.])|[^\W_]+(?:[.'][^\W_]+)*", re.IGNORECASE)
_WHOLE_MEASURE: Final = re.compile(_MEASURE, re.IGNORECASE)
_KERNEL: Final = re.compile(r"(?:Br|Bf|Bl|Bv|Hr|Hv|B|I|FC)\d{2}[fsh]?", re.ASCII)
_SHORTEST: Final = 3
_SHORTEST_EAST_ASIAN: Final = 2
_LONG: Final = 6


@cache
def safe_words() -> frozenset[str]:
    """Words (lower case) that say nothing of a person."""
    return frozenset(w for r in packaged_rows("sarcoscope.deid", "safe_words") for w in r["words"].split())


def cleaned(text: str, identifiers: frozenset[str] = frozenset()) -> str:
    """A description with nothing but harmless words, measures with their unit, and kernels.

    Args:
        text: any text.
        identifiers: words of this very person (see :func:`identifying_words`), never kept.
    """
    kept = []
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word.casefold() in identifiers:
            continue
        harmless = (
            word.casefold() in safe_words() or _WHOLE_MEASURE.fullmatch(word) or _KERNEL.fullmatch(word)
        )
        if harmless:
            kept.append(word)
    return " ".join(kept)


def identifying_words(values: Iterable[str]) -> frozenset[str]:
    """Words (lower case) of names, numbers and dates that must not be anywhere in the rest.

    Args:
        values: names, patient IDs, accession numbers, birth dates.
    """
    found = set()
    for value in values:
        whole = value.strip().casefold()
        for word in {whole, *re.split(r"[\^=\s\\,;/_.-]+", whole)}:
            shortest = _SHORTEST if word.isascii() else _SHORTEST_EAST_ASIAN
            if len(word) >= shortest:
                found.add(word)
        if len(whole) == 8 and whole.isdigit():
            year, month, day = whole[:4], whole[4:6], whole[6:]
            found |= {f"{year}{s}{month}{s}{day}" for s in ("-", ".", "/")}
            found |= {f"{day}{s}{month}{s}{year}" for s in ("-", ".", "/")}
    return frozenset(found)


def name_words(name: str) -> frozenset[str]:
    """Words (lower case) of a person's name, in every writing that it has."""
    return frozenset(w for w in re.split(r"[\^=\s,]+", name.casefold()) if w)


def names_somebody(text: str, identifiers: frozenset[str]) -> bool:
    """The text holds one of the identifying words: as a word, or anywhere where it is long or not Latin."""
    folded = text.casefold()
    words = {folded.strip(), *re.split(r"[^\w]+|_", folded)}
    if words & identifiers:
        return True
    return any(i in folded for i in identifiers if len(i) >= _LONG or not i.isascii())
