"""Body information from the header and from what the user gives, with origin, date and plausibility."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from sarcoscope.errors import BodyInfoError
from sarcoscope.imaging.volume import HeaderBody
from sarcoscope.measures.body import BodyInfo, Known
from sarcoscope.measures.measurement import Flag

LIMITS: Final[dict[str, tuple[float, float, str]]] = {
    "age": (0.0, 120.0, "years"),
    "height": (50.0, 250.0, "cm"),
    "weight": (15.0, 400.0, "kg"),
}
"""Values outside cannot be a person's (or are in another unit)."""
BMI_LIMITS: Final = (10.0, 80.0)
OLD_WEIGHT_DAYS: Final = 30
ADULT_YEARS: Final = 18.0
DIFFERS_SHARE: Final = 0.10

BODY_FLAGS: Final = frozenset(
    {
        "sex_missing",
        "age_missing",
        "height_missing",
        "weight_missing",
        "child",
        "bmi_implausible",
        "weight_old",
        "given_differs_from_header",
    }
)
"""What :func:`body_info` may say of the values that count (``header_value_ignored`` is of the file)."""


@dataclass(frozen=True)
class GivenBody:
    """Body values that the user gives; they go before those of the header."""

    sex: str | None = None
    age_years: float | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    weight_date: str | None = None
    """YYYY-MM-DD."""
    dry_weight: bool = False
    """The weight is free of ascites and oedema."""


def body_info(header: HeaderBody, given: GivenBody | None = None) -> tuple[BodyInfo, tuple[Flag, ...]]:
    """What is known of the person, and what to doubt about it.

    Raises:
        BodyInfoError: a given value that cannot be true. A header value that cannot be true is left out and
            flagged.
    """
    given = given or GivenBody()
    flags: list[Flag] = []
    header_date = _iso(header.date)
    sex = _sex(header, given)
    numbers: dict[str, Known[float] | None] = {}
    for name, mine, theirs in (
        ("age", given.age_years, header.age_years),
        ("height", given.height_cm, header.height_cm),
        ("weight", given.weight_kg, header.weight_kg),
    ):
        numbers[name], more = _number(name, mine, theirs, header_date)
        flags += more
    weight = numbers["weight"]
    if weight is not None and weight.origin == "given":
        weight = Known(weight.value, "given", _given_date(given.weight_date), given.dry_weight)
    body = BodyInfo(sex, numbers["age"], numbers["height"], weight)
    return body, (*flags, *_doubts(body, header_date))


def _sex(header: HeaderBody, given: GivenBody) -> Known[str] | None:
    if given.sex is not None:
        letter = given.sex.strip().upper()[:1]
        if letter not in ("M", "F") or given.sex.strip().upper() not in ("M", "F", "MALE", "FEMALE"):
            raise BodyInfoError(f"The sex must be M or F, not '{given.sex}'.")
        return Known(letter, "given")
    return Known(header.sex, "dicom") if header.sex in ("M", "F") else None


def _number(
    name: str, mine: float | None, theirs: float | None, header_date: str | None
) -> tuple[Known[float] | None, list[Flag]]:
    low, high, unit = LIMITS[name]
    flags = []
    if theirs is not None and not low <= theirs <= high:
        # Zero stands in many headers for "not measured".
        if theirs != 0:
            flags.append(Flag("header_value_ignored", {"what": name, "value": f"{theirs:g} {unit}"}))
        theirs = None
    if mine is not None:
        if not low <= mine <= high:
            raise BodyInfoError(f"A {name} of {mine:g} {unit} cannot be true ({low:g} to {high:g} {unit}).")
        if theirs is not None and name != "age" and abs(mine - theirs) > DIFFERS_SHARE * theirs:
            values = {"what": name, "given": f"{mine:g} {unit}", "header": f"{theirs:g} {unit}"}
            flags.append(Flag("given_differs_from_header", values))
        return Known(float(mine), "given"), flags
    return (None if theirs is None else Known(float(theirs), "dicom", header_date)), flags


def _doubts(body: BodyInfo, study_date: str | None) -> list[Flag]:
    flags = []
    for what, known in (
        ("sex", body.sex),
        ("age", body.age_years),
        ("height", body.height_cm),
        ("weight", body.weight_kg),
    ):
        if known is None:
            flags.append(Flag(f"{what}_missing"))
    if body.age_years is not None and body.age_years.value < ADULT_YEARS:
        flags.append(Flag("child"))
    bmi = body.bmi
    if bmi is not None and not BMI_LIMITS[0] <= bmi <= BMI_LIMITS[1]:
        flags.append(Flag("bmi_implausible", {"bmi": f"{bmi:.1f}"}))
    weight = body.weight_kg
    if weight is not None and weight.date and study_date:
        days = abs((date.fromisoformat(weight.date) - date.fromisoformat(study_date)).days)
        if days > OLD_WEIGHT_DAYS:
            flags.append(Flag("weight_old", {"days": str(days)}))
    return flags


def _iso(dicom_date: str | None) -> str | None:
    """ISO date of a DICOM date; None when it is no date."""
    digits = (dicom_date or "").replace(".", "").replace("-", "").strip()
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).isoformat()
    except ValueError:
        return None


def _given_date(text: str | None) -> str | None:
    if text is None:
        return None
    iso = _iso(text)
    if iso is None:
        raise BodyInfoError(f"'{text}' is no date; write it as YYYY-MM-DD.")
    return iso
