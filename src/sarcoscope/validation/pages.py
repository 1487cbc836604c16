"""A validation as a folder: HTML page, CSV tables, PNG pictures."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from sarcoscope.validation.summary import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1000px; padding: 0 1rem;
color: #1c1c1e }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 }
td, th { border-bottom: 1px solid #ddd; padding: .25rem .8rem; text-align: left }
th { color: #555; font-weight: 600 }
.note { color: #555 } .warn { background: #fff4e0; border-left: 4px solid #e69b00; padding: .5rem .8rem }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9rem }
"""
NO_DEVICE = "Research use only: not a medical device."


def write_page(
    folder: Path,
    title: str,
    tables: Sequence[Table],
    *,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    pictures: Mapping[str, str] | None = None,
) -> Path:
    """Write ``report.html`` and a CSV of every table into a folder.

    Args:
        folder: made when missing.
        title: of the page.
        tables: in order.
        notes: sentences under the title.
        warnings: sentences that must be seen.
        pictures: file in the folder -> caption.

    Returns:
        the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f"<p class='note'>{html.escape(n)}</p>" for n in (*notes, NO_DEVICE)]
    parts += [f"<p class='warn'>{html.escape(w)}</p>" for w in warnings]
    for number, table in enumerate(tables, start=1):
        parts.append(_html_table(table))
        with (folder / f"table_{number}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([(table.title,), table.head, *table.rows])
    for name, caption in (pictures or {}).items():
        image, text = html.escape(name), html.escape(caption)
        parts.append(f"<figure><img src='{image}' alt='{text}'><figcaption>{text}</figcaption></figure>")
    page = folder / "report.html"
    page.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
        + "\n".join(parts)
        + "</html>\n",
        encoding="utf-8",
    )
    return page


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in table.head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in table.rows
    )
    note = f"<p class='note'>{html.escape(table.note)}</p>" if table.note else ""
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{body}</table>{note}"
