"""What foreign labels look like before they are used: values found, the better orientation, and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sarcoscope.imaging.label_files import DEFAULT_VALUES, read_grey, read_label_nifti
from sarcoscope.validation.cases import ValidationOptions, mask_pairs, read_table
from sarcoscope.validation.overlap import overlap
from sarcoscope.validation.pictures import pair_picture

_SHOWN = 4


@dataclass(frozen=True)
class Preview:
    """What a first look at foreign labels says."""

    values: tuple[int, ...]
    """Values that the references hold."""
    unnamed: tuple[int, ...]
    """Values that the label map does not name."""
    flip: str
    """Mirroring in which the references fit the predictions best: empty, ``x``, ``y`` or ``xy``."""
    picture: Path


def preview(table: Path, picture: Path, options: ValidationOptions) -> Preview:
    """Look at the first cases of a table and draw them.

    Raises:
        InputError: a table or file that cannot be used.
    """
    rows = read_table(table, ("case", "person", "prediction", "reference"))
    values: set[int] = set()
    for row in rows[:_SHOWN]:
        path = table.parent / row["reference"]
        raw = read_grey(path) if path.suffix.lower() == ".png" else read_label_nifti(path)
        values |= {int(v) for v in np.unique(raw)}
    pairs = [pair for _, pair in zip(range(_SHOWN), mask_pairs(table, options), strict=False)]
    muscle = DEFAULT_VALUES["muscle"]

    def fit(flip: str) -> float:
        axes = tuple(k for k, letter in ((0, "y"), (1, "x")) if letter in flip)
        dice = [overlap(p.found == muscle, np.flip(p.truth, axes) == muscle)[0] for p in pairs]
        return float(np.mean(dice)) if dice else 0.0

    best = max(("", "x", "y", "xy"), key=fit)
    best = best if fit(best) > fit("") + 0.05 else ""
    pictures = [pair_picture(p) for p in pairs]
    sheet = Image.new(
        "RGB", (max((p.width for p in pictures), default=1), sum(p.height + 22 for p in pictures) or 1)
    )
    top = 0
    for pair, own in zip(pairs, pictures, strict=True):
        ImageDraw.Draw(sheet).text(
            (6, top + 4), f"{pair.name}: prediction left, reference right", fill="white"
        )
        sheet.paste(own, (0, top + 22))
        top += own.height + 22
    picture.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(picture)
    unnamed = values - set(options.truth_values.values())
    return Preview(tuple(sorted(values)), tuple(sorted(unnamed)), best, picture)
