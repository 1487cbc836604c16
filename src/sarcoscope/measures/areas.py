"""Areas and HU of the tissues on every segmented slice, from the native pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.hu_bands import HuBand, default_bands
from sarcoscope.anatomy.tissues import TISSUES, Tissue, tissue_name
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels.level_map import LevelMap
from sarcoscope.measures.error import measurement_error
from sarcoscope.measures.measurement import SliceMeasure, TissueMeasure
from sarcoscope.measures.protocols import slice_heights_mm
from sarcoscope.tissues.tissue_mask import TissueMask


def measure_slices(
    volume: Volume, mask: TissueMask, levels: LevelMap, bands: Mapping[str, HuBand] | None = None
) -> tuple[SliceMeasure, ...]:
    """Measure every slice of the mask.

    Areas are counted pixels times the pixel's area in the plane of acquisition (a tilted gantry changes
    nothing). NAMA and LAMA are the parts of the muscle mask in those HU bands.

    Args:
        volume: HU int16 [z, y, x].
        mask: labels of some slices.
        levels: names the slices.
        bands: HU bands; the shipped ones by default.
    """
    bands = bands or default_bands()
    pixel_cm2 = volume.geometry.pixel_area_mm2 / 100.0
    z_mm, offsets = volume.z_mm, volume.geometry.slice_offsets_mm
    heights = slice_heights_mm(offsets, volume.series.slice_thickness_mm or volume.geometry.spacing_mm[0])
    return tuple(
        replace(
            _measure_slice(
                volume.hu[i], mask.labels[k], i, levels.name_of(i), float(z_mm[i]), pixel_cm2, bands
            ),
            level_confidence=levels.name_confidence(i, offsets),
            height_mm=float(heights[i]),
        )
        for k, i in enumerate(mask.indices)
    )


def _measure_slice(
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8],
    index: int,
    level: str | None,
    z_mm: float,
    pixel_cm2: float,
    bands: Mapping[str, HuBand],
) -> SliceMeasure:
    tissues = {}
    for tissue in TISSUES:
        values = hu[labels == tissue]
        name = tissue_name(tissue)
        area = len(values) * pixel_cm2
        nama = lama = None
        if tissue is Tissue.MUSCLE:
            nama = float(bands["nama"].contains(values).sum()) * pixel_cm2
            lama = float(bands["lama"].contains(values).sum()) * pixel_cm2
        tissues[name] = TissueMeasure(
            area_cm2=area,
            mean_hu=float(values.mean(dtype=np.float64)) if len(values) else None,
            sd_hu=float(values.std(dtype=np.float64)) if len(values) else None,
            area_error_cm2=area * measurement_error(level, name).area_percent / 100.0,
            nama_cm2=nama,
            lama_cm2=lama,
        )
    return SliceMeasure(index, level, z_mm, tissues)
