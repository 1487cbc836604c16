"""Body values of many people from one table: matched first, shown, and only then kept."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.link import people_of, read_table, shift_text
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.errors import InputError
from sarcoscope.measures.body_info import LIMITS
from sarcoscope.store.tables import BodyValues, Person, Study

KEYS: Final = ("pseudonym", "patient_id", "person_id", "accession")
"""What a row may be matched by, in the order in which they are taken."""
_LIMITS: Final = {
    "age_years": LIMITS["age"],
    "height_cm": LIMITS["height"],
    "weight_kg": LIMITS["weight"],
    "dry_weight_kg": LIMITS["weight"],
}
_YES: Final = ("1", "y", "yes", "true", "o", "있음", "유", "+")
_NO: Final = ("", "0", "n", "no", "false", "x", "없음", "무", "-")


@dataclass(frozen=True)
class Columns:
    """Which column says what."""

    key: str
    """One of :data:`KEYS`."""
    known: Mapping[str, str]
    """Field -> name of its column."""
    ignored: tuple[str, ...]

    @property
    def needs_mapping(self) -> bool:
        """Rows name people by hospital numbers."""
        return self.key != "pseudonym"


@dataclass(frozen=True)
class BodyRow:
    """A row of the table; it names nobody."""

    line: int
    """Row of the table; the heading is 1."""
    problem: str = ""
    """Why it is not taken: ``nobody``, ``several``, ``no_values``, ``no_number``, ``impossible``,
    ``no_date``, ``unclear`` or ``known``; empty when it is."""
    column: str = ""
    """The column that is wrong."""
    pseudonym: str = ""
    person: int | None = None
    studies: int = 0
    """Studies of the person."""
    days: int | None = None
    """From the values to the nearest study."""
    day: date | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    age_years: float | None = None
    dry: bool = False
    fluid: bool = False


@cache
def _names() -> Mapping[str, str]:
    """Plain name of a column -> field."""
    text = files("sarcoscope.store").joinpath("data/body_columns.csv").read_text(encoding="utf-8")
    return {
        _plain(name): row["field"]
        for row in csv.DictReader(text.splitlines())
        for name in row["columns"].split("|")
    }


def _plain(name: str) -> str:
    return re.sub(r"[\s_.()\[\]/-]", "", name.casefold())


def columns_of(heading: list[str]) -> Columns:
    """Find the columns by their names.

    Raises:
        InputError: no column says who, none holds a value, or two say the same.
    """
    known: dict[str, str] = {}
    ignored = []
    for name in heading:
        field = _names().get(_plain(name))
        if field is None:
            ignored.append(name)
        elif field in known:
            raise InputError(f"The columns '{known[field]}' and '{name}' say the same; leave one out.")
        else:
            known[field] = name
    keys = [k for k in KEYS if k in known]
    if not keys:
        raise InputError("No column says who: name one 'pseudonym', 'patient_id' or 'accession'.")
    if not known.keys() & {*_LIMITS, "fluid"}:
        raise InputError("No column holds a body value: name one 'height_cm', 'weight_kg' or 'age'.")
    ignored += [known.pop(k) for k in keys[1:]]
    return Columns(keys[0], known, tuple(ignored))


def read_body_table(path: Path) -> tuple[Columns, list[dict[str, str]]]:
    """The columns and rows of a CSV or XLSX.

    Raises:
        InputError: it cannot be read, or lacks what is needed.
    """
    heading, rows = read_table(path)
    return columns_of(heading), rows


def match_rows(
    session: Session,
    place: tuple[int, int],
    columns: Columns,
    rows: list[dict[str, str]],
    mapping: FileMapping | None,
) -> list[BodyRow]:
    """Who each row means, and whether its values can be taken.

    Args:
        session: any.
        place: numbers of the project and the centre.
        columns: of the table.
        rows: of the table. Their dates are real where hospital numbers are the key (they are shifted like the
            person's studies), and shifted already where pseudonyms are.
        mapping: who is who, where hospital numbers are the key.
    """
    here = {"project_id": place[0], "centre_id": place[1]}
    people = {p.pseudonym: p.id for p in session.scalars(select(Person).filter_by(**here))}
    days: dict[int, list[date | None]] = defaultdict(list)
    for number, day in session.execute(select(Study.person_id, Study.day).filter_by(**here)):
        days[number].append(day)
    kept = select(BodyValues).join(Person, Person.id == BodyValues.person_id).filter_by(**here)
    known = {_content(v.person_id, v) for v in session.scalars(kept.where(BodyValues.origin == "imported"))}
    found = []
    for line, row in enumerate(rows, 2):
        one = _matched(line, row, columns, people, days, mapping)
        if one.person is not None and not one.problem:
            content = _content(one.person, one)
            if content in known:
                one = BodyRow(line, "known", pseudonym=one.pseudonym)
            known.add(content)
        found.append(one)
    return found


def _content(person: int, values: BodyRow | BodyValues) -> tuple[object, ...]:
    numbers = (values.height_cm, values.weight_kg, values.age_years)
    return person, values.day, *numbers, values.dry, values.fluid


def _matched(
    line: int,
    row: Mapping[str, str],
    columns: Columns,
    people: Mapping[str, int],
    days: Mapping[int, list[date | None]],
    mapping: FileMapping | None,
) -> BodyRow:
    who, shift = row[columns.known[columns.key]].strip(), DateShift(0)
    pseudonyms = [who] if who in people else []
    if mapping is not None:
        meant = people_of(mapping, columns.key, who)
        if len(meant) > 1:
            return BodyRow(line, "several")
        pseudonyms = [p.pseudonym for p in meant if p.pseudonym in people]
        shift = meant[0].shift if meant else shift
    if not pseudonyms:
        return BodyRow(line, "nobody")
    values: dict[str, float] = {}
    for field, (low, high, _unit) in _LIMITS.items():
        text = row[columns.known[field]].strip() if field in columns.known else ""
        if not text:
            continue
        try:
            values[field] = float(text.replace(",", "."))
        except ValueError:
            return BodyRow(line, "no_number", columns.known[field], pseudonyms[0])
        if not low <= values[field] <= high:
            return BodyRow(line, "impossible", columns.known[field], pseudonyms[0])
    said = row[columns.known["fluid"]].strip().casefold() if "fluid" in columns.known else ""
    if said not in (*_YES, *_NO):
        return BodyRow(line, "unclear", columns.known["fluid"], pseudonyms[0])
    if not values and said not in _YES:
        return BodyRow(line, "no_values", "", pseudonyms[0])
    text = row[columns.known["day"]].strip() if "day" in columns.known else ""
    day = _day(text, shift)
    if text and day is None:
        return BodyRow(line, "no_date", columns.known["day"], pseudonyms[0])
    person = people[pseudonyms[0]]
    studied = days.get(person, [])
    away = [(day - other).days for other in studied if day and other]
    return BodyRow(
        line,
        pseudonym=pseudonyms[0],
        person=person,
        studies=len(studied),
        days=min(away, key=abs, default=None),
        day=day,
        height_cm=values.get("height_cm"),
        weight_kg=values.get("dry_weight_kg", values.get("weight_kg")),
        age_years=values.get("age_years"),
        dry="dry_weight_kg" in values,
        fluid=said in _YES,
    )


def _day(text: str, shift: DateShift) -> date | None:
    parts = re.match(r"(\d{4})\D?(\d{1,2})\D?(\d{1,2})", shift_text(text, shift))
    return date(*map(int, parts.groups())) if parts else None


def keep_rows(session: Session, rows: list[BodyRow], user_id: int) -> list[int]:
    """Keep the values of the rows that can be taken; numbers of the analysed studies that they change.

    Args:
        session: a writing session.
        rows: as matched.
        user_id: who imports them.
    """
    people = set()
    for row in rows:
        if row.problem or row.person is None:
            continue
        people.add(row.person)
        session.add(
            BodyValues(
                person_id=row.person,
                day=row.day,
                origin="imported",
                height_cm=row.height_cm,
                weight_kg=row.weight_kg,
                age_years=row.age_years,
                dry=row.dry,
                fluid=row.fluid,
                user_id=user_id,
            )
        )
    session.flush()
    analysed = select(Study.id).where(Study.person_id.in_(people), Study.analysis_id.is_not(None))
    return list(session.scalars(analysed.order_by(Study.id)))
