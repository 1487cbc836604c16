"""What the compartment network sees and says: its grid, its input channels, its classes."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Compartment(IntEnum):
    """Classes of the compartment network."""

    OUTSIDE = 0
    SKIN_SIDE = 1
    """Inside the body and outside the muscle ring: skin and subcutaneous tissue."""
    RING = 2
    """The muscle ring: abdominal wall, psoas, quadratus, paraspinal muscle, with the fat between."""
    CAVITY = 3
    """Inside the ring: organs, bowel, vessels, visceral fat."""
    BONE = 4
    """Vertebra (with canal) and other bone."""


GRID_MM: Final = 1.8
"""Pixel spacing of the network's grid."""
GRID_MULTIPLE: Final = 16
"""Heights and widths of its input are multiples of this."""
WINDOWS: Final[tuple[tuple[float, float], ...]] = ((-250.0, 250.0), (-40.0, 130.0), (-1000.0, 1000.0))
"""HU windows of the input channels: fat against muscle, soft tissue, everything."""


def network_input(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stack the windows of HU [..., y, x] as channels: [..., channel, y, x] float32 in -1..1."""
    channels = [np.clip((hu - low) / (high - low) * 2.0 - 1.0, -1.0, 1.0) for low, high in WINDOWS]
    stacked: NDArray[np.float32] = np.stack(channels, axis=-3).astype(np.float32)
    return stacked
