"""The pages and the API know the same words and shapes."""

from __future__ import annotations

import re

from scripts.openapi import TARGET, document

from sarcoscope.language.catalogue import messages
from tests.conftest import REPOSITORY

SOURCES = sorted((REPOSITORY / "frontend" / "src").rglob("*.svelte")) + sorted(
    (REPOSITORY / "frontend" / "src" / "lib").glob("*.ts")
)


def test_the_types_of_the_pages_are_those_of_the_api() -> None:
    """Else: python scripts/openapi.py && npm run types (in frontend)."""
    assert TARGET.read_text(encoding="utf-8") == document()


def test_every_word_of_the_pages_is_in_the_catalogue() -> None:
    known = set(messages())
    used, starts = set(), set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"""\bt\(\s*"([a-z0-9_-]+)\"""", text))
        starts |= set(re.findall(r"""\bt\(`([a-z0-9_]+)\$\{""", text))
    assert len(used) > 80
    assert used - known == set()
    assert [s for s in starts if not any(code.startswith(s) for code in known)] == []


def test_no_word_of_the_pages_is_left_over() -> None:
    text = "\n".join(
        p.read_text(encoding="utf-8") for p in (*SOURCES, REPOSITORY / "frontend/src/App.svelte")
    )
    starts = tuple(re.findall(r"`(ui_[a-z0-9_]+)\$\{", text))
    ours = [code for code in messages() if code.startswith("ui_")]
    left = [c for c in ours if f'"{c}"' not in text and f'"{c[3:]}"' not in text and not c.startswith(starts)]
    assert left == []
