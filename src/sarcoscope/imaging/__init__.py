"""Reading CT: DICOM and NIfTI, series choice, geometry."""

from sarcoscope.imaging.reader import ReadStudy, read_study, read_volume
from sarcoscope.imaging.volume import Geometry, Volume

__all__ = ["Geometry", "ReadStudy", "Volume", "read_study", "read_volume"]
