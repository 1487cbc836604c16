"""De-identify a folder or zip of DICOM files: studies taken apart, doubtful objects set aside."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pydicom
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import UID

from sarcoscope.deid.engine import Change, Engine
from sarcoscope.deid.mapping import FileMapping, Identity, Person
from sarcoscope.deid.pixel_text import series_text
from sarcoscope.deid.profile import Profile
from sarcoscope.deid.quarantine import class_of, is_directory, quarantine_texts, reason_against, text_in
from sarcoscope.deid.words import name_words
from sarcoscope.errors import NotFoundError, SarcoscopeError, SettingError, StorageError, UnreadableError
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.imaging.archive import unpacked
from sarcoscope.imaging.dicom_files import to_bytes
from sarcoscope.imaging.instances import numbers_of, read_header, text_of
from sarcoscope.imaging.pixels import decode_pixels
from sarcoscope.progress import Progress

FaceFinder = Callable[[Sequence[Path]], frozenset[str] | None]
"""SOP instance UIDs of the slices of head and neck; None: it cannot be told."""
REPORT_SCHEMA: Final = "1.0"
_LOOKED_AT: Final = 24
"""Slices of a series in which text is looked for first."""
_TOGETHER: Final = 16
"""Images whose new UIDs are written into the mapping at once."""


@dataclass(frozen=True)
class Choices:
    """What the caller decides."""

    profile: Profile = field(default_factory=Profile)
    centre: str = "local"
    issuer: str | None = None
    """Issuer of the patient IDs, where the headers do not say it."""
    quarantine: Path | None = None
    """Folder for the originals of what is set aside; without it they are only listed."""
    dry_run: bool = False
    face_finder: FaceFinder | None = None


@dataclass(frozen=True)
class _Entry:
    """A DICOM file as its header describes it."""

    path: Path
    identity: Identity
    study: str
    series: str
    sop: str
    number: int
    accession: str
    reason: str | None


@dataclass(frozen=True)
class _Made:
    """A de-identified image."""

    series: str
    sop: str
    content: bytes
    changes: dict[Change, int]


@dataclass
class StudyReport:
    """What happened to one study."""

    pseudonym: str
    study: str
    series: dict[str, int] = field(default_factory=dict)
    """New series UID -> images written."""
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    """New series UID -> new SOP instance UID -> file, of what this run wrote."""
    suspected_text: int = 0
    """Images in which letters may stand, although nothing else speaks for it."""
    changes: Counter[Change] = field(default_factory=Counter)


@dataclass
class DeidReport:
    """What happened to everything; it names nobody."""

    options: tuple[str, ...]
    codes: list[tuple[str, str]]
    studies: list[StudyReport] = field(default_factory=list)
    quarantined: Counter[str] = field(default_factory=Counter)
    """Reason -> files."""
    other_files: int = 0
    refused_studies: int = 0
    not_taken: list[tuple[Path, str]] = field(default_factory=list)
    """Files and reasons (``no_dicom`` too). Names of files may name people: not part of :meth:`as_dict`."""

    @property
    def written(self) -> int:
        """Images written."""
        return sum(sum(s.series.values()) for s in self.studies)

    def refuse(self, study: StudyReport) -> None:
        """Count a study that was written as refused for its identity."""
        self.studies.remove(study)
        self.refused_studies += 1
        self.quarantined["identity_conflict"] += sum(study.series.values())

    def as_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return {
            "schema": REPORT_SCHEMA,
            "profile": {
                "standard": "PS3.15 Annex E, Table E.1-1 (Basic Profile of edition 2026c)",
                "options": list(self.options),
                "codes": [{"code": c, "scheme": "DCM", "meaning": m} for c, m in self.codes],
            },
            "images": self.written,
            "studies": [study_dict(s) for s in self.studies],
            "quarantined": [
                {"reason": r, "text": dict(quarantine_texts()[r]), "files": n}
                for r, n in sorted(self.quarantined.items())
            ],
            "refused_studies": self.refused_studies,
            "other_files": self.other_files,
        }


def study_dict(study: StudyReport) -> dict[str, Any]:
    """A study's part of ``report.json``."""
    return {
        "pseudonym": study.pseudonym,
        "study": study.study,
        "series": [{"series": uid, "images": n} for uid, n in study.series.items()],
        "suspected_text": study.suspected_text,
        "attributes": [
            {
                "tag": f"({c.tag[:4]},{c.tag[4:]})".upper(),
                "name": c.name,
                "action": c.action,
                "reason": c.reason,
                "nested": c.nested,
                "count": n,
            }
            for c, n in sorted(study.changes.items())
        ],
    }


def deidentify_folder(
    source: Path,
    out: Path,
    mapping: FileMapping,
    choices: Choices | None = None,
    progress: Progress | None = None,
) -> DeidReport:
    """De-identify everything below ``source`` into ``out/<pseudonym>/<study>/<series>/<n>.dcm``.

    Args:
        source: DICOM file, folder of any depth, or zip.
        out: folder for the copies and ``report.json``.
        mapping: keeps who is who; it must not lie in ``out``.
        choices: profile, centre and the like.
        progress: hears ("deidentify", fraction).

    Raises:
        NotFoundError: no DICOM file is there.
        SettingError: the mapping would lie among the de-identified files.
        StorageError: the copies cannot be written.
    """
    choices = choices or Choices()
    out = Path(out)
    if mapping.path.resolve().is_relative_to(out.resolve()):
        raise SettingError("The mapping must not lie in the folder of the de-identified files.")
    if choices.quarantine is not None and choices.quarantine.resolve().is_relative_to(out.resolve()):
        raise SettingError("The quarantine holds identities: it must not lie among the de-identified files.")
    if out.resolve().is_relative_to(Path(source).resolve()):
        raise SettingError("The de-identified files must not lie in the folder that is read.")
    # Values of damaged files are checked here, not by pydicom, whose log would hold them.
    with _as_folder(Path(source)) as root, disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work = _Work(out, mapping, choices, Engine(choices.profile, mapping))
        entries = work.scan(root, progress)
        if not entries and not work.report.quarantined:
            raise NotFoundError(f"No DICOM file was found in '{Path(source).name}'.")
        studies: dict[tuple[object, ...], list[_Entry]] = {}
        for entry in entries:
            studies.setdefault((entry.study or entry.identity.key,), []).append(entry)
        done = 0
        for group in studies.values():
            work.study(group, lambda n: _tell(progress, 0.2 + 0.8 * n / len(entries)), done)
            done += len(group)
        if not choices.dry_run:
            work.write_report()
    return work.report


@contextmanager
def _as_folder(source: Path) -> Iterator[Path]:
    if not source.exists():
        raise NotFoundError(f"There is nothing at '{source.name}'.")
    if source.is_file() and zipfile.is_zipfile(source):
        with unpacked(source) as folder:
            yield folder
    elif source.is_file() and source.suffix.lower() == ".zip":
        raise UnreadableError(f"The archive '{source.name}' is damaged or encrypted.")
    else:
        yield source


def _tell(progress: Progress | None, fraction: float) -> None:
    if progress is not None:
        progress("deidentify", min(fraction, 1.0))


class _Work:
    """One run."""

    def __init__(self, out: Path, mapping: FileMapping, choices: Choices, engine: Engine) -> None:
        self.out, self.mapping, self.choices, self.engine = out, mapping, choices, engine
        profile = choices.profile
        self.report = DeidReport(tuple(sorted(profile.options)), profile.codes())
        self._places: dict[Path, _SeriesFolder] = {}

    def scan(self, root: Path, progress: Progress | None) -> list[_Entry]:
        """Headers of all files; what is no DICOM is counted, what is damaged is set aside."""
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        entries = []
        for n, path in enumerate(files):
            if n % 50 == 0:
                _tell(progress, 0.2 * n / len(files))
            header = read_header(path)
            if header is None or (not class_of(header) and not text_of(header, "Modality")):
                if _looks_like_dicom(path):
                    self._set_aside(path, "unreadable")
                else:
                    self._pass_over(path)
            elif is_directory(header):
                self._pass_over(path)
            else:
                entries.append(self._entry(path, header))
        return entries

    def _entry(self, path: Path, header: Dataset) -> _Entry:
        study, series = text_of(header, "StudyInstanceUID"), text_of(header, "SeriesInstanceUID")
        meta = getattr(header, "file_meta", None)
        sop = text_of(header, "SOPInstanceUID")
        sop = sop or ("" if meta is None else text_of(meta, "MediaStorageSOPInstanceUID"))
        number = text_of(header, "InstanceNumber").split("\\")[0]
        return _Entry(
            path,
            self._identity(header, study or str(path.parent)),
            study,
            series or _signature(header),
            sop,
            int(number) if number.lstrip("-").isdigit() else 0,
            text_of(header, "AccessionNumber"),
            reason_against(header, self.choices.profile),
        )

    def _identity(self, header: Dataset, study: str) -> Identity:
        """Who the header names; without an ID its name and birth date stand for it, else the study."""
        patient_id, name = text_of(header, "PatientID"), text_of(header, "PatientName")
        born = text_of(header, "PatientBirthDate")
        if not patient_id:
            patient_id = f"name {name} {born}" if name else f"study {study}"
        issuer = text_of(header, "IssuerOfPatientID") or self.choices.issuer or ""
        sex = text_of(header, "PatientSex")
        return Identity(self.choices.centre, patient_id, issuer, name, sex, born)

    def study(self, group: list[_Entry], tell: Callable[[int], None], done: int) -> None:
        """One study: refused when its identities contradict each other or what the mapping knows."""
        with self.mapping.transaction():
            person = None if _conflict(group) else self.mapping.person(group[0].identity)
        if person is None or _contradicts(person.identity, group[0].identity):
            self.report.refused_studies += 1
            for entry in group:
                self._set_aside(entry.path, "identity_conflict")
            return
        with self.mapping.transaction():
            for accession in {e.accession for e in group}:
                self.mapping.add_alias("accession", accession, person)
            kept = "retain_uids" in self.choices.profile.options and group[0].study
            study = StudyReport(person.pseudonym, kept or self.mapping.uid(_study_key(group[0])))
        serieses: dict[str, list[_Entry]] = {}
        for entry in group:
            if entry.reason is not None:
                self._set_aside(entry.path, entry.reason)
            else:
                serieses.setdefault(entry.series, []).append(entry)
        for entries in serieses.values():
            self._series(entries, study, person)
            done += len(entries)
            tell(done)
        if study.series:
            self.report.studies.append(study)

    def _series(self, entries: list[_Entry], study: StudyReport, person: Person) -> None:
        entries = sorted(entries, key=lambda e: (e.number, e.sop, str(e.path)))
        if self._has_text(entries):
            for entry in entries:
                self._set_aside(entry.path, "text_found")
            return
        faces: frozenset[str] = frozenset()
        if "clean_faces" in self.choices.profile.options and self.choices.face_finder is not None:
            found = self.choices.face_finder([e.path for e in entries])
            faces = found if found is not None else frozenset(e.sop for e in entries)
        once: dict[str, _Entry] = {}
        for entry in entries:
            once.setdefault(entry.sop or str(entry.path), entry)
        left = list(once.values())
        while left:
            # UIDs are committed before their images are written; others use the mapping between the groups.
            group, left = left[:_TOGETHER], left[_TOGETHER:]
            with self.mapping.transaction():
                made = [self._image(e, study, person) for e in group if not self._is_face(e, faces)]
            self._keep([m for m in made if m is not None], study, person)

    def _is_face(self, entry: _Entry, faces: frozenset[str]) -> bool:
        if entry.sop in faces:
            self._set_aside(entry.path, "face")
            return True
        return False

    def _image(self, entry: _Entry, study: StudyReport, person: Person) -> _Made | None:
        """One image de-identified; None: set aside."""
        dataset = _read(entry.path)
        if dataset is None:
            self._set_aside(entry.path, "unreadable")
            return None
        if self._is_suspect(dataset, study, entry):
            return None
        try:
            copy, changes = self.engine.deidentify(dataset, person)
            self._complete(copy, entry)
            content = to_bytes(copy)
        except SarcoscopeError:
            raise
        except Exception:  # damaged values fail in many ways when they are written
            self._set_aside(entry.path, "unreadable")
            return None
        return _Made(str(copy.SeriesInstanceUID), str(copy.SOPInstanceUID), content, changes)

    def _keep(self, images: list[_Made], study: StudyReport, person: Person) -> None:
        for image in images:
            study.changes.update(image.changes)
            study.series[image.series] = study.series.get(image.series, 0) + 1
            if not self.choices.dry_run:
                folder = self.out / person.pseudonym / study.study / image.series
                if folder not in self._places:
                    self._places[folder] = _SeriesFolder(folder)
                path = self._places[folder].write(image.sop, image.content)
                study.files.setdefault(image.series, {})[image.sop] = path

    def _has_text(self, entries: list[_Entry]) -> bool:
        step = max(1, len(entries) // _LOOKED_AT)
        boxes = [
            text_in(_picture(_read(entry.path)), sensitive=len(entries) > 2) for entry in entries[::step]
        ]
        return series_text(boxes)

    def _is_suspect(self, dataset: Dataset, study: StudyReport, entry: _Entry) -> bool:
        """Letters in a single picture: counted, and with Clean Pixel Data set aside."""
        if text_in(_picture(dataset), sensitive=False) is None:
            return False
        if "clean_pixel_data" in self.choices.profile.options:
            self._set_aside(entry.path, "text_found")
            return True
        study.suspected_text += 1
        return False

    def _complete(self, copy: Dataset, entry: _Entry) -> None:
        """Give UIDs to what had none: series by their geometry."""
        series = _series_key(entry)
        if not copy.get("SOPClassUID"):
            copy.SOPClassUID = copy.file_meta.MediaStorageSOPClassUID
        if not copy.get("StudyInstanceUID"):
            copy.StudyInstanceUID = self.mapping.uid(_study_key(entry))
        if not copy.get("SeriesInstanceUID"):
            copy.SeriesInstanceUID = self.mapping.uid(series)
        if not copy.get("SOPInstanceUID"):
            place = "\\".join(str(v) for v in copy.get("ImagePositionPatient") or ())
            own = entry.sop or f"{series}|{entry.number}|{place}"
            copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = UID(self.mapping.uid(own))

    def _pass_over(self, path: Path) -> None:
        self.report.other_files += 1
        self.report.not_taken.append((path, "no_dicom"))

    def _set_aside(self, path: Path, reason: str) -> None:
        self.report.quarantined[reason] += 1
        self.report.not_taken.append((path, reason))
        if self.choices.quarantine is None or self.choices.dry_run:
            return
        folder = self.choices.quarantine / reason
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = sum(1 for _ in folder.iterdir()) + 1
            shutil.copyfile(path, folder / f"{number:06d}.dcm")
        except OSError as error:
            raise StorageError(f"The quarantine folder cannot be written: {error.strerror}.") from error

    def write_report(self) -> None:
        """``report.json``."""
        make_folder(self.out)
        text = json.dumps(self.report.as_dict(), ensure_ascii=False, indent=1)
        write_bytes(self.out / "report.json", (text + "\n").encode())


class _SeriesFolder:
    """Writes the images of a series under numbers; the same image keeps its number in a later run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, str] = {}
        if folder.exists():
            for path in folder.glob("*.dcm"):
                header = read_header(path)
                if header is not None:
                    self._names[text_of(header, "SOPInstanceUID")] = path.name
        self._taken = set(self._names.values())
        self._next = 1

    def write(self, uid: str, content: bytes) -> Path:
        """Write one image, whole or not at all; returns where."""
        name = self._names.get(uid)
        while name is None:
            candidate = f"{self._next}.dcm"
            self._next += 1
            name = candidate if candidate not in self._taken else None
        make_folder(self.folder)
        write_bytes(self.folder / name, content)
        return self.folder / name


def _looks_like_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:132] == b"DICM"


def _read(path: Path) -> Dataset | None:
    try:
        return pydicom.dcmread(path, force=True)
    except Exception:
        return None


def _picture(dataset: Dataset | None) -> NDArray[Any] | None:
    if dataset is None or "PixelData" not in dataset:
        return None
    try:
        meta = getattr(dataset, "file_meta", None)
        syntax = "" if meta is None else text_of(meta, "TransferSyntaxUID")
        return decode_pixels(dataset, syntax)
    except Exception:
        return None


def _signature(header: Dataset) -> str:
    """What tells series apart that have no UID: grid, orientation and kernel."""
    turn = numbers_of(header, "ImageOrientationPatient", 6) or ()
    parts = [text_of(header, k) for k in ("Modality", "Rows", "Columns", "PixelSpacing", "ConvolutionKernel")]
    return "geometry " + "|".join([*parts, *(f"{v:.2f}" for v in turn)])


def _study_key(entry: _Entry) -> str:
    return entry.study or "study of " + "|".join(entry.identity.key)


def _series_key(entry: _Entry) -> str:
    return entry.series if entry.study else f"{_study_key(entry)}|{entry.series}"


def _contradicts(known: Identity, said: Identity) -> bool:
    """The mapping knows the number as somebody with another birth date or sex."""
    pairs = ((known.birth_date, said.birth_date), (known.sex.upper(), said.sex.upper()))
    return any(ours and theirs and ours != theirs for ours, theirs in pairs)


def _conflict(group: list[_Entry]) -> bool:
    """Two different values of a patient's ID, birth date or sex in one study; without dates, two names."""
    people = [e.identity for e in group]
    born = {p.birth_date for p in people if p.birth_date}
    sexes = {p.sex.upper() for p in people if p.sex.upper() in ("M", "F")}
    if any(len(values) > 1 for values in ({p.key for p in people}, born, sexes)):
        return True
    if born:
        return False
    names = {name_words(p.name) for p in people} - {frozenset()}
    return any(not (a & b) for a in names for b in names)
