"""Each recipe end to end on tiny synthetic data: it learns, resumes, and its package analyses a CT."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sarcoscope import analyze, read_volume  # noqa: E402
from sarcoscope.anatomy.levels import LEVELS  # noqa: E402
from sarcoscope.errors import InputError, SettingError  # noqa: E402
from sarcoscope.levels.slice_classifier import level_map_of, read_slices, slice_level  # noqa: E402
from sarcoscope.models.package import load_package  # noqa: E402
from sarcoscope.models.registry import add_package, verify_package  # noqa: E402
from sarcoscope.training.fitting import CHECKPOINT, clip_gradients, fit  # noqa: E402
from sarcoscope.training.recipe import RECIPES, load_recipe  # noqa: E402
from sarcoscope.training.recipe_scores import l3_slice_errors, paper_values  # noqa: E402
from sarcoscope.training.run_recipe import checked_data, person_folds, run, split_cases  # noqa: E402
from sarcoscope.training.search import run_search  # noqa: E402
from sarcoscope.training.tasks import L3Task, LevelTask, TissueTask  # noqa: E402
from tests.training.recipe_data import make_manifest  # noqa: E402

SMALL = ("size=64", "batch=4", "epochs=4", "rate=3e-3", "validation_share=0.25")
TISSUE = (*SMALL, "widths=[8, 16, 16]", "optimiser=adam")
LEVEL = (*SMALL, "network=efficientnetv2-tiny", "channels=1")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_manifest(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARCOSCOPE_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)


def _history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open(encoding="utf-8") as lines:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def test_the_published_values_are_the_defaults() -> None:
    p1, p2, p3 = (load_recipe(r) for r in RECIPES)
    assert (p1.network, p1.size, p1.dice_weight, p1.entropy_weight) == ("unet", 512, 0.5, 0.5)
    assert (p1.optimiser, p1.rate, p1.batch, p1.epochs, p1.patience) == ("rmsprop", 2e-4, 4, 50, 10)
    assert p1.augmentation == "none"
    assert (p2.network, p2.size, p2.optimiser, p2.rate) == ("efficientnetv2-m", 512, "adam", 1e-4)
    assert (p2.batch, p2.epochs) == (16, 100)
    assert (p3.network, p3.size, p3.window_hu, p3.stretch) == ("resnet50", 224, (-200.0, 1500.0), True)
    assert (p3.epochs, p3.folds) == (10, 5)


@pytest.mark.parametrize(
    "change", ["epochs=0", "network=vgg", "colour=red", "batch=many", "epochs", "flip_masks=z"]
)
def test_wrong_settings_are_named(change: str) -> None:
    with pytest.raises(SettingError):
        load_recipe("tissue-unet", None, [change])


def test_tissue_recipe_learns_and_its_package_measures(manifest: Path, tmp_path: Path) -> None:
    settings = load_recipe("tissue-unet", None, [*TISSUE, "epochs=14", "name=own-unet"])
    outcome = run(manifest, tmp_path / "run", settings)
    history = _history(tmp_path / "run")
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert max(h["val_accuracy"] for h in history) > 0.9
    assert (tmp_path / "run" / "history.png").stat().st_size > 5000
    assert "355" in outcome.report  # P1's table stands beside
    assert outcome.package is not None
    card = json.loads((outcome.package / "card.json").read_text(encoding="utf-8"))
    assert card["kind"] == "tissue-classes"
    assert card["training"]["persons"]["train"] == 3
    add_package(outcome.package)
    result = analyze(manifest.parent / "p1.nii.gz", assume_level="L3", models=("own-unet",), references=())
    muscle = result.record.measurements[0].tissues["muscle"]
    assert muscle.area_cm2 > 20
    assert [m[0] for m in result.record.provenance.models] == ["own-unet"]
    assert "own_tissue_model" in {f.code for f in result.record.flags}


def test_a_killed_training_goes_on_to_the_same_end(manifest: Path, tmp_path: Path) -> None:
    whole = load_recipe("tissue-unet", None, [*TISSUE, "epochs=3"])
    data = checked_data(manifest, whole)
    train, validation, _ = split_cases(data.cases[:14], whole)
    straight, _ = fit(TissueTask(train, validation, whole), whole, tmp_path / "a")
    first = whole.changed(epochs=1)
    fit(TissueTask(train, validation, first), first, tmp_path / "b")
    (tmp_path / "b" / "checkpoint.part").write_bytes(b"torn")  # a kill in the midst of writing
    resumed, state = fit(TissueTask(train, validation, whole), whole, tmp_path / "b")
    assert state.epoch == 3
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    other = whole.changed(rate=1e-3)
    with pytest.raises(SettingError, match="other settings"):
        fit(TissueTask(train, validation, other), other, tmp_path / "b")


def test_it_stops_early(manifest: Path, tmp_path: Path) -> None:
    settings = load_recipe("tissue-unet", None, [*TISSUE, "epochs=9", "patience=2", "rate=1e-12"])
    data = checked_data(manifest, settings)
    train, validation, _ = split_cases(data.cases[:10], settings)
    network_epochs = fit(TissueTask(train, validation, settings), settings, tmp_path)[1]
    assert network_epochs.epoch < 9


def test_a_training_that_runs_away_says_so(manifest: Path, tmp_path: Path) -> None:
    settings = load_recipe("tissue-unet", None, [*TISSUE, "rate=1e30", "optimiser=sgd"])
    data = checked_data(manifest, settings)
    train, validation, _ = split_cases(data.cases[:10], settings)
    with pytest.raises(SettingError, match="ran away"):
        fit(TissueTask(train, validation, settings), settings, tmp_path)


def test_level_recipe_overfits_a_handful_and_names_levels(manifest: Path, tmp_path: Path) -> None:
    settings = load_recipe(
        "level-efficientnetv2m", None, [*LEVEL, "epochs=25", "augmentation=none", "name=own-levels"]
    )
    outcome = run(manifest, tmp_path / "run", settings)
    history = _history(tmp_path / "run")
    assert history[-1]["accuracy"] > 0.9
    assert "0.9722" in outcome.report
    assert outcome.package is not None
    package = verify_package(outcome.package)
    add_package(outcome.package)
    volume = read_volume(manifest.parent / "p1.nii.gz")
    result = analyze(manifest.parent / "p1.nii.gz", models=("own-levels",))
    assert {r.level for r in result.record.levels.ranges} & set(LEVELS)
    cam = level_map_of(volume, 5, "L3", package)
    assert cam.ndim == 2
    assert 0 <= cam.min() <= cam.max() <= 1
    assert slice_level(volume, 5, package)[0] in LEVELS


def test_grad_cam_of_the_package_is_that_of_autograd(manifest: Path, tmp_path: Path) -> None:
    settings = load_recipe("level-efficientnetv2m", None, [*LEVEL, "epochs=1"])
    data = checked_data(manifest, settings)
    train, validation, _ = split_cases(data.cases, settings)
    task = LevelTask(train[:8], validation, settings)
    network, _ = fit(task, settings, tmp_path)
    from sarcoscope.training.recipe_export import export_recipe

    export_recipe(network, settings, tmp_path / "package", {"slices": 8}, {})
    volume = read_volume(manifest.parent / "p2.nii.gz")
    reading = read_slices(volume, [3], load_package(tmp_path / "package"))
    image = torch.from_numpy(settings.slice_input.batch(volume.hu[3:4]))
    features = network.features(image).detach().requires_grad_()
    logits = network.pooled(features.mean(dim=(2, 3)))
    level = LEVELS.index("L2")
    (gradient,) = torch.autograd.grad(logits[0, level], features)
    cam = torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1))[0].detach().numpy()
    own = reading.maps[0, level]
    assert np.allclose(own / max(own.max(), 1e-9), cam / max(cam.max(), 1e-9), atol=1e-4)
    assert np.allclose(reading.shares[0], network(image).softmax(dim=1)[0].detach().numpy(), atol=1e-5)


def test_coarse_levels_allow_all_their_levels(manifest: Path) -> None:
    settings = load_recipe("level-efficientnetv2m", None, LEVEL)
    case = checked_data(manifest, settings).cases[0]
    task = LevelTask([case], [case], settings)
    coarse = type(case)(case.name, "p", "", "", "Lumbar", case.hu, None, None)
    target = task.target(coarse, None)
    assert [LEVELS[k] for k in torch.nonzero(target)[:, 0]] == ["L1", "L2", "L3", "L4", "L5"]
    sure = torch.full((1, 19), -20.0)
    sure[0, LEVELS.index("L4")] = 20.0
    assert float(task.loss(sure, target[None])) < 1e-4
    exact = task.target(case, None)[None]
    logits = torch.randn(1, 19)
    expected = torch.nn.functional.cross_entropy(logits, exact.argmax(dim=1))
    assert torch.isclose(task.loss(logits, exact), expected)


def test_search_never_sees_the_fold_it_reports(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    real = L3Task.__init__

    def spy(self, train, validation, settings) -> None:  # type: ignore[no-untyped-def]
        seen.append({c.person for c in [*train, *validation]})
        real(self, train, validation, settings)

    monkeypatch.setattr(L3Task, "__init__", spy)
    settings = load_recipe("l3-resnet50", None, [*LEVEL, "epochs=1", "folds=2"])
    outcome = run_search(manifest, tmp_path, settings, trials=2)
    folds = person_folds(checked_data(manifest, settings).cases, 2, settings.seed)
    assert len(seen) == 2 * 3  # two trials and the final training, twice
    for k, people in enumerate(seen):
        assert not people & folds[k // 3]
    assert "0.68" in outcome.report
    with (tmp_path / "scores_folds.csv").open(encoding="utf-8") as lines:
        assert {r["person"] for r in csv.DictReader(lines)} == {"p1", "p2", "p3", "p4"}
    seen.clear()
    run_search(manifest, tmp_path, settings, trials=2)
    assert len(seen) == 2  # the trials were kept: only the final training is looked at again


def test_over_sampling_and_weights_follow_the_settings(manifest: Path) -> None:
    settings = load_recipe("l3-resnet50", None, [*LEVEL, "oversample=0.25", "class_weight=1.0"])
    cases = checked_data(manifest, settings).cases
    task = L3Task(cases, cases, settings)
    order = task.order(0)
    extra = [k for k, moved in order if moved]
    assert len(extra) == round(0.25 * len(cases))
    assert all(cases[k].level == "L3" for k in extra)
    assert order == task.order(0) != task.order(1)
    rare = sum(c.level == "L3" for c in cases)
    logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
    weight = (len(cases) - rare) / rare
    losses = torch.nn.functional.cross_entropy(logits, target, weight=torch.tensor([1.0, weight]))
    assert torch.isclose(task.loss(logits, target), losses)


def test_gradients_are_clipped_as_named() -> None:
    for method in ("value", "l2norm", "global-l2norm", "none"):
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
        for p in network.parameters():
            p.grad = torch.full_like(p, 10.0)
        clip_gradients(network, method, 1.0)
        norms = [float(p.grad.norm()) for p in network.parameters() if p.grad is not None]
        if method == "value":
            assert all(float(p.grad.abs().max()) <= 1.0 for p in network.parameters() if p.grad is not None)
        elif method == "l2norm":
            assert all(abs(n - 1.0) < 1e-3 for n in norms)
        elif method == "global-l2norm":
            assert abs(sum(n**2 for n in norms) ** 0.5 - 1.0) < 1e-3
        else:
            assert min(norms) > 10


def test_slice_error_of_p3() -> None:
    rows = [
        {"case": f"v#{k}", "person": "v", "centre": "", "reference": int(4 <= k <= 6), "share": s}
        for k, s in enumerate([0.1, 0.9, 0.2, 0.1, 0.6, 0.7, 0.8, 0.9, 0.1])
    ]
    assert l3_slice_errors(rows) == ([5.5], [5.0])
    assert paper_values("l3-resnet50")["slice error", "mean"] == "0.68"


def test_two_processes_train_one_network(manifest: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29731",
        "-m", "sarcoscope.cli.main", "train", "tissue-unet", "--data", str(manifest), "--out", str(tmp_path / "out"),
        "--quiet", *(part for s in (*TISSUE, "epochs=2", "folds=2") for part in ("--set", s)),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(_history(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "package" / "model.onnx").is_file()
    assert (tmp_path / "out" / CHECKPOINT).is_file()
    assert "Cross-validation by person, 2 folds" in (tmp_path / "out" / "report.txt").read_text(
        encoding="utf-8"
    )


def test_the_check_stops_with_a_table(tmp_path: Path) -> None:
    path = make_manifest(tmp_path, 2, flip_mask_of=2)
    settings = load_recipe("tissue-unet", None, TISSUE)
    with pytest.raises(InputError, match="mirrored in y"):
        checked_data(path, settings)
    checked_data(make_manifest(tmp_path, 2), settings)
    text = path.read_text(encoding="utf-8").splitlines()
    rows = [line.rsplit(",", 1)[0] + ("," + ("train" if k % 2 else "test")) for k, line in enumerate(text)]
    rows[0] = text[0]
    path.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(InputError, match="more than one side"):
        checked_data(path, settings)
    path.write_text(text[0] + "\nnothing.nii.gz,m.png,L3,p1,c,\n", encoding="utf-8")
    with pytest.raises(InputError, match="no image"):
        checked_data(path, settings)
