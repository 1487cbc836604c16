"""Take files in: de-identified first, then stored, then listed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from sarcoscope.deid.folder import Choices, DeidReport, StudyReport, deidentify_folder, study_dict
from sarcoscope.errors import NotFoundError
from sarcoscope.imaging.instances import read_header, text_of
from sarcoscope.imaging.reader import header_body
from sarcoscope.imaging.volume import HeaderBody
from sarcoscope.progress import Progress
from sarcoscope.store.store import Store
from sarcoscope.store.tables import BodyValues, Centre, Image, Person, Project, ProjectCentre, Series, Study
from sarcoscope.study.faces import head_and_neck


@dataclass
class Taken:
    """What became of the files."""

    report: DeidReport
    studies: list[int] = field(default_factory=list)
    """Numbers of the studies that are new or have new images."""


@dataclass(frozen=True)
class _NewImage:
    uid: str
    sha256: str
    size: int


@dataclass
class _NewSeries:
    uid: str
    modality: str
    description: str
    images: list[_NewImage] = field(default_factory=list)


@dataclass
class _NewStudy:
    """A study on its way into the tables."""

    report: StudyReport
    day: date | None = None
    description: str = ""
    body: HeaderBody = field(default_factory=HeaderBody)
    series: list[_NewSeries] = field(default_factory=list)


def take_in(
    store: Store,
    project_id: int,
    centre_id: int,
    source: Path,
    *,
    progress: Progress | None = None,
    sample: bool = False,
) -> Taken:
    """De-identify a folder or zip and keep its studies.

    The same files taken in twice change nothing. A study that is kept as another person's is refused: its
    number was given twice, or the patient's number was corrected, and its images must not be mixed.

    Raises:
        InputError: no DICOM is there, or the archive is damaged.
        StorageError: the disk or the database refuses.
    """
    with store.database.reading() as session:
        project, centre = session.get_one(Project, project_id), session.get_one(Centre, centre_id)
        project_code, centre_code = project.code, centre.code
    choices = Choices(centre=centre_code, face_finder=head_and_neck)
    with store.work_folder() as folder, store.mapping(centre_code, project_code) as mapping:
        out = folder / "deidentified"
        report = deidentify_folder(source, out, mapping, choices, progress)
        found = [_stored(store, study) for study in report.studies]
    store.files.settle({i.sha256 for f in found for s in f.series for i in s.images})
    taken = Taken(report)
    with store.database.writing() as session:
        # One writer at a time for a centre's share of a project, so that nobody is made twice.
        session.get_one(ProjectCentre, (project_id, centre_id), with_for_update=True)
        refused = [new for new in found if _is_of_another(session, project_id, centre_id, new)]
        for new in found:
            number = None if new in refused else _keep(session, project_id, centre_id, new, sample=sample)
            if number is not None:
                taken.studies.append(number)
    for new in refused:
        report.refuse(new.report)
        for image in (i for series in new.series for i in series.images):
            store.files.remove(image.sha256)
    return taken


def _stored(store: Store, report: StudyReport) -> _NewStudy:
    """The files of one study, in the file store."""
    new = _NewStudy(report)
    for uid, images in report.files.items():
        series = _series(new, uid, next(iter(images.values())))
        for sop, path in images.items():
            size = path.stat().st_size
            series.images.append(_NewImage(sop, store.files.adopt(path), size))
    return new


def _series(new: _NewStudy, uid: str, path: Path) -> _NewSeries:
    """A series of a new study, as the header of one of its images describes it."""
    header = read_header(path) or Dataset()
    series = _NewSeries(uid, text_of(header, "Modality"), text_of(header, "SeriesDescription")[:200])
    new.series.append(series)
    new.day = new.day or _day(text_of(header, "StudyDate"))
    new.description = new.description or text_of(header, "StudyDescription")[:200]
    new.body = _completed(new.body, header_body(header))
    return series


def _completed(known: HeaderBody, more: HeaderBody) -> HeaderBody:
    return HeaderBody(
        known.sex or more.sex,
        known.age_years if known.age_years is not None else more.age_years,
        known.height_cm or more.height_cm,
        known.weight_kg or more.weight_kg,
        known.date or more.date,
    )


def _day(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _is_of_another(session: Session, project_id: int, centre_id: int, new: _NewStudy) -> bool:
    """Whether the study is kept already, as somebody else's."""
    place = {"project_id": project_id, "centre_id": centre_id}
    study = session.scalar(select(Study).filter_by(**place, uid=new.report.study))
    return study is not None and study.person.pseudonym != new.report.pseudonym


def _keep(session: Session, project_id: int, centre_id: int, new: _NewStudy, *, sample: bool) -> int | None:
    """Write one study down; its number, or None when nothing of it is new."""
    place = {"project_id": project_id, "centre_id": centre_id}
    person = session.scalar(select(Person).filter_by(**place, pseudonym=new.report.pseudonym))
    if person is None:
        person = Person(**place, pseudonym=new.report.pseudonym, sex=new.body.sex)
        session.add(person)
        session.flush()
    study = session.scalar(select(Study).filter_by(**place, uid=new.report.study))
    if study is None:
        study = Study(
            **place,
            person_id=person.id,
            uid=new.report.study,
            day=new.day,
            description=new.description,
            sex=new.body.sex,
            age_years=new.body.age_years,
            report=study_dict(new.report),
            sample=sample,
        )
        session.add(study)
        session.flush()
        if new.body.height_cm or new.body.weight_kg:
            session.add(
                BodyValues(
                    person_id=person.id,
                    day=new.day,
                    origin="dicom",
                    height_cm=new.body.height_cm,
                    weight_kg=new.body.weight_kg,
                    age_years=new.body.age_years,
                )
            )
    added = sum(_add_images(study, series) for series in new.series)
    study.n_images += added
    return study.id if added else None


def _add_images(study: Study, new: _NewSeries) -> int:
    series = next((s for s in study.series if s.uid == new.uid), None)
    if series is None:
        series = Series(uid=new.uid, modality=new.modality, description=new.description)
        study.series.append(series)
    known = {image.uid for image in series.images}
    more = [Image(uid=i.uid, sha256=i.sha256, size=i.size) for i in new.images if i.uid not in known]
    series.images.extend(more)
    return len(more)


def remove_upload(store: Store, upload: str) -> None:
    """Remove the identified originals of an upload."""
    shutil.rmtree(store.upload_folder(upload), ignore_errors=True)


def lay_out(store: Store, study: Study, folder: Path) -> None:
    """The images of a study as files below a folder, for the analysis.

    Raises:
        NotFoundError: a stored file is missing.
    """
    for n, series in enumerate(study.series):
        place = folder / f"{n:03d}"
        place.mkdir(parents=True)
        for k, image in enumerate(series.images):
            try:
                store.place(image.sha256, place / f"{k:05d}.dcm")
            except FileNotFoundError as error:
                raise NotFoundError("A stored image is missing: run 'sarcoscope store check'.") from error


def report_dict(taken: Taken) -> Mapping[str, Any]:
    """What the page shows of it: nobody is named."""
    return {**taken.report.as_dict(), "study_numbers": taken.studies}
