"""OpenVINO and ONNX Runtime give the same answers with the networks that ship."""

from __future__ import annotations

import numpy as np
import pytest

from sarcoscope.errors import SettingError
from sarcoscope.models.registry import shipped_folder
from sarcoscope.models.runtime import open_network, runtime_name
from sarcoscope.tissues import segment_slices
from tests.study.make import abdomen

INPUTS = {
    "tissue-compartments": ("image", (1, 3, 144, 208)),
    "level-chain": ("strips", (1, 12, 96, 48)),
    "spine-canal": ("image", (4, 6, 64, 96)),
}


@pytest.mark.parametrize("name", INPUTS)
def test_both_runtimes_agree(name: str) -> None:
    key, shape = INPUTS[name]
    inputs = {key: np.random.default_rng(1).normal(0, 0.5, shape).astype(np.float32)}
    path = shipped_folder() / name / "model.onnx"
    (one,), (other,) = (open_network(path, r)(inputs) for r in ("onnxruntime", "openvino"))
    assert one.shape == other.shape
    assert np.allclose(one, other, atol=2e-3)
    assert np.abs(one - other).mean() < 1e-4


def test_masks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from sarcoscope.models import package

    volume, masks = abdomen().volume(), []
    for runtime in ("onnxruntime", "openvino"):
        monkeypatch.setenv("SARCOSCOPE_RUNTIME", runtime)
        package._load.cache_clear()
        masks.append(segment_slices(volume, [20, 24]).labels)
    package._load.cache_clear()
    assert (masks[0] != masks[1]).mean() < 1e-4


def test_the_choice_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARCOSCOPE_RUNTIME", "abacus")
    with pytest.raises(SettingError, match="abacus"):
        runtime_name()
    monkeypatch.delenv("SARCOSCOPE_RUNTIME")
    assert runtime_name() == "openvino"  # installed with the tools of development
