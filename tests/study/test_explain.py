"""Explanation: of the model that decided, and Grad-CAM that is hidden where its model disagrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from sarcoscope.errors import SettingError  # noqa: E402
from sarcoscope.exports.pictures import cam_overlay  # noqa: E402
from sarcoscope.models.registry import add_package  # noqa: E402
from sarcoscope.study.explain import attention_on_spine, explain  # noqa: E402
from sarcoscope.training.fitting import fit  # noqa: E402
from sarcoscope.training.manifest import SliceCase  # noqa: E402
from sarcoscope.training.recipe import load_recipe  # noqa: E402
from sarcoscope.training.recipe_export import export_recipe  # noqa: E402
from sarcoscope.training.tasks import LevelTask  # noqa: E402
from tests.study.make import abdomen, series  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice classifier that has learned the phantom's own slices by heart."""
    torch.set_num_threads(1)
    phantom, folder = abdomen(), tmp_path_factory.mktemp("slices")
    settings = load_recipe(
        "level-efficientnetv2m",
        None,
        [
            "size=64",
            "network=efficientnetv2-tiny",
            "channels=1",
            "epochs=40",
            "rate=3e-3",
            "batch=16",
            "augmentation=none",
            "name=heart",
        ],
    )
    cases = [
        SliceCase(
            f"s{k}",
            "p",
            "",
            "",
            phantom.levels.name_of(k) or "",
            phantom.hu[k].astype(np.float32),
            None,
            None,
        )
        for k in range(len(phantom.hu))
    ]
    network, _ = fit(LevelTask(cases, cases, settings), settings, folder / "run")
    export_recipe(network, settings, folder / "package", {"slices": len(cases)}, {})
    return folder / "package"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARCOSCOPE_HOME", str(tmp_path / "home"))


def test_grad_cam_is_shown_with_its_models_name(trained: Path, tmp_path: Path) -> None:
    add_package(trained)
    ct = series(abdomen())
    shown = explain(ct, tmp_path / "o", model="heart")
    assert [p.name for p in shown.files] == [
        "explanation.png",
        "evidence.png",
        "grad_cam.png",
        "grad_cam.npy",
    ]
    assert "Decided by spine-canal and level-chain" in shown.sentences[0]
    assert "Grad-CAM of heart" in shown.sentences[1]
    assert "On the spine" in shown.sentences[1]
    cam = np.load(tmp_path / "o" / "grad_cam.npy")
    assert 0 <= cam.min() <= cam.max() <= 1
    with Image.open(tmp_path / "o" / "explanation.png") as picture:
        assert picture.width > 200


def test_grad_cam_is_hidden_where_the_models_disagree(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_package(trained)
    monkeypatch.setattr("sarcoscope.study.explain.slice_level", lambda *_: ("T1", 0.9))
    shown = explain(series(abdomen()), tmp_path / "o", model="heart")
    assert [p.name for p in shown.files] == ["explanation.png", "evidence.png"]
    assert "does not share" in shown.sentences[1]


def test_wrong_wishes_get_a_sentence(trained: Path, tmp_path: Path) -> None:
    add_package(trained)
    with pytest.raises(SettingError, match="no slice classifier"):
        explain(series(abdomen()), tmp_path / "o", model="level-chain")
    with pytest.raises(SettingError, match="does not lie"):
        explain(series(abdomen()), tmp_path / "o", model="heart", index=999)


def test_attention_on_the_spine_is_measured() -> None:
    volume = abdomen().volume()
    y, x = abdomen().spine_px[20]
    height, width = volume.hu.shape[1:]
    grid_y, grid_x = np.indices((height, width))
    step = volume.geometry.spacing_mm[1]
    hill = np.exp(-((grid_y - y) ** 2 + (grid_x - x) ** 2) * step**2 / (2 * 15.0**2)).astype(np.float32)
    canal = (y + 25 / step, x)
    aimed = attention_on_spine(hill, volume, canal)
    even = attention_on_spine(np.ones((16, 16), np.float32), volume, canal)
    assert aimed.on_spine > 0.9
    assert even.on_spine == pytest.approx(even.by_chance, abs=0.01)
    assert even.by_chance < 0.1


def test_the_overlay_marks_the_place() -> None:
    volume = abdomen().volume()
    cam = np.zeros((8, 8), np.float32)
    cam[6, 4] = 1.0
    picture = np.asarray(cam_overlay(volume, 10, cam, "Grad-CAM of x"), np.int64)[40:]
    warm = picture[..., 0] - picture[..., 2]
    row, column = np.unravel_index(int(warm.argmax()), warm.shape)
    assert abs(row / picture.shape[0] - 6.5 / 8) < 0.1
    assert abs(column / picture.shape[1] - 4.5 / 8) < 0.1
