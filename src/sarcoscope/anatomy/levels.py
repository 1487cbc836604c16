"""The 19 level classes, from head to foot, and their order."""

from __future__ import annotations

from typing import Final

LEVELS: Final[tuple[str, ...]] = (
    "Cervical",
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    "Sacral",
)
"""Level names, superior to inferior; ``Cervical`` and ``Sacral`` are one class each."""

LEVEL_INDEX: Final[dict[str, int]] = {name: i for i, name in enumerate(LEVELS)}
"""Position of each level in :data:`LEVELS` (0 = Cervical, 18 = Sacral)."""


def level_distance(a: str, b: str) -> int:
    """How many levels lie from ``a`` to ``b`` (0 = the same level)."""
    return abs(LEVEL_INDEX[a] - LEVEL_INDEX[b])
