"""Diagnoses written as ICD-10 or KCD codes: which disease each means, by a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sarcoscope.files import packaged_rows

_CODE: Final = re.compile(r"[A-Z]\d{2}(\.?[0-9A-Z]{1,4})?")


@dataclass(frozen=True)
class DiseaseCode:
    """A code and everything below it."""

    prefix: str
    disease: str
    meaning: str
    source: str
    certainty: str

    @property
    def verified(self) -> bool:
        """Was it read in a source?"""
        return self.certainty != "M"


@cache
def code_table() -> tuple[DiseaseCode, ...]:
    """The shipped table."""
    return tuple(DiseaseCode(**r) for r in packaged_rows("sarcoscope.cohort", "disease_codes"))


@cache
def _by_prefix() -> Mapping[str, DiseaseCode]:
    return {c.prefix.replace(".", ""): c for c in code_table()}


def is_code(text: str) -> bool:
    """Is it written as an ICD-10 or KCD code?"""
    return _CODE.fullmatch(text.strip().upper()) is not None


def disease_of(code: str) -> DiseaseCode | None:
    """The row of the table that a code falls under, longest prefix first; None: no disease of the table.

    ``K76.0``, ``k760`` and ``K76.00`` are the same; ``K76`` alone is no fatty liver.
    """
    plain = code.strip().upper().replace(".", "")
    for length in range(len(plain), 2, -1):
        found = _by_prefix().get(plain[:length])
        if found is not None:
            return found
    return None
