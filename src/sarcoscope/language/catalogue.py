"""The one message catalogue: every sentence and label that a person reads, in English and Korean.

Five tables lie in ``data``: ``flags.csv`` (with a severity), ``statements.csv`` (diagnosis sentences,
cautions, reasons) and ``labels.csv`` (words of reports and pictures),
``screens.csv`` (words of the pages), ``cohort.csv`` (cohort reports). Codes are unique over all tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from sarcoscope.errors import SettingError
from sarcoscope.files import packaged_rows

LANGUAGES: Final[tuple[str, ...]] = ("en", "ko")
_WORDS: Final[Mapping[str, str]] = MappingProxyType({"what": "word_", "phase": "phase_"})
"""Placeholders whose values are codes of the catalogue, and how those codes begin."""
TABLES: Final[tuple[str, ...]] = ("flags", "statements", "labels", "screens", "cohort")


@dataclass(frozen=True)
class Message:
    """A sentence with ``{placeholders}`` in every language; flags have a severity."""

    code: str
    texts: Mapping[str, str]
    severity: str = ""


@cache
def messages() -> Mapping[str, Message]:
    """All messages by code."""
    found: dict[str, Message] = {}
    for table in TABLES:
        for row in packaged_rows("sarcoscope.language", f"{table}"):
            code = row["code"]
            if code in found:
                raise ValueError(f"message '{code}' is defined twice")
            texts = MappingProxyType({language: row[language] for language in LANGUAGES})
            found[code] = Message(code, texts, row.get("severity", ""))
    return MappingProxyType(found)


def check_language(language: str) -> None:
    """See that reports can be written in a language.

    Raises:
        SettingError: they cannot.
    """
    if language not in LANGUAGES:
        raise SettingError(f"'{language}' is no language of the report; give {' or '.join(LANGUAGES)}.")


def say(code: str, language: str, values: Mapping[str, object] | None = None) -> str:
    """The sentence of a code in a language, its placeholders filled from ``values``."""
    filled = {name: _in_language(name, value, language) for name, value in (values or {}).items()}
    return messages()[code].texts[language].format_map(filled)


def _in_language(name: str, value: object, language: str) -> object:
    """A value that is a word of the catalogue (a phase, a body value) in the sentence's language."""
    word = messages().get(f"{_WORDS[name]}{value}") if name in _WORDS else None
    return value if word is None else word.texts[language]


def say_all(code: str, values: Mapping[str, object] | None = None) -> dict[str, str]:
    """The sentence of a code in every language."""
    return {language: say(code, language, values) for language in LANGUAGES}


def severity(code: str) -> str:
    """``info``, ``caution`` or ``warning`` of a flag."""
    return messages()[code].severity
