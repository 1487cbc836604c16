"""Level finding on the reference volumes: ``python -m benchmarks.levels --data DIR``.

Each volume is read only by the members of the ensemble that never saw its person (person-wise cross-
validation of the very weights that ship). A body slice that lies in no range counts as the nearest range's
level. The references are by non-clinical readers: engineering figures, no clinical claim.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarcoscope.anatomy.levels import LEVEL_INDEX
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels import LevelMap, find_levels
from sarcoscope.models.package import load_package, shipped_package
from sarcoscope.training.level_data import ReferenceRange, read_references

SURE_READERS = 0.9


@dataclass
class Score:
    """One volume's figures."""

    name: str
    readers: float
    slices: int
    right: int
    within_one: int
    l3_mm: float | None
    false_l3: bool
    endplates_mm: list[float]
    confidence: list[tuple[float, bool]]


def score(
    name: str, readers: float, volume: Volume, truth: tuple[ReferenceRange, ...], found: LevelMap
) -> Score:
    """Compare found levels with the reference."""
    offsets = volume.geometry.slice_offsets_mm
    out = Score(name, readers, 0, 0, 0, None, False, [], [])
    for vertebra in truth:
        for index in range(vertebra.index_low, vertebra.index_high + 1):
            named = found.name_of(index)
            out.slices += 1
            is_right = named == vertebra.level
            out.right += is_right
            if named:
                out.within_one += abs(LEVEL_INDEX[named] - LEVEL_INDEX[vertebra.level]) <= 1
            out.confidence.append((found.name_confidence(index, offsets), is_right))
        same = found.find(vertebra.level)
        if same and not vertebra.cut and vertebra.level not in ("Cervical", "Sacral"):
            for a, b in ((same.index_low, vertebra.index_low), (same.index_high, vertebra.index_high)):
                out.endplates_mm.append(abs(float(offsets[a] - offsets[b])))
    l3 = next((t for t in truth if t.level == "L3"), None)
    named_l3 = found.find("L3")
    out.false_l3 = l3 is None and named_l3 is not None
    if l3 is not None and not l3.cut:
        middle = (offsets[l3.index_low] + offsets[l3.index_high]) / 2
        out.l3_mm = float("inf")
        if named_l3 is not None:
            mine = (offsets[named_l3.index_low] + offsets[named_l3.index_high]) / 2
            out.l3_mm = abs(float(mine - middle))
    return out


def auroc(pairs: list[tuple[float, bool]]) -> float:
    """Area under the curve of confidence against being right; NaN when all are right or all wrong."""
    right = np.array([c for c, r in pairs if r])
    wrong = np.array([c for c, r in pairs if not r])
    if not len(right) or not len(wrong):
        return float("nan")
    greater = (right[:, None] > wrong[None]).mean() + 0.5 * (right[:, None] == wrong[None]).mean()
    return float(greater)


def summary(scores: list[Score]) -> dict[str, float]:
    """Figures over volumes."""
    slices = sum(s.slices for s in scores)
    l3 = [s.l3_mm for s in scores if s.l3_mm is not None]
    ends = [e for s in scores for e in s.endplates_mm]
    return {
        "volumes": len(scores),
        "slices": slices,
        "named_rightly": round(sum(s.right for s in scores) / max(slices, 1), 4),
        "within_one": round(sum(s.within_one for s in scores) / max(slices, 1), 4),
        "l3_volumes": len(l3),
        "l3_within_10_mm": sum(e <= 10 for e in l3),
        "l3_median_mm": round(float(np.median(l3)), 2) if l3 else float("nan"),
        "false_l3": sum(s.false_l3 for s in scores),
        "endplate_median_mm": round(float(np.median(ends)), 2) if ends else float("nan"),
        "endplate_p95_mm": round(float(np.percentile(ends, 95)), 2) if ends else float("nan"),
        "confidence_auroc": round(auroc([c for s in scores for c in s.confidence]), 3),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", type=Path, help="package folder; the shipped one by default")
    parser.add_argument("--canal", type=Path, help="package folder of the canal network, likewise")
    parser.add_argument("--json", type=Path, help="also write the summary here")
    arguments = parser.parse_args()
    package = load_package(arguments.package) if arguments.package else shipped_package("level-chain")
    canal = load_package(arguments.canal) if arguments.canal else shipped_package("spine-canal")
    scores = []
    print(f"{'volume':<20}{'readers':>8}{'slices':>7}{'right':>7}{'+-1':>6}{'L3 mm':>7}{'conf':>6}  found")
    for name, (person, readers, truth) in read_references(arguments.data).items():
        volume = read_nifti(arguments.data / "volumes" / f"{name}.nii.gz")
        found = find_levels(volume, person=person, package=package, canal=canal)
        s = score(name, readers, volume, truth, found)
        scores.append(s)
        l3 = "-" if s.l3_mm is None else f"{s.l3_mm:.1f}"
        l3 = "FALSE" if s.false_l3 else l3
        mean = np.mean([r.confidence for r in found.ranges]) if found.ranges else 0.0
        span = f"{found.ranges[-1].level}-{found.ranges[0].level}" if found.ranges else "none"
        flags = " ".join(f.code for f in found.flags)
        print(
            f"{name:<20}{readers:>8.2f}{s.slices:>7}{s.right / s.slices:>7.2f}"
            f"{s.within_one / s.slices:>6.2f}{l3:>7}{mean:>6.2f}  {span} {flags}",
            flush=True,
        )
    sure = summary([s for s in scores if s.readers >= SURE_READERS])
    everything = summary(scores)
    print(f"readers at least {SURE_READERS} certain: {sure}")
    print(f"all volumes: {everything}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"sure": sure, "all": everything}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
