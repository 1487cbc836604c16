"""Members of the canal network to a model package: one ONNX file, the member as first axis, and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sarcoscope.levels.canal import MULTIPLE
from sarcoscope.models.networks.canal_net import CHANNELS, CanalNet
from sarcoscope.training.export import export_onnx, write_card
from sarcoscope.training.licences import licences_of, package_name, weights_licence


class _Ensemble(nn.Module):
    def __init__(self, members: Sequence[CanalNet]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Shares ``[member, row, y, x]``."""
        return torch.stack([torch.sigmoid(m(image)) for m in self.members])


def export_package(
    members: Sequence[CanalNet],
    held_out: Sequence[Sequence[str]],
    folder: Path,
    training: Mapping[str, object],
    *,
    persons: Sequence[str],
    licences: str = "all",
) -> None:
    """Write ``model.onnx`` and ``card.json`` of the members; member k never saw ``held_out[k]``."""
    path = folder / "model.onnx"
    dim = torch.export.Dim
    height, width = (dim(n, min=2, max=64) * MULTIPLE for n in ("rows16", "columns16"))
    export_onnx(
        _Ensemble(members),
        torch.zeros(3, CHANNELS, 96, 112),
        path,
        names=("image", "share"),
        dynamic={0: dim("batch", min=1, max=512), 2: height, 3: width},
    )
    card = {
        "name": package_name("spine-canal", licences),
        "version": "0.1.0",
        "kind": "spine-canal",
        "task": "where the spinal canal lies on an axial slice",
        "classes": ["canal"],
        "input": {
            "image": f"float32 [row, {CHANNELS}, y, x], cells of 4 mm: three rows 6 mm apart in the windows "
            "-150..250 and 0..1000 HU, scaled to 0..1"
        },
        "outputs": {"share": "float32 [member, row, y, x] 0..1"},
        "members": [{"held_out": sorted(h)} for h in held_out],
        "training": {
            **training,
            "persons": sorted(persons),
            "data": licences_of(persons),
            "synthesis": "label maps painted with random HU; parametric phantoms; contrast painted in",
            "references": "points found by a first network and checked by eye; non-clinical readers",
        },
        "figures": {},
        "intended_use": "research: the thread along which the spine is straightened. Not a medical device.",
        "limits": "few people (16)",
        "licence": weights_licence(licences),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_card(folder, card)
