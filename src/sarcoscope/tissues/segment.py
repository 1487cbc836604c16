"""Tissues of chosen slices: body, compartments by the network, tissues by HU on the native pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from sarcoscope.anatomy.hu_bands import HuBand, default_bands
from sarcoscope.anatomy.tissues import Tissue
from sarcoscope.errors import SettingError
from sarcoscope.imaging.volume import Volume
from sarcoscope.models.package import ModelPackage, shipped_package
from sarcoscope.models.slice_input import SliceInput, resized
from sarcoscope.progress import Progress
from sarcoscope.tissues.body import body_mask, bounding_box
from sarcoscope.tissues.compartments import Compartment, network_input
from sarcoscope.tissues.grid import AIR_HU, body_only, from_grid, place_on, to_grid
from sarcoscope.tissues.refine import fat_to_its_side, reach_bone, refined_compartments, surface_distance
from sarcoscope.tissues.tissue_mask import TissueMask

MODEL = "tissue-compartments"
RIM_MM = 2.0
"""Skin, and pixels that hold air too: no tissue of ours (at least one pixel, on coarse grids too)."""
_COMPARTMENT_OF_CLASS = {
    "muscle": Compartment.RING,
    "sat": Compartment.SKIN_SIDE,
    "vat": Compartment.CAVITY,
}
_UNSURE = (0.2, 0.8)
_GATES = (
    (Compartment.RING, "muscle", Tissue.MUSCLE),
    (Compartment.RING, "imat", Tissue.IMAT),
    (Compartment.SKIN_SIDE, "sat", Tissue.SAT),
    (Compartment.CAVITY, "vat", Tissue.VAT),
)


def gate_by_hu(
    hu: NDArray[np.int16], compartments: NDArray[np.uint8], bands: Mapping[str, HuBand]
) -> NDArray[np.uint8]:
    """Tissue labels of pixels whose compartment and HU agree.

    Args:
        hu: [y, x] int16 HU.
        compartments: [y, x] values of :class:`~sarcoscope.tissues.compartments.Compartment`.
        bands: HU bands ``muscle, imat, sat, vat``.

    Returns:
        [y, x] values of :class:`~sarcoscope.anatomy.tissues.Tissue`.
    """
    labels = np.zeros(hu.shape, dtype=np.uint8)
    for compartment, band, tissue in _GATES:
        labels[(compartments == compartment) & bands[band].contains(hu)] = tissue
    return labels


def border_doubt(ring: NDArray[np.float32]) -> float:
    """Share of the muscle border, on the network's grid, that lies in a broad zone of doubt.

    Args:
        ring: [y, x] probability of the muscle ring. A sharp border turns from 0 to 1 within two pixels;
            where three or more pixels in a row are unsure there is no border to see.
    """
    inside = ring > 0.5
    border = inside & ~ndi.binary_erosion(inside)
    unsure = ndi.binary_erosion((ring > _UNSURE[0]) & (ring < _UNSURE[1]))
    near = ndi.binary_dilation(unsure, iterations=2)
    return float((border & near).sum() / max(1, border.sum()))


def _mean(
    package: ModelPackage, members: Sequence[int] | None, image: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean probabilities of the members [class, y, x] for an input [1, channel, y, x]."""
    every = package.run(image=image)[0][:, 0]
    mean: NDArray[np.float32] = (every if members is None else every[list(members)]).mean(axis=0)
    return mean


def _segment_body(
    hu: NDArray[np.int16],
    body: NDArray[np.bool_],
    spacing_mm: tuple[float, float],
    bands: Mapping[str, HuBand],
    network: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """Compartments [y, x], tissues [y, x] and doubt of a slice that was cut out around the body."""
    place = place_on(body, spacing_mm)
    shares = network(network_input(to_grid(body_only(hu, body)[None], place, spacing_mm, AIR_HU)))
    depth = surface_distance(body, spacing_mm)
    native = from_grid(shares, place, (hu.shape[0], hu.shape[1]), spacing_mm)
    parts = refined_compartments(native, depth, spacing_mm)
    parts = reach_bone(parts, bands["muscle"].contains(hu), spacing_mm)
    parts = fat_to_its_side(parts, bands["imat"].contains(hu), spacing_mm)
    labels = gate_by_hu(hu, parts, bands)
    labels[depth <= max(RIM_MM, *spacing_mm)] = Tissue.BACKGROUND
    return parts, labels, border_doubt(shares[Compartment.RING])


def _segment_classes(
    hu: NDArray[np.int16], body: NDArray[np.bool_], bands: Mapping[str, HuBand], package: ModelPackage
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """Compartments, tissues [y, x] and doubt of a whole slice by a network that names tissues itself."""
    spec, classes = SliceInput.of_card(package.card), list(package.card["classes"])
    shares = package.run(image=spec.batch(hu[None]))[0].mean(axis=0)[0]
    best = np.stack([resized(plane, (hu.shape[0], hu.shape[1])) for plane in shares]).argmax(axis=0)
    parts = np.zeros(hu.shape, dtype=np.uint8)
    for name, compartment in _COMPARTMENT_OF_CLASS.items():
        if name in classes:
            parts[(best == classes.index(name)) & body] = compartment
    muscle = shares[classes.index("muscle")] if "muscle" in classes else np.zeros((3, 3), np.float32)
    return parts, gate_by_hu(hu, parts, bands), border_doubt(muscle)


def _checked(indices: Sequence[int], n_slices: int) -> tuple[int, ...]:
    wrong = [i for i in indices if not 0 <= i < n_slices]
    if wrong:
        raise SettingError(f"Slice {wrong[0]} does not lie in this series, which has {n_slices} slices.")
    return tuple(sorted({int(i) for i in indices}))


def _checked_members(members: Sequence[int] | None, package: ModelPackage) -> None:
    count = len(package.card["members"])
    if members is not None and (not members or any(not 0 <= m < count for m in members)):
        raise SettingError(f"The tissue model has {count} members, numbered from 0.")


def segment_slices(
    volume: Volume,
    indices: Sequence[int],
    *,
    bands: Mapping[str, HuBand] | None = None,
    members: Sequence[int] | None = None,
    progress: Progress | None = None,
    package: ModelPackage | None = None,
) -> TissueMask:
    """Muscle, SAT, VAT and IMAT on chosen slices.

    Args:
        volume: HU [z, y, x].
        indices: slice indices; answered ascending, each once.
        bands: HU bands that replace the shipped ones, by name.
        members: members of the network ensemble to average (None: all).
        progress: called with ``("tissues", fraction)``.
        package: another model than the shipped one (``tissue-compartments`` or ``tissue-classes``).

    Raises:
        SettingError: an index outside the volume, or a member that the model does not have.
        ModelError: the shipped model is missing or damaged.
    """
    chosen = _checked(indices, volume.n_slices)
    package = package or shipped_package(MODEL)
    _checked_members(members, package)
    network = partial(_mean, package, members)
    limits = {**default_bands(), **(bands or {})}
    spacing = volume.geometry.spacing_mm[1:]
    shape = (len(chosen), *volume.hu.shape[1:])
    labels, compartments = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
    body, doubt = np.zeros(shape, dtype=bool), []
    for k, index in enumerate(chosen):
        hu, unsure = volume.hu[index], 0.0
        body[k] = body_mask(hu, spacing)
        if body[k].any() and package.kind == "tissue-classes":
            compartments[k], labels[k], unsure = _segment_classes(hu, body[k], limits, package)
        elif body[k].any():
            box = bounding_box(body[k], margin=3)
            compartments[k][box], labels[k][box], unsure = _segment_body(
                hu[box], body[k][box], spacing, limits, network
            )
        doubt.append(unsure)
        if progress is not None:
            progress("tissues", (k + 1) / len(chosen))
    return TissueMask(chosen, labels, body, tuple(doubt), (package.reference,), compartments)
