"""Reference slices as training cases of the compartment network."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.compartments import Compartment

BONE_LABEL = 5
NOT_SHIPPED_PREFIXES = ("m_",)
"""Cases whose licence is not stated: never trained on."""


@dataclass(frozen=True, eq=False)
class TissueCase:
    """One reference slice."""

    name: str
    person: str
    level: str
    grade: str
    hu: NDArray[np.int16]
    """[y, x]"""
    labels: NDArray[np.uint8]
    """[y, x] reference tissue labels, 5 = bone (ignored in scoring)."""
    compartments: NDArray[np.uint8]
    """[y, x] values of :class:`sarcoscope.tissues.compartments.Compartment`."""
    spacing_mm: tuple[float, float]
    """(y, x)"""

    @property
    def trainable(self) -> bool:
        """The licence lets weights that saw this case be shipped."""
        return not self.name.startswith(NOT_SHIPPED_PREFIXES)


def read_slice(path: Path) -> tuple[NDArray[np.generic], tuple[float, float]]:
    """[y, x] array and (y, x) spacing of a one-slice NIfTI file stored in LPS order."""
    image = nib.Nifti1Image.from_filename(path)
    x, y, _ = (float(s) for s in np.linalg.norm(image.affine[:3, :3], axis=0))
    return np.asarray(image.dataobj)[:, :, 0].T, (y, x)


def _fill(polygons: list[list[list[float]]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    picture = Image.new("1", (shape[1], shape[0]))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([(p[0], p[1]) for p in polygon], fill=1)
    return np.asarray(picture)


def compartments_of(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], outlines: dict[str, Any], spacing: tuple[float, float]
) -> NDArray[np.uint8]:
    """Compartments [y, x] of a slice from its outlines (O ring, C cavity, V vertebra) and label mask."""
    nested = {
        k: (v if v and isinstance(v[0][0], list) else [v] if v else [])
        for k, v in outlines.items()
        if k in "OCV"
    }
    ring, cavity, bone = (_fill(nested.get(k, []), hu.shape) for k in "OCV")
    body = body_mask(hu, spacing) | ring
    target = np.zeros(hu.shape, dtype=np.uint8)
    target[body] = Compartment.SKIN_SIDE
    target[ring] = Compartment.RING
    target[cavity] = Compartment.CAVITY
    target[bone | (labels == BONE_LABEL)] = Compartment.BONE
    # the reference masks have the last word where they differ from the outlines
    target[(labels == 1) | (labels == 4)] = Compartment.RING
    target[labels == 2] = Compartment.SKIN_SIDE
    target[labels == 3] = Compartment.CAVITY
    return target


def load_cases(data: Path) -> list[TissueCase]:
    """All abdominal reference slices of the data folder (``slices.csv``)."""
    cases = []
    for row in csv.DictReader((data / "slices.csv").read_text(encoding="utf-8").splitlines()):
        name = row["id"]
        hu, spacing = read_slice(data / "slices" / f"{name}.nii.gz")
        labels, _ = read_slice(data / "masks" / f"{name}.nii.gz")
        outlines = json.loads((data / "polygons" / f"{name}.json").read_text(encoding="utf-8"))
        hu16, labels8 = hu.astype(np.int16), labels.astype(np.uint8)
        cases.append(
            TissueCase(
                name, row["person"], row["level"], row["grade"], hu16, labels8,
                compartments_of(hu16, labels8, outlines, spacing), spacing,
            )
        )  # fmt: skip
    return cases


def folds(persons: list[str], count: int) -> list[frozenset[str]]:
    """Split persons into ``count`` groups, dealt in turn by decreasing share, order fixed."""
    names = sorted(set(persons), key=lambda p: (-persons.count(p), p))
    return [frozenset(names[k::count]) for k in range(count)]
