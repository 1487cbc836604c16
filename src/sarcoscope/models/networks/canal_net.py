"""A small 2-D network that says where on an axial slice the spinal canal is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

CHANNELS = 6


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class CanalNet(nn.Module):
    """``[batch, 6, y, x]`` with y and x multiples of 16 to one logit a pixel ``[batch, y, x]``."""

    def __init__(self, widths: tuple[int, int, int, int] = (24, 32, 48, 48)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.first = _block(CHANNELS * 4, a)
        self.second = _block(a, b)
        self.third = _block(b, c)
        self.fourth = _block(c, d)
        self.up_third = _block(d + c, c)
        self.up_second = _block(c + b, b)
        self.up_first = _block(b + a, a)
        self.head = nn.Conv2d(a, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[batch, y, x]``."""
        one = self.first(nnf.pixel_unshuffle(x, 2))
        two = self.second(nnf.max_pool2d(one, 2))
        three = self.third(nnf.max_pool2d(two, 2))
        deep = self.fourth(nnf.max_pool2d(three, 2))
        deep = self.up_third(torch.cat([nnf.interpolate(deep, scale_factor=2.0), three], dim=1))
        deep = self.up_second(torch.cat([nnf.interpolate(deep, scale_factor=2.0), two], dim=1))
        deep = self.up_first(torch.cat([nnf.interpolate(deep, scale_factor=2.0), one], dim=1))
        logits: Tensor = nnf.pixel_shuffle(self.head(deep), 2)[:, 0]
        return logits
