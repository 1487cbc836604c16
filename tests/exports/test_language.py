"""Every word that can be printed exists in both languages, and in the font."""

from __future__ import annotations

import re
import string
from pathlib import Path

from fontTools.ttLib import TTFont

from sarcoscope.imaging.series import refusal_texts
from sarcoscope.language.catalogue import messages
from sarcoscope.language.fonts import font_path

SOURCE = Path(__file__).parents[2] / "src" / "sarcoscope"


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_placeholders() -> None:
    for message in messages().values():
        assert message.texts["en"]
        assert message.texts["ko"]
        assert _fields(message.texts["en"]) == _fields(message.texts["ko"]), message.code


def test_every_flag_of_the_code_is_in_the_catalogue() -> None:
    known = messages()
    used = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'(?:ReadFlag|LevelFlag|Flag)\(\s*"([a-z0-9_]+)"', text))
        used |= set(re.findall(r'seen\.add\("([a-z0-9_]+)"\)', text))
    assert len(used) > 30
    for code in used:
        assert known[code].severity in ("info", "caution", "warning"), code


def test_the_font_has_every_letter() -> None:
    letters = {c for m in messages().values() for t in m.texts.values() for c in t}
    letters |= {c for r in refusal_texts().values() for t in r.values() for c in t}
    for bold in (False, True):
        with TTFont(font_path(bold=bold)) as font:
            held = set(font.getBestCmap())
        assert not {c for c in letters if ord(c) not in held}
