"""Members of the level network to a model package: one ONNX file, the member as first axis, and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.levels.strips import PLANS, WIDTH
from sarcoscope.models.networks.level_chain import LevelChainNet
from sarcoscope.training.export import export_onnx, write_card
from sarcoscope.training.licences import licences_of, package_name, weights_licence


class _Ensemble(nn.Module):
    def __init__(self, members: Sequence[LevelChainNet]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, strips: Tensor) -> Tensor:
        """Logits ``[member, 21, row]`` of one spine [1, strip, row, 48]."""
        return torch.cat([m(strips) for m in self.members])


def export_package(
    members: Sequence[LevelChainNet],
    held_out: Sequence[Sequence[str]],
    folder: Path,
    training: Mapping[str, object],
    *,
    persons: Sequence[str],
    licences: str = "all",
) -> None:
    """Write ``model.onnx`` and ``card.json`` of the members; member k never saw ``held_out[k]``.

    ``persons`` are all whom the members saw between them, ``licences`` the choice of
    :mod:`sarcoscope.training.licences`.
    """
    path = folder / "model.onnx"
    export_onnx(
        _Ensemble(members),
        torch.zeros(1, len(PLANS), 96, WIDTH),
        path,
        names=("strips", "evidence"),
        dynamic={2: torch.export.Dim("rows", min=8, max=4096)},
    )
    write_card(folder, _card(path, held_out, training, persons, licences))


def _card(
    path: Path,
    held_out: Sequence[Sequence[str]],
    training: Mapping[str, object],
    persons: Sequence[str],
    licences: str,
) -> dict[str, object]:
    return {
        "name": package_name("level-chain", licences),
        "version": "0.2.0",
        "kind": "level-chain",
        "task": "vertebral level of every row along the spine, and where one body ends",
        "classes": [*LEVELS, "none"],
        "input": {
            "strips": f"float32 [1, {len(PLANS)}, row, {WIDTH}]: strips along the spinal canal, rows of 2 mm "
            "from inferior to superior, (HU - 100) / 400",
            "names": [p.name for p in PLANS],
        },
        "outputs": {"evidence": "float32 [member, 21, row] logits: 20 classes, then between two bodies"},
        "members": [{"held_out": sorted(h)} for h in held_out],
        "training": {
            **training,
            "persons": sorted(persons),
            "data": licences_of(persons),
            "synthesis": "label maps painted with random HU; parametric phantoms",
            "references": "two independent non-clinical readers; no radiologist has confirmed them",
        },
        "figures": {},
        "intended_use": "research: naming of vertebral levels T1-S1 on axial CT of the trunk. Not a medical "
        "device.",
        "limits": "few people (16); numbering without the sacrum or the last rib in view may be off by one, "
        "and the confidence says so; transitional anatomy is not decided",
        "licence": weights_licence(licences),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
