"""Which column of a clinical table says what: suggested from the names, confirmed in a file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcoscope.cohort.clinical_cells import read_cell
from sarcoscope.cohort.codes import is_code
from sarcoscope.cohort.fields import RESERVED, field_of_column, fields, own_field, plain
from sarcoscope.errors import InputError, NotFoundError, SettingError

CODE_SHARE = 0.8
"""A column holds diagnosis codes when so many of its filled cells are written as codes."""
UNIT_SHARE = 0.9
"""A unit is suggested when so many values are plausible in it, and hardly any without it."""


VISITS_SHARE = 0.3
"""Fewer repeated persons than this are rather mistakes than visits."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OtherField(_Strict):
    """A field that the shipped table does not know."""

    column: str
    kind: Literal["number", "date", "flag", "category", "text"] = "number"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    title: dict[str, str] = Field(default_factory=dict)


class CodeColumns(_Strict):
    """Columns of diagnosis codes."""

    columns: tuple[str, ...] = ()
    separator: str = ";"
    extra: dict[str, str] = Field(default_factory=dict)
    """Further codes (prefixes) -> disease, before the shipped table."""


class ColumnMap(_Strict):
    """A mapping file."""

    confirmed: bool = False
    rows: Literal["one", "visits"] = "one"
    columns: dict[str, str]
    """Field -> column."""
    units: dict[str, str] = Field(default_factory=dict)
    """Field -> unit of the table, where it is not the field's own."""
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Field -> what is written -> what it means (sex ``1`` -> ``M``)."""
    codes: CodeColumns = CodeColumns()
    other: dict[str, OtherField] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> ColumnMap:
        known = fields()
        for name in self.columns:
            if name not in known:
                raise ValueError(f"there is no field '{name}'; write it under [other.{name}]")
        for name, unit in self.units.items():
            if name not in known or unit not in (known[name].unit, *known[name].factors):
                raise ValueError(f"'{unit}' is no unit of '{name}'")
        for name in self.other:
            if name in known:
                raise ValueError(f"'{name}' is a known field; write it under [columns]")
            if name in RESERVED or name.startswith("group_"):
                raise ValueError(f"'{name}' is a column of the studies; give [other.{name}] another name")
        if "pseudonym" not in self.columns:
            raise ValueError("no column says who: give 'pseudonym'")
        used = [*self.columns.values(), *(o.column for o in self.other.values())]
        for column in used:
            if used.count(column) > 1:
                raise ValueError(f"the column '{column}' is given for two fields")
        return self


def read_column_map(path: Path) -> ColumnMap:
    """Read a mapping file (TOML or JSON).

    Raises:
        SettingError: it is not there, no mapping, or not confirmed.
    """
    try:
        if path.suffix.lower() == ".json":
            found = ColumnMap.model_validate_json(path.read_bytes())
        else:
            found = ColumnMap.model_validate(read_toml(path, "mapping"))
    except ValidationError as error:
        raise SettingError(f"The mapping '{path.name}' cannot be used: {sentence_of(error)}.") from error
    if not found.confirmed:
        raise SettingError(f"The mapping '{path.name}' is a suggestion: check it, then set confirmed = true.")
    return found


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML file.

    Raises:
        SettingError: it is damaged.
        NotFoundError: it is not there.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"There is no {what} '{path.name}'.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"The {what} '{path.name}' is no TOML file: {error}.") from error


def sentence_of(error: ValidationError) -> str:
    """The first fault of a checked file, in words."""
    first = error.errors()[0]
    place = ".".join(str(p) for p in first["loc"] if not isinstance(p, str) or "function" not in p)
    text = str(first["msg"]).removeprefix("Value error, ")
    text = {"Field required": "is missing", "Extra inputs are not permitted": "is unknown here"}.get(
        text, text
    )
    return f"{place} {text}".strip().rstrip(".") if place else text


def suggest(heading: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """The text of a mapping file for a table: what the names of its columns say, with units guessed.

    Raises:
        InputError: no column says who a row is of.
    """
    known: dict[str, str] = {}
    codes, rest = [], []
    for name in heading:
        field = field_of_column().get(plain(name))
        if field is not None and field not in known:
            known[field] = name
        elif _holds_codes([r[name] for r in rows]):
            codes.append(name)
        else:
            rest.append(name)
    if "pseudonym" not in known:
        raise InputError(
            "No column says whose a row is: name one 'pseudonym' ('sarcoscope link' makes pseudonyms of "
            f"hospital numbers). The columns are {', '.join(heading)}."
        )
    units = {f: u for f, c in known.items() if (u := guess_unit(f, c, [r[c] for r in rows]))}
    if {"height_cm", "weight_kg"} <= set(units):
        units_note = "# Guessed from the size of the values; or else the two columns are exchanged."
    else:
        units_note = "# Guessed from the size of the values."
    again = 1 - len({r[known["pseudonym"]] for r in rows}) / max(len(rows), 1)
    lines = [
        "# A suggestion: check every line, then say confirmed = true.",
        "confirmed = false",
        f'rows = "{"visits" if again > VISITS_SHARE and "day" in known else "one"}"',
        "",
        "[columns]",
        *(f"{field} = {_quoted(column)}" for field, column in known.items()),
    ]
    if units:
        lines += ["", units_note, "[units]"]
        lines += [f"{field} = {_quoted(unit)}" for field, unit in units.items()]
    if codes:
        lines += ["", "[codes]", f"columns = [{', '.join(map(_quoted, codes))}]", 'separator = ";"']
    for k, name in enumerate(rest, 1):
        key = plain(name) if re.fullmatch(r"[a-z][a-z0-9]*", plain(name)) else f"field_{k}"
        key = f"field_{k}" if key in RESERVED or key in fields() else key
        lines += ["", f"# Not recognised: remove the signs to take the column '{name}'."]
        kind = _kind([r[name] for r in rows])
        lines += [f"# [other.{key}]", f"# column = {_quoted(name)}", f'# kind = "{kind}"']
    return "\n".join(lines) + "\n"


def _kind(values: Sequence[str]) -> str:
    """What most of the filled cells of an unknown column are."""
    filled = [v for v in values if v.strip()]
    for kind in ("number", "date"):
        read = [read_cell(own_field("", kind, {}), v) for v in filled]
        if filled and sum(not c.problem for c in read) >= CODE_SHARE * len(filled):
            return kind
    return "text"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _holds_codes(values: Sequence[str]) -> bool:
    parts = [p for v in values for p in v.replace(",", ";").replace("|", ";").split(";") if p.strip()]
    return bool(parts) and sum(map(is_code, parts)) >= CODE_SHARE * len(parts)


def guess_unit(name: str, column: str, values: Sequence[str]) -> str:
    """Another unit in which nearly all values are typical when hardly any is in the own; else empty.

    A column whose name ends with the field's own unit (``height_cm``) is believed.
    """
    field = fields()[name]
    if field.unit and plain(column).endswith(plain(field.unit)):
        return ""
    found = []
    for text in values:
        try:
            found.append(float(text.replace(",", ".")))
        except ValueError:
            continue
    if len(found) < 3 or field.typical is None:
        return ""

    def typical(factor: float) -> float:
        low, high = field.typical or (0.0, 0.0)
        return sum(low <= v * factor <= high for v in found) / len(found)

    if typical(1.0) > 1 - UNIT_SHARE:
        return ""
    best = max(field.factors, key=lambda unit: typical(field.factors[unit]), default="")
    return best if best and typical(field.factors[best]) >= UNIT_SHARE else ""
