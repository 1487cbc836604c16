"""A trained recipe on cases it has not seen, and its paper's tables beside its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.files import packaged_rows
from sarcoscope.imaging.label_files import DEFAULT_VALUES
from sarcoscope.training.manifest import SliceCase
from sarcoscope.training.recipe import RecipeSettings
from sarcoscope.training.tasks import IGNORED, SliceTask
from sarcoscope.validation.level_tables import accuracy, confusion, right_per_class, slice_error
from sarcoscope.validation.overlap import band_counts, scores_of

_TISSUE_TABLES = {"muscle": "iou_muscle", "sat": "iou_sat", "vat": "iou_vat", "all": "iou_union",
                  "all (micro)": "iou_micro"}  # fmt: skip
TISSUES = {name: value for name, value in DEFAULT_VALUES.items() if value}


@dataclass(frozen=True)
class TableRow:
    """One line: what the paper has, and what this training has."""

    table: str
    row: str
    paper: str
    own: str


@torch.no_grad()
def shares_of(network: nn.Module, task: SliceTask, cases: Sequence[SliceCase]) -> NDArray[np.float32]:
    """Class shares of cases: [case, class, …]."""
    network.eval()
    device = next(network.parameters()).device
    found = [network(x.to(device)).softmax(dim=1).cpu().numpy() for x, _ in task.batches(cases)]
    return np.concatenate(found)


def tissue_scores(network: nn.Module, task: SliceTask, cases: Sequence[SliceCase]) -> list[dict[str, Any]]:
    """Dice and IoU of every case, on the network's grid."""
    rows = []
    for case in cases:
        found = shares_of(network, task, [case])[0].argmax(axis=0).astype(np.uint8)
        truth = task.target(case, case.mask).numpy()
        known = truth != IGNORED
        scores = scores_of(found, truth, TISSUES, counted=known)
        rows.append({"case": case.name, "person": case.person, "centre": case.centre, **scores})
    return rows


def level_scores(network: nn.Module, task: SliceTask, cases: Sequence[SliceCase]) -> list[dict[str, Any]]:
    """Named level and its share, of every case with one of the 19 levels."""
    cases = [c for c in cases if c.level in LEVELS]
    shares = shares_of(network, task, cases) if cases else np.zeros((0, len(LEVELS)))
    return [
        {"case": c.name, "person": c.person, "centre": c.centre, "reference": c.level,
         "prediction": LEVELS[int(s.argmax())], "confidence": round(float(s.max()), 4)}
        for c, s in zip(cases, shares, strict=True)
    ]  # fmt: skip


def l3_scores(network: nn.Module, task: SliceTask, cases: Sequence[SliceCase]) -> list[dict[str, Any]]:
    """Share of L3 of every case."""
    shares = shares_of(network, task, cases)
    return [
        {"case": c.name, "person": c.person, "centre": c.centre, "reference": int(c.level == "L3"),
         "share": round(float(s[1]), 4)}
        for c, s in zip(cases, shares, strict=True)
    ]  # fmt: skip


def f1_score(rows: Sequence[dict[str, Any]]) -> float:
    """F1 of L3 at a share of one half (0 when nothing is right)."""
    named = np.array([r["share"] > 0.5 for r in rows])
    truth = np.array([r["reference"] == 1 for r in rows])
    both = int((named & truth).sum())
    return 2 * both / max(int(named.sum() + truth.sum()), 1)


def l3_slice_errors(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """(found, true) middle slice of L3 of every volume that has some; cases are named ``volume#slice``.

    P3's way: the longest run of slices taken for L3, else the likeliest slice.
    """
    volumes: dict[str, list[tuple[int, float, int]]] = defaultdict(list)
    for row in rows:
        name, mark, index = str(row["case"]).rpartition("#")
        if mark and index.isdecimal():
            volumes[name].append((int(index), float(row["share"]), int(row["reference"])))
    found, truth = [], []
    for slices in volumes.values():
        slices.sort()
        true = [i for i, _, t in slices if t]
        if true:
            truth.append(float(np.mean(true)))
            found.append(middle_of_run([i for i, _, _ in slices], [s for _, s, _ in slices]))
    return found, truth


def middle_of_run(indices: Sequence[int], shares: Sequence[float]) -> float:
    """Middle of the longest run of slices with a share above one half, else the likeliest slice."""
    runs: list[list[int]] = [[]]
    for index, share in zip(indices, shares, strict=True):
        if share > 0.5:
            runs[-1].append(index)
        elif runs[-1]:
            runs.append([])
    longest = max(runs, key=len)
    return float(np.mean(longest)) if longest else float(indices[int(np.argmax(shares))])


def paper_values(recipe: str) -> dict[tuple[str, str], str]:
    """(table, row) -> the paper's value."""
    return {
        (r["table"], r["row"]): r["value"]
        for r in packaged_rows("sarcoscope.training", "paper_tables")
        if r["recipe"] == recipe
    }


def own_values(settings: RecipeSettings, rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """(table, row) -> this training's value, from the scores of its cases."""
    if settings.recipe == "tissue-unet":
        own: dict[tuple[str, str], str] = {}
        for table, key in _TISSUE_TABLES.items():
            own |= {(table, band): str(n) for band, n in band_counts([r[key] for r in rows]).items()}
        return own
    if settings.recipe == "l3-resnet50":
        error = slice_error(*l3_slice_errors(rows), [1.0] * len(l3_slice_errors(rows)[0]))
        own = {("summary", "F1"): f"{f1_score(rows):.3f}"}
        if error is not None:
            own |= {
                ("slice error", "mean"): f"{error.mean_slices:.2f}",
                ("slice error", "sd"): f"{error.sd_slices:.2f}",
                ("slice error", "R2"): f"{error.r_squared:.3f}",
                ("slice error", "volumes"): str(error.n),
            }
        return own
    counts = confusion([r["reference"] for r in rows], [r["prediction"] for r in rows])
    own = {("summary", "test accuracy"): f"{accuracy(counts):.4f}"}
    for level, (right, count) in right_per_class(counts).items():
        own["right %", level] = f"{100 * right / count:.0f} ({count})"
    return own


def beside_paper(recipe: str, own: dict[tuple[str, str], str]) -> list[TableRow]:
    """The paper's tables with this training's values beside them."""
    paper = paper_values(recipe)
    keys = [*paper, *(k for k in own if k not in paper)]
    return [TableRow(*key, paper.get(key, "-"), own.get(key, "-")) for key in keys]


def table_text(rows: Sequence[TableRow]) -> str:
    """Lines of text."""
    head = f"{'table':<14}{'row':<44}{'paper':>10}{'own':>14}"
    return "\n".join([head, *(f"{r.table:<14}{r.row:<44}{r.paper:>10}{r.own:>14}" for r in rows)])
