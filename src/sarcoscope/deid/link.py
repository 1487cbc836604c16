"""Join a clinical table to de-identified studies: numbers become pseudonyms, dates move along."""

from __future__ import annotations

import csv
import datetime as calendar
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sarcoscope.deid.dates import DateShift
from sarcoscope.deid.mapping import NUMBER, FileMapping, Person, without_zeros
from sarcoscope.deid.words import identifying_words, names_somebody
from sarcoscope.errors import InputError, NotFoundError, SettingError, UnreadableError
from sarcoscope.files import csv_text, make_folder, write_bytes

KEYS: Final = ("patient_id", "person_id", "accession")
"""What a row may be joined by."""
_DATE: Final = re.compile(
    r"(\d{4})(?:(\d{2})(\d{2})|( ?[-./] ?| )(\d{1,2})( ?[-./] ?| )(\d{1,2}))\.?(?:[T ].*)?", re.DOTALL
)
_CLOCK: Final = re.compile(r"[T ]\d{1,2}:?\d{2}(?::?\d{2})?(\.\d+)?")
_ENCODINGS: Final = ("utf-8-sig", "cp949")
_YEARS: Final = (1880, 2120)
_MOST_PARSED: Final = 0.8
"""A column is one of dates when so many of its values are."""
_OTHER_IDENTIFIERS: Final = re.compile(
    r"^(patient|pt|full|first|last|family|given|sur|person|subject|doctor|physician)?[ _-]?name$"
    r"|이름|성명|환자명|ssn|주민|resident.?(number|no)|phone|(^|_)tel|전화|address|주소|e-?mail|birth|dob|생년월일"
    r"|patient.?id|person.?id|accession|^mrn$|chart.?(number|no)|hospital.?(number|no)|환자번호|등록번호|issuer",
    re.IGNORECASE,
)
"""Names of columns that hold identifiers: dropped."""


@dataclass
class LinkReport:
    """What happened to the rows; it names nobody."""

    rows: int = 0
    linked: int = 0
    unmatched: int = 0
    ambiguous: int = 0
    date_columns: tuple[str, ...] = ()
    dropped_columns: tuple[str, ...] = ()
    doubtful_dates: int = 0
    """Cells of date columns that are no date and were emptied."""
    without_zeros: int = 0
    """Rows that were joined only when leading zeros were left out of the number."""
    named_cells: int = 0
    """Cells in which the patient's own name, number or birth date stood, and which were emptied."""
    people: set[str] = field(default_factory=set)
    linked_rows: list[int] = field(default_factory=list)
    """Rows of the table (the heading is 1) that were joined, in their order."""


@dataclass(frozen=True)
class LinkSettings:
    """How a table is joined.

    Raises:
        SettingError: an unknown kind of key.
    """

    key: str = "patient_id"
    """One of :data:`KEYS`."""
    key_column: str | None = None
    """Name of its column; by default a column of that name (in any case)."""
    dates: tuple[str, ...] | None = None
    """Date columns; by default those whose values are dates."""
    centre: str = ""
    """Look among the people of this centre alone."""
    keep: tuple[str, ...] = ()
    """Columns that look like identifiers by their name but are none."""

    def __post_init__(self) -> None:
        if self.key not in KEYS:
            raise SettingError(f"'{self.key}' is no key; keys are {', '.join(KEYS)}.")


@dataclass(frozen=True)
class DateParts:
    """A date as a table writes it."""

    year: int
    month: int
    day: int
    separators: tuple[str, str]
    clock: str
    """The time of day with the sign before it; empty: none, or one that is not understood."""


def parts_of_date(text: str) -> DateParts | None:
    """A date written as year, month and day (``2020-01-03``, ``20200103``, ``2020. 1. 3.``); None: no date.

    Whatever a cohort reads as a date is moved with its patient, since both ask here.
    """
    text = text.strip()
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    clock = re.search(rf"(?:{_CLOCK.pattern})$", text)
    month, day = match[2] or match[5], match[3] or match[7]
    between = (match[4] or "", match[6] or "")
    end = match.end(3) if match[2] else match.end(7)
    written = clock[0] if clock and clock.start() >= end else ""
    return DateParts(int(match[1]), int(month), int(day), between, written)


def link_table(
    table: Path, mapping: FileMapping, out: Path, settings: LinkSettings | None = None
) -> LinkReport:
    """Write the table with pseudonyms and shifted dates; rows without a match go to ``<out>.unmatched.csv``.

    Args:
        table: CSV (UTF-8 or CP949) or XLSX with a heading row.
        mapping: who is who.
        out: CSV to write.
        settings: which column is the key, which are dates.

    Raises:
        InputError: the table cannot be read, or a column named is not there.
        StorageError: the output cannot be written.
    """
    settings = settings or LinkSettings()
    heading, rows = read_table(Path(table))
    key_column = _key_column(heading, settings)
    centre_column = _centre_column(heading)
    dates = _date_columns(heading, rows, settings, key_column)
    dropped = [
        h for h in heading
        if h != key_column and h not in dates and h not in settings.keep and _OTHER_IDENTIFIERS.search(h)
    ]  # fmt: skip
    kept = [h for h in heading if h != key_column and h not in dropped]
    report = LinkReport(len(rows), date_columns=tuple(dates), dropped_columns=tuple(dropped))
    linked: list[dict[str, str]] = []
    unmatched: list[dict[str, str]] = []
    for number, row in enumerate(rows, 2):
        centre = settings.centre or (row.get(centre_column, "") if centre_column else "")
        people = people_of(mapping, settings.key, row[key_column], centre, report)
        if len(people) != 1:
            report.ambiguous += len(people) > 1
            report.unmatched += not people
            reason = "several people have this number" if people else "nobody has this number"
            unmatched.append({**row, "reason": reason})
            continue
        report.linked += 1
        report.people.add(people[0].pseudonym)
        report.linked_rows.append(number)
        linked.append(_joined(row, people[0], kept, dates, report))
    _write(out, ["pseudonym", *kept], linked)
    beside = out.with_name(f"{out.name.removesuffix('.csv')}.unmatched.csv")
    _write(beside, [*heading, "reason"], unmatched)
    return report


def people_of(
    mapping: FileMapping, key: str, value: str, centre: str = "", report: LinkReport | None = None
) -> list[Person]:
    """Who a value means; a patient number that nobody has is looked for without its leading zeros."""
    if not value.strip():
        return []
    people = mapping.people_by(key, value, centre)
    if not people and key == "patient_id" and without_zeros(value):
        people = mapping.people_by(NUMBER, without_zeros(value), centre)
        if report is not None:
            report.without_zeros += len(people) == 1
    return people


def _joined(
    row: dict[str, str], person: Person, kept: Sequence[str], dates: Sequence[str], report: LinkReport
) -> dict[str, str]:
    out = {"pseudonym": person.pseudonym}
    who = person.identity
    identifiers = identifying_words((who.name, who.patient_id, who.birth_date))
    for name in kept:
        if name not in dates:
            named = names_somebody(row[name], identifiers)
            report.named_cells += named
            out[name] = "" if named else row[name]
            continue
        out[name] = shift_text(row[name], person.shift)
        report.doubtful_dates += bool(row[name].strip()) and not out[name]
    return out


def shift_text(text: str, shift: DateShift) -> str:
    """A date of a table moved by days, in the form that it had; empty when it is no date."""
    found = parts_of_date(text)
    moved = None if found is None else shift.day(found.year, found.month, found.day)
    if found is None or moved is None:
        return ""
    first, second = found.separators
    return f"{moved.year:04d}{first}{moved.month:02d}{second}{moved.day:02d}{found.clock}"


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """(heading, rows) of a CSV or XLSX file; all values as text, dates of XLSX as YYYY-MM-DD.

    Raises:
        InputError: it is not there, cannot be read, or has no heading.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no table '{path.name}'.")
    table = _xlsx(path) if path.suffix.lower() in (".xlsx", ".xlsm") else _csv(path)
    if not table or not any(cell.strip() for cell in table[0]):
        raise InputError(f"The table '{path.name}' is empty.")
    heading = [cell.strip() for cell in table[0]]
    while heading and not heading[-1]:
        heading.pop()
    if len(set(heading)) < len(heading) or not all(heading):
        raise InputError(f"The table '{path.name}' has columns without a name, or two of one name.")
    rows = [r for r in table[1:] if any(cell.strip() for cell in r)]
    padded = [[*r, *[""] * len(heading)][: len(heading)] for r in rows]
    return heading, [dict(zip(heading, r, strict=True)) for r in padded]


def _csv(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    for encoding in _ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        try:
            head = text.splitlines()[0] if text else ""
            delimiter = max(",;\t", key=head.count)
            return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise UnreadableError(f"The table '{path.name}' is damaged.") from error
    raise UnreadableError(f"The table '{path.name}' is neither UTF-8 nor CP949 text.")


def _xlsx(path: Path) -> list[list[str]]:
    # A tenth of a second that most commands can save.
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        return [[_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    except Exception as error:  # a damaged archive fails in many ways
        raise UnreadableError(f"The table '{path.name}' cannot be read.") from error


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, calendar.datetime):
        midnight = (value.hour, value.minute, value.second) == (0, 0, 0)
        return value.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M:%S")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _key_column(heading: Sequence[str], settings: LinkSettings) -> str:
    wanted = settings.key_column or settings.key
    plain: Callable[[str], str] = lambda h: re.sub(r"[\s_-]", "", h.casefold())  # noqa: E731
    found = [h for h in heading if plain(h) == plain(wanted)]
    if not found and settings.key == "accession" and settings.key_column is None:
        found = [h for h in heading if plain(h) == "accessionnumber"]
    if not found:
        raise InputError(f"The table has no column '{wanted}'; its columns are {', '.join(heading)}.")
    return found[0]


def _date_columns(
    heading: Sequence[str], rows: Sequence[dict[str, str]], settings: LinkSettings, key_column: str
) -> list[str]:
    if settings.dates is not None:
        missing = [d for d in settings.dates if d not in heading]
        if missing:
            raise InputError(f"The table has no column '{missing[0]}'.")
        return list(settings.dates)
    return [h for h in heading if h != key_column and _is_dates([r[h] for r in rows], h)]


def _is_dates(values: Sequence[str], name: str) -> bool:
    """Most values are days of the calendar; numbers of eight digits only where the year can be one."""
    filled = [v for v in values if v.strip()]
    if re.search(r"birth|dob|생년월일", name, re.IGNORECASE):
        return False
    return bool(filled) and sum(map(_is_date, filled)) >= _MOST_PARSED * len(filled)


def _is_date(text: str) -> bool:
    found = parts_of_date(text)
    if found is None or not _YEARS[0] <= found.year <= _YEARS[1]:
        return False
    return DateShift(0).day(found.year, found.month, found.day) is not None


def identifying_columns(heading: Sequence[str]) -> list[str]:
    """Columns whose names say that they hold names, hospital numbers, addresses or birth dates."""
    return [h for h in heading if _OTHER_IDENTIFIERS.search(h)]


def _write(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    make_folder(path.parent)
    write_bytes(path, csv_text(columns, rows).encode())


def add_person_ids(table: Path, mapping: FileMapping, centre: str = "") -> tuple[int, int]:
    """Add the ``person_id`` of every row to the person with its ``patient_id``; returns (added, not added).

    Raises:
        InputError: the table cannot be read or lacks a column.
    """
    heading, rows = read_table(table)
    patient = _key_column(heading, LinkSettings("patient_id"))
    person = _key_column(heading, LinkSettings("person_id"))
    centre_column = _centre_column(heading)
    added = 0
    with mapping.transaction():
        for row in rows:
            where = centre or (row[centre_column] if centre_column else "")
            people = mapping.people_by("patient_id", row[patient], where)
            if len(people) == 1 and row[person].strip():
                mapping.add_alias("person_id", row[person], people[0])
                added += 1
    return added, len(rows) - added


def _centre_column(heading: Sequence[str]) -> str | None:
    return next((h for h in heading if h.strip().casefold() in ("centre", "center")), None)
