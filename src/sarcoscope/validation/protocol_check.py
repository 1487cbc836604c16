"""Do two labelling protocols differ? Where the same region is missing again and again, it is no bad luck.

P1's first external validation scored 27 % because the other hospital's labels left out the muscle around the
spine. Here the muscle of every slice is cut into regions around the body, and a region that the reference (or
the prediction) leaves out in most slices is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.imaging.label_files import DEFAULT_VALUES
from sarcoscope.validation.cases import MaskPair

REGIONS: Final = ("front", "front right", "right", "back right", "spine", "back left", "left", "front left")
"""Eight sectors of 45 degrees around the centre of the muscle, from the front, by the patient's right."""
_SMALLEST_SHARE: Final = 0.04
"""Regions with less of the muscle than this say nothing."""
_MISSING: Final = 0.5
"""A region is left out of a slice when less than this share of it is drawn."""
_OFTEN: Final = 0.6
"""Share of the slices from which on it is a habit."""


@dataclass(frozen=True)
class RegionHabit:
    """How often a region of the muscle is left out."""

    region: str
    side: str
    """``reference`` or ``prediction``: who leaves it out."""
    slices: int
    counted: int

    @property
    def systematic(self) -> bool:
        """In most slices."""
        return self.counted >= 3 and self.slices / self.counted >= _OFTEN


def sectors(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[y, x] the region (index of :data:`REGIONS`) of every pixel around the mask's centre."""
    y, x = np.nonzero(mask)
    centre = (y.min() + y.max()) / 2, (x.min() + x.max()) / 2
    rows, columns = np.indices(mask.shape)
    angle = np.arctan2(centre[1] - columns, centre[0] - rows)  # 0 in front, rising to the patient's right
    places: NDArray[np.int64] = np.floor((angle + np.pi / 8) / (np.pi / 4)).astype(np.int64)
    return places % len(REGIONS)


def region_habits(pairs: Sequence[MaskPair]) -> list[RegionHabit]:
    """Of every region, how often reference and prediction leave it out while the other has it."""
    missing = {(side, region): 0 for side in ("reference", "prediction") for region in REGIONS}
    counted = dict.fromkeys(REGIONS, 0)
    value = DEFAULT_VALUES["muscle"]
    for pair in pairs:
        masks = {"prediction": pair.found == value, "reference": pair.truth == value}
        both = masks["prediction"] | masks["reference"]
        if not both.any():
            continue
        places = sectors(both)
        for k, region in enumerate(REGIONS):
            here = both & (places == k)
            if here.sum() < _SMALLEST_SHARE * both.sum():
                continue
            counted[region] += 1
            for side, mask in masks.items():
                missing[side, region] += bool((mask & here).sum() < _MISSING * here.sum())
    return [RegionHabit(region, side, n, counted[region]) for (side, region), n in missing.items()]


def protocol_sentences(habits: Sequence[RegionHabit]) -> list[str]:
    """What to tell the user; empty when nothing is systematic."""
    return [
        f"The {h.side} leaves out most of the muscle in the region '{h.region}' on {h.slices} of {h.counted} "
        "slices: the two follow different protocols, and a low score there is no failure of the model."
        for h in habits
        if h.systematic
    ]
