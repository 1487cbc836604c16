"""Make ``src/sarcoscope/deid/data/*.csv`` of PS3.15 and PS3.3 again: ``python -m scripts.action_table``.

Sources: Table E.1-1 with all option columns as parsed from the standard by ``dicom-standard`` 0.1.0 (MIT, 433
rows), with the Basic Profile actions of edition 2026c as parsed by ``dicom-anonymizer`` 2.1.0 (BSD, 655 rows)
laid over it. A row that only the newer edition has gets its option columns by rule (``options`` = derived):
dates and times are kept or shifted by the date options, UIDs are kept by the UID option, nothing else. The
types of attributes in the objects that we meet come from ``dicom-standard`` (PS3.3).
"""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c
from pydicom.datadict import dictionary_description, dictionary_VR

DATA = Path(__file__).resolve().parents[1] / "src/sarcoscope/deid/data"
STANDARD = Path(sys.prefix) / "standard"
OPTIONS = {
    "rtnSafePrivOpt": "retain_safe_private",
    "rtnUIDsOpt": "retain_uids",
    "rtnDevIdOpt": "retain_device_identity",
    "rtnInstIdOpt": "retain_institution_identity",
    "rtnPatCharsOpt": "retain_patient_characteristics",
    "rtnLongFullDatesOpt": "full_dates",
    "rtnLongModifDatesOpt": "modified_dates",
    "cleanDescOpt": "clean_descriptors",
    "cleanStructContOpt": "clean_structured_content",
    "cleanGraphOpt": "clean_graphics",
}
EDITION_2026C = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
PATTERNS = {(0x5000, 0): "50xxxxxx", (0x6000, 0x4000): "60xx4000", (0x6000, 0x3000): "60xx3000"}
PRIVATE = "ggggeeee"
OBJECTS = {
    "ct-image": ("1.2.840.10008.5.1.4.1.1.2",),
    "enhanced-ct-image": ("1.2.840.10008.5.1.4.1.1.2.1",),
    "legacy-converted-enhanced-ct-image": ("1.2.840.10008.5.1.4.1.1.2.2",),
    "secondary-capture-image": ("1.2.840.10008.5.1.4.1.1.7",),
    "segmentation": ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"),
    "rt-structure-set": ("1.2.840.10008.5.1.4.1.1.481.3",),
    "comprehensive-sr": ("1.2.840.10008.5.1.4.1.1.88.33",),
    "comprehensive-3d-sr": ("1.2.840.10008.5.1.4.1.1.88.34",),
}
COLUMNS = ["tag", "name", "vr", "basic", *OPTIONS.values(), "basic_edition", "options"]


def newest() -> dict[str, str]:
    """Tag -> Basic Profile action of edition 2026c."""
    found = {}
    for group, action in EDITION_2026C.items():
        for tag in getattr(dicomfields_2026c, group):
            found[PATTERNS[tag[0], tag[1]] if len(tag) == 4 else f"{tag[0]:04x}{tag[1]:04x}"] = action
    return found


def attributes() -> list[dict[str, str]]:
    """Rows of the action table."""
    table: dict[str, dict[str, Any]] = {}
    for row in json.loads((STANDARD / "confidentiality_profile_attributes.json").read_text(encoding="utf-8")):
        tag = PRIVATE if row["id"].startswith("ggggeeee") else row["id"].lower()
        table[tag] = {
            "tag": tag,
            "name": " ".join(row["name"].split()),
            "basic": row["basicProfile"],
            **{ours: row.get(theirs, "") for theirs, ours in OPTIONS.items()},
            "basic_edition": "433-row",
            "options": "table",
        }
    for tag, action in newest().items():
        row = table.setdefault(tag, {"tag": tag, "name": described(tag), "options": "derived"})
        row |= {"basic": action, "basic_edition": "2026c"}
        if row["options"] == "derived":
            vr = vr_of(tag)
            if vr in ("DA", "DT", "TM"):
                row |= {"full_dates": "K", "modified_dates": "C"}
            elif vr == "UI" and "U" in action:
                row["retain_uids"] = "K"
    return [{**row, "vr": vr_of(tag)} for tag, row in sorted(table.items())]


def described(tag: str) -> str:
    """Name of an attribute."""
    try:
        return dictionary_description(int(tag, 16))
    except (KeyError, ValueError):
        return f"({tag[:4]},{tag[4:]})"


def vr_of(tag: str) -> str:
    """Value representation, empty for patterns and what the dictionary does not know."""
    try:
        return dictionary_VR(int(tag, 16)).split(" or ")[0]
    except (KeyError, ValueError):
        return ""


def object_types(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Type of every attribute with a combined action, at the top and inside sequences of the objects."""
    wanted = {r["tag"] for r in rows if "/" in r["basic"]}
    modules: dict[str, set[str]] = {}
    for row in json.loads((STANDARD / "ciod_to_modules.json").read_text(encoding="utf-8")):
        if row["ciodId"] in OBJECTS and row["usage"] in ("M", "C", "U"):
            modules.setdefault(row["moduleId"], set()).add(row["ciodId"] + "|" + row["usage"])
    types: dict[tuple[str, str], dict[str, str]] = {}
    for row in json.loads((STANDARD / "module_to_attributes.json").read_text(encoding="utf-8")):
        tag = row["path"].rpartition(":")[2]
        if (
            tag not in wanted
            or row["moduleId"] not in modules
            or row["type"] not in ("1", "1C", "2", "2C", "3")
        ):
            continue
        place = "top" if row["path"].count(":") == 1 else "nested"
        for entry in modules[row["moduleId"]]:
            name, usage = entry.split("|")
            kind = row["type"][0] if usage == "M" or place == "nested" else "3"
            own = types.setdefault((name, tag), {"top": "", "nested": ""})
            own[place] = min(own[place] or "9", kind)
    return [
        {"sop_class": uid, "tag": tag, **own}
        for (name, tag), own in sorted(types.items())
        for uid in OBJECTS[name]
    ]


def as_csv(rows: list[dict[str, str]], columns: list[str]) -> str:
    """Rows as CSV text."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def tables() -> dict[str, str]:
    """File name -> content."""
    rows = attributes()
    return {
        "attributes.csv": as_csv(rows, COLUMNS),
        "object_types.csv": as_csv(object_types(rows), ["sop_class", "tag", "top", "nested"]),
    }


if __name__ == "__main__":
    for file, content in tables().items():
        (DATA / file).write_text(content, encoding="utf-8")
        print(file, content.count("\n") - 1, "rows")
