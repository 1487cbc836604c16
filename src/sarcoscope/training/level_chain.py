"""Train the level network: ``python -m sarcoscope.training.level_chain --data DIR --out DIR``.

Four members, each without one quarter of the people. They are trained in turns of some steps each, so that
whenever the run is stopped all members have had the same training; a run that was stopped goes on from its
checkpoint. Reference CT, painted label maps and phantoms are mixed.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from sarcoscope.models.networks.level_chain import CLASSES, LevelChainNet
from sarcoscope.training.level_augment import random_view
from sarcoscope.training.level_data import LevelCase, phantom_cases, reference_cases, reference_folds
from sarcoscope.training.level_export import export_package
from sarcoscope.training.level_maps import map_cases
from sarcoscope.training.licences import CHOICES, may_see

MEMBERS = 4
BATCH = 6
ROWS = 192
TURN = 50
MAP_VARIANTS = 6
PHANTOMS = 60
LEARNING_RATE = 2e-3
EMA = 0.99
SHARES = {"ct": 0.62, "map": 0.26, "phantom": 0.12}
log = logging.getLogger(__name__)


@dataclass
class Member:
    """One network in training: its weights, their running average, and where it stands."""

    network: LevelChainNet
    average: LevelChainNet
    optimiser: torch.optim.Optimizer
    cases: list[LevelCase]
    rng: np.random.Generator
    step: int = 0


def chain_loss(logits: Tensor, level: Tensor, gap: Tensor) -> Tensor:
    """Cross entropy of the class where known, plus that of the gap.

    Args:
        logits: [batch, 21, row].
        level: [batch, row] class or -1.
        gap: [batch, row] 1, 0 or -1.
    """
    classes = nnf.cross_entropy(logits[:, :CLASSES], level, ignore_index=-1, label_smoothing=0.05)
    known = gap >= 0
    gaps = nnf.binary_cross_entropy_with_logits(logits[:, CLASSES][known], gap[known].float())
    return classes + gaps


def new_member(cases: list[LevelCase], held_out: tuple[str, ...], seed: int) -> Member:
    """A member that never sees the people of ``held_out``."""
    torch.manual_seed(seed)
    network, average = LevelChainNet(), LevelChainNet()
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    seen = [c for c in cases if c.person not in held_out]
    return Member(network, average, optimiser, seen, np.random.default_rng(seed))


def batch_of(member: Member) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of random views; every person of a kind is as likely as any other."""
    views = []
    kinds, shares = list(SHARES), list(SHARES.values())
    for kind in member.rng.choice(kinds, BATCH, p=np.array(shares) / sum(shares)):
        pool = [c for c in member.cases if c.kind == kind]
        people = sorted({c.person for c in pool})
        person = people[int(member.rng.integers(len(people)))]
        own = [c for c in pool if c.person == person]
        views.append(random_view(own[int(member.rng.integers(len(own)))], ROWS, member.rng))
    inputs, levels, gaps = (torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True))
    return inputs, levels, gaps


def train_steps(member: Member, count: int, total: int) -> float:
    """Train ``count`` steps of ``total``; returns their mean loss."""
    member.network.train()
    losses = []
    for _ in range(count):
        share = member.step / max(total, 1)
        warm = min(1.0, (member.step + 1) / 40)
        rate = LEARNING_RATE * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in member.optimiser.param_groups:
            group["lr"] = rate
        inputs, level, gap = batch_of(member)
        loss = chain_loss(member.network(inputs), level, gap)
        member.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(member.network.parameters(), 1.0)
        member.optimiser.step()
        member.step += 1
        _average(member)
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _average(member: Member) -> None:
    """Move the running average; it forgets the first steps quickly."""
    keep = min(EMA, (1 + member.step) / (10 + member.step))
    with torch.no_grad():
        for old, new in zip(member.average.parameters(), member.network.parameters(), strict=True):
            old.mul_(keep).add_(new, alpha=1 - keep)


def train(
    cases: list[LevelCase], folds: list[tuple[str, ...]], steps: int, seed: int, checkpoint: Path
) -> list[Member]:
    """Train all members in turns up to ``steps`` each, from the checkpoint if there is one."""
    members = [new_member(cases, held, seed * 100 + k) for k, held in enumerate(folds)]
    if checkpoint.is_file():
        for member, state in zip(members, torch.load(checkpoint, weights_only=True), strict=True):
            member.network.load_state_dict(state["network"])
            member.average.load_state_dict(state["average"])
            member.optimiser.load_state_dict(state["optimiser"])
            member.step = int(state["step"])
            member.rng = np.random.default_rng([seed, member.step])
    while (least := min(m.step for m in members)) < steps:
        begin = time.monotonic()
        losses = [train_steps(m, TURN, steps) for m in members if m.step == least]
        state = [
            {
                "network": m.network.state_dict(),
                "average": m.average.state_dict(),
                "optimiser": m.optimiser.state_dict(),
                "step": m.step,
            }
            for m in members
        ]
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)
        shown = " ".join(f"{v:.3f}" for v in losses)
        log.info("step %d of %d: loss %s (%.0f s)", least + TURN, steps, shown, time.monotonic() - begin)
    return members


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference CT")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the package")
    parser.add_argument("--steps", type=int, default=1500, help="steps of every member")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="one set of members a seed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--licences", choices=CHOICES, default="all", help="whose CT may be seen")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    cache = arguments.out / "strips"
    cases = reference_cases(arguments.data, cache)
    cases += map_cases(arguments.data, MAP_VARIANTS, cache) + phantom_cases(PHANTOMS, 1, cache)
    cases = [c for c in cases if may_see(c.person, arguments.licences)]
    networks: list[LevelChainNet] = []
    held_out: list[tuple[str, ...]] = []
    folds = reference_folds(arguments.data, MEMBERS)
    for seed in arguments.seeds:
        members = train(cases, folds, arguments.steps, seed, arguments.out / f"checkpoint_{seed}.pt")
        networks += [m.average for m in members]
        held_out += folds
    facts = {"steps": arguments.steps, "seeds": arguments.seeds, "batch": BATCH, "rows": ROWS}
    persons = sorted({c.person for c in cases if not c.person.startswith("phantom")})
    folder = arguments.out / "package"
    export_package(networks, held_out, folder, facts, persons=persons, licences=arguments.licences)


if __name__ == "__main__":
    main()
