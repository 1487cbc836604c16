"""``sarcoscope masks``: turn a mask of any reader into another format, on the CT's own slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sarcoscope.cli.choices import split_names
from sarcoscope.cli.console import tell
from sarcoscope.errors import InputError, SettingError
from sarcoscope.exports.segmentation import write_segmentation
from sarcoscope.files import write_bytes
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.foreign_masks import read_mask
from sarcoscope.imaging.instances import Instance
from sarcoscope.imaging.label_files import OUR_VALUES
from sarcoscope.imaging.reader import read_study
from sarcoscope.imaging.volume import Geometry
from sarcoscope.tissues import TissueMask

FORMATS = ("seg", "labelmap", "rtstruct", "nifti")


def masks_command(
    ct: Annotated[Path, typer.Argument(help="The CT: DICOM folder, file or zip, or NIfTI.")],
    mask: Annotated[Path, typer.Argument(help="DICOM SEG, RTSTRUCT or NIfTI mask.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    to: Annotated[str, typer.Option(help=f"Format: {', '.join(FORMATS)}.")] = "seg",
    values: Annotated[
        str | None, typer.Option(help="What is what, such as muscle=1,sat=2 (numbers of the mask).")
    ] = None,
) -> None:
    """Convert a tissue mask between DICOM SEG (binary or labelmap), RTSTRUCT and NIfTI."""
    if to not in FORMATS:
        raise SettingError(f"'{to}' is no format; formats are {', '.join(FORMATS)}.")
    study = read_study(ct)
    found = read_mask(mask, study.volume, _values(values) if values else None)
    indices = found.indices
    labels = found.labels[list(indices)]
    if to == "nifti":
        write_segmentation(study.volume, TissueMask(indices, labels, np.zeros(labels.shape, bool)), out)
    elif not study.images:
        raise InputError("The CT is no DICOM whose UIDs a DICOM mask could refer to; give --to nifti.")
    else:
        write_bytes(out, to_bytes(_dicom(study.images, study.volume.geometry, indices, labels, to)))
    tell(f"{out}: {len(indices)} slices.")
    if found.ignored:
        tell(f"Left out, for their names mean no tissue: {', '.join(found.ignored)}.")


def _dicom(
    images: Sequence[Instance], geometry: Geometry, indices: Sequence[int], labels: NDArray[np.uint8], to: str
) -> Dataset:
    # highdicom takes a second to import.
    from sarcoscope.exports.dicom_seg import make_seg
    from sarcoscope.exports.rtstruct import make_rtstruct

    if to == "rtstruct":
        return make_rtstruct(images, geometry, indices, labels)
    return make_seg(images, indices, labels, (), kind="binary" if to == "seg" else to)


def _values(text: str) -> dict[str, int]:
    found = {}
    for part in split_names(text):
        name, _, number = part.partition("=")
        if name.strip() not in OUR_VALUES or not number.strip().isdigit():
            raise SettingError(f"'{part}' is no tissue and number; give for example muscle=1,sat=2.")
        found[name.strip()] = int(number)
    return found
