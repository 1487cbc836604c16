"""Cross-validated scores of the tissue masks against the reference slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np

from sarcoscope.anatomy.tissues import TISSUES, Tissue, tissue_name
from sarcoscope.imaging.volume import Geometry, SliceSource, Volume
from sarcoscope.models.package import ModelPackage
from sarcoscope.tissues.segment import segment_slices
from sarcoscope.training.tissue_data import BONE_LABEL, TissueCase
from sarcoscope.validation.overlap import overlap

MAIN_LEVELS = ("L2", "L3", "L4", "L3/L4 disc")
"""The slices of which the bars speak."""


@dataclass(frozen=True)
class CaseScore:
    """How well one reference slice was measured."""

    name: str
    level: str
    grade: str
    dice: dict[str, float]
    """By tissue; of chest references muscle alone is drawn."""
    muscle_iou: float
    area_errors: dict[str, float]
    """By tissue: (measured - reference) / reference, where the reference has the tissue."""
    muscle_hu_error: float
    """Mean HU of the measured less that of the reference muscle."""
    doubt: float
    seen_by_none: bool
    """A ``m_*`` case: no member was trained on it, all are averaged."""


def slice_volume(case: TissueCase) -> Volume:
    """A volume of one slice, HU [1, y, x]."""
    geometry = Geometry((5.0, *case.spacing_mm), np.eye(3), np.zeros((1, 3)))
    return Volume(case.hu[None], geometry, (SliceSource(),))


def held_out_members(case: TissueCase, package: ModelPackage) -> list[int] | None:
    """Members that never saw the case's person; None where no member did (then all are averaged)."""
    if not case.trainable or case.person not in package.card["training"]["persons"]:
        return None
    held = package.members_without(case.person)
    if len(held) == len(package.card["members"]):
        raise ValueError(f"every member has seen {case.person}")
    return held


def score_case(case: TissueCase, package: ModelPackage) -> CaseScore:
    """Score one slice by members that never saw its person; bone is left out."""
    members = held_out_members(case, package)
    mask = segment_slices(slice_volume(case), [0], members=members, package=package)
    counted = case.labels != BONE_LABEL
    tissues = (Tissue.MUSCLE,) if case.is_chest else TISSUES
    pairs = {tissue_name(t): ((mask.labels[0] == t) & counted, case.labels == t) for t in tissues}
    found, truth = pairs["muscle"]
    return CaseScore(
        case.name,
        case.level,
        case.grade,
        {name: overlap(*pair)[0] for name, pair in pairs.items()},
        overlap(found, truth)[1],
        {name: float(a.sum() / b.sum() - 1.0) for name, (a, b) in pairs.items() if b.any()},
        float(case.hu[found].mean() - case.hu[truth].mean()) if found.any() else float("nan"),
        mask.doubt[0],
        members is None,
    )


def score_cases(cases: Sequence[TissueCase], package: ModelPackage) -> list[CaseScore]:
    """Score every case."""
    return [score_case(c, package) for c in cases]


def _group(scores: Sequence[CaseScore]) -> dict[str, Any]:
    errors = [abs(s.area_errors["muscle"]) * 100 for s in scores]
    return {
        "n": len(scores),
        "dice_median": {t: round(median(s.dice[t] for s in scores), 3) for t in scores[0].dice},
        "muscle_dice_worst": round(min(s.dice["muscle"] for s in scores), 3),
        "sma_error_percent_mean": round(fmean(errors), 1),
        "sma_error_percent_median": round(median(errors), 1),
        "sma_error_percent_worst": round(max(errors), 1),
        "muscle_iou_at_least_0.9_share": round(fmean(s.muscle_iou >= 0.9 for s in scores), 2),
    }


def summary(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """Figures by group of slices: L2-L4 (also cross-validated and unseen apart) and each other level."""
    main = [s for s in scores if s.level in MAIN_LEVELS]
    groups = {
        "L2-L4": main,
        "L2-L4 cross-validated": [s for s in main if not s.seen_by_none],
        "L2-L4 m_* (all members, none saw them)": [s for s in main if s.seen_by_none],
        "L2-L4 grades A and B": [s for s in main if s.grade in "AB"],
        **{level: [s for s in scores if s.level == level] for level in ("T12", "L1", "L5")},
        "T4-T5": [s for s in scores if s.level in ("T4", "T5")],
        "T7-T10": [s for s in scores if s.level in ("T7", "T8", "T9", "T10")],
    }
    return {name: _group(group) for name, group in groups.items() if group}


ERROR_GROUPS = (
    ("L2 L3 L4", MAIN_LEVELS, False),
    ("T12 L1 L5", ("T12", "L1", "L5"), True),
    ("T4 T5 T6 T7 T8 T9 T10 T11", ("T4", "T5", "T7", "T8", "T9", "T10"), True),
)
"""Levels of a row of the error table, the levels of the slices that it rests on, and whether they are few."""


def error_rows(scores: Sequence[CaseScore]) -> list[dict[str, str]]:
    """Rows of ``measures/data/measurement_error.csv``: 1.96 times the root of the mean squared error."""
    rows = []
    for levels, on, few in ERROR_GROUPS:
        group = [s for s in scores if s.level in on]
        for tissue in ("muscle", "sat", "vat", "imat"):
            errors = [100 * s.area_errors[tissue] for s in group if tissue in s.area_errors]
            if not errors:
                continue
            hu = [s.muscle_hu_error for s in group]
            rows.append(
                {
                    "levels": levels,
                    "tissue": tissue,
                    "area_percent": f"{1.96 * _rms(errors):.1f}",
                    "mean_hu": f"{1.96 * _rms(hu):.1f}" if tissue == "muscle" else "",
                    "n": str(len(errors)),
                    "provisional": "yes" if few else "no",
                    "source": "1.96 x RMS error against hand-drawn references (cross-validated by person); "
                    "python -m benchmarks.tissues",
                }
            )
    return rows


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
