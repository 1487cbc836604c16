"""Conditions of a cohort file on the columns of a table."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.cohort.definition import Condition
from sarcoscope.cohort.frame import Flags, Frame
from sarcoscope.errors import SettingError

_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def missing(column: NDArray[Any]) -> Flags:
    """Where a column says nothing."""
    if column.dtype == object:
        return np.array([v == "" for v in column], np.bool_)
    if column.dtype.kind == "M":
        return np.asarray(np.isnat(column), np.bool_)
    return np.isnan(column.astype(np.float64))


def holds(frame: Frame, condition: Condition) -> tuple[Flags, Flags]:
    """(where the condition holds, where its column says nothing).

    Raises:
        SettingError: no such column, or values of another kind.
    """
    if condition.column not in frame:
        known = ", ".join(sorted(frame.columns))
        raise SettingError(f"The cohort has no column '{condition.column}'; it has {known}.")
    column = frame.columns[condition.column]
    gone = missing(column)
    if condition.op == "missing":
        return gone, np.zeros(len(frame), np.bool_)
    if condition.op == "present":
        return ~gone, np.zeros(len(frame), np.bool_)
    given = condition.value if isinstance(condition.value, list) else [condition.value]
    values = [_as(column, v, condition) for v in given]
    if condition.op == "between":
        found = (column >= values[0]) & (column < values[1])
    elif condition.op in ("in", "not in"):
        found = np.logical_or.reduce([column == v for v in values])
        found = ~found if condition.op == "not in" else found
    else:
        found = _COMPARE[condition.op](column, values[0])
    return np.asarray(found, np.bool_) & ~gone, gone


def _as(column: NDArray[Any], value: Any, condition: Condition) -> Any:
    """A value of the file as the column's kind."""
    text = isinstance(value, str)
    try:
        if column.dtype.kind == "M" and text:
            return np.datetime64(value, "D")
    except ValueError:
        text = False
    ordered = condition.op in ("<", "<=", ">", ">=", "between")
    fits = text and not ordered if column.dtype == object else not text and column.dtype.kind == "f"
    if not fits:
        raise SettingError(f"'{value}' cannot be compared with the column '{condition.column}'.")
    return value
