"""The user guide: its pages and pictures are there, used, and small."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from tests.conftest import REPOSITORY

GUIDE = REPOSITORY / "docs" / "guide"
PICTURES = REPOSITORY / "docs" / "pictures"
PEOPLE = ("clinician", "reader", "researcher", "model-builder", "data-manager")
MOST_BYTES = 200_000


def _targets(page: Path) -> list[Path]:
    """Files that a page links to or shows."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in found if "://" not in target]


def test_there_is_a_page_for_each_person() -> None:
    index = _targets(GUIDE / "README.md")
    for name in PEOPLE:
        page = GUIDE / f"{name}.md"
        assert page in index, name
        text = page.read_text(encoding="utf-8")
        assert "Research use only" in text, name
        assert "![" in text, f"{name} has no picture"
    assert sorted(p.stem for p in GUIDE.glob("*.md") if p.name != "README.md") == sorted(PEOPLE)


def test_every_link_leads_somewhere() -> None:
    for page in GUIDE.glob("*.md"):
        for target in _targets(page):
            assert target.exists(), (page.name, target)


def test_every_picture_is_shown_and_small() -> None:
    shown = {target for page in GUIDE.glob("*.md") for target in _targets(page) if target.suffix == ".png"}
    there = set(PICTURES.iterdir())
    assert shown == there
    for path in there:
        assert path.stat().st_size < MOST_BYTES, path.name
        with Image.open(path) as picture:
            picture.verify()
            assert picture.format == "PNG", path.name


def test_every_picture_says_what_it_shows() -> None:
    for page in GUIDE.glob("*.md"):
        for words in re.findall(r"!\[([^\]]*)\]", page.read_text(encoding="utf-8")):
            assert len(words) > 15, (page.name, words)
