"""Tissue labels: values that are fixed everywhere, names and display colours."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Tissue(IntEnum):
    """Label values of a tissue mask (uint8)."""

    BACKGROUND = 0
    MUSCLE = 1
    SAT = 2
    VAT = 3
    IMAT = 4


TISSUES: Final[tuple[Tissue, ...]] = (Tissue.MUSCLE, Tissue.SAT, Tissue.VAT, Tissue.IMAT)
"""The measured tissues, in label order."""

TISSUE_COLOURS: Final[dict[Tissue, tuple[int, int, int]]] = {
    Tissue.MUSCLE: (214, 69, 65),
    Tissue.SAT: (63, 136, 197),
    Tissue.VAT: (244, 196, 48),
    Tissue.IMAT: (62, 178, 127),
}
"""RGB (0-255) by which each tissue is drawn on every picture and screen."""


def tissue_name(tissue: Tissue) -> str:
    """Name of a tissue as in ``result.json``: ``muscle``, ``sat``, ``vat``, ``imat``."""
    return tissue.name.lower()
