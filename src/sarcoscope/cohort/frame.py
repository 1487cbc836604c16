"""A table as named columns: text or numbers, one element a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sarcoscope.errors import InputError, NotFoundError, UnreadableError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Texts = NDArray[np.object_]
Ints = NDArray[np.int64]


def texts(values: Iterable[str]) -> Texts:
    """A column of text."""
    found = list(values)
    out = np.empty(len(found), dtype=object)
    out[:] = found
    return out


def numbers(values: Iterable[str]) -> Floats:
    """A column of numbers; what is empty or no number is NaN."""
    found = list(values)
    try:
        return np.array([float(v) if v else np.nan for v in found], np.float64)
    except ValueError:
        return np.array([_number(v) for v in found], np.float64)


def _number(text: str) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return float("nan")


@dataclass(frozen=True)
class Frame:
    """Columns of one length."""

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def text(self, name: str) -> Texts:
        """A column as text; empty everywhere when there is none of that name."""
        column = self.columns.get(name)
        if column is None:
            return texts([""] * len(self))
        if column.dtype == object:
            return column
        return texts("" if v != v else f"{v:g}" for v in column)

    def number(self, name: str) -> Floats:
        """A column as numbers; NaN where it has none."""
        column = self.columns.get(name)
        if column is None:
            return np.full(len(self), np.nan)
        return numbers(column) if column.dtype == object else column.astype(np.float64)

    def take(self, rows: Flags | Ints) -> Frame:
        """The rows of a mask, or by number."""
        return Frame({name: column[rows] for name, column in self.columns.items()})

    def adding(self, columns: Mapping[str, NDArray[Any]]) -> Frame:
        """With more (or other) columns."""
        return Frame({**self.columns, **columns})


def read_frame(path: Path, wanted: Sequence[str] | None = None) -> Frame:
    """Columns of a UTF-8 CSV with a heading row, as text; of those wanted, the ones that it has.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            heading = next(reader, [])
            places = [k for k, name in enumerate(heading) if wanted is None or name in wanted]
            columns: list[list[str]] = [[] for _ in places]
            for line, row in enumerate(reader, 2):
                if len(row) != len(heading):
                    if not row:
                        continue
                    raise InputError(f"Row {line} of '{path.name}' has {len(row)} cells, not {len(heading)}.")
                for column, place in zip(columns, places, strict=True):
                    column.append(row[place])
    except FileNotFoundError:
        raise NotFoundError(f"There is no table '{path.name}'.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"'{path.name}' is no table that can be read (CSV, UTF-8).") from error
    if not heading:
        raise InputError(f"The table '{path.name}' is empty.")
    return Frame({heading[place]: texts(column) for place, column in zip(places, columns, strict=True)})
