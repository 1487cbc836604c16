"""The report of a cohort as one HTML page beside its figures and tables."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sarcoscope.cohort.page_tables import PageTable
from sarcoscope.language.catalogue import say

_STYLE: Final = """
body { font: 15px/1.55 Pretendard, system-ui, 'Malgun Gothic', 'Noto Sans KR', sans-serif;
margin: 2rem auto; max-width: 1120px; padding: 0 1rem; color: #1c1c1e }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; margin: .4rem 0; font-size: .86rem }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
td, th { border-bottom: 1px solid #e2e2e6; padding: .22rem .7rem; text-align: left; white-space: nowrap;
font-variant-numeric: tabular-nums }
th { color: #4b5563; font-weight: 600 } td:first-child { white-space: normal; min-width: 9rem }
.note { color: #4b5563; font-size: .88rem; margin: .2rem 0 }
.warn { background: #fff4e0; border-left: 4px solid #e69b00; padding: .45rem .8rem; margin: .3rem 0 }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 }
figcaption { color: #4b5563; font-size: .88rem } details { margin: .5rem 0 } summary { cursor: pointer }
"""


@dataclass
class Part:
    """A section of the page."""

    title: str
    pictures: list[tuple[str, str]] = field(default_factory=list)
    """(file beside the page, caption)."""
    tables: list[PageTable] = field(default_factory=list)
    folded: list[PageTable] = field(default_factory=list)
    """Tables shown when they are asked for."""
    warnings: list[str] = field(default_factory=list)


def page(
    title: str, lead: Sequence[str], warnings: Sequence[str], parts: Sequence[Part], language: str
) -> str:
    """The page."""
    out = [f"<h1>{html.escape(title)}</h1>"]
    out += [f"<p class='note'>{html.escape(text)}</p>" for text in lead]
    out += [_warning(text) for text in warnings]
    for part in parts:
        out.append(f"<section><h2>{html.escape(part.title)}</h2>")
        out += [_warning(text) for text in part.warnings]
        for name, caption in part.pictures:
            text = html.escape(caption)
            out.append(
                f"<figure><img src='{html.escape(name)}' alt='{text}'>"
                f"<figcaption>{text}</figcaption></figure>"
            )
        out += [_table(t) for t in part.tables]
        out += [
            f"<details><summary>{html.escape(t.title)}</summary>{_table(t)}</details>" for t in part.folded
        ]
        out.append("</section>")
    return (
        f"<!doctype html><html lang='{language}'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        + "\n".join(out)
        + f"</main><footer><p class='note'>{html.escape(say('research_only', language))}</p></footer>"
        "</body></html>\n"
    )


def _warning(text: str) -> str:
    return f"<p class='warn'>{html.escape(text)}</p>"


def _table(table: PageTable) -> str:
    head = "".join(f"<th scope='col'>{html.escape(c)}</th>" for c in table.head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in table.rows
    )
    notes = "".join(f"<p class='note'>{html.escape(n)}</p>" for n in table.notes)
    caption = html.escape(table.title)
    return (
        f"<div class='wide'><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{notes}"
    )
