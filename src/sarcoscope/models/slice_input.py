"""What a network that looks at whole axial slices is given: HU window, stretch, square size, channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.errors import ModelError


@dataclass(frozen=True)
class SliceInput:
    """How an axial slice becomes a network's input."""

    size: int = 512
    """Pixels of a side; the slice is resized to it."""
    window_hu: tuple[float, float] = (-200.0, 1500.0)
    """HU below and above are clipped."""
    stretch: bool = False
    """Stretch every slice's own range over the window (P3's histogram stretch)."""
    channels: int = 1
    """1, or 3 equal channels for networks that were trained on photographs."""

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> SliceInput:
        """From ``input.slice`` of a model's card.

        Raises:
            ModelError: the card does not say it.
        """
        try:
            spec = card["input"]["slice"]
            low, high = (float(v) for v in spec["window_hu"])
            return cls(int(spec["size"]), (low, high), bool(spec["stretch"]), int(spec["channels"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The model's card does not say how its input is made (input.slice).") from error

    def record(self) -> dict[str, Any]:
        """For a card."""
        return {"size": self.size, "window_hu": list(self.window_hu), "stretch": self.stretch,
                "channels": self.channels}  # fmt: skip

    def scaled(self, hu: NDArray[np.generic]) -> NDArray[np.float32]:
        """A slice [y, x] of HU as [size, size] of 0..1."""
        low, high = self.window_hu
        values = np.clip(np.asarray(hu, np.float32), low, high)
        if self.stretch:
            low, high = float(values.min()), float(values.max())
        values = (values - low) / max(high - low, 1e-6)
        return resized(values, (self.size, self.size))

    def batch(self, slices: NDArray[np.generic]) -> NDArray[np.float32]:
        """Slices [n, y, x] of HU as the network's input [n, channel, size, size]."""
        stack = np.stack([self.scaled(hu) for hu in slices])[:, None]
        return np.repeat(stack, self.channels, axis=1)


def resized(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """[y, x] linearly resampled to another shape that covers the same field."""
    if values.shape == shape:
        return np.asarray(values, np.float32)
    steps = [values.shape[k] / shape[k] for k in (0, 1)]
    if max(steps) > 1.0:
        values = ndi.gaussian_filter(values, [max(s - 1.0, 0.0) * 0.5 for s in steps], mode="nearest")
    places = [(np.arange(shape[k]) + 0.5) * steps[k] - 0.5 for k in (0, 1)]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndi.map_coordinates(values, grid, order=1, mode="nearest"), np.float32)
