"""Write ``docs/deidentification-table.md`` from the engine's table: ``python -m scripts.deid_table``."""

from __future__ import annotations

from pathlib import Path

from sarcoscope.deid.profile import KEEP_REFERENCES, PRIVATE, Profile, attribute_rows

PAGE = Path(__file__).resolve().parents[1] / "docs/deidentification-table.md"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
WORDS = {
    "X": "removed",
    "Z": "emptied",
    "D": "dummy value",
    "U": "new UID",
    "K": "kept",
    KEEP_REFERENCES: "kept, UIDs replaced",
}


def page() -> str:
    """The page's text."""
    lines = [
        "# What happens to every attribute",
        "",
        "Made by `python -m scripts.deid_table` from the table that the engine reads; a test compares them.",
        "The column *default* is what `sarcoscope deidentify` does to a CT image without further options;",
        "*options* are those that would change it (K keeps, C cleans). Attributes that are not listed stay",
        "unless they are a person's name, a date, a UID, free text, unknown to the standard, or hold one of",
        "the patient's identifiers.",
        "",
        "| Tag | Attribute | Basic Profile | Default (CT image) | Options |",
        "|---|---|---|---|---|",
    ]
    default = Profile()
    for tag, row in attribute_rows().items():
        if tag == PRIVATE:
            done = "removed"
        else:
            action = default.action(tag, CT_IMAGE)
            assert action is not None
            done = WORDS.get(action.code) or ("shifted" if action.reason == "modified_dates" else "cleaned")
            if action.code == "C" and row["vr"] == "SQ" and action.reason == "clean_descriptors":
                done = "removed"
            if tag in ("00100010", "00100020"):
                done = "pseudonym"
        options = ", ".join(
            f"{name.replace('_', ' ')} {row[name]}"
            for name in row
            if name not in ("tag", "name", "vr", "basic", "basic_edition", "options") and row[name]
        )
        shown = f"({tag[:4]},{tag[4:]})" if tag != PRIVATE else "(odd groups)"
        lines.append(f"| {shown} | {row['name']} | {row['basic']} | {done} | {options} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
