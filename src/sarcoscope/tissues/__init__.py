"""Muscle and fat masks on chosen slices."""

from sarcoscope.tissues.quality import SliceQuality, slice_quality
from sarcoscope.tissues.segment import segment_slices
from sarcoscope.tissues.tissue_mask import TissueMask

__all__ = ["SliceQuality", "TissueMask", "segment_slices", "slice_quality"]
