"""Levels from a label map of vertebrae that another tool made (TotalSegmentator's ``total`` task)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVEL_INDEX
from sarcoscope.errors import InputError
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.level_map import LevelFlag, LevelMap, LevelRange

VERTEBRAE: Final = {
    25: "Sacral",
    26: "Sacral",
    **{27 + k: f"L{5 - k}" for k in range(5)},
    **{32 + k: f"T{12 - k}" for k in range(12)},
    **{44 + k: "Cervical" for k in range(7)},
}
"""TotalSegmentator's ids (version 2, task ``total``): sacrum 25, S1 26, L5 27 … L1 31, T12 32 … C1 50."""
Span = tuple[str, float, float, bool]
_SMALLEST_SHARE: Final = 0.25
_FEWEST_VOXELS: Final = 60
_FRONT_PERCENT: Final = 45
_CONFIDENCE: Final = 0.9
"""Another tool's names carry no confidence of their own: this stands for "named, not checked"."""


def vertebra_spans(
    labels: NDArray[np.integer], offsets_mm: NDArray[np.float64], step_mm: float
) -> list[Span]:
    """(level, low mm, high mm, cut) of every vertebral body, from below.

    The body is the front part of a vertebra's voxels, so that processes do not count.

    Args:
        labels: [z, y, x] ids as in :data:`VERTEBRAE`.
        offsets_mm: [z] distance of every slice along the normal.
        step_mm: distance of slices.
    """
    spans = []
    for value, level in VERTEBRAE.items():
        rows, ys, _ = np.nonzero(labels == value)
        if len(rows) < _FEWEST_VOXELS:
            continue
        whole = level in ("Sacral", "Cervical")
        front = np.ones(len(ys), bool) if whole else ys < np.percentile(ys, _FRONT_PERCENT)
        counts = np.bincount(rows[front], minlength=len(labels))
        held = np.flatnonzero(counts > (0 if whole else _SMALLEST_SHARE * counts.max()))
        low, high = int(held[0]), int(held[-1])
        cut = low == 0 or high == len(labels) - 1
        ends = float(offsets_mm[low]) - step_mm / 2, float(offsets_mm[high]) + step_mm / 2
        spans.append((level, *ends, cut))
    spans.sort(key=lambda s: s[1])
    return _joined(spans)


def _joined(spans: list[Span]) -> list[Span]:
    """Parts of sacrum and neck as one span each, and overlaps of oblique neighbours shared between them."""
    merged: list[Span] = []
    for level, low, high, cut in spans:
        if merged and merged[-1][0] == level:
            last = merged.pop()
            low, high, cut = min(last[1], low), max(last[2], high), cut or last[3]
        elif merged and low < merged[-1][2]:
            middle = (low + merged[-1][2]) / 2
            last = merged.pop()
            merged.append((last[0], last[1], middle - 1.0, last[3]))
            low = middle + 1.0
        merged.append((level, low, high, cut))
    return [s for s in merged if s[0] in LEVEL_INDEX]


def levels_of_labels(volume: Volume, labels: NDArray[np.integer], reader: tuple[str, str, str]) -> LevelMap:
    """Levels in view from a label map on the volume's grid.

    Args:
        volume: whose slices are meant.
        labels: [z, y, x] ids as in :data:`VERTEBRAE`.
        reader: (name, version, sha256) of who made the map.

    Raises:
        InputError: the map lies on another grid.
    """
    if labels.shape != volume.hu.shape:
        raise InputError(f"The vertebra labels are {labels.shape} in size, the CT {volume.hu.shape}.")
    offsets = volume.geometry.slice_offsets_mm
    ranges = []
    for level, low, high, cut in vertebra_spans(labels, offsets, volume.geometry.spacing_mm[0]):
        inside = np.flatnonzero((offsets >= low) & (offsets <= high))
        if len(inside):
            ranges.append(LevelRange(level, int(inside[0]), int(inside[-1]), _CONFIDENCE, not cut))
    flags = () if ranges else (LevelFlag("spine_not_found"),)
    return LevelMap(tuple(ranges), flags, (reader,))
