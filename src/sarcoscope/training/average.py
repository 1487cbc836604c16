"""Moving average of weights."""

from __future__ import annotations

from torch import Tensor

DECAY = 0.985


def moving_average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
    """Exponential moving average that forgets the first steps quickly."""
    decay = min(DECAY, (1 + int(count)) / (10 + int(count)))
    return decay * old + (1 - decay) * new
