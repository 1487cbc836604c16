"""The training loop of the recipes: deterministic order, checkpoints, resuming, early stop, several GPUs."""

from __future__ import annotations

import csv
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from sarcoscope.errors import SettingError
from sarcoscope.progress import Progress
from sarcoscope.training.recipe import RecipeSettings

CHECKPOINT = "checkpoint.pt"
log = logging.getLogger(__name__)


class Task(Protocol):
    """What a recipe brings to the loop."""

    def network(self) -> nn.Module:
        """A fresh network."""

    def order(self, epoch: int) -> list[tuple[int, bool]]:
        """(training case, moved by augmentation of the rare class) of an epoch, in order."""

    def batch(self, chosen: Sequence[tuple[int, bool]], epoch: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of training cases."""

    def validation_batches(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs and targets of all validation cases."""

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of a batch."""

    def hits(self, logits: Tensor, target: Tensor) -> tuple[float, float]:
        """(right, counted) of the accuracy that the paper reports."""


@dataclass
class Fit:
    """Where a training stands."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where the computation runs."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """This process writes the files."""
        return self.rank == 0


def find_place() -> Place:
    """CUDA where there is one, else the CPU; one process of several when started by ``torchrun``."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Place(device, rank, world)


def clip_gradients(network: nn.Module, method: str, threshold: float) -> None:
    """Clip by element (``value``), by every parameter's norm (``l2norm``) or by the norm of all together."""
    parameters = [p for p in network.parameters() if p.grad is not None]
    if method == "value":
        nn.utils.clip_grad_value_(parameters, threshold)
    elif method == "l2norm":
        for p in parameters:
            nn.utils.clip_grad_norm_([p], threshold)
    elif method == "global-l2norm":
        nn.utils.clip_grad_norm_(parameters, threshold)


def make_optimiser(network: nn.Module, settings: RecipeSettings) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    parameters = network.parameters()
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=settings.rate, weight_decay=settings.l2)
    if settings.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=settings.rate, weight_decay=settings.l2, momentum=0.9)
    return torch.optim.Adam(parameters, lr=settings.rate, weight_decay=settings.l2)


def fit(
    task: Task,
    settings: RecipeSettings,
    out: Path,
    *,
    place: Place | None = None,
    progress: Progress | None = None,
) -> tuple[nn.Module, Fit]:
    """Train, going on from the checkpoint in ``out`` if there is one.

    Returns:
        the network with the weights of its best epoch, and how the training went.

    Raises:
        SettingError: the checkpoint belongs to other settings, or the loss is no number any more.
    """
    place = place or find_place()
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    network = task.network().to(place.device)
    optimiser = make_optimiser(network, settings)
    state, best = Fit(), {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    path = out / CHECKPOINT
    if path.is_file():
        kept = torch.load(path, map_location="cpu", weights_only=True)
        if kept["settings"] != _settings_of(settings):
            raise SettingError("The checkpoint in the output folder belongs to other settings.")
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        state, best = Fit(**kept["fit"]), kept["best"]
    trained: nn.Module = nn.parallel.DistributedDataParallel(network) if place.world > 1 else network
    scaler = torch.amp.GradScaler("cuda", enabled=settings.mixed_precision and place.device.type == "cuda")
    while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
        begin = time.monotonic()
        torch.manual_seed(settings.seed * 100003 + state.epoch)
        loss, right = _train_epoch(task, trained, optimiser, scaler, settings, state.epoch, place)
        val_loss, val_right = _validate(task, network, place)
        state.epoch += 1
        if not math.isfinite(loss + val_loss):
            raise SettingError(
                f"The training ran away in epoch {state.epoch} (its loss is no number); "
                "lower the rate or clip the gradients."
            )
        row = {"epoch": state.epoch, "loss": loss, "accuracy": right, "val_loss": val_loss,
               "val_accuracy": val_right, "seconds": time.monotonic() - begin}  # fmt: skip
        state.history.append(row)
        if val_loss < state.best_loss:
            state.best_loss, state.best_epoch = val_loss, state.epoch
            best = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
        if place.leads:
            _keep(path, network, optimiser, state, best, settings)
            write_history(state.history, out)
            log.info(
                "epoch %d of %d: loss %.4f, validation %.4f", state.epoch, settings.epochs, loss, val_loss
            )
        if progress is not None:
            progress("train", state.epoch / settings.epochs)
    network.load_state_dict(best)
    return network.eval(), state


def _settings_of(settings: RecipeSettings) -> dict[str, Any]:
    """What must be the same to go on: all but how long."""
    return {k: v for k, v in settings.record().items() if k not in ("epochs", "patience", "name")}


def _train_epoch(
    task: Task,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: Any,
    settings: RecipeSettings,
    epoch: int,
    place: Place,
) -> tuple[float, float]:
    network.train()
    order = task.order(epoch)
    whole = len(order) // place.world * place.world
    order = order[: whole or len(order)][place.rank :: place.world]
    total, right, counted, steps = 0.0, 0.0, 0.0, 0.0
    half = settings.mixed_precision and place.device.type == "cuda"
    for k in range(0, len(order), settings.batch):
        chosen = order[k : k + settings.batch]
        if len(chosen) == 1 and k > 0:
            continue  # batch normalisation needs two
        inputs, target = (t.to(place.device) for t in task.batch(chosen, epoch))
        with torch.autocast("cuda") if half else nullcontext():
            logits = network(inputs)
            loss = task.loss(logits, target)
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        clip_gradients(network, settings.clip_method, settings.clip_threshold)
        scaler.step(optimiser)
        scaler.update()
        hit, seen = task.hits(logits.detach(), target)
        total, steps, right, counted = total + float(loss.detach()), steps + 1, right + hit, counted + seen
    sums = torch.tensor([total, steps, right, counted], dtype=torch.float64, device=place.device)
    if place.world > 1:
        dist.all_reduce(sums)
    total, steps, right, counted = (float(v) for v in sums)
    return total / max(steps, 1), right / max(counted, 1)


@torch.no_grad()
def _validate(task: Task, network: nn.Module, place: Place) -> tuple[float, float]:
    network.eval()
    total, right, counted, cases = 0.0, 0.0, 0.0, 0
    for inputs, target in task.validation_batches():
        logits, target = network(inputs.to(place.device)), target.to(place.device)
        total += float(task.loss(logits, target)) * len(inputs)
        hit, seen = task.hits(logits, target)
        right, counted, cases = right + hit, counted + seen, cases + len(inputs)
    return total / max(cases, 1), right / max(counted, 1)


def _keep(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: Fit,
    best: Mapping[str, Tensor],
    settings: RecipeSettings,
) -> None:
    """Write the checkpoint so that a kill at any moment leaves a whole one."""
    part = path.with_suffix(".part")
    kept = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "fit": vars(state),
        "best": dict(best),
        "settings": _settings_of(settings),
    }
    torch.save(kept, part)
    part.replace(path)


def write_history(history: Sequence[Mapping[str, float]], out: Path) -> None:
    """``history.csv`` and ``history.png`` of a training."""
    with (out / "history.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 6) for k, v in row.items()} for row in history)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[name] for row in history], label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label="validation")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name)
        axes.legend()
    figure.savefig(out / "history.png", dpi=110)


def seeded(settings: RecipeSettings, *keys: int) -> np.random.Generator:
    """A generator for one case of one epoch: the same whatever was trained before."""
    return np.random.default_rng([settings.seed, *keys])
