"""Which levels and slices of a volume are measured."""

from __future__ import annotations

from dataclasses import dataclass

from sarcoscope.diagnosis import best_level
from sarcoscope.errors import SettingError
from sarcoscope.levels import LevelMap, LevelRange
from sarcoscope.measures.measurement import Flag
from sarcoscope.study.settings import AnalysisSettings

TALLEST_VERTEBRA_MM = 60.0
"""No vertebral body with its discs is taller; what is taller is more than the one level it is said to be."""


@dataclass(frozen=True)
class MeasurePlan:
    """Levels to measure, in the order of the report."""

    levels: tuple[str, ...]
    flags: tuple[Flag, ...] = ()


def assumed_levels(n_slices: int, height_mm: float, level: str) -> tuple[LevelMap, tuple[Flag, ...]]:
    """A level map in which every slice belongs to ``level``, and the flags that say so."""
    whole = LevelRange(level, 0, n_slices - 1, confidence=1.0, complete=False)
    flags = [Flag("level_assumed", {"level": level})]
    if level not in ("Cervical", "Sacral") and height_mm > TALLEST_VERTEBRA_MM:
        flags.append(Flag("assumed_level_too_tall", {"level": level, "height": f"{height_mm:.0f}"}))
    return LevelMap((whole,)), tuple(flags)


def plan_levels(levels: LevelMap, settings: AnalysisSettings) -> MeasurePlan:
    """Levels that can be measured among those asked for; else the best substitute in view."""
    if settings.assume_level:
        return MeasurePlan((settings.assume_level,))
    if settings.slice_index is not None:
        level = levels.name_of(settings.slice_index)
        return MeasurePlan((level,) if level else ())
    in_view = [r.level for r in levels.ranges]
    flags = [] if "L3" in in_view else [Flag("l3_not_in_view")]
    found = tuple(level for level in settings.levels if level in in_view)
    for level in settings.levels:
        if level not in in_view and level != "L3":
            flags.append(Flag("level_not_in_view", {"level": level}))
    if found:
        return MeasurePlan(found, tuple(flags))
    if not in_view:
        return MeasurePlan((), tuple(flags))
    whole = [r.level for r in levels.ranges if r.complete]
    substitute = best_level(whole or in_view)
    flags.append(Flag("substitute_level", {"level": substitute}))
    return MeasurePlan((substitute,), tuple(flags))


def slices_to_segment(
    plan: MeasurePlan, levels: LevelMap, n_slices: int, settings: AnalysisSettings
) -> tuple[int, ...]:
    """Indices of all slices whose tissues are needed, ascending.

    Raises:
        SettingError: a slice chosen by hand that the volume does not have.
    """
    chosen = settings.slice_index
    if chosen is not None:
        if chosen >= n_slices:
            raise SettingError(f"There is no slice {chosen}; the volume has slices 0 to {n_slices - 1}.")
        return (chosen,) if plan.levels else ()
    ranges = [r for level in plan.levels if (r := levels.find(level)) is not None]
    indices = {i for r in ranges for i in range(r.index_low, r.index_high + 1)}
    return tuple(sorted(indices))
