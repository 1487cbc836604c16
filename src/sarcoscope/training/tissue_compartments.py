"""Train the compartment network: ``python -m sarcoscope.training.tissue_compartments --data DIR --out DIR``.

Four members, one after the other, each without one quarter of the people; a member that is already in the
output folder is kept, so that a broken run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from sarcoscope.models.networks.tissue_unet import TissueUNet
from sarcoscope.models.package import ModelPackage
from sarcoscope.tissues.compartments import Compartment, network_input
from sarcoscope.training.average import moving_average
from sarcoscope.training.export import write_card
from sarcoscope.training.licences import CHOICES, may_see
from sarcoscope.training.tissue_augment import Canvas, augmented, make_canvas
from sarcoscope.training.tissue_data import TissueCase, load_cases, load_chest_cases, person_folds
from sarcoscope.training.tissue_export import export_package, load_members
from sarcoscope.training.tissue_phantoms import phantom_canvases
from sarcoscope.training.tissue_scores import score_cases, summary

MEMBERS = 4
BATCH = 4
PHANTOMS = 40
"""Random phantoms, a few slices of each."""
PHANTOM_SHARE = 0.15
HARD_LEVELS = ("T12", "L1", "L5")
"""Few slices, and the hardest: drawn twice as often."""
LEARNING_RATE = 4e-3
log = logging.getLogger(__name__)


def compartment_loss(logits: Tensor, target: Tensor) -> Tensor:
    """0.5 soft Dice + 0.5 cross entropy, border pixels weighing three times.

    Args:
        logits: [batch, class, y, x].
        target: [batch, y, x] int64.
    """
    onehot = nnf.one_hot(target, len(Compartment)).permute(0, 3, 1, 2).to(logits.dtype)
    border = (nnf.max_pool2d(onehot, 3, 1, 1) + nnf.max_pool2d(-onehot, 3, 1, 1)).amax(dim=1)
    weight = 1.0 + 2.0 * border
    entropy = (nnf.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
    share = logits.softmax(dim=1)
    overlap = (share * onehot).sum(dim=(0, 2, 3))
    dice = (2 * overlap + 1) / (share.sum(dim=(0, 2, 3)) + onehot.sum(dim=(0, 2, 3)) + 1)
    return 0.5 * (1 - dice.mean()) + 0.5 * entropy


def _batch(canvases: list[Canvas], phantoms: list[Canvas], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    chosen = []
    for _ in range(BATCH):
        pool = phantoms if phantoms and rng.random() < PHANTOM_SHARE else canvases
        chosen.append(augmented(pool[int(rng.integers(len(pool)))], rng))
    inputs = network_input(np.stack([hu for hu, _ in chosen]))
    targets = np.stack([t for _, t in chosen]).astype(np.int64)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def train_member(
    canvases: list[Canvas], phantoms: list[Canvas], steps: int, seed: int, start: Path | None = None
) -> TissueUNet:
    """Train one member on canvases of people and phantoms; returns the running average of its weights.

    ``start`` is the file of a member with the same people held out, from whose weights training goes on (at
    half the learning rate).
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = TissueUNet()
    rate = LEARNING_RATE
    if start is not None:
        network.load_state_dict(torch.load(start, weights_only=True)["weights"])
        rate = LEARNING_RATE / 2
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=moving_average, use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    begin, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        inputs, targets = _batch(canvases, phantoms, rng)
        loss = compartment_loss(network(inputs), targets)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        total += loss.item()
        if step % 50 == 0:
            log.info("seed %d step %d loss %.4f %.0f s", seed, step, total / 50, time.monotonic() - begin)
            total = 0.0
    network.load_state_dict(average.module.state_dict())
    return network.eval()


def train_all(
    cases: list[TissueCase], out: Path, steps: int, only: tuple[int, ...], start: Path | None = None
) -> None:
    """Train the members of ``only`` that ``out`` lacks; each is kept as ``member_<k>.pt``.

    ``start`` is a folder with members of an earlier training, from which this one goes on.
    """
    out.mkdir(parents=True, exist_ok=True)
    phantoms = phantom_canvases(PHANTOMS, seed=1)
    for k, held_out in enumerate(person_folds(cases, MEMBERS)):
        path = out / f"member_{k}.pt"
        if path.exists() or k not in only:
            continue
        seen = [c for c in cases if c.person not in held_out]
        canvases = [make_canvas(c) for c in seen]
        canvases += [canvas for c, canvas in zip(seen, canvases, strict=True) if c.level in HARD_LEVELS]
        log.info("member %d: %d slices, without %s", k, len(seen), sorted(held_out))
        network = train_member(
            canvases, phantoms, steps, seed=k, start=start / f"member_{k}.pt" if start else None
        )
        before = int(torch.load(start / f"member_{k}.pt", weights_only=True)["steps"]) if start else 0
        member = {
            "weights": network.state_dict(),
            "held_out": sorted(held_out),
            "seed": k,
            "steps": before + steps,
        }
        torch.save(member, path)


def export_and_score(cases: list[TissueCase], seen: list[TissueCase], out: Path, licences: str) -> None:
    """Make the package ``out/package`` of the members in ``out``; its card has cross-validated figures."""
    folder = out / "package"
    persons = sorted({c.person for c in seen})
    export_package(load_members(out), folder, persons, licences)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["figures"] = summary(score_cases(cases, ModelPackage(folder, card)))
    write_card(folder, card)


def main(arguments: list[str] | None = None) -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description="Train the compartment network.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000, help="steps of each member")
    parser.add_argument(
        "--members",
        type=int,
        nargs="+",
        default=list(range(MEMBERS)),
        help="members to train in this process (several processes share the work)",
    )
    parser.add_argument("--start", type=Path, help="folder of an earlier training to go on from")
    parser.add_argument("--licences", choices=CHOICES, default="all", help="whose CT may be seen")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    cases = load_cases(options.data) + load_chest_cases(options.data)
    seen = [c for c in cases if may_see(c.person, options.licences)]
    train_all(seen, options.out, options.steps, tuple(options.members), options.start)
    if len(load_members(options.out)) == MEMBERS:
        export_and_score(cases, seen, options.out, options.licences)


if __name__ == "__main__":
    main()
