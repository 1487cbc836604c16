"""Number the whole chain of vertebrae at once: a semi-Markov dynamic programme over the rows.

States follow each other from below: sacrum, L5 … T1, neck; between two vertebral bodies lies a gap (the
disc). Every body has about the height that its level has in people, times one scale per patient. What is cut
by the end of the volume may be shorter. The evidence of all rows decides together, so that one doubtful
vertebra cannot be named against its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.files import packaged_rows
from sarcoscope.levels.coarse import STEP_MM

Array = NDArray[np.float64]

CHAIN: Final[tuple[str, ...]] = tuple(reversed(LEVELS))
"""Level names from below: ``Sacral``, ``L5`` … ``T1``, ``Cervical``."""
NONE_CLASS: Final = 19
_SCALES: Final = tuple(0.76 + 0.06 * k for k in range(9))
_SCALE_SPREAD: Final = 0.09
_BODY_SPREAD: Final = 0.09
_GAP_SPREAD: Final = 0.35
_ROUNDING_MM: Final = 1.6
_FREE_ROWS: Final = {"Sacral": 90, "Cervical": 90}
_NEAR_SCALES: Final = 0.13
_EVIDENCE_WEIGHT: Final = 0.25
"""Neighbouring rows say nearly the same: the names of four rows count as one piece of evidence."""
_TALLEST: Final = 1.3
"""No body is taller than this times what its level and the patient's scale make expect."""
_WIDEST_GAP: Final = 2.2
_IMPOSSIBLE: Final = -1e9


@dataclass(frozen=True)
class Segment:
    """A vertebra on the rows ``start`` to ``stop`` (not included)."""

    level: str
    start: int
    stop: int


@dataclass(frozen=True)
class Chain:
    """The best numbering and what speaks for it."""

    segments: tuple[Segment, ...]
    score: float
    scale: float
    """The patient's vertebrae against the average."""


@cache
def _heights() -> tuple[Array, Array]:
    """(body, gap above) in mm, along :data:`CHAIN`; NaN where a length is free."""
    rows = {r["level"]: r for r in packaged_rows("sarcoscope.levels", "body_heights")}

    def column(name: str) -> Array:
        values = [rows.get(level, {}).get(name) or "nan" for level in CHAIN]
        return np.array([float(v) for v in values])

    return column("body_mm"), column("gap_above_mm")


def _log_normal(length_mm: Array, mean: float, spread: float) -> Array:
    """Log density of a length, up to a constant."""
    sigma = np.hypot(spread * mean, _ROUNDING_MM)
    out: Array = -0.5 * ((length_mm - mean) / sigma) ** 2 - np.log(sigma)
    return out


def _log_cut(length_mm: Array, mean: float, spread: float) -> Array:
    """Log of how well a length fits a part of a body or gap: only being too long speaks against it."""
    sigma = np.hypot(spread * mean, _ROUNDING_MM)
    out: Array = -0.5 * (np.maximum(length_mm - mean, 0.0) / sigma) ** 2 - np.log(mean)
    return out


@dataclass(frozen=True)
class Evidence:
    """Logarithms of what each row says: ``level`` [chain, row]; ``none``, ``gap``, ``body`` [row]."""

    level: Array
    none: Array
    gap: Array
    body: Array

    @classmethod
    def of(cls, share: Array, gap: Array) -> Evidence:
        """From class shares [20, row] and the share of "between two bodies" [row]."""
        share = np.clip(share, 1e-4, 1.0)
        gap = np.clip(gap, 0.02, 0.98)
        level = np.log(share[: len(LEVELS)][::-1]) * _EVIDENCE_WEIGHT
        none = np.log(share[NONE_CLASS]) * _EVIDENCE_WEIGHT
        return cls(level, none, np.log(gap), np.log(1.0 - gap))

    def flipped(self) -> Evidence:
        """The same evidence read from above."""
        return Evidence(self.level[::-1, ::-1], self.none[::-1], self.gap[::-1], self.body[::-1])


class _Table:
    """Dynamic programme of one scale: best scores of all ways to begin and end each state at each row.

    With ``flipped`` the chain is read from above, so that a pair of tables knows for every vertebra the best
    score of everything below and of everything above it.
    """

    def __init__(self, evidence: Evidence, scale: float, *, flipped: bool = False) -> None:
        body, gap = _heights()
        self.names = CHAIN
        if flipped:
            evidence = evidence.flipped()
            body, gap = body[::-1], np.append(gap[:-1][::-1], np.nan)
            self.names = CHAIN[::-1]
        self.rows = evidence.none.shape[0]
        self.body_mm, self.gap_mm = body * scale, gap * scale
        zero = np.zeros(1)
        self.none_sum = np.concatenate((zero, np.cumsum(evidence.none + evidence.body)))
        count = len(CHAIN)
        self.body_sum = np.zeros((count, self.rows + 1))
        self.gap_sum = np.zeros((count, self.rows + 1))
        for k in range(count):
            self.body_sum[k, 1:] = np.cumsum(evidence.level[k] + evidence.body)
            above = evidence.level[min(k + 1, count - 1)]
            self.gap_sum[k, 1:] = np.cumsum(np.maximum(evidence.level[k], above) + evidence.gap)
        self.begin = np.full((count, self.rows + 1), _IMPOSSIBLE)
        """Best score of everything below row r when body k begins at r."""
        self.begin_from = np.full((count, self.rows + 1), -1, np.int64)
        """Row where the body below ended (-1: nothing lies below)."""
        self.end = np.full((count, self.rows + 1), _IMPOSSIBLE)
        """Best score of everything below row r when body k ends at r."""
        self.end_from = np.full((count, self.rows + 1), -1, np.int64)
        for k in range(count):
            self._fill(k)

    def _body_prior(self, k: int, rows: int, cut: bool) -> float:
        if np.isnan(self.body_mm[k]):
            return 0.0 if rows <= _FREE_ROWS[self.names[k]] else _IMPOSSIBLE
        prior = _log_cut if cut else _log_normal
        return float(prior(np.array(rows * STEP_MM), self.body_mm[k], _BODY_SPREAD))

    def _gap_prior(self, k: int, rows: int, cut: bool) -> float:
        prior = _log_cut if cut else _log_normal
        return float(prior(np.array(rows * STEP_MM), self.gap_mm[k], _GAP_SPREAD))

    def longest(self, k: int) -> int:
        """Most rows that body k may have."""
        if np.isnan(self.body_mm[k]):
            return _FREE_ROWS[self.names[k]]
        return int(np.ceil(_TALLEST * self.body_mm[k] / STEP_MM))

    def longest_gap(self, k: int) -> int:
        """Most rows that the gap above body k may have."""
        return int(np.ceil(_WIDEST_GAP * self.gap_mm[k] / STEP_MM))

    def _fill(self, k: int) -> None:
        rows, index = self.rows, np.arange(self.rows + 1)
        begin, begin_from = self.begin[k], self.begin_from[k]
        begin[0] = 0.0
        if k == 0:
            begin[:] = self.none_sum
        else:
            for length in range(0, self.longest_gap(k - 1) + 1):
                sums = self.gap_sum[k - 1]
                if length > rows:
                    break
                open_start = sums[length] - sums[0] + self._gap_prior(k - 1, max(length, 1), True)
                if length > 0 and open_start > begin[length]:
                    begin[length], begin_from[length] = open_start, -1
                ends = index[: rows + 1 - length]
                score = self.end[k - 1, ends] + sums[ends + length] - sums[ends]
                score = score + self._gap_prior(k - 1, length, False)
                target = begin[length:]
                better = score > target
                target[better] = score[better]
                begin_from[length:][better] = ends[better]
        for length in range(1, min(self.longest(k), rows) + 1):
            starts = index[: rows + 1 - length]
            sums = self.body_sum[k]
            score = begin[starts] + sums[starts + length] - sums[starts]
            prior = np.full(len(starts), self._body_prior(k, length, False))
            prior[0] = max(prior[0], self._body_prior(k, length, True))
            score = score + prior
            target = self.end[k, length:]
            better = score > target
            target[better] = score[better]
            self.end_from[k, length:][better] = starts[better]

    def best(self) -> tuple[float, list[Segment]]:
        """The best whole chain."""
        rows = self.rows
        top, state, stop = _IMPOSSIBLE, -1, -1
        for k in range(len(CHAIN)):
            last = k == len(CHAIN) - 1
            for length in range(1, min(self.longest(k), rows) + 1):
                start = rows - length
                cut = self.begin[k, start] + self.body_sum[k, rows] - self.body_sum[k, start]
                cut += max(self._body_prior(k, length, True), self._body_prior(k, length, False))
                if cut > top:
                    top, state, stop = cut, k, rows
                    self.end_from[k, rows] = start
            if not last:
                for length in range(1, min(self.longest_gap(k), rows - 1) + 1):
                    at = rows - length
                    open_end = self.end[k, at] + self.gap_sum[k, rows] - self.gap_sum[k, at]
                    open_end += self._gap_prior(k, length, True)
                    if open_end > top:
                        top, state, stop = open_end, k, at
            else:
                beyond = self.end[k] + self.none_sum[rows] - self.none_sum
                at = int(beyond[:rows].argmax())
                if beyond[at] > top:
                    top, state, stop = float(beyond[at]), k, at
        only_none = float(self.none_sum[rows])
        if state < 0 or only_none > top:
            return only_none, []
        return top, self._trace(state, stop)

    def _trace(self, k: int, stop: int) -> list[Segment]:
        segments = []
        while k >= 0 and stop > 0:
            start = int(self.end_from[k, stop])
            segments.append(Segment(CHAIN[k], start, stop))
            stop = int(self.begin_from[k, start])
            k -= 1
        return segments[::-1]

    def covering(self, above: _Table) -> Array:
        """[chain, row] best score of any whole chain in which body k covers the row.

        Args:
            above: the flipped table of the same evidence and scale.
        """
        rows = self.rows
        found = np.full((len(CHAIN), rows), _IMPOSSIBLE)
        for k in range(len(CHAIN)):
            rest = above.begin[len(CHAIN) - 1 - k][::-1]
            for length in range(1, min(self.longest(k), rows) + 1):
                starts = np.arange(rows + 1 - length)
                score = self.begin[k, starts] + self.body_sum[k, starts + length] - self.body_sum[k, starts]
                score = score + rest[starts + length] + self._body_prior(k, length, False)
                cut = self._body_prior(k, length, True) - self._body_prior(k, length, False)
                if cut > 0:
                    score[[0, -1]] += cut
                for step in range(length):
                    np.maximum(
                        found[k, step : step + len(score)], score, out=found[k, step : step + len(score)]
                    )
        return found


def _scale_prior(scale: float) -> float:
    return -0.5 * ((scale - 1.0) / _SCALE_SPREAD) ** 2


def decode(evidence: Evidence) -> Chain:
    """The best numbering of all vertebrae in view (no segments: nothing of the spine is in view)."""
    best = Chain((), _IMPOSSIBLE, 1.0)
    for scale in _SCALES:
        score, segments = _Table(evidence, scale).best()
        score += _scale_prior(scale)
        if score > best.score:
            best = Chain(tuple(segments), score, scale)
    return best


def name_shares(evidence: Evidence, chain: Chain, temperature: float) -> list[Array]:
    """For every segment of a chain how likely each name is: shares [chain] that sum to one.

    They follow from the best score of any whole chain that gives the segment's middle row that name; the
    higher the temperature, the less a difference of scores counts (rows are not independent).
    """
    if not chain.segments:
        return []
    scores = np.full((len(CHAIN), evidence.none.shape[0]), _IMPOSSIBLE)
    for scale in _SCALES:
        if abs(scale - chain.scale) > _NEAR_SCALES:
            continue
        table, above = _Table(evidence, scale), _Table(evidence, scale, flipped=True)
        np.maximum(scores, table.covering(above) + _scale_prior(scale), out=scores)
    shares = []
    for segment in chain.segments:
        column = scores[:, (segment.start + segment.stop) // 2]
        weights = np.exp((column - column.max()) / temperature)
        shares.append(weights / weights.sum())
    return shares
