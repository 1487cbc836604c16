"""Slice classifiers: EfficientNetV2-S and -M (P2) and ResNet50 (P3).

Sources: Tan and Le 2021 (arXiv 2104.00298), He et al. 2015 (arXiv 1512.03385). Layer order and names of
weights follow torchvision, so that its ImageNet checkpoints can be loaded. Every classifier ends with global
average pooling and one linear layer; :meth:`SliceClassifier.maps` therefore gives Grad-CAM exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

EFFICIENT_S = (
    ("fused", 1, 3, 1, 24, 24, 2), ("fused", 4, 3, 2, 24, 48, 4), ("fused", 4, 3, 2, 48, 64, 4),
    ("mb", 4, 3, 2, 64, 128, 6), ("mb", 6, 3, 1, 128, 160, 9), ("mb", 6, 3, 2, 160, 256, 15),
)  # fmt: skip
EFFICIENT_M = (
    ("fused", 1, 3, 1, 24, 24, 3), ("fused", 4, 3, 2, 24, 48, 5), ("fused", 4, 3, 2, 48, 80, 5),
    ("mb", 4, 3, 2, 80, 160, 7), ("mb", 6, 3, 1, 160, 176, 14), ("mb", 6, 3, 2, 176, 304, 18),
    ("mb", 6, 3, 1, 304, 512, 5),
)  # fmt: skip
"""Stages: kind, expansion, kernel, stride, inputs, outputs, layers."""
EFFICIENT_TINY = (("fused", 1, 3, 2, 16, 16, 1), ("mb", 4, 3, 2, 16, 32, 2), ("mb", 4, 3, 2, 32, 64, 2))
Stage = tuple[str, int, int, int, int, int, int]


class SliceClassifier(nn.Module):
    """Features, global average pooling, one linear layer: ``[batch, channels, y, x]`` to logits."""

    features: nn.Module

    def linear(self) -> nn.Linear:
        """The last layer."""
        raise NotImplementedError

    def with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[batch, class]`` and the last feature maps ``[batch, channel, y, x]``."""
        maps = self.features(x)
        return self.pooled(maps.mean(dim=(2, 3))), maps

    def pooled(self, pooled: Tensor) -> Tensor:
        """Logits of pooled features [batch, channel]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[batch, class]``."""
        return self.with_features(x)[0]

    def maps(self, features: Tensor) -> Tensor:
        """Grad-CAM before the last scaling, ``[batch, class, y, x]``.

        Behind the last feature maps come only their mean and a linear layer, so that the gradient of a
        class's logit by a map is that layer's weight over the number of cells: Grad-CAM's weighted sum.
        """
        weighed = torch.einsum("bcyx,kc->bkyx", features, self.linear().weight)
        return torch.relu(weighed)


def _act_conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]
    return nn.Sequential(*layers, nn.SiLU(inplace=True)) if act else nn.Sequential(*layers)


class _Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, inside, 1), nn.Conv2d(inside, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.fc2(nn.functional.silu(self.fc1(self.avgpool(x)))))
        return x * scale


class _MBConv(nn.Module):
    """(Fused) inverted bottleneck with stochastic depth."""

    def __init__(
        self, kind: str, expand: int, kernel: int, stride: int, inputs: int, outputs: int, drop: float
    ) -> None:
        super().__init__()
        inside = inputs * expand
        layers: list[nn.Module] = []
        if kind == "fused":
            if expand == 1:
                layers.append(_act_conv(inputs, outputs, kernel, stride))
            else:
                layers.append(_act_conv(inputs, inside, kernel, stride))
                layers.append(_act_conv(inside, outputs, 1, act=False))
        else:
            if expand != 1:
                layers.append(_act_conv(inputs, inside, 1))
            layers.append(_act_conv(inside, inside, kernel, stride, inside))
            layers.append(_Squeeze(inside, max(1, inputs // 4)))
            layers.append(_act_conv(inside, outputs, 1, act=False))
        self.block = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        if not self.adds:
            return out
        if self.training and self.drop > 0:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            out = out * kept / (1 - self.drop)
        return x + out


class EfficientNetV2(SliceClassifier):
    """EfficientNetV2: 21,458,488 (S) and 54,139,356 (M) parameters with 3 channels and 1,000 classes."""

    def __init__(
        self,
        stages: Sequence[Stage],
        channels: int = 3,
        classes: int = 19,
        *,
        dropout: float = 0.3,
        last: int = 1280,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_act_conv(channels, stages[0][4], 3, 2)]
        count, done = sum(s[6] for s in stages), 0
        for kind, expand, kernel, stride, inputs, outputs, repeats in stages:
            blocks = []
            for k in range(repeats):
                step, source = (stride, inputs) if k == 0 else (1, outputs)
                blocks.append(_MBConv(kind, expand, kernel, step, source, outputs, 0.2 * done / count))
                done += 1
            layers.append(nn.Sequential(*blocks))
        layers.append(_act_conv(stages[-1][5], last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, classes))

    def linear(self) -> nn.Linear:
        """The last layer."""
        layer = self.classifier[1]
        assert isinstance(layer, nn.Linear)
        return layer

    def pooled(self, pooled: Tensor) -> Tensor:
        """Logits of pooled features."""
        logits: Tensor = self.classifier(pooled)
        return logits


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * 4
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        return torch.relu(self.bn3(self.conv3(out)) + kept)


class ResNet50(SliceClassifier):
    """ResNet50: 25,557,032 parameters with 3 channels and 1,000 classes."""

    def __init__(self, channels: int = 3, classes: int = 2, layers: Sequence[int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs, stages = 64, []
        for k, count in enumerate(layers):
            width, blocks = 64 * 2**k, []
            for n in range(count):
                blocks.append(_Bottleneck(inputs, width, 2 if n == 0 and k > 0 else 1))
                inputs = width * 4
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)

    def with_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the last feature maps."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(maps.mean(dim=(2, 3))), maps

    def linear(self) -> nn.Linear:
        """The last layer."""
        return self.fc


efficientnet_v2_s = partial(EfficientNetV2, EFFICIENT_S, dropout=0.2)
efficientnet_v2_m = partial(EfficientNetV2, EFFICIENT_M, dropout=0.3)
efficientnet_v2_tiny = partial(EfficientNetV2, EFFICIENT_TINY, dropout=0.1, last=128)
"""For tests and for a look at the pipeline: a real one needs S or M."""
