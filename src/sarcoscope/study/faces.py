"""Slices that show a face: everything above the first thoracic vertebra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sarcoscope.errors import SarcoscopeError
from sarcoscope.imaging.instances import read_instances
from sarcoscope.imaging.pixels import load_stack
from sarcoscope.imaging.series import find_stacks
from sarcoscope.levels import find_levels


def head_and_neck(paths: Sequence[Path]) -> frozenset[str] | None:
    """SOP instance UIDs of a series' slices above T1; None when the levels cannot be found.

    Args:
        paths: the files of one series.
    """
    instances = [i for path in paths for i in read_instances(path)[0]]
    stacks, _ = find_stacks(instances)
    above: set[str] = set()
    for stack in stacks:
        try:
            volume, _ = load_stack(stack)
        except SarcoscopeError:
            return None
        levels = find_levels(volume)
        if not levels.ranges:
            return None
        neck = levels.find("Cervical")
        first = levels.find("T1")
        top = (
            first.index_high + 1
            if first is not None
            else (neck.index_low if neck is not None else volume.n_slices)
        )
        above |= {s.sop_uid for s in volume.sources[top:] if s.sop_uid}
    return frozenset(above)
