"""A trained recipe to a model package that ``analyze --model`` uses without code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sarcoscope.models.networks.classifiers import SliceClassifier
from sarcoscope.training.export import export_onnx, write_card
from sarcoscope.training.recipe import RecipeSettings
from sarcoscope.training.tasks import TASKS, TISSUE_CLASSES, LevelTask

KIND_OF_RECIPE = {
    "tissue-unet": "tissue-classes",
    "level-efficientnetv2m": "slice-levels",
    "l3-resnet50": "l3-slice",
}
_USES = {
    "tissue-classes": "muscle, SAT and VAT of axial slices like those it was trained on",
    "slice-levels": "vertebral level of axial slices like those it was trained on",
    "l3-slice": "finding the slices of L3",
}


class _Tissues(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities ``[member = 1, slice, class, y, x]``."""
        shares: Tensor = self.network(image).softmax(dim=1)[None]
        return shares


class _Slices(nn.Module):
    def __init__(self, network: SliceClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities ``[member = 1, slice, class]`` and Grad-CAM ``[slice, class, y, x]``."""
        logits, features = self.network.with_features(image)
        return logits.softmax(dim=1)[None], self.network.maps(features)


def export_recipe(
    network: nn.Module,
    settings: RecipeSettings,
    folder: Path,
    facts: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> None:
    """Write ``model.onnx`` and ``card.json``.

    Args:
        network: trained.
        settings: of the recipe.
        folder: package folder, made when missing.
        facts: numbers of persons, slices and centres; epochs.
        figures: scores on cases that were not trained on.
    """
    kind = KIND_OF_RECIPE[settings.recipe]
    path = folder / "model.onnx"
    network = network.cpu().eval()
    batch = {0: torch.export.Dim("slices", min=1, max=4096)}
    example = torch.zeros(2, settings.channels, settings.size, settings.size)
    if isinstance(network, SliceClassifier):
        export_onnx(_Slices(network), example, path, names=("image", "probability", "maps"), dynamic=batch)
    else:
        export_onnx(_Tissues(network), example, path, names=("image", "probability"), dynamic=batch)
    task = TASKS[settings.recipe]
    classes = task.classes if issubclass(task, LevelTask) else TISSUE_CLASSES
    write_card(
        folder,
        {
            "name": settings.name,
            "version": "1.0.0",
            "kind": kind,
            "task": f"{settings.recipe} with {settings.network}",
            "classes": list(classes),
            "input": {"slice": settings.slice_input.record()},
            "outputs": {"probability": "float32, member axis first"},
            "members": [{"held_out": []}],
            "training": {**facts, "settings": settings.record()},
            "figures": dict(figures),
            "intended_use": f"research: {_USES[kind]}. Not a medical device.",
            "limits": "known for the data of its training only: validate it on your own",
            "licence": "as its maker decides; the training data's licences bind",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
    )
