"""The ordered decoding on made-up evidence whose truth is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.anatomy.levels import LEVEL_INDEX
from sarcoscope.levels.chain import CHAIN, Evidence, decode, name_shares

BODY_MM = {"L5": 25, "L4": 26, "L3": 27, "L2": 27, "L1": 25, "T12": 24, "T11": 21, "T10": 20, "T9": 19}


def evidence_of(
    levels: list[str], sure: float, scale: float = 1.0
) -> tuple[Evidence, list[tuple[str, int, int]]]:
    """Rows of bodies and 8 mm gaps in order from below; every row says its own level with share ``sure``."""
    rows: list[tuple[str, bool]] = []
    truth = []
    for n, level in enumerate(levels):
        start = len(rows)
        rows += [(level, False)] * round(BODY_MM[level] * scale / 2)
        truth.append((level, start, len(rows)))
        if n + 1 < len(levels):
            rows += [(level, True)] * round(7 * scale / 2)
    share = np.full((20, len(rows)), (1 - sure) / 19)
    for r, (level, _) in enumerate(rows):
        share[LEVEL_INDEX[level], r] = sure
    gap = np.array([0.9 if is_gap else 0.1 for _, is_gap in rows])
    return Evidence.of(share, gap), truth


@given(st.integers(0, 5), st.integers(3, 9), st.floats(0.3, 0.95), st.floats(0.85, 1.15))
@settings(max_examples=30, deadline=None)
def test_clear_evidence_is_read_back(first: int, count: int, sure: float, scale: float) -> None:
    names = list(BODY_MM)[first : first + count]
    evidence, truth = evidence_of(names, sure, scale)
    chain = decode(evidence)
    assert [s.level for s in chain.segments] == [t[0] for t in truth]
    for segment, (_, start, stop) in zip(chain.segments, truth, strict=True):
        assert abs(segment.start - start) <= 1
        assert abs(segment.stop - stop) <= 1


@given(st.integers(20, 120), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_evidence_gives_an_ordered_chain(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(20) * 0.3, rows).T
    evidence = Evidence.of(share, rng.random(rows))
    chain = decode(evidence)
    order = [CHAIN.index(s.level) for s in chain.segments]
    assert order == list(range(order[0], order[0] + len(order))) if order else True
    for a, b in zip(chain.segments, chain.segments[1:], strict=False):
        assert a.start < a.stop <= b.start < b.stop
    for segment, shares in zip(chain.segments, name_shares(evidence, chain, 6.0), strict=True):
        assert shares.sum() == np.float64(1.0) or abs(shares.sum() - 1) < 1e-9
        assert shares.argmax() == CHAIN.index(segment.level)


def test_a_doubtful_vertebra_is_named_by_its_neighbours() -> None:
    evidence, truth = evidence_of(["L5", "L4", "L3", "L2", "L1"], 0.8)
    level = evidence.level.copy()
    _, start, stop = truth[2]
    level[:, start:stop] = np.log(1 / 20) * 0.5  # nothing is known of L3 itself
    level[CHAIN.index("T9"), start:stop] += 1.0  # and something else looks likelier
    chain = decode(Evidence(level, evidence.none, evidence.gap, evidence.body))
    assert [s.level for s in chain.segments] == ["L5", "L4", "L3", "L2", "L1"]


def test_two_close_numberings_lower_the_confidence() -> None:
    clear, _ = evidence_of(["T12", "T11", "T10"], 0.8)
    chain = decode(clear)
    sure = name_shares(clear, chain, 6.0)[1].max()
    level = clear.level.copy()
    level[1:] = np.maximum(level[1:], clear.level[:-1] - 0.02)  # the names above fit nearly as well
    level[:-1] = np.maximum(level[:-1], clear.level[1:] - 0.02)
    close = Evidence(level, clear.none, clear.gap, clear.body)
    unsure = name_shares(close, decode(close), 6.0)[1].max()
    assert unsure < 0.6 < sure


def test_no_spine_no_segments() -> None:
    share = np.full((20, 100), 0.001)
    share[19] = 0.98
    chain = decode(Evidence.of(share, np.full(100, 0.1)))
    assert chain.segments == ()
