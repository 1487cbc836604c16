"""What weights may see: the licence of every person's CT, from a table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from sarcoscope.files import packaged_rows

CHOICES: Final = ("all", "permissive")
"""``all``: weights for non-commercial use; ``permissive``: from data that allow any use alone."""


@cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(packaged_rows("sarcoscope.training", "licences"))


def may_see(person: str, choice: str) -> bool:
    """Weights of a choice may be trained on a person's CT (unknown people never; phantoms always)."""
    if person.startswith("phantom"):
        return True
    ship = next((r["ship"] for r in _rows() if person in r["persons"].split()), "no")
    return ship == "yes" or (ship == "nc" and choice == "all")


def licences_of(persons: Iterable[str]) -> dict[str, str]:
    """Source -> licence of the CT of some people, for a card."""
    seen = set(persons)
    return {r["source"]: r["licence"] for r in _rows() if seen & set(r["persons"].split())}


def weights_licence(choice: str) -> str:
    """Licence of weights of a choice."""
    return "CC BY-NC 4.0" if choice == "all" else "Apache-2.0"


def package_name(name: str, choice: str) -> str:
    """Name of a package of a choice."""
    return name if choice == "all" else f"{name}-permissive"
