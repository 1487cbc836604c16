"""Another tool as a reader: its label maps of vertebrae and tissues, or TotalSegmentator itself."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sarcoscope.anatomy.hu_bands import default_bands
from sarcoscope.errors import InputError, ModelError
from sarcoscope.imaging.foreign_masks import ForeignMask
from sarcoscope.imaging.label_files import read_label_nifti
from sarcoscope.imaging.volume import Volume
from sarcoscope.levels import LevelMap
from sarcoscope.levels.label_maps import VERTEBRAE, levels_of_labels
from sarcoscope.tissues import TissueMask
from sarcoscope.tissues.body import body_mask
from sarcoscope.tissues.compartments import Compartment
from sarcoscope.tissues.segment import gate_by_hu

TOTALSEGMENTATOR: Final = "totalsegmentator"
"""Name of the reader of levels: ``--model totalsegmentator``."""
TOTALSEGMENTATOR_TISSUES: Final = "totalsegmentator-tissues"
"""Name of the reader of tissues, whose weights need a licence that the user must have."""
FOREIGN: Final = (TOTALSEGMENTATOR, TOTALSEGMENTATOR_TISSUES)
TISSUE_VALUES: Final = {1: Compartment.SKIN_SIDE, 2: Compartment.CAVITY, 3: Compartment.RING}
"""Its task ``tissue_types``: 1 subcutaneous fat, 2 torso fat, 3 skeletal muscle."""
_SECONDS: Final = 3600


def read_foreign_labels(path: Path, volume: Volume) -> tuple[NDArray[np.integer], tuple[str, str, str]]:
    """A label map [z, y, x] on the volume's grid, and (name, version, sha256) of it.

    Raises:
        InputError: it cannot be read or lies on another grid.
    """
    labels = read_label_nifti(path)
    if labels.shape != volume.hu.shape:
        raise InputError(f"The labels in '{path.name}' are {labels.shape} in size, the CT {volume.hu.shape}.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return np.rint(labels).astype(np.int16), ("labels of another tool", path.name, digest)


def foreign_levels(path: Path, volume: Volume) -> LevelMap:
    """Levels of a label map with TotalSegmentator's ids.

    Raises:
        InputError: it cannot be used, or holds no vertebra.
    """
    labels, reader = read_foreign_labels(path, volume)
    found = levels_of_labels(volume, labels, reader)
    if not found.ranges:
        raise InputError(f"The labels in '{path.name}' name no vertebra (ids {min(VERTEBRAE)} to 50).")
    return found


def foreign_tissues(
    labels: NDArray[np.integer], volume: Volume, indices: Sequence[int], reader: tuple[str, str, str]
) -> TissueMask:
    """Tissues of chosen slices from a label map of the task ``tissue_types``, gated by HU as our own are."""
    chosen = tuple(sorted(set(indices)))
    parts = np.zeros((len(chosen), *volume.hu.shape[1:]), np.uint8)
    for value, compartment in TISSUE_VALUES.items():
        parts[labels[list(chosen)] == value] = compartment
    bands, spacing = default_bands(), volume.geometry.spacing_mm[1:]
    tissues = np.stack([gate_by_hu(volume.hu[i], parts[k], bands) for k, i in enumerate(chosen)])
    body = np.stack([body_mask(volume.hu[i], spacing) for i in chosen])
    return TissueMask(chosen, tissues, body, (), (reader,), parts)


def masks_of(mask: ForeignMask, volume: Volume, indices: Sequence[int]) -> TissueMask:
    """Another reader's mask on chosen slices, as it is.

    Raises:
        InputError: one of the slices has no label.
    """
    chosen = tuple(sorted(set(indices)))
    bare = [i for i in chosen if i not in mask.indices]
    if bare:
        raise InputError(
            f"The mask has no label on {len(bare)} of the {len(chosen)} slices to be measured; "
            "choose a slice that it covers (--protocol slice --slice N)."
        )
    body = np.stack([body_mask(volume.hu[i], volume.geometry.spacing_mm[1:]) for i in chosen])
    return TissueMask(chosen, mask.labels[list(chosen)], body, (), (mask.reader,))


def run_totalsegmentator(volume: Volume, task: str) -> tuple[NDArray[np.integer], tuple[str, str, str]]:
    """Labels [z, y, x] by the user's own TotalSegmentator (its licence and weights are the user's).

    Raises:
        ModelError: it is not installed, or did not finish.
    """
    program = shutil.which("TotalSegmentator")
    if program is None:
        raise ModelError("TotalSegmentator is not installed here (no program 'TotalSegmentator' was found).")
    with tempfile.TemporaryDirectory(prefix="sarcoscope-") as scratch:
        source, target = Path(scratch) / "ct.nii.gz", Path(scratch) / "labels.nii.gz"
        _write_nifti(volume, source)
        command = [program, "-i", str(source), "-o", str(target), "--ml", "--task", task]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelError(f"TotalSegmentator could not be run ({type(error).__name__}).") from error
        if done.returncode or not target.is_file():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise ModelError(f"TotalSegmentator did not finish the task '{task}': {last[0]}")
        labels, (_, _, digest) = read_foreign_labels(target, volume)
    return labels, (f"{TOTALSEGMENTATOR} {task}", _version(program), digest)


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[-1][:40]


def _write_nifti(volume: Volume, path: Path) -> None:
    """The volume as NIfTI on an upright grid: labels come back slice for slice."""
    z, y, x = volume.geometry.spacing_mm
    image: Any = nib.Nifti1Image(np.transpose(volume.hu, (2, 1, 0)), np.diag([-x, -y, z, 1.0]))
    image.to_filename(path)
