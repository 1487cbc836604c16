"""The kinds of validation, each from a table to a folder with report, tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import InputError, SarcoscopeError
from sarcoscope.progress import Progress
from sarcoscope.study import analyze
from sarcoscope.validation.cases import (
    MaskPair,
    ValidationOptions,
    case_row,
    mask_pairs,
    merge_cases,
    read_table,
    write_rows,
)
from sarcoscope.validation.level_tables import accuracy, confusion, right_per_class, slice_error, within_one
from sarcoscope.validation.overlap import BANDS
from sarcoscope.validation.pages import write_page
from sarcoscope.validation.pictures import pair_picture, save_bland_altman, save_confusion, save_scatter
from sarcoscope.validation.protocol_check import protocol_sentences, region_habits
from sarcoscope.validation.statistics import bland_altman, bootstrap, kappa
from sarcoscope.validation.summary import Table, error_rows, summary_tables

_PICTURES_PER_BAND = 4


def validate_masks(
    table: Path, out: Path, options: ValidationOptions, progress: Progress | None = None
) -> list[Table]:
    """Masks against references: P1's tables, overlap, areas, subgroups, protocol check, case list.

    Raises:
        InputError: a table or file that cannot be used.
    """
    pairs = list(mask_pairs(table, options, progress))
    if not pairs:
        raise InputError("No reference of the table labels muscle, SAT or VAT.")
    rows = [case_row(p) for p in pairs]
    tables = summary_tables(rows)
    pictures = _mask_pictures(pairs, rows, out)
    _write_mask_report(rows, tables, out, protocol_sentences(region_habits(pairs)), pictures)
    return tables


def merge_validations(folders: Sequence[Path], out: Path) -> list[Table]:
    """Tables of several sites joined; images need not travel.

    Raises:
        InputError: a table cannot be used, or a case stands in two of them.
    """
    rows = merge_cases(folders)
    tables = summary_tables(rows)
    out.mkdir(parents=True, exist_ok=True)
    _write_mask_report(rows, tables, out, [], _agreement_picture(rows, out))
    return tables


def _write_mask_report(
    rows: Sequence[Mapping[str, Any]],
    tables: Sequence[Table],
    out: Path,
    warnings: Sequence[str],
    pictures: Mapping[str, str],
) -> None:
    write_rows(out / "cases.csv", rows)
    write_rows(out / "measurement_error.csv", error_rows(rows, "sarcoscope validate masks"))
    kinds = sorted({str(r["reference_by"]) for r in rows})
    notes = [f"Reference: {', '.join(_REFERENCE[k] for k in kinds)}."]
    page_tables = [*tables, _case_list(rows)]
    write_page(
        out, "Masks against references", page_tables, notes=notes, warnings=warnings, pictures=pictures
    )


_REFERENCE = {
    "human": "drawn by people",
    "ai": "the output of another AI (agreement with it proves no truth)",
    "unknown": "of unknown origin (say human or ai in the column reference_by)",
}


def _case_list(rows: Sequence[Mapping[str, Any]]) -> Table:
    order = sorted(rows, key=lambda r: float(r["iou_muscle"]))
    lines = [
        (
            str(r["band_muscle"]),
            str(r["case"]),
            str(r["centre"]),
            f"{float(r['iou_muscle']):.3f}",
            f"{float(r['iou_sat']):.3f}",
            f"{float(r['iou_vat']):.3f}",
        )
        for r in order
    ]
    return Table(
        "Cases by band of the muscle, worst first",
        ("band", "case", "hospital", "muscle", "SAT", "VAT"),
        tuple(lines),
    )


def _agreement_picture(rows: Sequence[Mapping[str, Any]], out: Path) -> dict[str, str]:
    found = [float(r["area_muscle"]) for r in rows]
    truth = [float(r["reference_area_muscle"]) for r in rows]
    save_bland_altman(found, truth, out / "bland_altman_muscle.png", "cm2")
    return {"bland_altman_muscle.png": "Muscle area: difference against mean"}


def _mask_pictures(pairs: Sequence[MaskPair], rows: Sequence[Mapping[str, Any]], out: Path) -> dict[str, str]:
    """Bland-Altman, and the worst cases of every band: prediction left, reference right."""
    out.mkdir(parents=True, exist_ok=True)
    captions = _agreement_picture(rows, out)
    order = sorted(range(len(rows)), key=lambda k: float(rows[k]["iou_muscle"]))
    for band, _, _ in reversed(BANDS):
        for k in [k for k in order if rows[k]["band_muscle"] == band][:_PICTURES_PER_BAND]:
            name = f"case_{re.sub(r'[^A-Za-z0-9._-]', '_', pairs[k].name)}.png"
            pair_picture(pairs[k]).save(out / name)
            iou = float(rows[k]["iou_muscle"])
            captions[name] = f"{pairs[k].name}: muscle IoU {iou:.3f} (prediction left, reference right)"
    return captions


def validate_levels(table: Path, out: Path, progress: Progress | None = None) -> list[Table]:
    """Named slices or level ranges against references: P2's and P3's tables.

    The table has ``volume,person,reference,prediction`` (paths of level tables as ``analyze`` writes them)
    or ``case,person,reference,prediction`` (levels of single slices); ``centre`` is optional.

    Raises:
        InputError: a table or file that cannot be used.
    """
    rows = read_table(table, ("person", "reference", "prediction"))
    slices: list[dict[str, str]] = []
    middles: list[dict[str, float | str]] = []
    if "volume" in rows[0]:
        for n, row in enumerate(rows):
            own, middle = _level_slices(row, table.parent)
            slices += own
            middles += middle
            if progress is not None:
                progress("validate", (n + 1) / len(rows))
    else:
        slices = rows
    wrong = {r[k] for r in slices for k in ("reference", "prediction")} - set(LEVELS)
    if wrong:
        raise InputError(f"'{sorted(wrong)[0]}' is no level; levels are {', '.join(LEVELS)}.")
    out.mkdir(parents=True, exist_ok=True)
    tables = _level_tables(slices)
    counts = confusion([r["reference"] for r in slices], [r["prediction"] for r in slices])
    save_confusion(counts, out / "confusion.png")
    np.savetxt(out / "confusion.csv", counts, fmt="%d", delimiter=",", header=",".join(LEVELS), comments="")
    pictures = {"confusion.png": "Slices by reference level (rows) and named level (columns)"}
    if middles:
        tables += [_slice_error_table(middles)]
        l3 = [m for m in middles if m["level"] == "L3"] or middles
        save_scatter(
            [float(m["found_mm"]) for m in l3],
            [float(m["true_mm"]) for m in l3],
            out / "l3_scatter.png",
            "mm",
        )
        pictures["l3_scatter.png"] = "Middle of L3: found against reference"
    write_rows(out / "slices.csv", slices)
    write_rows(out / "middles.csv", middles)
    write_page(out, "Levels against references", tables, pictures=pictures)
    return tables


def _level_slices(
    row: Mapping[str, str], folder: Path
) -> tuple[list[dict[str, str]], list[dict[str, float | str]]]:
    """Slices of all reference bodies with the nearest found range's level, and middles of whole bodies."""
    reference, found = (_ranges(folder / row[k]) for k in ("reference", "prediction"))
    base = {"person": row["person"], "centre": row.get("centre", "")}
    slices: list[dict[str, str]] = []
    middles: list[dict[str, float | str]] = []
    for level, (low, high, z_low, z_high) in reference.items():
        for index in range(low, high + 1):
            gaps = {n: max(a - index, index - b, 0) for n, (a, b, _, _) in found.items()}
            named = min(gaps, key=lambda n: (gaps[n], LEVELS.index(n))) if gaps else ""
            if named:
                case = f"{row['volume']}#{index}"
                slices.append({"case": case, **base, "reference": level, "prediction": named})
        if level in found and high > low:
            a, b, za, zb = found[level]
            step = (z_high - z_low) / (high - low)
            middles.append(
                {
                    "volume": row["volume"],
                    **base,
                    "level": level,
                    "found": (a + b) / 2,
                    "true": (low + high) / 2,
                    "found_mm": (za + zb) / 2,
                    "true_mm": (z_low + z_high) / 2,
                    "spacing_mm": abs(step),
                }
            )
    return slices, middles


def _ranges(path: Path) -> dict[str, tuple[int, int, float, float]]:
    """Level -> (lowest, highest slice, their z in mm) of a ``levels.csv``; z counts slices if absent."""
    ranges = {}
    for row in read_table(path, ("level", "index_low", "index_high")):
        try:
            low, high = int(row["index_low"]), int(row["index_high"])
            z = [float(row.get(f"z_mm_{k}") or v) for k, v in (("low", low), ("high", high))]
        except ValueError as error:
            raise InputError(f"The table '{path.name}' has a value that is no number: {error}.") from error
        ranges[row["level"]] = (low, high, z[0], z[1])
    return ranges


def _level_tables(slices: Sequence[Mapping[str, str]]) -> list[Table]:
    centres = sorted({r.get("centre", "") for r in slices})
    groups = [("all", list(slices))]
    if len(centres) > 1:
        groups += [(c or "(not named)", [r for r in slices if r.get("centre", "") == c]) for c in centres]
    lines, classes = [], []
    for name, own in groups:
        counts = confusion([r["reference"] for r in own], [r["prediction"] for r in own])
        right = [float(r["reference"] == r["prediction"]) for r in own]
        low, high = bootstrap(right, [r["person"] for r in own])
        people = len({r["person"] for r in own})
        lines.append(
            (
                name,
                str(len(own)),
                str(people),
                f"{accuracy(counts):.4f}",
                f"{low:.3f} to {high:.3f}",
                f"{within_one(counts):.4f}",
            )
        )
        classes.append((name, right_per_class(counts)))
    rows = []
    for level in LEVELS:
        cells = [
            f"{100 * c[level][0] / c[level][1]:.0f} % of {c[level][1]}" if level in c else "-"
            for _, c in classes
        ]
        if any(cell != "-" for cell in cells):
            rows.append((level, *cells))
    return [
        Table(
            "Slices named rightly",
            ("hospital", "slices", "people", "right", "95 % interval", "within one"),
            tuple(lines),
        ),
        Table("Right per level", ("level", *(n for n, _ in classes)), tuple(rows)),
    ]


def _slice_error_table(middles: Sequence[Mapping[str, float | str]]) -> Table:
    lines = []
    for level in LEVELS:
        own = [m for m in middles if m["level"] == level]
        error = slice_error(*([float(m[k]) for m in own] for k in ("found", "true", "spacing_mm")))
        if error is not None:
            lines.append(
                (
                    level,
                    str(error.n),
                    f"{error.mean_slices:.2f} +- {error.sd_slices:.2f}",
                    f"{error.mean_mm:.1f} +- {error.sd_mm:.1f}",
                    str(error.within_10_mm),
                    f"{error.r_squared:.3f}",
                )
            )
    head = ("level", "volumes", "slices (mean +- SD)", "mm (mean +- SD)", "within 10 mm", "R2")
    return Table(
        "Middle slice, found against reference", head, tuple(lines), "P3: 0.68 +- 1.26 slices, R2 0.98."
    )


def validate_end_to_end(table: Path, out: Path, progress: Progress | None = None) -> list[Table]:
    """CT in, area and class out, against references.

    Columns ``path,person,reference_area_cm2``; optional ``reference_class,level,protocol,reference,sex,age,
    height_cm,weight_kg,centre``. A CT that cannot be analysed is a row with its reason, never a stop.

    Raises:
        InputError: the table cannot be used.
    """
    rows = read_table(table, ("path", "person", "reference_area_cm2"))
    cases = []
    for n, row in enumerate(rows):
        cases.append(_analysed(row, table.parent))
        if progress is not None:
            progress("validate", (n + 1) / len(rows))
    write_rows(out_made(out) / "cases.csv", cases)
    done = [c for c in cases if c["area_cm2"] != ""]
    tables = [_end_table(cases, done)]
    pictures = {}
    if done:
        found = [float(c["area_cm2"]) for c in done]
        truth = [float(c["reference_area_cm2"]) for c in done]
        save_bland_altman(found, truth, out / "bland_altman.png", "cm2")
        pictures["bland_altman.png"] = "Muscle area: difference against mean"
    write_page(out, "From CT to class", tables, pictures=pictures)
    return tables


def out_made(out: Path) -> Path:
    """The folder, made when missing."""
    out.mkdir(parents=True, exist_ok=True)
    return out


def _analysed(row: Mapping[str, str], folder: Path) -> dict[str, Any]:
    case: dict[str, Any] = {
        "path": row["path"],
        "person": row["person"],
        "centre": row.get("centre", ""),
        "reference_area_cm2": row["reference_area_cm2"],
        "area_cm2": "",
        "error_percent": "",
        "reference_class": row.get("reference_class", ""),
        "class": "",
        "failure": "",
    }
    body = {
        k: float(row[c])
        for k, c in (("age_years", "age"), ("height_cm", "height_cm"), ("weight_kg", "weight_kg"))
        if row.get(c)
    }
    level = row.get("level") or "L3"
    try:
        result = analyze(
            folder / row["path"],
            body={**body, **({"sex": row["sex"]} if row.get("sex") else {})},
            levels=(level,),
            protocol=row.get("protocol") or "range",
            references=(row["reference"],) if row.get("reference") else (),
        )
    except SarcoscopeError as error:
        return {**case, "failure": str(error)}
    measured = [m for m in result.record.measurements if m.level == level]
    if not measured:
        return {**case, "failure": f"{level} was not measured"}
    area, truth = measured[0].tissues["muscle"].area_cm2, float(row["reference_area_cm2"])
    first = next((d for d in result.record.diagnoses if d.level == level), None)
    return {
        **case,
        "area_cm2": round(area, 2),
        "error_percent": round(100 * (area / truth - 1), 2),
        "class": first.class_ if first else "",
    }


def _end_table(cases: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]]) -> Table:
    errors = [abs(float(c["error_percent"])) for c in done]
    lines = [("studies", str(len(cases))), ("measured", str(len(done)))]
    if errors:
        low, high = bootstrap(errors, [c["person"] for c in done])
        agree = bland_altman(
            [float(c["area_cm2"]) for c in done], [float(c["reference_area_cm2"]) for c in done]
        )
        lines += [
            ("|area error| %, mean (95 % interval)", f"{np.mean(errors):.1f} ({low:.1f} to {high:.1f})"),
            ("|area error| %, worst", f"{max(errors):.1f}"),
            ("bias and limits, cm2", f"{agree.bias:+.1f} ({agree.low:+.1f} to {agree.high:+.1f})"),
        ]
    graded = [c for c in done if c["reference_class"]]
    if graded:
        same = kappa([c["class"] for c in graded], [c["reference_class"] for c in graded])
        right = sum(c["class"] == c["reference_class"] for c in graded)
        lines += [("same class", f"{right} of {len(graded)}"), ("kappa", f"{same:.3f}")]
    return Table("From CT to area and class", ("figure", "value"), tuple(lines))


def validate_repeat(table: Path, out: Path) -> list[Table]:
    """Two measurements of one person (two phases, two scans): ``person,area_a,area_b``, optional ``group``.

    Raises:
        InputError: the table cannot be used.
    """
    rows = read_table(table, ("person", "area_a", "area_b"))
    try:
        a, b = ([float(r[k]) for r in rows] for k in ("area_a", "area_b"))
    except ValueError as error:
        raise InputError(f"The table '{table.name}' has a value that is no number: {error}.") from error
    percent = [100 * abs(x - y) / ((x + y) / 2) for x, y in zip(a, b, strict=True)]
    ratios = [2 * ((x - y) / (x + y)) ** 2 for x, y in zip(a, b, strict=True)]
    agree = bland_altman(a, b)
    lines = (
        ("pairs", str(len(rows))),
        ("difference %, mean", f"{np.mean(percent):.1f}"),
        ("difference %, worst", f"{max(percent):.1f}"),
        ("within 3 %", f"{sum(p <= 3 for p in percent)} of {len(rows)}"),
        ("within-subject CV %", f"{100 * np.sqrt(np.mean(ratios)):.2f}"),
        ("bias and limits, cm2", f"{agree.bias:+.1f} ({agree.low:+.1f} to {agree.high:+.1f})"),
    )
    tables = [Table("Repeatability", ("figure", "value"), lines)]
    save_bland_altman(a, b, out_made(out) / "bland_altman.png", "cm2")
    write_page(out, "Repeatability", tables, pictures={"bland_altman.png": "Difference against mean"})
    return tables
