"""Cross-validated tissue figures: ``python -m benchmarks.tissues --data DIR [--package DIR]``."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from sarcoscope.models.package import load_package, shipped_package
from sarcoscope.tissues.segment import MODEL
from sarcoscope.training.tissue_data import load_cases, load_chest_cases
from sarcoscope.training.tissue_scores import CaseScore, error_rows, score_case, summary

TISSUES = ("muscle", "sat", "vat", "imat")


def row(score: CaseScore) -> str:
    dice = "  ".join(f"{score.dice[t]:.3f}" if t in score.dice else "  -  " for t in TISSUES)
    kind = "unseen" if score.seen_by_none else "cv"
    return (
        f"{score.name:<16} {score.level:<11} {score.grade}  {kind:<6} {dice}  {score.muscle_iou:.3f}"
        f"  {100 * score.area_errors['muscle']:+6.1f}  {score.doubt:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--package", type=Path, help="a package other than the shipped one")
    parser.add_argument("--error-table", type=Path, help="write the measured rows of the error table here")
    options = parser.parse_args()
    package = load_package(options.package) if options.package else shipped_package(MODEL)
    cases = [*load_cases(options.data), *load_chest_cases(options.data)]
    scores = [score_case(case, package) for case in cases]
    print("References: hand-drawn by non-clinical readers; no radiologist has confirmed them.")
    print("slice            level    grade  by     muscle  SAT    VAT    IMAT   IoU    SMA %  doubt")
    for score in scores:
        print(row(score))
    for name, group in summary(scores).items():
        print(f"\n{name}: " + ", ".join(f"{k} {v}" for k, v in group.items()))
    if options.error_table:
        with options.error_table.open("w", encoding="utf-8", newline="") as stream:
            rows = error_rows(scores)
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
