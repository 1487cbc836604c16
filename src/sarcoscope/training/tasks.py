"""The recipes' tasks: tissues of a slice, its level, or whether it shows L3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from sarcoscope.anatomy.levels import LEVEL_INDEX, LEVELS
from sarcoscope.errors import ModelError
from sarcoscope.models.networks.classifiers import (
    ResNet50,
    efficientnet_v2_m,
    efficientnet_v2_s,
    efficientnet_v2_tiny,
)
from sarcoscope.models.networks.unet import UNet
from sarcoscope.training.fitting import seeded
from sarcoscope.training.manifest import COARSE_LEVELS, SliceCase
from sarcoscope.training.recipe import RecipeSettings
from sarcoscope.training.slice_augment import augmented_slice, moved

IGNORED = 255
TISSUE_CLASSES = ("background", "muscle", "sat", "vat")
_EVALUATION_BATCH = 8


class SliceTask:
    """What the tasks share: order, batches, network input."""

    def __init__(
        self, train: Sequence[SliceCase], validation: Sequence[SliceCase], settings: RecipeSettings
    ) -> None:
        self.train, self.validation, self.settings = list(train), list(validation), settings

    def order(self, epoch: int) -> list[tuple[int, bool]]:
        """All training cases, shuffled; with copies of the rare class where the recipe over-samples."""
        rng = seeded(self.settings, epoch, 1)
        chosen = [(k, False) for k in range(len(self.train))]
        rare = self.rare()
        extra = round(self.settings.oversample * len(self.train)) if rare else 0
        chosen += [(rare[int(k)], True) for k in rng.integers(0, max(len(rare), 1), extra)]
        return [chosen[k] for k in rng.permutation(len(chosen))]

    def rare(self) -> list[int]:
        """Training cases of the class that is over-sampled."""
        return []

    def target(self, case: SliceCase, mask: Any) -> Tensor:
        """Target of a case."""
        raise NotImplementedError

    def batch(self, chosen: Sequence[tuple[int, bool]], epoch: int) -> tuple[Tensor, Tensor]:
        """Augmented inputs and targets."""
        pairs = []
        for index, shifted in chosen:
            case, rng = self.train[index], seeded(self.settings, epoch, 2, index, int(shifted))
            hu, mask = augmented_slice(case.hu, case.mask, self.settings.augmentation, rng)
            if shifted:
                hu, mask = moved(hu, mask, rng)
            pairs.append(self._pair(case, hu, mask))
        return _stacked(pairs)

    def validation_batches(self) -> list[tuple[Tensor, Tensor]]:
        """Validation cases as they are."""
        return self.batches(self.validation)

    def batches(self, cases: Sequence[SliceCase]) -> list[tuple[Tensor, Tensor]]:
        """Inputs and targets of cases without augmentation."""
        pairs = [self._pair(c, c.hu, c.mask) for c in cases]
        return [_stacked(pairs[k : k + _EVALUATION_BATCH]) for k in range(0, len(pairs), _EVALUATION_BATCH)]

    def _pair(self, case: SliceCase, hu: Any, mask: Any) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.settings.slice_input.batch(hu[None])[0]), self.target(case, mask)


class TissueTask(SliceTask):
    """Muscle, SAT and VAT of a slice (P1)."""

    def network(self) -> nn.Module:
        """U-Net or Attention U-Net."""
        s = self.settings
        network = UNet(s.channels, len(TISSUE_CLASSES), s.widths, attention=s.network == "attention-unet")
        return _begun(network, s.weights, "head")

    def target(self, case: SliceCase, mask: Any) -> Tensor:
        """[size, size] class."""
        size = self.settings.size
        y, x = ((np.arange(size) + 0.5) * n / size for n in mask.shape)
        return torch.from_numpy(mask[y.astype(int)[:, None], x.astype(int)[None]].astype(np.int64))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Soft Dice (mean over the classes of the batch, background left out) and cross entropy."""
        known = target != IGNORED
        classes = target.where(known, torch.zeros_like(target))
        onehot = nnf.one_hot(classes, len(TISSUE_CLASSES)).permute(0, 3, 1, 2) * known[:, None]
        share = logits.float().softmax(dim=1) * known[:, None]
        both = (share * onehot).sum(dim=(0, 2, 3))
        dice = (2 * both + 1) / (share.sum(dim=(0, 2, 3)) + onehot.sum(dim=(0, 2, 3)) + 1)
        entropy = nnf.cross_entropy(logits.float(), target, ignore_index=IGNORED)
        s = self.settings
        return s.dice_weight * (1 - dice[1:].mean()) + s.entropy_weight * entropy

    def hits(self, logits: Tensor, target: Tensor) -> tuple[float, float]:
        """Pixels named rightly, and all."""
        known = target != IGNORED
        return float(((logits.argmax(dim=1) == target) & known).sum()), float(known.sum())


class LevelTask(SliceTask):
    """The level of a slice among 19 (P2); coarse labels are sets of levels."""

    classes: tuple[str, ...] = LEVELS

    def network(self) -> nn.Module:
        """A slice classifier."""
        s = self.settings
        return _begun(classifier(s.network, s.channels, len(self.classes)), s.weights, ("classifier.1", "fc"))

    def target(self, case: SliceCase, mask: Any) -> Tensor:
        """[class] 1 for every level that the label allows."""
        allowed = torch.zeros(len(LEVELS))
        for level in COARSE_LEVELS.get(case.level, (case.level,)):
            allowed[LEVEL_INDEX[level]] = 1.0
        return allowed

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross entropy of "one of the allowed levels"."""
        masked = logits.float().masked_fill(target == 0, float("-inf"))
        return (logits.float().logsumexp(dim=1) - masked.logsumexp(dim=1)).mean()

    def hits(self, logits: Tensor, target: Tensor) -> tuple[float, float]:
        """Slices whose likeliest level is allowed, and all."""
        named = logits.argmax(dim=1, keepdim=True)
        return float(target.gather(1, named).sum()), float(len(logits))


class L3Task(LevelTask):
    """L3 or not (P3)."""

    classes = ("other", "L3")

    def rare(self) -> list[int]:
        """Slices of L3."""
        return self._rare

    @cached_property
    def _rare(self) -> list[int]:
        return [k for k, c in enumerate(self.train) if c.level == "L3"]

    @cached_property
    def _weight(self) -> float:
        """Weight of L3 against 1 of other slices."""
        rare = max(len(self._rare), 1)
        return 1.0 + self.settings.class_weight * ((len(self.train) - rare) / rare - 1.0)

    def target(self, case: SliceCase, mask: Any) -> Tensor:
        """1 for L3."""
        return torch.tensor(int(case.level == "L3"))

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross entropy with the weight of the rare class."""
        weights = torch.tensor([1.0, self._weight], device=logits.device)
        return nnf.cross_entropy(logits.float(), target, weight=weights)

    def hits(self, logits: Tensor, target: Tensor) -> tuple[float, float]:
        """Slices named rightly, and all."""
        return float((logits.argmax(dim=1) == target).sum()), float(len(logits))


TASKS: dict[str, type[TissueTask] | type[LevelTask]] = {
    "tissue-unet": TissueTask,
    "level-efficientnetv2m": LevelTask,
    "l3-resnet50": L3Task,
}


def classifier(name: str, channels: int, classes: int) -> nn.Module:
    """A slice classifier by the name that recipes use."""
    makers: dict[str, Any] = {
        "resnet50": ResNet50,
        "efficientnetv2-s": efficientnet_v2_s,
        "efficientnetv2-m": efficientnet_v2_m,
        "efficientnetv2-tiny": partial(efficientnet_v2_tiny),
    }
    network: nn.Module = makers[name](channels=channels, classes=classes)
    return network


def _begun(network: nn.Module, weights: str, last: str | tuple[str, ...]) -> nn.Module:
    """A network that begins from a checkpoint; its last layer is new where the classes differ."""
    if not weights:
        return network
    try:
        kept = torch.load(Path(weights), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"The checkpoint '{Path(weights).name}' cannot be read.") from error
    own = network.state_dict()
    kept = {k: v for k, v in kept.items() if not k.startswith(last)}
    wrong = [k for k, v in kept.items() if k not in own or own[k].shape != v.shape]
    if wrong or len(kept) < len(own) - 2:
        raise ModelError(f"The checkpoint '{Path(weights).name}' is not of this network ({len(wrong)} layers "
                         "do not fit).")  # fmt: skip
    network.load_state_dict(kept, strict=False)
    return network


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*pairs, strict=True)
    return torch.stack(inputs), torch.stack(targets)
