"""HU bands of the tissues: one table (``data/hu_bands.csv``) with source and certainty.

Bands are inclusive at both ends **on whole HU** (stored values are int16), which is the same as half-open
``[low, high + 1)``: -30 is fat, -29 is muscle; 29 is LAMA, 30 is NAMA. Nothing overlaps and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sarcoscope.files import packaged_rows


@dataclass(frozen=True)
class HuBand:
    """Whole HU from ``low`` to ``high``, both included."""

    name: str
    low: int
    high: int
    certainty: str = ""
    source: str = ""

    def contains(self, hu: NDArray[np.int16]) -> NDArray[np.bool_]:
        """Mask (same shape) of the pixels of ``hu`` (int16 HU) that lie in the band."""
        return (hu >= self.low) & (hu <= self.high)


@cache
def default_bands() -> Mapping[str, HuBand]:
    """The shipped bands by name: ``muscle, nama, lama, sat, imat, vat``."""
    rows = packaged_rows("sarcoscope.anatomy", "hu_bands")
    bands = {
        r["name"]: HuBand(r["name"], int(r["low"]), int(r["high"]), r["certainty"], r["source"]) for r in rows
    }
    return MappingProxyType(bands)
