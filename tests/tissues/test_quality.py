from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.tissues.quality import SliceQuality, slice_quality
from sarcoscope.tissues.tissue_mask import TissueMask
from tests.tissues.make import ellipse, trunk, volume_of

SHAPE = (320, 400)


def _quality(hu: NDArray[np.int16]) -> SliceQuality:
    """Quality with compartments by construction, independent of the network."""
    centre = (hu.shape[0] / 2, hu.shape[1] / 2)
    body = body_mask(hu, (1.0, 1.0))
    compartments = np.where(body, Compartment.SKIN_SIDE, Compartment.OUTSIDE).astype(np.uint8)
    compartments[ellipse(SHAPE, centre, (88, 132)) & body] = Compartment.RING
    compartments[ellipse(SHAPE, (centre[0] - 10, centre[1]), (66, 118)) & body] = Compartment.CAVITY
    mask = TissueMask((0,), np.zeros((1, *SHAPE), np.uint8), body[None], (0.0,), (), compartments[None])
    return slice_quality(volume_of(hu, (1.0, 1.0)), mask)[0]


def test_clean_slice_has_no_findings() -> None:
    assert _quality(trunk()) == SliceQuality(0, 0.0, False, 0.0, 0.0)


def test_body_cut_at_the_sides() -> None:
    hu = trunk()
    hu = np.pad(hu[:, 60:340], ((0, 0), (60, 60)), constant_values=-1000)
    cut = volume_of(hu[:, 60:340], (1.0, 1.0))
    body = body_mask(cut.hu[0], (1.0, 1.0))
    mask = TissueMask((0,), np.zeros(cut.hu.shape, np.uint8), body[None])
    assert 0.15 < slice_quality(cut, mask)[0].truncated_share < 0.5


def test_body_cut_by_the_circle_of_the_scanner() -> None:
    hu = trunk((300, 300))
    hu[~ellipse((300, 300), (149.5, 149.5), (149, 149))] = -1024
    volume = volume_of(hu, (1.0, 1.0))
    mask = TissueMask((0,), np.zeros(volume.hu.shape, np.uint8), body_mask(hu, (1.0, 1.0))[None])
    assert slice_quality(volume, mask)[0].truncated_share > 0.1


def test_metal() -> None:
    hu = trunk()
    hu[200:206, 195:205] = 3000
    assert _quality(hu).metal


def test_oedema_of_the_flank() -> None:
    hu = trunk()
    hu[(hu == -100) & (np.arange(400) < 120)] = 5
    assert 0.1 < _quality(hu).oedema_share < 0.6


def test_free_fluid_along_the_wall() -> None:
    hu = trunk()
    hu[(hu == -95) & ((np.arange(400) < 130) | (np.arange(400) > 270))] = 12
    assert _quality(hu).fluid_share > 0.1


def test_air_only() -> None:
    assert _quality(np.full(SHAPE, -1024, dtype=np.int16)) == SliceQuality(0, 0.0, False, 0.0, 0.0)


def test_a_circle_that_nobody_told_of_is_seen() -> None:
    for width, cut in ((None, False), (300.0, True)):
        phantom = make_phantom(
            PhantomSettings(
                seed=21, matrix=256, pixel_mm=1.6, top_level="L3", bottom_level="L3", field_of_view_mm=width
            )
        )
        volume = replace(phantom.volume(), padding=None)
        body = body_mask(volume.hu[3], (1.6, 1.6))[None]
        (quality,) = slice_quality(volume, replace(phantom.tissue_mask((3,)), body=body))
        assert (quality.truncated_share > 0.05) == cut
