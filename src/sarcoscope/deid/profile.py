"""Which action PS3.15 Annex E asks for on an attribute, with the options that were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from sarcoscope.errors import SettingError
from sarcoscope.files import packaged_rows

DATE_OPTIONS: Final = ("modified_dates", "full_dates")
KEPT_CHARACTERISTICS: Final = ("00100040", "00101010", "00101020", "00101030")
"""Sex, age, size and weight: all that Retain Patient Characteristics keeps here (the indices need them)."""
KEEP_REFERENCES: Final = "U*"
"""A sequence of references: kept, with every UID in it replaced."""
PRIVATE: Final = "ggggeeee"
_SEPARATE: Final = ("clean_pixel_data", "clean_faces", "basic")
"""Options without a column in the table."""
_ORDER: Final = (
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "full_dates",
    "modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
    "retain_safe_private",
)
"""Columns in the order in which they are asked: what keeps goes before what cleans."""


def _table(name: str) -> list[dict[str, str]]:
    return packaged_rows("sarcoscope.deid", name)


@cache
def attribute_rows() -> Mapping[str, dict[str, str]]:
    """Tag (``00100010``, or a pattern) -> row of Table E.1-1."""
    return {r["tag"]: r for r in _table("attributes")}


@cache
def method_rows() -> Mapping[str, dict[str, str]]:
    """Option -> its code of CID 7050 and its meaning."""
    return {r["option"]: r for r in _table("methods")}


@cache
def _types() -> Mapping[tuple[str, str], tuple[str, str]]:
    return {(r["sop_class"], r["tag"]): (r["top"], r["nested"]) for r in _table("object_types")}


@cache
def safe_private() -> frozenset[tuple[str, int, int]]:
    """(creator, group, last byte of the element) of private attributes known to be safe."""
    rows = _table("safe_private")
    return frozenset(
        (r["creator"], int(r["group"], 16), int(r["element"], 16)) for r in rows if r["certainty"] == "Q"
    )


def default_options() -> frozenset[str]:
    """The options that are on unless something else is asked for."""
    return frozenset(o for o, r in method_rows().items() if r["default"] == "yes" and o != "basic")


@dataclass(frozen=True)
class Action:
    """What is done with an attribute and why."""

    code: str
    """``X`` removed, ``Z`` emptied, ``D`` dummy, ``U`` new UID, ``K`` kept, ``C`` cleaned, ``U*``: above."""
    reason: str
    """``basic``, the name of an option, or why an attribute outside the table is touched."""


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with options.

    Raises:
        SettingError: an unknown option, or two that contradict each other.
    """

    options: frozenset[str] = field(default_factory=default_options)

    def __post_init__(self) -> None:
        unknown = self.options - set(method_rows()) - {"remove_dates"}
        if unknown:
            known = ", ".join(o for o in method_rows() if o != "basic")
            raise SettingError(f"There is no option '{sorted(unknown)[0]}'; options are {known}.")
        if {"full_dates", "modified_dates"} <= self.options:
            raise SettingError("Dates can be kept or shifted, not both.")

    @property
    def dates(self) -> str:
        """``full_dates``, ``modified_dates`` or ``removed``."""
        return next((o for o in DATE_OPTIONS if o in self.options), "removed")

    def action(self, tag: str, sop_class: str = "", *, nested: bool = False) -> Action | None:
        """What the table asks for; None when the attribute is not in it.

        Args:
            tag: eight hexadecimal digits.
            sop_class: UID of the object's class, which decides combined actions such as ``X/Z/D``.
            nested: the attribute lies inside a sequence.
        """
        row = attribute_rows().get(_pattern(tag))
        if row is None:
            return None
        for option in _ORDER:
            if option not in self.options or not row[option]:
                continue
            if option == "retain_patient_characteristics" and tag not in KEPT_CHARACTERISTICS:
                continue
            if option == "retain_safe_private":
                continue
            return Action(row[option], option)
        return Action(_resolved(row["basic"], tag, sop_class, nested), "basic")

    def codes(self) -> list[tuple[str, str]]:
        """(code value, meaning) of CID 7050 for everything that was done."""
        rows = method_rows()
        return [(r["code"], r["meaning"]) for o, r in rows.items() if o == "basic" or o in self.options]


def _pattern(tag: str) -> str:
    if tag in attribute_rows():
        return tag
    group, element = tag[:4], tag[4:]
    if int(group, 16) % 2:
        return PRIVATE
    if group[:2] == "50" and int(group, 16) <= 0x50FF:
        return "50xxxxxx"
    if group[:2] == "60" and element in ("3000", "4000"):
        return f"60xx{element}"
    return tag


def _resolved(action: str, tag: str, sop_class: str, nested: bool) -> str:
    """One action of a combination, by the attribute's type in the object (PS3.15 Table E.1-1a).

    The type is 1, 2 or 3; where it is not known the action that keeps any object valid is taken.
    """
    if "/" not in action:
        return action
    if action == "X/Z/U*":
        return KEEP_REFERENCES
    choices = action.split("/")
    kind = _types().get((sop_class, tag), ("", ""))[nested]
    if kind == "3" and "X" in choices:
        return "X"
    if kind in ("2", "3") and "Z" in choices:
        return "Z"
    return "D" if "D" in choices else choices[-1]
