"""What readers corrected and a reviewer accepted, as training data for ``sarcoscope train``."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from sqlalchemy import select

from sarcoscope.errors import InputError, NotFoundError
from sarcoscope.exports.segmentation import segmentation_bytes
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.imaging.nifti import nifti_affine
from sarcoscope.imaging.volume import Volume
from sarcoscope.progress import Progress
from sarcoscope.store.results import result_of
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Centre, Project, Segmentation, Study
from sarcoscope.store.versions import labels_of
from sarcoscope.store.volumes import open_volume

COLUMNS = ("image", "mask", "level", "person", "centre", "split")


def write_training_set(
    store: Store, out: Path, project: str | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write ``manifest.csv``, images and masks of accepted studies whose masks a person drew or corrected.

    A row a study and measured level; people are their pseudonyms, ``split`` is left to the recipe, which
    deals by person. ``corrections.json`` names the version of every mask, and a digest of them all.

    Args:
        store: the platform's.
        out: folder to write into.
        project: code of the project; None: all.
        progress: hears ("write", fraction).

    Returns:
        the content of ``corrections.json``.

    Raises:
        NotFoundError: no such study is there.
        StorageError: the folder cannot be written.
    """
    wanted = (
        select(Study, Segmentation, Project.code, Centre.code)
        .join(Segmentation, Segmentation.id == Study.segmentation_id)
        .join(Project, Project.id == Study.project_id)
        .join(Centre, Centre.id == Study.centre_id)
        .where(Study.review == "accepted", Segmentation.user_id.is_not(None))
        .order_by(Study.id)
    )
    if project is not None:
        wanted = wanted.where(Project.code == project)
    rows: list[dict[str, str]] = []
    versions: list[dict[str, Any]] = []
    make_folder(out / "images")
    make_folder(out / "masks")
    with store.database.reading() as session:
        found = session.execute(wanted).all()
        for n, (study, mask, project_code, centre_code) in enumerate(found):
            if progress is not None:
                progress("write", n / len(found))
            try:
                volume, labels = open_volume(store, session, study), labels_of(store, mask)
            except InputError:
                # Its images are no longer kept.
                continue
            for measured in result_of(store, session, study.analysis_id or 0)["measurements"]:
                low, high = min(measured["indices"]), max(measured["indices"])
                if any(i not in labels for i in range(low, high + 1)):
                    continue
                name = f"{study.id:06d}_{measured['level']}.nii.gz"
                part = _part(volume, low, high)
                write_bytes(out / "images" / name, _image_bytes(part))
                drawn = np.stack([labels[i] for i in range(low, high + 1)])
                write_bytes(out / "masks" / name, segmentation_bytes(part, range(len(drawn)), drawn))
                rows.append(
                    {
                        "image": f"images/{name}",
                        "mask": f"masks/{name}",
                        "level": measured["level"],
                        "person": f"{project_code}-{centre_code}-{study.person.pseudonym}",
                        "centre": centre_code,
                        "split": "",
                    }
                )
                versions.append(
                    {
                        "image": f"images/{name}",
                        "study": study.id,
                        "version": mask.id,
                        "sha256": mask.sha256,
                        "reader": mask.reader,
                        "reason": mask.reason,
                        "made": mask.made.isoformat(timespec="seconds"),
                    }
                )
    if not rows:
        raise NotFoundError("No accepted study has a mask that a person corrected.")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(out / "manifest.csv", text.getvalue().encode())
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()
    said = {"schema": "1.0", "digest": digest, "masks": versions}
    write_bytes(out / "corrections.json", (json.dumps(said, indent=1, ensure_ascii=False) + "\n").encode())
    return said


def _part(volume: Volume, low: int, high: int) -> Volume:
    """Some slices as a volume of their own."""
    geometry = replace(volume.geometry, slice_positions_mm=volume.geometry.slice_positions_mm[low : high + 1])
    return replace(
        volume,
        hu=np.ascontiguousarray(volume.hu[low : high + 1]),
        geometry=geometry,
        sources=volume.sources[low : high + 1],
    )


def _image_bytes(volume: Volume) -> bytes:
    """HU as NIfTI (gzip)."""
    image: Any = nib.Nifti1Image(volume.hu.transpose(2, 1, 0), nifti_affine(volume))
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)
