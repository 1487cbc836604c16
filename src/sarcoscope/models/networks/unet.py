"""The U-Net of P1 and the Attention U-Net of P4.

Sources: Ronneberger et al. 2015 (arXiv 1505.04597; here with padding, so that sizes stay); Oktay et al. 2018
(arXiv 1804.03999): additive attention gates on the skip connections.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

WIDTHS = (64, 128, 256, 512, 1024)


def _convolution(inputs: int, outputs: int, normalise: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not normalise)]
    if normalise:
        layers.append(nn.BatchNorm2d(outputs))
    return [*layers, nn.ReLU(inplace=True)]


def _pair(inputs: int, outputs: int, normalise: bool) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, outputs, normalise), *_convolution(outputs, outputs, normalise)
    )


class UNet(nn.Module):
    """``[batch, inputs, y, x]`` (multiples of 16) to logits ``[batch, classes, y, x]``.

    With the published widths, one input, one class and no normalisation it has 31,030,593 parameters.
    """

    def __init__(
        self,
        inputs: int = 1,
        classes: int = 4,
        widths: tuple[int, ...] = WIDTHS,
        *,
        normalise: bool = True,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(a, b, normalise) for a, b in pairwise((inputs, *widths)))
        levels = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(deep, skip, 2, stride=2) for deep, skip in levels)
        self.gates = nn.ModuleList(AttentionGate(skip) for _, skip in levels) if attention else None
        self.up = nn.ModuleList(_pair(2 * skip, skip, normalise) for _, skip in levels)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[batch, classes, y, x]``."""
        skips: list[Tensor] = []
        for k, block in enumerate(self.down):
            x = block(x if k == 0 else nnf.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for k, (grow, block) in enumerate(zip(self.grow, self.up, strict=True)):
            x = grow(x)
            skip = skips.pop()
            if self.gates is not None:
                skip = self.gates[k](skip, x)
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        return logits


class AttentionGate(nn.Module):
    """Weighs a skip connection by what the deeper layer asks for (both ``[batch, channels, y, x]``)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = max(channels // 2, 1)
        self.of_skip = nn.Sequential(nn.Conv2d(channels, inside, 1), nn.BatchNorm2d(inside))
        self.of_deep = nn.Sequential(nn.Conv2d(channels, inside, 1), nn.BatchNorm2d(inside))
        self.weight = nn.Sequential(nn.Conv2d(inside, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, skip: Tensor, deep: Tensor) -> Tensor:
        """The weighed skip connection."""
        weighed: Tensor = skip * self.weight(torch.relu(self.of_skip(skip) + self.of_deep(deep)))
        return weighed


def attention_unet(inputs: int = 1, classes: int = 4, widths: tuple[int, ...] = WIDTHS) -> UNet:
    """The Attention U-Net."""
    return UNet(inputs, classes, widths, attention=True)
