"""Shapes, published parameter counts, and the exported network against the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")

from sarcoscope.models.networks.classifiers import (  # noqa: E402
    ResNet50,
    efficientnet_v2_m,
    efficientnet_v2_s,
    efficientnet_v2_tiny,
)
from sarcoscope.models.networks.unet import UNet, attention_unet  # noqa: E402
from sarcoscope.training.export import export_onnx  # noqa: E402


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: UNet(1, 1, normalise=False), 31_030_593),  # the U-Net of 2015 with padding, one class
        (lambda: efficientnet_v2_s(channels=3, classes=1000), 21_458_488),
        (lambda: efficientnet_v2_m(channels=3, classes=1000), 54_139_356),
        (lambda: ResNet50(3, 1000), 25_557_032),
    ],
    ids=["unet", "efficientnetv2-s", "efficientnetv2-m", "resnet50"],
)
def test_published_parameter_counts(make, published: int) -> None:  # type: ignore[no-untyped-def]
    assert _count(make()) == published


def test_attention_adds_its_gates_only() -> None:
    plain, gated = UNet(1, 1), attention_unet(1, 1)
    gates = sum(p.numel() for g in gated.gates for p in g.parameters())  # type: ignore[union-attr]
    assert _count(gated) - _count(plain) == gates


@pytest.mark.parametrize(
    ("make", "channels", "size", "shape"),
    [
        (lambda: UNet(1, 4, (8, 16, 16)), 1, 64, (2, 4, 64, 64)),
        (lambda: UNet(3, 4, (8, 16, 16)), 3, 64, (2, 4, 64, 64)),  # 2.5-D: neighbours as channels
        (lambda: attention_unet(1, 4, (8, 16, 16)), 1, 64, (2, 4, 64, 64)),
        (lambda: efficientnet_v2_tiny(channels=1), 1, 64, (2, 19)),
        (lambda: ResNet50(1, 2, (1, 1, 1, 1)), 1, 64, (2, 2)),
    ],
    ids=["unet", "unet-2.5d", "attention", "efficientnet", "resnet"],
)
def test_export_gives_the_same_answer(
    make, channels: int, size: int, shape: tuple[int, ...], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    network = make().eval()
    image = torch.randn(2, channels, size, size)
    with torch.no_grad():
        expected = network(image).numpy()
    assert expected.shape == shape
    export_onnx(
        network,
        image,
        tmp_path / "m.onnx",
        names=("image", "out"),
        dynamic={0: torch.export.Dim("n", min=1, max=64)},
    )
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    assert np.allclose(found, expected, atol=1e-4)
    assert session.run(None, {"image": image.numpy()[:1]})[0].shape[0] == 1
