"""Masks against references, slice by slice: a table of cases that can be merged without images."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sarcoscope.errors import InputError, NotFoundError, UnreadableError
from sarcoscope.imaging.label_files import (
    DEFAULT_VALUES,
    OUR_VALUES,
    UNNAMED,
    read_grey,
    read_label_nifti,
    translate,
)
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.reader import read_study
from sarcoscope.progress import Progress
from sarcoscope.validation.overlap import band_of, scores_of, surface_distance

TISSUES: Final = ("muscle", "sat", "vat")
GROUPS: Final = ("centre", "level", "sex", "age", "bmi", "phase", "thickness_mm", "kernel", "vendor")
"""Columns by which figures are given apart."""
TABLE_COLUMNS: Final = ("case", "person", "prediction", "reference", "image", "reference_by", *GROUPS)
REFERENCES: Final = ("human", "ai")
Values = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class MaskPair:
    """One slice: what was found, and the reference."""

    name: str
    row: Mapping[str, str]
    found: NDArray[np.uint8]
    """[y, x] 0 none of them, 1 muscle, 2 SAT, 3 VAT"""
    truth: NDArray[np.uint8]
    """[y, x] likewise; 255 does not count."""
    spacing_mm: tuple[float, float]
    """(y, x); (1, 1) where the files do not say."""
    hu: NDArray[np.int16] | None = None
    """[y, x]; None: no image was given."""


@dataclass(frozen=True)
class ValidationOptions:
    """How foreign labels are understood."""

    found_values: Values = field(default_factory=lambda: dict(OUR_VALUES))
    truth_values: Values = field(default_factory=lambda: dict(OUR_VALUES))
    flip: str = ""
    """``x``, ``y`` or ``xy``: the references are mirrored."""


def read_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV with the columns needed.

    Raises:
        InputError: no file, no row, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            missing = [c for c in needed if c not in (table.fieldnames or ())]
            if missing:
                raise InputError(f"The table '{path.name}' has no column {', '.join(missing)}.")
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in table]
    except FileNotFoundError:
        raise NotFoundError(f"There is no table '{path.name}'.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"The table '{path.name}' cannot be read.") from error
    if not rows:
        raise InputError(f"The table '{path.name}' has no row.")
    return rows


def mask_pairs(
    path: Path, options: ValidationOptions, progress: Progress | None = None
) -> Iterator[MaskPair]:
    """Every slice that the reference labels, of every row of a table.

    Raises:
        InputError: a file that cannot be read, or sizes that do not fit.
    """
    rows = read_table(path, ("case", "person", "prediction", "reference"))
    for n, row in enumerate(rows):
        yield from _pairs_of(row, path.parent, options)
        if progress is not None:
            progress("validate", (n + 1) / len(rows))


def _pairs_of(row: Mapping[str, str], folder: Path, options: ValidationOptions) -> Iterator[MaskPair]:
    by = row.get("reference_by", "")
    if by and by not in REFERENCES:
        raise InputError(f"Case {row['case']}: reference_by is '{by}'; it is human or ai.")
    # what a prediction calls by another name is no muscle, SAT or VAT of it; a reference may be silent
    found, spacing = read_labels(folder / row["prediction"], options.found_values, unnamed=0)
    truth, truth_spacing = read_labels(folder / row["reference"], options.truth_values)
    for axis, letter in ((1, "y"), (2, "x")):
        if letter in options.flip:
            truth = np.flip(truth, axis)
    if found.shape != truth.shape:
        raise InputError(
            f"Case {row['case']}: the prediction is {found.shape} in size, the reference {truth.shape}."
        )
    hu = _image(folder / row["image"]) if row.get("image") else None
    if hu is not None and hu.shape != truth.shape:
        raise InputError(f"Case {row['case']}: the image is {hu.shape} in size, its masks {truth.shape}.")
    step = truth_spacing or spacing or (1.0, 1.0)
    for k in range(len(truth)):
        if not np.isin(truth[k], [DEFAULT_VALUES[t] for t in TISSUES]).any():
            continue
        name = row["case"] if len(truth) == 1 else f"{row['case']}#{k}"
        yield MaskPair(name, row, found[k], truth[k], step, hu[k] if hu is not None else None)


def read_labels(
    path: Path, values: Values, unnamed: int = UNNAMED
) -> tuple[NDArray[np.uint8], tuple[float, float] | None]:
    """Labels [z, y, x] in our values and (y, x) spacing, of a NIfTI or PNG file."""
    if path.suffix.lower() == ".png":
        return translate(read_grey(path), values, unnamed)[None], None
    labels = translate(read_label_nifti(path), values, unnamed)
    import nibabel as nib

    image: Any = nib.as_closest_canonical(nib.load(path))
    x, y = (float(s) for s in image.header.get_zooms()[:2])
    return labels, (y, x)


def _image(path: Path) -> NDArray[np.int16]:
    if not path.exists():
        raise NotFoundError(f"There is no image '{path.name}'.")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return read_nifti(path).hu
    return read_study(path, policy=SeriesPolicy.load(None)).volume.hu


def case_row(pair: MaskPair) -> dict[str, Any]:
    """All figures of one slice, ready for a table."""
    counted = pair.truth != UNNAMED
    values = {t: DEFAULT_VALUES[t] for t in TISSUES}
    row: dict[str, Any] = {
        "case": pair.name,
        "person": pair.row["person"],
        "reference_by": pair.row.get("reference_by", "") or "unknown",
        **{g: pair.row.get(g, "") for g in GROUPS},
    }
    scores = scores_of(pair.found, pair.truth, values, counted=counted)
    row |= {k: round(v, 5) for k, v in scores.items()}
    pixel = pair.spacing_mm[0] * pair.spacing_mm[1] / 100.0
    for tissue, value in values.items():
        found, truth = (pair.found == value) & counted, (pair.truth == value) & counted
        row[f"band_{tissue}"] = band_of(scores[f"iou_{tissue}"])
        row[f"area_{tissue}"] = round(float(found.sum()) * pixel, 3)
        row[f"reference_area_{tissue}"] = round(float(truth.sum()) * pixel, 3)
        away = surface_distance(found, truth, pair.spacing_mm)
        row[f"surface_mm_{tissue}"] = round(away.mean_mm, 3) if away else ""
        row[f"hd95_mm_{tissue}"] = round(away.p95_mm, 3) if away else ""
        hu: tuple[float | str, float | str] = ("", "")
        if pair.hu is not None and found.any() and truth.any():
            hu = (round(float(pair.hu[found].mean()), 2), round(float(pair.hu[truth].mean()), 2))
        row[f"hu_{tissue}"], row[f"reference_hu_{tissue}"] = hu
    return row


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as CSV (nothing without a row)."""
    if rows:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def read_cases(path: Path) -> list[dict[str, Any]]:
    """A table of cases that :func:`case_row` made, numbers as numbers.

    Raises:
        InputError: it is none.
    """
    rows: list[dict[str, Any]] = []
    for row in read_table(path, ("case", "person", "iou_muscle", "area_muscle", "reference_area_muscle")):
        numbers = ("dice_", "iou_", "area_", "reference_area_", "surface_", "hd95_", "hu_", "reference_hu_")
        try:
            rows.append({k: float(v) if k.startswith(numbers) and v else v for k, v in row.items()})
        except ValueError as error:
            raise InputError(f"The table '{path.name}' has a value that is no number: {error}.") from error
    return rows


def merge_cases(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Cases of several sites in one table; persons of different sites are different people.

    Raises:
        InputError: a table cannot be read, or two have the same site's cases.
    """
    merged: list[dict[str, Any]] = []
    seen: set[tuple[str, str, str]] = set()
    for n, path in enumerate(paths, start=1):
        table = path / "cases.csv" if path.is_dir() else path
        for row in read_cases(table):
            key = (str(row.get("centre", "")), str(row["person"]), str(row["case"]))
            if key in seen and key[0]:
                raise InputError(f"Case {key[2]} of centre {key[0]} stands in more than one table.")
            seen.add(key)
            site = row.get("centre") or f"site{n}"
            merged.append({**row, "centre": site, "person": f"{site}/{row['person']}"})
    return merged
