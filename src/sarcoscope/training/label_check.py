"""The check that runs before any training: what is wrong with the labels is a table, not a bad model."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import InputError
from sarcoscope.imaging.label_files import DEFAULT_VALUES
from sarcoscope.training.manifest import (
    COARSE_LEVELS,
    SPLITS,
    LabelOptions,
    SliceCase,
    load_row,
    read_manifest,
)

FAT_HU: Final = (-190.0, -30.0)
MUSCLE_HU: Final = (-29.0, 150.0)
_LEAST_AGREEMENT: Final = 0.5
_BETTER_FLIPPED: Final = 0.15
_FEWEST_PIXELS: Final = 40


@dataclass(frozen=True)
class Problem:
    """One finding. ``stops`` says that nothing can be trained with it."""

    where: str
    what: str
    stops: bool


@dataclass(frozen=True)
class CheckedData:
    """What a manifest holds and what was found."""

    cases: tuple[SliceCase, ...]
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Nothing found forbids training."""
        return not any(p.stops for p in self.problems)

    def table(self) -> str:
        """The findings as lines of text."""
        rows = [f"{'STOP' if p.stops else 'note':<6}{p.where:<44}  {p.what}" for p in self.problems]
        return "\n".join(rows)


def check_manifest(path: Path, options: LabelOptions, *, needs_mask: bool, needs_level: bool) -> CheckedData:
    """Load all cases of a manifest and look for what would spoil a training.

    Args:
        path: the manifest.
        options: how labels and pictures are understood.
        needs_mask: the recipe learns from masks.
        needs_level: the recipe learns from levels.

    Raises:
        InputError: the manifest itself cannot be read.
    """
    cases: list[SliceCase] = []
    problems: list[Problem] = []
    for row in read_manifest(path):
        where = f"line {row.number}: {row.image}"
        if not row.person:
            problems.append(Problem(where, "no person: splits by person are not possible", True))
        if row.split and row.split not in SPLITS:
            problems.append(Problem(where, f"split '{row.split}' is none of {', '.join(SPLITS)}", True))
        if needs_mask and not row.mask:
            problems.append(Problem(where, "no mask", True))
            continue
        try:
            loaded = load_row(row, path.parent, options)
        except InputError as error:
            problems.append(Problem(where, str(error), True))
            continue
        if not loaded:
            problems.append(Problem(where, "no slice with a label", False))
        for case in loaded:
            problems += _check_case(case, needs_mask=needs_mask, needs_level=needs_level)
        cases += loaded
    problems += _check_split(cases)
    return CheckedData(tuple(cases), tuple(problems))


def _check_case(case: SliceCase, *, needs_mask: bool, needs_level: bool) -> list[Problem]:
    found = []
    if needs_level and case.level not in (*LEVELS, *COARSE_LEVELS):
        found.append(Problem(case.name, f"level '{case.level}' is not known", True))
    if not needs_mask or case.mask is None:
        return found
    unknown = float((case.mask == 255).mean())
    if unknown > 0:
        found.append(Problem(case.name, f"{unknown:.1%} of the mask has values that the map lacks", False))
    for name, band in (("muscle", MUSCLE_HU), ("sat", FAT_HU), ("vat", FAT_HU)):
        inside = case.hu[case.mask == DEFAULT_VALUES[name]]
        if inside.size < _FEWEST_PIXELS:
            continue
        middle = float(np.median(inside))
        if not band[0] <= middle <= band[1]:
            text = f"{name} has a median of {middle:.0f} HU, expected {band[0]:.0f} to {band[1]:.0f}"
            found.append(Problem(case.name, text, not -1024 < middle < 3000 or agreement(case) < 0.3))
    flip = better_flip(case)
    if flip:
        found.append(Problem(case.name, f"the mask fits better when it is mirrored in {flip}", True))
    return found


def agreement(case: SliceCase, mask: NDArray[np.uint8] | None = None) -> float:
    """Share of the labelled pixels whose HU fits their tissue."""
    mask = case.mask if mask is None else mask
    assert mask is not None
    fat = np.isin(mask, (DEFAULT_VALUES["sat"], DEFAULT_VALUES["vat"]))
    muscle = mask == DEFAULT_VALUES["muscle"]
    fits = (fat & (case.hu >= FAT_HU[0]) & (case.hu <= FAT_HU[1])) | (
        muscle & (case.hu >= MUSCLE_HU[0]) & (case.hu <= MUSCLE_HU[1])
    )
    return float(fits.sum() / max((fat | muscle).sum(), 1))


def better_flip(case: SliceCase) -> str:
    """``x``, ``y`` or ``xy`` when the mask fits its image clearly better mirrored; else empty."""
    assert case.mask is not None
    own = agreement(case)
    best, name = own + _BETTER_FLIPPED, ""
    for flip in ("x", "y", "xy"):
        axes = tuple(1 if letter == "x" else 0 for letter in flip)
        mirrored = agreement(case, np.flip(case.mask, axes))
        if mirrored > max(best, _LEAST_AGREEMENT):
            best, name = mirrored, flip
    return name


def _check_split(cases: Sequence[SliceCase]) -> list[Problem]:
    sides: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.split:
            sides[case.person].add(case.split)
    found = [
        Problem(f"person {person}", f"stands on more than one side: {', '.join(sorted(splits))}", True)
        for person, splits in sorted(sides.items())
        if len(splits) > 1
    ]
    twins: dict[bytes, list[str]] = defaultdict(list)
    owners: dict[str, str] = {}
    for case in cases:
        twins[np.ascontiguousarray(case.hu).tobytes()[:4096] + bytes(str(case.hu.sum()), "ascii")].append(
            case.name
        )
        owners[case.name] = case.person
    for names in twins.values():
        for a, b in itertools.pairwise(names):
            if owners[a] != owners[b]:
                found.append(Problem(a, f"is the same picture as {b}, of another person", True))
    return found
