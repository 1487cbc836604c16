"""Slices of random phantoms as training material of the compartment network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.samples.phantom import Phantom, make_phantom, random_settings
from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.training.tissue_augment import Canvas, make_canvas
from sarcoscope.training.tissue_data import BONE_LABEL, TissueCase

_SLICE_STEP_MM = 20.0
"""Slices further apart than in a study: neighbours teach little."""
_SLICES_EACH = 3
_LEVELS = ("T12", "L5")


def phantom_case(phantom: Phantom, index: int) -> TissueCase:
    """One slice of a phantom with its compartments, which follow from the true labels."""
    hu, labels = phantom.hu[index], phantom.labels[index]
    spacing = (phantom.settings.pixel_mm, phantom.settings.pixel_mm)
    body = body_mask(hu, spacing)
    return TissueCase(
        "phantom", "phantom", "", "A", hu, labels, _compartments(labels, body), spacing
    )  # fmt: skip


def _compartments(labels: NDArray[np.uint8], body: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Compartments [y, x]: what can be reached from outside without crossing the ring is the skin side."""
    wall = (labels == 1) | (labels == 4) | (labels == BONE_LABEL) | (labels == 3)
    seeds = np.pad(~body, 1, constant_values=True)
    reached = ndi.binary_propagation(seeds, mask=~np.pad(wall & body, 1))[1:-1, 1:-1]
    target = np.full(labels.shape, Compartment.CAVITY, dtype=np.uint8)
    target[reached] = Compartment.SKIN_SIDE
    target[(labels == 1) | (labels == 4)] = Compartment.RING
    target[labels == BONE_LABEL] = Compartment.BONE
    target[~body] = Compartment.OUTSIDE
    return target


def phantom_canvases(count: int, seed: int) -> list[Canvas]:
    """Canvases of a few slices of each of ``count`` random people, half of them with noise and blur."""
    rng = np.random.default_rng(seed)
    canvases = []
    for k in range(count):
        top, bottom = _LEVELS
        settings = random_settings(rng, clean=k % 2 == 0, top_level=top, bottom_level=bottom)
        phantom = make_phantom(replace(settings, slice_spacing_mm=_SLICE_STEP_MM))
        chosen = rng.choice(len(phantom.hu), min(_SLICES_EACH, len(phantom.hu)), replace=False)
        canvases += [make_canvas(phantom_case(phantom, int(i))) for i in chosen]
    return canvases
