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
from scipy import ndimage as ndi

from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.training.licences import may_see

BONE_LABEL = 5
_CHEST_MUSCLES = (1, 2, 3, 4)
_CHEST_FAT_GAP_MM = 3.0
"""Fat between chest muscles that lie closer than twice this is inside the ring."""


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
    def is_chest(self) -> bool:
        """T1 to T11: drawn by the chest references, of muscle alone."""
        return self.level.startswith("T") and self.level != "T12"

    @property
    def trainable(self) -> bool:
        """The licence lets weights that saw this case be shipped."""
        return may_see(self.person, "all")


def read_slice(path: Path) -> tuple[NDArray[np.generic], tuple[float, float]]:
    """[y, x] array and (y, x) spacing of a one-slice NIfTI file stored in LPS order."""
    image = nib.Nifti1Image.from_filename(path)
    x, y, _ = (float(s) for s in np.linalg.norm(image.affine[:3, :3], axis=0))
    return np.asarray(image.dataobj)[:, :, 0].T, (y, x)


def _as_list(outline: list[Any] | None) -> list[Any]:
    """One outline or several, as a list of outlines."""
    if not outline:
        return []
    return outline if isinstance(outline[0][0], list) else [outline]


def _fill(polygons: list[list[list[float]]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    picture = Image.new("1", (shape[1], shape[0]))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([(p[0], p[1]) for p in polygon], fill=1)
    return np.asarray(picture)


def compartments_of(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], outlines: dict[str, Any], spacing: tuple[float, float]
) -> NDArray[np.uint8]:
    """Compartments [y, x] of a slice from its outlines (O ring, C cavity, V vertebra) and label mask."""
    ring, cavity, bone = (_fill(_as_list(outlines.get(k)), hu.shape) for k in "OCV")
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


def chest_compartments_of(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], outlines: dict[str, Any], spacing: tuple[float, float]
) -> NDArray[np.uint8]:
    """Compartments [y, x] of a chest slice: ring = trunk muscle and rib spaces, cavity = inside the pleura.

    Args:
        hu: [y, x].
        labels: [y, x] chest labels (1-4 muscle, 5 bone).
        outlines: polygons R (outer rib cage), T (inner wall), X (breast, arms, vessels: no trunk muscle).
        spacing: (y, x) mm.
    """
    cage, inner, neither = (_fill(_as_list(outlines.get(k)), hu.shape) for k in "RTX")
    muscle = np.isin(labels, _CHEST_MUSCLES)
    ring = ndi.binary_closing(muscle, iterations=max(1, round(_CHEST_FAT_GAP_MM / min(spacing))))
    target = np.zeros(hu.shape, dtype=np.uint8)
    target[body_mask(hu, spacing) | cage] = Compartment.SKIN_SIDE
    target[(ring | cage) & (target > 0)] = Compartment.RING
    target[inner] = Compartment.CAVITY
    target[labels == BONE_LABEL] = Compartment.BONE
    target[neither & (target > 0)] = Compartment.SKIN_SIDE
    target[muscle] = Compartment.RING
    return target


def load_chest_cases(data: Path) -> list[TissueCase]:
    """The chest reference slices T4-T11 (``slices_chest.csv``); of their tissues only muscle is drawn."""
    cases = []
    for row in csv.DictReader((data / "slices_chest.csv").read_text(encoding="utf-8").splitlines()):
        if row["level"] == "T12":  # the abdominal references draw this level by another convention
            continue
        hu, spacing = read_slice(data / "slices" / f"{row['id']}.nii.gz")
        labels, _ = read_slice(data / "masks_chest" / f"{row['id']}.nii.gz")
        text = (data / "polygons" / f"{row['id']}.chest.json").read_text(encoding="utf-8")
        hu16, labels8 = hu.astype(np.int16), labels.astype(np.uint8)
        parts = chest_compartments_of(hu16, labels8, json.loads(text), spacing)
        tissues = np.where(np.isin(labels8, _CHEST_MUSCLES), 1, labels8).astype(np.uint8)
        case = TissueCase(row["id"], row["person"], row["level"], row["grade"], hu16, tissues, parts, spacing)
        cases.append(case)
    return cases


def person_folds(cases: list[TissueCase], count: int) -> list[frozenset[str]]:
    """Persons held out of each member; those with chest slices alone are dealt after the others."""
    chest_only = {c.person for c in cases} - {c.person for c in cases if not c.is_chest}
    first = folds([c.person for c in cases if c.person not in chest_only and not c.is_chest], count)
    then = folds([c.person for c in cases if c.person in chest_only], count)
    return [a | b for a, b in zip(first, then, strict=True)]


def folds(persons: list[str], count: int) -> list[frozenset[str]]:
    """Split persons into ``count`` groups, dealt in turn by decreasing share, order fixed."""
    names = sorted(set(persons), key=lambda p: (-persons.count(p), p))
    return [frozenset(names[k::count]) for k in range(count)]
