"""Levels and areas of random phantoms against their truth: ``python -m benchmarks.phantoms [--count N]``."""

from __future__ import annotations

import argparse

import numpy as np

from sarcoscope.levels import LevelMap, find_levels
from sarcoscope.samples.phantom import make_phantom, random_settings
from sarcoscope.tissues import segment_slices

SEED = 99
NAMES = {1: "muscle", 2: "sat", 3: "vat", 4: "imat"}


def level_errors(found: LevelMap, truth: LevelMap) -> list[int]:
    """Larger of the two endplate errors in slices, for every vertebra wholly in view (99: not found)."""
    errors = []
    for r in truth.ranges:
        if r.complete and r.level not in ("Cervical", "Sacral"):
            mine = found.find(r.level)
            both = (mine.index_low - r.index_low, mine.index_high - r.index_high) if mine else (99,)
            errors.append(max(map(abs, both)))
    return errors


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{'phantom':>7}{'mm':>5}  {'in view':<14}{'levels':>7}  area error % at L3 (truth)")
    all_levels: list[int] = []
    plain: dict[str, list[float]] = {name: [] for name in NAMES.values()}
    hard: dict[str, list[float]] = {name: [] for name in NAMES.values()}
    for k in range(arguments.count):
        settings = random_settings(np.random.default_rng([SEED, k]))
        phantom = make_phantom(settings)
        volume = phantom.volume()
        errors = level_errors(find_levels(volume), phantom.levels)
        all_levels += errors
        l3 = phantom.levels.find("L3")
        shown = ""
        if l3 is not None:
            labels = segment_slices(volume, [l3.index_mid]).labels[0]
            truth = phantom.labels[l3.index_mid]
            kind = hard if settings.lean or settings.ascites else plain
            for value, name in NAMES.items():
                error = 100 * (float((labels == value).sum()) / max(float((truth == value).sum()), 1) - 1)
                kind[name].append(error)
                shown += f"{name} {error:+5.1f}  "
        note = "lean " * settings.lean + "ascites" * settings.ascites
        view = f"{settings.top_level}-{settings.bottom_level}"
        print(
            f"{k:>7}{settings.slice_spacing_mm:>5.1f}  {view:<14}{max(errors, default=0):>7}  {shown}{note}",
            flush=True,
        )
    within = np.mean(np.array(all_levels) <= 1)
    print(f"vertebrae {len(all_levels)}, both endplates within one slice: {within:.3f}")
    for title, group in (("with fat planes", plain), ("lean or ascites", hard)):
        for name, values in group.items():
            if values:
                size = np.abs(values)
                print(
                    f"{title}: {name} n {len(values)} median {np.median(size):.1f} % worst {size.max():.1f} %"
                )


if __name__ == "__main__":
    main()
