"""Which slices belong to which vertebra."""

from sarcoscope.levels.find import find_levels
from sarcoscope.levels.level_map import LevelFlag, LevelMap, LevelRange

__all__ = ["LevelFlag", "LevelMap", "LevelRange", "find_levels"]
