"""A manifest of one's own training data: a CSV ``image,mask,level,person,centre,split``.

``image`` is a DICOM file or folder, a NIfTI file or a PNG; ``path#43`` means slice 43 of a volume (index 0 =
most inferior). ``mask`` is a NIfTI file, a PNG whose grey values are labels, or a JSON file of outlines (in
labelme's form). ``level`` is one of the 19 levels, or the coarse ``Thoracic`` or ``Lumbar``. ``split`` is
``train``, ``validation`` or ``test``; empty means that the recipe deals by person. Paths are relative to the
manifest.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.errors import InputError, NotFoundError, UnreadableError
from sarcoscope.imaging.label_files import DEFAULT_VALUES, read_grey, read_label_nifti, translate
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.reader import read_study

COLUMNS: Final = ("image", "mask", "level", "person", "centre", "split")
COARSE_LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "Thoracic": tuple(level for level in LEVELS if level.startswith("T")),
    "Lumbar": tuple(level for level in LEVELS if level.startswith("L")),
}
"""Coarse labels of the 14-class (chest) and 7-class (abdomen) schemes of P2."""
SPLITS: Final = ("train", "validation", "test")


@dataclass(frozen=True)
class ManifestRow:
    """One line of a manifest."""

    number: int
    image: str
    mask: str
    level: str
    person: str
    centre: str
    split: str


@dataclass(frozen=True, eq=False)
class SliceCase:
    """One axial slice to learn from."""

    name: str
    person: str
    centre: str
    split: str
    level: str
    """One of the 19 levels, a coarse level, or empty."""
    hu: NDArray[np.float32]
    """[y, x]"""
    mask: NDArray[np.uint8] | None
    """[y, x] 0 background, 1 muscle, 2 SAT, 3 VAT, 255 ignored; None: no labels."""
    spacing_mm: tuple[float, float] | None
    """(y, x); None: the file does not say."""


@dataclass(frozen=True)
class LabelOptions:
    """How foreign labels and pictures are understood."""

    values: Mapping[str, int]
    """Tissue name to the value that it has in the masks."""
    png_window_hu: tuple[float, float] = (-160.0, 240.0)
    """HU of the darkest and brightest grey of PNG images."""
    flip: str = ""
    """``x``, ``y`` or ``xy``: the masks are mirrored to fit their images."""


def read_manifest(path: Path) -> list[ManifestRow]:
    """The rows of a manifest.

    Raises:
        NotFoundError: no file there.
        InputError: a column is missing, or there is no row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines)
            missing = [c for c in ("image", "person") if c not in (table.fieldnames or ())]
            if missing:
                raise InputError(f"The manifest '{path.name}' has no column {', '.join(missing)}.")
            rows = [
                ManifestRow(n, *((row.get(c) or "").strip() for c in COLUMNS))
                for n, row in enumerate(table, start=2)
            ]
    except FileNotFoundError:
        raise NotFoundError(f"There is no manifest '{path.name}'.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"The manifest '{path.name}' cannot be read.") from error
    if not rows:
        raise InputError(f"The manifest '{path.name}' names no case.")
    return rows


def load_row(row: ManifestRow, folder: Path, options: LabelOptions) -> list[SliceCase]:
    """The slices of one row; of a volume with a mask, those that hold a label.

    Raises:
        InputError: image or mask cannot be read, or do not fit each other.
    """
    file, _, index = row.image.partition("#")
    stack, spacing = _read_image(folder / file, options)
    chosen = [_index(index, len(stack), row)] if index else range(len(stack))
    masks = _read_mask(folder / row.mask, stack.shape, chosen, options) if row.mask else None
    cases = []
    for k in chosen:
        mask = masks.get(k) if masks is not None else None
        if masks is not None and (mask is None or not mask.any()):
            continue
        name = row.image if index or len(stack) == 1 else f"{row.image}#{k}"
        cases.append(
            SliceCase(name, row.person, row.centre, row.split, row.level,
                      np.asarray(stack[k], np.float32), mask, spacing)
        )  # fmt: skip
    return cases


def load_manifest(path: Path, options: LabelOptions) -> Iterator[SliceCase]:
    """All slices of a manifest, one row after the other."""
    for row in read_manifest(path):
        yield from load_row(row, path.parent, options)


def _index(text: str, count: int, row: ManifestRow) -> int:
    if not text.isdecimal() or int(text) >= count:
        raise InputError(f"Line {row.number}: '{row.image}' has no slice {text} (it has {count}).")
    return int(text)


def _read_image(path: Path, options: LabelOptions) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """HU [slice, y, x] and (y, x) spacing."""
    if path.suffix.lower() == ".png":
        grey = read_grey(path)
        low, high = options.png_window_hu
        top = 65535.0 if grey.dtype == np.uint16 else 255.0
        return (low + grey.astype(np.float32) / top * (high - low))[None], None
    if not path.exists():
        raise NotFoundError(f"There is no image '{path.name}'.")
    if path.name.lower().endswith((".nii", ".nii.gz")):
        volume = read_nifti(path)
    else:
        volume = read_study(path, policy=SeriesPolicy.load(None)).volume
    _, y, x = volume.geometry.spacing_mm
    return volume.hu, (y, x)


def _read_mask(
    path: Path, shape: tuple[int, ...], chosen: range | list[int], options: LabelOptions
) -> dict[int, NDArray[np.uint8]]:
    """Slice to labels [y, x] in our values."""
    name = path.name.lower()
    if name.endswith(".json"):
        stack = _outlines(path, (shape[1], shape[2]))[None]
    elif name.endswith(".png"):
        stack = translate(read_grey(path), options.values)[None]
    elif name.endswith((".nii", ".nii.gz")):
        stack = translate(read_label_nifti(path), options.values)
    else:
        raise InputError(f"The mask '{path.name}' is neither NIfTI, PNG nor JSON.")
    for axis, letter in ((1, "y"), (2, "x")):
        if letter in options.flip:
            stack = np.flip(stack, axis)
    if stack.shape[1:] != shape[1:] or len(stack) not in (1, shape[0]):
        raise InputError(f"The mask '{path.name}' is {stack.shape} in size, its image {tuple(shape)}.")
    if len(stack) == 1:
        return {k: stack[0] for k in chosen} if len(chosen) == 1 else {}
    return {k: stack[k] for k in chosen}


def _outlines(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels [y, x] of a labelme file; later shapes lie over earlier ones."""
    try:
        shapes = json.loads(path.read_text(encoding="utf-8"))["shapes"]
        picture = Image.new("L", (shape[1], shape[0]))
        for s in shapes:
            value = DEFAULT_VALUES[str(s["label"]).lower()]
            ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in s["points"]], fill=value)
    except FileNotFoundError:
        raise NotFoundError(f"There is no mask '{path.name}'.") from None
    except KeyError as error:
        raise InputError(f"The outlines in '{path.name}' have no or an unknown {error}.") from error
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableError(f"The outlines in '{path.name}' cannot be read.") from error
    return np.asarray(picture, np.uint8)
