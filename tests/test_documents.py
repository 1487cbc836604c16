"""Tables in the documents say what the data say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sarcoscope.diagnosis import shipped_sets
from sarcoscope.exports.tables import LEVEL_COLUMNS, MEASUREMENT_COLUMNS
from sarcoscope.language.catalogue import messages
from sarcoscope.models.package import shipped_package

ROOT = Path(__file__).parents[1]


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_flag_is_in_the_table() -> None:
    page = _page("measurements.md")
    for message in messages().values():
        if message.severity:
            row = f"| `{message.code}` | {message.severity} | {message.texts['en']} | {message.texts['ko']} |"
            assert row in page, message.code


def test_every_set_and_number_is_in_the_reference_page() -> None:
    page = _page("references.md")
    for s in shipped_sets():
        part = page.split(f"## `{s.name}`:")[1].split("\n## ")[0]
        assert s.source in part
        rows = re.findall(r"^\| (?:SMA|SMD).*$", part, re.M)
        assert len(rows) == len(s.rows)
        for row, line in zip(s.rows, rows, strict=True):
            for number in (row.limit, row.mean, row.sd):
                assert number is None or f"| {number:g} |" in line


def test_columns_in_the_result_page() -> None:
    page = _page("result.md")
    assert ",".join(LEVEL_COLUMNS) in page
    assert ",".join(MEASUREMENT_COLUMNS) in page


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), (page.name, target)


def test_model_pages_quote_the_cards() -> None:
    for name in ("spine-canal", "level-chain", "tissue-compartments"):
        card = json.loads((shipped_package(name).folder / "card.json").read_text(encoding="utf-8"))
        assert card["version"] in _page(f"models/{name}.md")
        assert card["figures"]


def test_models_stay_small() -> None:
    sizes = [p.stat().st_size for p in (ROOT / "src/sarcoscope/models/shipped").rglob("*.onnx")]
    assert sum(sizes) < 60e6
