"""Tables over cases: bands by hospital, overlap, errors, agreement, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Final

import numpy as np

from sarcoscope.validation.cases import GROUPS, TISSUES
from sarcoscope.validation.overlap import BANDS, band_counts
from sarcoscope.validation.statistics import bland_altman, bootstrap

Row = Mapping[str, Any]
_BAND_NOTE: Final = "Bands are half-open: [0.9, 1], [0.8, 0.9), [0.7, 0.8), below 0.7."
_BINS: Final[Mapping[str, tuple[float, ...]]] = {
    "age": (30, 40, 50, 60, 70, 80),
    "bmi": (18.5, 25, 30, 35),
    "thickness_mm": (2, 4, 6),
}


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """As lines of text."""
        widths = [max(len(r[k]) for r in (self.head, *self.rows)) + 2 for k in range(len(self.head))]
        lines = [self.title]
        for row in (self.head, *self.rows):
            lines.append("".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip())
        return "\n".join([*lines, self.note] if self.note else lines)


def _share(count: int, n: int) -> str:
    return f"{count} ({100 * count / n:.1f} %)" if n else "0"


def band_table(rows: Sequence[Row], title: str) -> Table:
    """P1's table: how many slices lie in which band of IoU, per tissue and for the three together."""
    columns = (
        ("muscle", "iou_muscle"),
        ("SAT", "iou_sat"),
        ("VAT", "iou_vat"),
        ("M+S+V union", "iou_union"),
        ("M+S+V micro", "iou_micro"),
    )
    counts = {name: band_counts([float(r[key]) for r in rows]) for name, key in columns}
    lines = [(band, *(_share(counts[name][band], len(rows)) for name, _ in columns)) for band, _, _ in BANDS]
    head = ("IoU", *(name for name, _ in columns))
    return Table(title, head, tuple(lines), _BAND_NOTE)


def centre_tables(rows: Sequence[Row]) -> list[Table]:
    """The band table of every hospital (none when there is one)."""
    centres = sorted({str(r.get("centre", "")) for r in rows})
    if len(centres) < 2:
        return []
    return [
        band_table(own, f"IoU bands, hospital {c or '(not named)'}: {len(own)} slices")
        for c in centres
        if (own := [r for r in rows if str(r.get("centre", "")) == c])
    ]


def overlap_table(rows: Sequence[Row]) -> Table:
    """Dice with its interval, distances of outlines."""
    persons = [r["person"] for r in rows]
    lines = []
    for tissue in TISSUES:
        dice = [float(r[f"dice_{tissue}"]) for r in rows]
        low, high = bootstrap(dice, persons)
        surface = [float(r[f"surface_mm_{tissue}"]) for r in rows if r[f"surface_mm_{tissue}"] != ""]
        far = [float(r[f"hd95_mm_{tissue}"]) for r in rows if r[f"hd95_mm_{tissue}"] != ""]
        lines.append(
            (
                tissue,
                f"{median(dice):.3f}",
                f"{fmean(dice):.3f} ({low:.3f} to {high:.3f})",
                f"{min(dice):.3f}",
                f"{fmean(surface):.2f}" if surface else "-",
                f"{median(far):.2f}" if far else "-",
            )
        )
    return Table(
        "Overlap",
        (
            "tissue",
            "Dice median",
            "mean (95 % interval)",
            "worst",
            "surface mm, mean",
            "HD95 mm, median",
        ),
        tuple(lines),
        "Intervals by bootstrap over persons.",
    )


def area_errors(rows: Sequence[Row], tissue: str) -> list[float]:
    """(found - reference) / reference in percent, of slices whose reference has the tissue."""
    return [
        100.0 * (float(r[f"area_{tissue}"]) / float(r[f"reference_area_{tissue}"]) - 1.0)
        for r in rows
        if float(r[f"reference_area_{tissue}"]) > 0
    ]


def area_table(rows: Sequence[Row]) -> Table:
    """Error of the areas, Bland-Altman, and bias of the mean HU."""
    lines = []
    for tissue in TISSUES:
        errors = [abs(e) for e in area_errors(rows, tissue)]
        if not errors:
            continue
        agree = bland_altman(
            [float(r[f"area_{tissue}"]) for r in rows], [float(r[f"reference_area_{tissue}"]) for r in rows]
        )
        hu = [
            float(r[f"hu_{tissue}"]) - float(r[f"reference_hu_{tissue}"])
            for r in rows
            if r[f"hu_{tissue}"] != "" and r[f"reference_hu_{tissue}"] != ""
        ]
        lines.append(
            (
                tissue,
                f"{fmean(errors):.1f}",
                f"{median(errors):.1f}",
                f"{max(errors):.1f}",
                f"{agree.bias:+.1f}",
                f"{agree.low:+.1f} to {agree.high:+.1f}",
                f"{fmean(hu):+.1f}" if hu else "-",
            )
        )
    return Table(
        "Areas",
        ("tissue", "|error| %, mean", "median", "worst", "bias cm2", "limits of agreement cm2", "HU bias"),
        tuple(lines),
    )


def subgroup_table(rows: Sequence[Row]) -> Table:
    """Muscle by subgroup; ages, BMI and thickness in bands."""
    lines = []
    for group in GROUPS:
        names = [_bin(group, str(r.get(group, ""))) for r in rows]
        if len({n for n in names if n}) < 2:
            continue
        for name in sorted({n for n in names if n}):
            own = [r for r, n in zip(rows, names, strict=True) if n == name]
            errors = [abs(e) for e in area_errors(own, "muscle")]
            dice = [float(r["dice_muscle"]) for r in own]
            low, high = bootstrap(dice, [r["person"] for r in own])
            lines.append(
                (
                    group,
                    name,
                    str(len(own)),
                    str(len({r["person"] for r in own})),
                    f"{median(dice):.3f}",
                    f"{low:.3f} to {high:.3f}",
                    f"{fmean(errors):.1f}" if errors else "-",
                )
            )
    head = (
        "group",
        "value",
        "slices",
        "people",
        "Dice, median",
        "95 % of the mean",
        "|error| %, mean",
    )
    return Table("Subgroups (muscle)", head, tuple(lines))


def _bin(group: str, value: str) -> str:
    if group not in _BINS or not value:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    edges = _BINS[group]
    k = int(np.searchsorted(edges, number, side="right"))
    if k == 0:
        return f"<{edges[0]:g}"
    return f">={edges[-1]:g}" if k == len(edges) else f"{edges[k - 1]:g}-<{edges[k]:g}"


def error_rows(rows: Sequence[Row], source: str) -> list[dict[str, Any]]:
    """Measurement error per level and tissue, in the columns of the table that ``measures`` reads.

    The half-width of the 95 % interval is 1.96 times the root of the mean squared error; fewer than 20
    slices or 10 persons make it provisional.
    """
    found = []
    for level in sorted({str(r.get("level", "")) for r in rows} - {""}):
        own = [r for r in rows if r.get("level") == level]
        for tissue in TISSUES:
            errors = area_errors(own, tissue)
            if not errors:
                continue
            hu = [
                float(r[f"hu_{tissue}"]) - float(r[f"reference_hu_{tissue}"])
                for r in own
                if r[f"hu_{tissue}"] != "" and r[f"reference_hu_{tissue}"] != ""
            ]
            few = len(own) < 20 or len({r["person"] for r in own}) < 10
            found.append(
                {
                    "levels": level,
                    "tissue": tissue,
                    "area_percent": round(1.96 * _rms(errors), 1),
                    "mean_hu": round(1.96 * _rms(hu), 1) if hu else "",
                    "n": len(errors),
                    "provisional": "yes" if few else "no",
                    "source": source,
                }
            )
    return found


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def summary_tables(rows: Sequence[Row]) -> list[Table]:
    """All tables of masks against references."""
    people = len({r["person"] for r in rows})
    tables = [
        band_table(rows, f"IoU bands: {len(rows)} slices of {people} people"),
        *centre_tables(rows),
        overlap_table(rows),
        area_table(rows),
    ]
    groups = subgroup_table(rows)
    return [*tables, groups] if groups.rows else tables
