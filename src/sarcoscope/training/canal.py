"""Train the canal network: ``python -m sarcoscope.training.canal --data DIR --out DIR``.

Four members, each without one quarter of the people. The targets are points that were checked by eye on
every reference volume (``data/canal_points.csv``), and the cord of the label maps, painted anew.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi
from torch import Tensor
from torch.nn import functional as nnf

from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.levels.canal import SHRINK, cells_of, windowed
from sarcoscope.levels.coarse import AIR_HU, CoarseVolume, coarse_copy
from sarcoscope.levels.spine import SpinePath
from sarcoscope.models.networks.canal_net import CanalNet
from sarcoscope.samples.phantom import make_phantom, random_settings
from sarcoscope.training.average import moving_average
from sarcoscope.training.canal_export import export_package
from sarcoscope.training.canal_points import phantom_path, read_points, reference_path
from sarcoscope.training.level_data import read_references, reference_folds
from sarcoscope.training.level_maps import MAPS, painted_map
from sarcoscope.training.licences import CHOICES, may_see

MEMBERS = 4
PHANTOMS = 10
ABSENT_SHARE = 0.08
"""Share of views of rows beyond the spine (head, below the sacrum): no hill."""
PATCH = 96
BATCH = 12
LEARNING_RATE = 3e-3
SIGMA = 1.3
"""Cells (4 mm): how wide the target's hill is."""
_NEIGHBOURS = (-3, 0, 3)
_BORDER_ROWS = 12
"""Rows next to the last known point of the canal: neither known nor absent."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CanalCase:
    """A spine: ``cells`` [row, y, x] HU at 4 mm, ``yx`` [row, 2] the canal in cells, ``known`` [row]."""

    name: str
    person: str
    cells: NDArray[np.float32]
    yx: NDArray[np.float64]
    known: NDArray[np.bool_]


def _contrast(stack: NDArray[np.float32], canal: tuple[float, float], rng: np.random.Generator) -> None:
    """Fill a few soft round places in front of the spine with contrast, as heart, aorta and kidneys are."""
    y, x = np.ogrid[: stack.shape[1], : stack.shape[2]]
    for _ in range(int(rng.integers(1, 5))):
        centre = (canal[0] - rng.uniform(6, 30), canal[1] + rng.normal(0, 10))
        distance = np.hypot((y - centre[0]) / rng.uniform(0.6, 1.6), x - centre[1])
        inside = (distance < rng.uniform(1.5, 10))[None] & (stack > 0) & (stack < 120)
        stack[np.broadcast_to(inside, stack.shape) & inside] += np.float32(rng.uniform(80, 400))


def random_view(
    case: CanalCase, row: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(HU [neighbour, y, x], target hill [y, x]) of one row: moved, turned, sized, dimmed, noisy, cut."""
    last = len(case.cells) - 1
    reach = rng.uniform(0.5, 1.6)
    stack = case.cells[[min(max(round(row + n * reach), 0), last) for n in _NEIGHBOURS]].astype(np.float32)
    canal = (float(case.yx[row, 0]), float(case.yx[row, 1]))
    if rng.random() < 0.4:
        _contrast(stack, canal, rng)
    angle, zoom = np.radians(rng.normal(0, 8)), np.exp(rng.normal(0, 0.14))
    mirror = rng.choice([-1.0, 1.0])
    place = np.array([PATCH * rng.uniform(0.35, 0.85), PATCH * rng.uniform(0.25, 0.75)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([1.0, mirror]) * zoom
    y, x = np.meshgrid(np.arange(PATCH), np.arange(PATCH), indexing="ij")
    offset = np.stack([y - place[0], x - place[1]])
    source = np.einsum("ab,byx->ayx", turn, offset) + np.array(canal)[:, None, None]
    size = np.array(stack.shape[1:])[:, None, None]
    grid = torch.from_numpy((source * 2 / (size - 1) - 1)[::-1].copy().astype(np.float32))
    moved = nnf.grid_sample(
        torch.from_numpy(stack - np.float32(AIR_HU))[None], grid.permute(1, 2, 0)[None], align_corners=True
    )
    hu: NDArray[np.float32] = moved[0].numpy() + np.float32(AIR_HU)
    hu = _values(hu, place, rng)
    if not case.known[row]:
        return hu, np.zeros((PATCH, PATCH), np.float32)
    hill = np.exp(-0.5 * (offset**2).sum(axis=0) / SIGMA**2).astype(np.float32)
    return hu, hill


def _values(
    hu: NDArray[np.float32], canal: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Bone dimmed or bright, gain, noise, blur, and a narrow field of view around the spine."""
    bone = hu > 100
    hu = np.where(bone, 100 + (hu - 100) * np.float32(rng.uniform(0.35, 1.4)), hu)
    hu = hu + np.float32(rng.normal(0, 12))
    if rng.random() < 0.3:
        hu = ndi.gaussian_filter(hu, (0, *[rng.uniform(0.2, 0.7)] * 2))
    hu = hu + rng.standard_normal(hu.shape).astype(np.float32) * np.float32(rng.uniform(0, 30))
    if rng.random() < 0.25:
        y, x = np.ogrid[:PATCH, :PATCH]
        centre = canal - (rng.uniform(0, 25), rng.normal(0, 8))
        radius = rng.uniform(22, 45)
        hu = np.where(np.hypot(y - centre[0], x - centre[1]) > radius, np.float32(AIR_HU), hu)
    return np.asarray(hu, np.float32)


def hill_loss(logits: Tensor, hill: Tensor) -> Tensor:
    """Binary cross entropy against the hill, its few high cells weighing more.

    Args:
        logits: [batch, y, x].
        hill: [batch, y, x] 0..1.
    """
    entropy = nnf.binary_cross_entropy_with_logits(logits, hill, reduction="none")
    weight = 1.0 + 30.0 * hill
    return (entropy * weight).sum() / weight.sum()


def _row_of(case: CanalCase, rng: np.random.Generator) -> int:
    """A row with a canal, or now and then one well beyond the spine."""
    known = np.flatnonzero(case.known)
    absent = np.flatnonzero(ndi.binary_erosion(~case.known, iterations=_BORDER_ROWS, border_value=1))
    pool = absent if len(absent) and rng.random() < ABSENT_SHARE else known
    return int(rng.choice(pool))


def train_member(cases: Sequence[CanalCase], steps: int, seed: int) -> CanalNet:
    """Train one member; returns the running average of its weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = CanalNet()
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=moving_average, use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    people = sorted({c.person for c in cases})
    begin, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        views = []
        for person in rng.choice(people, BATCH):
            own = [c for c in cases if c.person == person]
            case = own[int(rng.integers(len(own)))]
            views.append(random_view(case, _row_of(case, rng), rng))
        image = torch.from_numpy(windowed(np.stack([hu for hu, _ in views])))
        loss = hill_loss(network(image), torch.from_numpy(np.stack([hill for _, hill in views])))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        total += loss.item()
        if step % 100 == 0:
            log.info("seed %d step %d loss %.4f %.0f s", seed, step, total / 100, time.monotonic() - begin)
            total = 0.0
    network.load_state_dict(average.module.state_dict())
    return network.eval()


def canal_cases(data: Path) -> list[CanalCase]:
    """Reference volumes, label maps painted twice each, and a few phantoms."""
    points = read_points()
    cases = []
    for name, (person, _, _) in read_references(data).items():
        coarse = coarse_copy(read_nifti(data / "volumes" / f"{name}.nii.gz"))
        cases.append(_case(name, person, coarse, reference_path(points[name], coarse)))
    for name in MAPS:
        for variant in range(2):
            painted = painted_map(data / "labelmaps" / f"{name}.nii.gz", name, variant)
            cases.append(_case(f"{name}_{variant}", name, painted.coarse, painted.path))
    for k in range(PHANTOMS):
        settings = random_settings(np.random.default_rng([7, k]), matrix=160, clean=False)
        phantom = make_phantom(settings)
        coarse = coarse_copy(phantom.volume())
        cases.append(_case(f"phantom_{k}", "phantom", coarse, phantom_path(phantom, coarse)))
    return cases


def _case(name: str, person: str, coarse: CoarseVolume, path: SpinePath) -> CanalCase:
    return CanalCase(name, person, cells_of(coarse.hu), (path.yx - (SHRINK - 1) / 2) / SHRINK, path.score > 0)


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference CT")
    parser.add_argument("--out", type=Path, required=True, help="folder for members and the package")
    parser.add_argument("--steps", type=int, default=600, help="steps of every member")
    parser.add_argument("--licences", choices=CHOICES, default="all", help="whose CT may be seen")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    cases = [c for c in canal_cases(arguments.data) if may_see(c.person, arguments.licences)]
    folds = reference_folds(arguments.data, MEMBERS)
    networks = []
    for k, held_out in enumerate(folds):
        kept = arguments.out / f"member_{k}.pt"
        if not kept.is_file():
            network = train_member([c for c in cases if c.person not in held_out], arguments.steps, seed=k)
            torch.save(network.state_dict(), kept)
        network = CanalNet()
        network.load_state_dict(torch.load(kept, weights_only=True))
        networks.append(network.eval())
    persons = sorted({c.person for c in cases if not c.person.startswith("phantom")})
    facts = {"steps": arguments.steps, "batch": BATCH}
    folder = arguments.out / "package"
    export_package(networks, folds, folder, facts, persons=persons, licences=arguments.licences)


if __name__ == "__main__":
    main()
