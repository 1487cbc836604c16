"""Read a CT as hospitals give it: folder, zip, DICOM file or NIfTI file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from sarcoscope.errors import InputError, NotFoundError, UnreadableError
from sarcoscope.imaging.archive import unpacked
from sarcoscope.imaging.instances import Instance, number_of, read_instances, text_of
from sarcoscope.imaging.nifti import read_nifti
from sarcoscope.imaging.pixels import load_stack
from sarcoscope.imaging.policy import SeriesPolicy
from sarcoscope.imaging.series import ReadFlag, RefusedSeries, Stack, find_stacks
from sarcoscope.imaging.volume import HeaderBody, Volume
from sarcoscope.progress import Progress


@dataclass(frozen=True, eq=False)
class ReadStudy:
    """The volume to measure, and everything that was found beside it."""

    volume: Volume
    refused: tuple[RefusedSeries, ...] = ()
    header_body: HeaderBody = field(default_factory=HeaderBody)
    flags: tuple[ReadFlag, ...] = ()
    images: tuple[Instance, ...] = ()
    """[z] the DICOM image of every slice; empty for NIfTI or where UIDs are missing."""


def read_study(
    path: Path,
    *,
    policy: SeriesPolicy | None = None,
    series_uid: str | None = None,
    progress: Progress | None = None,
) -> ReadStudy:
    """Read an input and choose the series to measure.

    Args:
        path: DICOM folder of any depth, DICOM file, zip of either, or NIfTI file.
        policy: which series is measured; the shipped policy by default.
        series_uid: this very series instead.
        progress: hears ("read", fraction).

    Raises:
        NotFoundError: nothing there, or no CT in it.
        UnreadableError: damaged.
        GeometryError: slices that make no volume.
        InputError: several people in one input, or the series asked for is not there.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"There is nothing at '{path.name}'.")
    if path.is_file():
        if _is_nifti(path):
            return ReadStudy(read_nifti(path))
        if path.stat().st_size == 0:
            raise UnreadableError(f"The file '{path.name}' is empty.")
        if zipfile.is_zipfile(path):
            with unpacked(path) as folder:
                return _read_folder(folder, path.name, policy, series_uid, progress)
        if path.suffix.lower() == ".zip":
            raise UnreadableError(f"The archive '{path.name}' is damaged or encrypted.")
    return _read_folder(path, path.name, policy, series_uid, progress)


def read_volume(path: Path | str) -> Volume:
    """The volume that would be measured of an input (see :func:`read_study`)."""
    return read_study(Path(path)).volume


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _read_folder(
    root: Path, name: str, policy: SeriesPolicy | None, series_uid: str | None, progress: Progress | None
) -> ReadStudy:
    instances, damaged = read_instances(root, progress)
    if not instances:
        return _without_dicom(root, name, damaged)
    stacks, refused = find_stacks(instances)
    if not stacks:
        kinds = sorted({r.reason for r in refused})
        raise NotFoundError(f"No axial CT series was found in '{name}' ({_in_words(kinds)}).")
    _one_person(stacks, name)
    flags = _study_flags(stacks, damaged)
    if series_uid is not None:
        chosen = [s for s in stacks if s.first.series_uid == series_uid]
        if not chosen:
            raise InputError(f"The series asked for is not among the CT series of '{name}'.")
        others = [s for s in stacks if s.first.series_uid != series_uid]
        refused += [
            RefusedSeries(s.first.series_uid, s.first.description, "not_chosen", len(s.instances))
            for s in others
        ]
        stacks = chosen
    (volume, found), stack, beside = _load_best(stacks, policy or SeriesPolicy.load(), progress)
    images = _images(volume, stack)
    if not images:
        flags.append(ReadFlag("uid_missing"))
    if any(w in stack.first.image_type for w in ("DERIVED", "SECONDARY")):
        flags.append(ReadFlag("derived_series"))
    every = (*flags, *stack.flags, *found)
    return ReadStudy(volume, (*refused, *beside), header_body(stack.first.header), every, images)


def _images(volume: Volume, stack: Stack) -> tuple[Instance, ...]:
    """The images of the volume's slices; none when other objects could not refer to them."""
    named: dict[tuple[str | None, int | None], Instance] = {
        (i.sop_uid, i.frame): i for i in stack.instances if i.sop_uid and i.series_uid and i.study_uid
    }
    found = [named.get((s.sop_uid, s.frame)) for s in volume.sources]
    images = tuple(i for i in found if i is not None)
    return images if len(named) == len(stack.instances) and len(images) == volume.n_slices else ()


def _load_best(
    stacks: list[Stack], policy: SeriesPolicy, progress: Progress | None
) -> tuple[tuple[Volume, tuple[ReadFlag, ...]], Stack, list[RefusedSeries]]:
    """Load the stack that the policy prefers; a damaged one is refused and the next is tried."""
    damaged: list[RefusedSeries] = []
    while True:
        stack, beside = policy.choose(stacks)
        try:
            return load_stack(stack, progress), stack, [*damaged, *beside]
        except UnreadableError:
            if len(stacks) == 1:
                raise
            one = stack.first
            damaged.append(RefusedSeries(one.series_uid, one.description, "damaged", len(stack.instances)))
            stacks = [s for s in stacks if s is not stack]


def _without_dicom(root: Path, name: str, damaged: list[str]) -> ReadStudy:
    """A folder (or zip) that holds NIfTI instead; otherwise say what is wrong."""
    if root.is_dir():
        images = sorted(p for p in root.rglob("*") if p.is_file() and _is_nifti(p))
        if len(images) == 1:
            return ReadStudy(read_nifti(images[0]))
        if len(images) > 1:
            raise InputError(f"'{name}' holds {len(images)} NIfTI files; give one of them.")
    if damaged:
        raise UnreadableError(f"The DICOM files in '{name}' are damaged.")
    if root.is_dir():
        raise NotFoundError(f"No CT image was found in '{name}'.")
    raise UnreadableError(f"'{name}' is neither DICOM, NIfTI nor zip, or it is damaged.")


def _in_words(reasons: list[str]) -> str:
    return ", ".join(r.replace("_", " ") for r in reasons) or "no images"


def _one_person(stacks: list[Stack], name: str) -> None:
    """Several people are never mixed and none of them is chosen silently."""
    people = {_person(i) for s in stacks for i in (s.first, s.instances[-1])}
    if len(people) > 1:
        raise InputError(
            f"'{name}' holds CT series of {len(people)} different patients; give the folder of one patient."
        )


def _person(instance: Instance) -> str:
    """What tells people apart: the patient ID, or the name where there is no ID."""
    patient_id, patient_name = instance.patient
    return patient_id.casefold() or f"name {patient_name.casefold()}"


def _study_flags(stacks: list[Stack], damaged: list[str]) -> list[ReadFlag]:
    flags = []
    if len({s.first.study_uid for s in stacks if s.first.study_uid}) > 1:
        flags.append(ReadFlag("several_studies"))
    if damaged:
        flags.append(ReadFlag("damaged_files", (("count", str(len(damaged))),)))
    return flags


def header_body(header: Dataset) -> HeaderBody:
    """Sex, age, height and weight as a header says them."""
    sex = text_of(header, "PatientSex").upper()[:1]
    size = number_of(header, "PatientSize")
    return HeaderBody(
        sex=sex if sex in ("M", "F") else None,
        age_years=_age(text_of(header, "PatientAge")) or _age_by_dates(header),
        height_cm=None if not size else round(size * 100.0, 2),
        weight_kg=number_of(header, "PatientWeight") or None,
        date=text_of(header, "StudyDate") or None,
    )


def _age_by_dates(header: Dataset) -> float | None:
    """Completed years from birth to the study, where the header has both dates."""
    born, studied = text_of(header, "PatientBirthDate"), text_of(header, "StudyDate")
    if len(born) != 8 or len(studied) != 8 or not (born + studied).isdigit():
        return None
    years = int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])
    return float(years) if years >= 0 else None


def _age(text: str) -> float | None:
    """Years of a DICOM age string (``064Y``, ``018M``, ``012W``, ``005D``, or a bare number of years)."""
    units = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    text = text.strip().upper()
    scale = units.get(text[-1:])
    digits = text[:-1] if scale is not None else text
    try:
        return round(float(digits) * (scale or 1.0), 2)
    except ValueError:
        return None
