from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sarcoscope.models.networks.tissue_unet import TissueUNet  # noqa: E402
from sarcoscope.models.package import ModelPackage, load_package  # noqa: E402
from sarcoscope.tissues.compartments import Compartment, network_input  # noqa: E402
from sarcoscope.training.tissue_augment import CANVAS, PATCH, Canvas, augmented, make_canvas  # noqa: E402
from sarcoscope.training.tissue_compartments import compartment_loss, train_member  # noqa: E402
from sarcoscope.training.tissue_data import TissueCase, folds, load_cases  # noqa: E402
from sarcoscope.training.tissue_scores import held_out_members  # noqa: E402
from sarcoscope.validation.overlap import overlap  # noqa: E402


def _case() -> TissueCase:
    """A trunk of concentric ellipses whose compartments are known by construction."""
    y, x = np.ogrid[-100:100, -150:150]
    hu = np.full((200, 300), -1000, dtype=np.int16)
    target = np.zeros(hu.shape, dtype=np.uint8)
    for value, part, ry, rx in ((-100, 1, 85, 130), (55, 2, 68, 108), (-90, 3, 50, 90), (400, 4, 18, 22)):
        inside = (y / ry) ** 2 + (x / rx) ** 2 <= 1
        hu[inside], target[inside] = value, part
    return TissueCase("made", "nobody", "L3", "A", hu, np.zeros_like(target), target, (1.4, 1.4))


@pytest.fixture(scope="module")
def canvas() -> Canvas:
    return make_canvas(_case())


def test_network_is_small_and_keeps_the_size() -> None:
    network = TissueUNet()
    assert sum(p.numel() for p in network.parameters()) < 1_000_000
    assert network(torch.zeros(2, 3, 64, 96)).shape == (2, len(Compartment), 64, 96)


def test_canvas_keeps_the_areas(canvas: Canvas) -> None:
    case = _case()
    assert canvas.target.shape == CANVAS
    for part in Compartment:
        if part != Compartment.OUTSIDE:
            area = (case.compartments == part).sum() * 1.4**2
            assert (canvas.target == part).sum() * 1.8**2 == pytest.approx(area, rel=0.03)


def test_augmentation_is_seeded_and_keeps_muscle_muscle(canvas: Canvas) -> None:
    for seed in range(12):
        hu, target = augmented(canvas, np.random.default_rng(seed))
        again, _ = augmented(canvas, np.random.default_rng(seed))
        assert np.array_equal(hu, again)
        assert hu.shape == target.shape == PATCH
        assert 0 < np.median(hu[target == Compartment.RING]) < 120


def test_loss_falls_to_nothing_for_the_right_answer() -> None:
    target = torch.arange(5).repeat(1, 8, 8)[:, :, :40].reshape(1, 8, 40)
    right = torch.nn.functional.one_hot(target, 5).permute(0, 3, 1, 2).float() * 30
    assert compartment_loss(right, target).item() < 0.01
    assert compartment_loss(-right, target).item() > 1.0


def test_training_learns(canvas: Canvas) -> None:
    torch.set_num_threads(1)
    hu, target = augmented(canvas, np.random.default_rng(99))
    image, truth = torch.from_numpy(network_input(hu[None])), torch.from_numpy(target[None].astype(np.int64))
    network = train_member([canvas] * 4, [canvas], steps=16, seed=0)
    assert not network.training
    with torch.no_grad():
        before, after = (compartment_loss(n(image), truth).item() for n in (TissueUNet().eval(), network))
    assert after < 0.9 * before


def test_folds_part_the_people_and_are_even() -> None:
    persons = ["a"] * 5 + ["b"] * 3 + ["c", "d", "e"]
    parts = folds(persons, 3)
    assert sorted(p for part in parts for p in part) == ["a", "b", "c", "d", "e"]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_overlap_of_masks() -> None:
    a = np.array([1, 1, 0, 0], dtype=bool)
    b = np.array([1, 0, 1, 0], dtype=bool)
    assert overlap(a, b) == (0.5, pytest.approx(1 / 3))
    assert overlap(a & ~a, a & ~a) == (1.0, 1.0)


def test_a_slice_is_scored_only_by_members_that_never_saw_its_person() -> None:
    training = {"persons": ["aorta", "cort", "ricord"]}
    card = {"members": [{"held_out": ["aorta"]}, {"held_out": ["cort"]}], "training": training}
    case = replace(_case(), person="cort")
    assert held_out_members(case, ModelPackage(Path(), card)) == [1]
    with pytest.raises(ValueError, match="seen"):
        held_out_members(replace(case, person="ricord"), ModelPackage(Path(), card))
    unseen = replace(case, person="ircad17")  # left out by its licence: nobody saw it
    assert held_out_members(unseen, ModelPackage(Path(), card)) is None
    assert held_out_members(_case(), ModelPackage(Path(), card)) is None  # a licence that is not known


def test_cases_without_a_stated_licence_are_never_trained_on(ct_data: Path) -> None:
    cases = load_cases(ct_data)
    assert [c.name for c in cases if not c.trainable] == [c.name for c in cases if c.name.startswith("m_")]
    assert sum(c.trainable for c in cases) == 41


def test_export_is_the_network(tmp_path: Path) -> None:
    from sarcoscope.training.tissue_export import export_package

    torch.manual_seed(0)
    network = TissueUNet().eval()
    members = [{"weights": network.state_dict(), "held_out": ["a"], "seed": 0, "steps": 0}] * 2
    export_package(members, tmp_path, ["a"])
    assert b"site-packages" not in (tmp_path / "model.onnx").read_bytes()
    image = np.random.default_rng(0).standard_normal((1, 3, 48, 80)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).softmax(dim=1).numpy()
    answer = load_package(tmp_path).run(image=image)[0]
    assert answer.shape == (2, 1, 5, 48, 80)
    assert np.abs(answer - expected).max() < 1e-5
