"""What an analysis answers, and how it is written into a folder."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.diagnosis import ReferenceSet
from sarcoscope.exports.json_result import result_dict, write_json
from sarcoscope.exports.pictures import overlay, sagittal_view
from sarcoscope.exports.record import Run, StudyRecord
from sarcoscope.exports.report import ReportPage
from sarcoscope.exports.segmentation import write_segmentation
from sarcoscope.exports.tables import write_levels, write_measurements
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.imaging.instances import Instance
from sarcoscope.imaging.volume import Volume
from sarcoscope.language.catalogue import check_language
from sarcoscope.progress import Progress
from sarcoscope.tissues.tissue_mask import TissueMask


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The record of a study with the pictures and masks that it rests on."""

    record: StudyRecord
    volume: Volume
    mask: TissueMask | None
    """None when nothing was measured."""
    sets: Mapping[str, ReferenceSet]
    """The reference sets that were asked, by name."""
    images: tuple[Instance, ...] = ()
    """[z] the DICOM image of every slice; empty when DICOM results cannot refer to the input."""

    def as_dict(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        return result_dict(self.record, self.sets)

    def write(
        self, folder: Path | str, *, language: str = "en", progress: Progress | None = None
    ) -> StudyResult:
        """Write every output into a folder; returns the result with the seconds of writing in its record.

        Raises:
            SettingError: a language that the report does not know.
            StorageError: the folder cannot be written.
        """
        check_language(language)
        begin = time.monotonic()
        folder = Path(folder)
        make_folder(folder)
        write_levels(self.record, folder / "levels.csv")
        write_measurements(self.record, folder / "measurements.csv")
        _tell(progress, 0.1)
        write_segmentation(self.volume, self.mask, folder / "segmentation.nii.gz")
        _tell(progress, 0.4)
        first = self._write_overlays(folder, language)
        measured = {m.level: m.indices for m in self.record.measurements}
        spine = sagittal_view(self.volume, self.record.levels, measured, language)
        write_bytes(folder / "sagittal.png", _png(spine))
        _tell(progress, 0.7)
        self._write_dicom(folder)
        _tell(progress, 0.9)
        page = ReportPage(self.record, self.sets, language).pdf(first, spine)
        write_bytes(folder / "report.pdf", page)
        seconds = {**self.record.run.seconds, "write": time.monotonic() - begin}
        run = Run(self.record.run.id, self.record.run.time, seconds)
        done = replace(self, record=replace(self.record, run=run))
        write_json(done.record, self.sets, folder / "result.json")
        _tell(progress, 1.0)
        return done

    def _write_dicom(self, folder: Path) -> None:
        """DICOM SEG (unless the mask is empty) and SR, where the input's UIDs allow it."""
        names = ("segmentation.dcm", "measurements_sr.dcm")
        # Objects of an earlier run in the same folder would speak of another mask.
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if not self.images:
            return
        # highdicom takes a second to import.
        from sarcoscope.exports.dicom_objects import study_objects

        for name, content in zip(names, study_objects(self.record, self.images, self.mask), strict=True):
            if content is not None:
                write_bytes(folder / name, content)

    def _write_overlays(self, folder: Path, language: str) -> Image.Image | None:
        """One picture a measured level (its middle slice); returns the first."""
        first = None
        # Pictures of an earlier run in the same folder would speak of levels that this one did not measure.
        for level in LEVELS:
            (folder / f"overlay_{level}.png").unlink(missing_ok=True)
        for measurement in self.record.measurements:
            if self.mask is None or not measurement.indices:
                continue
            middle = measurement.indices[len(measurement.indices) // 2]
            slice_ = next(s for s in self.record.slices if s.index == middle)
            image = overlay(self.volume, self.mask, slice_, language)
            write_bytes(folder / f"overlay_{measurement.level}.png", _png(image))
            first = first or image
        return first


def _tell(progress: Progress | None, fraction: float) -> None:
    if progress is not None:
        progress("write", fraction)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
