"""Members to a model package: one ONNX file with the member as its first axis, and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sarcoscope.models.networks.tissue_unet import TissueUNet
from sarcoscope.tissues.compartments import GRID_MM, GRID_MULTIPLE, WINDOWS, Compartment
from sarcoscope.training.export import export_onnx, write_card
from sarcoscope.training.licences import licences_of, package_name, weights_licence


class _Ensemble(nn.Module):
    def __init__(self, members: Sequence[TissueUNet]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities ``[member, batch, class, y, x]``."""
        return torch.stack([m(image).softmax(dim=1) for m in self.members])


def load_members(folder: Path) -> list[dict[str, Any]]:
    """What training kept in ``folder`` (``member_<k>.pt``), in order."""
    return [torch.load(p, weights_only=True) for p in sorted(folder.glob("member_*.pt"))]


def _network(member: Mapping[str, Any]) -> TissueUNet:
    network = TissueUNet()
    network.load_state_dict(member["weights"])
    return network.eval()


def export_package(
    members: Sequence[Mapping[str, Any]], folder: Path, persons: Sequence[str], licences: str = "all"
) -> None:
    """Write ``model.onnx`` and ``card.json``.

    Args:
        members: what :func:`load_members` answers.
        folder: package folder, made when missing.
        persons: everyone whose slices the members were trained on, between them.
        licences: the choice of :mod:`sarcoscope.training.licences`.
    """
    path = folder / "model.onnx"
    height, width = (torch.export.Dim(n, min=2, max=64) * GRID_MULTIPLE for n in ("rows16", "columns16"))
    export_onnx(
        _Ensemble([_network(m) for m in members]),
        torch.zeros(1, len(WINDOWS), 144, 208),
        path,
        names=("image", "probability"),
        dynamic={2: height, 3: width},
    )
    card = {
        "name": package_name("tissue-compartments", licences),
        "version": "0.3.0",
        "kind": "tissue-compartments",
        "task": "compartments of an axial abdominal CT slice; tissues follow by HU",
        "classes": [c.name.lower() for c in Compartment],
        "input": {
            "image": f"float32 [1, {len(WINDOWS)}, y, x], {GRID_MM} mm pixels, HU windows as channels, "
            f"body only, y and x multiples of {GRID_MULTIPLE}",
            "windows_hu": [list(w) for w in WINDOWS],
            "grid_mm": GRID_MM,
        },
        "outputs": {"probability": "float32 [member, 1, class, y, x]"},
        "members": [{"held_out": m["held_out"], "seed": m["seed"], "steps": m["steps"]} for m in members],
        "training": {
            "persons": sorted(persons),
            "data": licences_of(persons),
            "synthesis": "slices of 40 random phantoms, 15 % of the batches",
            "never_seen": "cases m_* (licence not stated) and the ICRP phantoms",
            "references": "hand-drawn outlines by non-clinical readers; no radiologist has confirmed them",
        },
        "figures": {},
        "intended_use": "research: muscle, SAT and VAT areas on axial CT at T12-L5, muscle at T4-T10. "
        "Not a medical device.",
        "limits": "few people (19), mostly L1-L5; at T4-T10 muscle alone is known, from 12 slices; "
        "ascites, oedema and walls without a fat plane raise the doubt value; IMAT is soft between readers",
        "licence": weights_licence(licences),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_card(folder, card)
