"""The tables of the platform.

Nothing here names a patient: people are pseudonyms, dates are shifted, UIDs are new. Who is who lies in the
mapping of the centre, a file of its own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    DateTime,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

ARMS: Final = ("scratch", "assisted", "edit")
"""Ways to read: from nothing, with the model's answer beside, or beginning from the model's answer."""
ROLES: Final = ("viewer", "annotator", "reviewer", "manager", "administrator")
"""Roles of a member, each with the rights of those before it."""
KEEPS: Final = ("all", "series", "slices")
"""What a project keeps: all series, the measured series, or the measured slices."""
REVIEWS: Final = ("open", "accepted", "reader", "excluded")
"""Where the human check of a study stands."""


class Base(DeclarativeBase):
    """Base of every table."""


class Moment(TypeDecorator[datetime]):
    """A moment in UTC (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What a value is in Python."""
        return datetime

    def process_bind_param(self, value: datetime | None, _dialect: object) -> datetime | None:
        """To the database: always in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: object) -> datetime | None:
        """From the database: with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


class Centre(Base):
    """A hospital; its people are never those of another one."""

    __tablename__ = "centre"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(200))


class Project(Base):
    """A research question with its members and choices."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(40), unique=True)
    title: Mapped[str] = mapped_column(String(200))
    purpose: Mapped[str] = mapped_column(Text, default="")
    approval: Mapped[str] = mapped_column(String(100), default="")
    expires: Mapped[date | None] = mapped_column(default=None)
    keeps: Mapped[str] = mapped_column(String(10), default="all")
    levels: Mapped[list[str]] = mapped_column(JSON, default=lambda: ["L3"])
    protocol: Mapped[str] = mapped_column(String(30), default="range")
    references: Mapped[list[str]] = mapped_column(JSON, default=list)
    series_policy: Mapped[str | None] = mapped_column(Text, default=None)
    """Content of a policy file; None: the default."""
    receiver_rules: Mapped[str | None] = mapped_column(Text, default=None)
    """Content of a rules file: what is done with series that come over the network."""
    p0_words: Mapped[bool] = mapped_column(default=False)
    """The worklist shows the words of P0 ("Class II Sarcopenia", "Normal") with a footnote."""
    process_on_arrival: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class ProjectCentre(Base):
    """A centre that takes part in a project."""

    __tablename__ = "project_centre"
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"), primary_key=True)
    shared: Mapped[bool] = mapped_column(default=False)
    """Members of the project's other centres see its studies."""


class User(Base):
    """Somebody who can sign in."""

    __tablename__ = "app_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    full_name: Mapped[str] = mapped_column(String(200), default="")
    password: Mapped[str] = mapped_column(String(200))
    administrator: Mapped[bool] = mapped_column(default=False)
    """Manages users, projects and centres; sees studies only where it is a member."""
    active: Mapped[bool] = mapped_column(default=True)
    must_change: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str] = mapped_column(String(5), default="en")
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(Moment, default=None)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class Membership(Base):
    """What a user may do in a project with the data of a centre."""

    __tablename__ = "membership"
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True)
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    mapping: Mapped[bool] = mapped_column(default=False)
    """May see who is behind a pseudonym of this centre."""


class SignIn(Base):
    """A session of a browser; the cookie's value is kept as a digest only."""

    __tablename__ = "sign_in"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    seen: Mapped[datetime] = mapped_column(Moment, default=now)


class Token(Base):
    """A token for scripts; kept as a digest only."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    used: Mapped[datetime | None] = mapped_column(Moment, default=None)


class Person(Base):
    """Somebody under a pseudonym of one project and centre."""

    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("project_id", "centre_id", "pseudonym"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"))
    pseudonym: Mapped[str] = mapped_column(String(40), index=True)
    sex: Mapped[str | None] = mapped_column(String(1), default=None)
    body: Mapped[list[BodyValues]] = relationship(order_by="BodyValues.id")


class BodyValues(Base):
    """Height and weight of a person on a day, and where they come from."""

    __tablename__ = "body_info"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    day: Mapped[date | None] = mapped_column(default=None)
    """Shifted like every date of the person."""
    origin: Mapped[str] = mapped_column(String(20))
    """typed, dicom or imported."""
    age_years: Mapped[float | None] = mapped_column(default=None)
    height_cm: Mapped[float | None] = mapped_column(default=None)
    weight_kg: Mapped[float | None] = mapped_column(default=None)
    dry: Mapped[bool] = mapped_column(default=False)
    fluid: Mapped[bool] = mapped_column(default=False)
    """Ascites or oedema is known."""
    user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"), default=None)
    made: Mapped[datetime] = mapped_column(Moment, default=now)


class Study(Base):
    """A de-identified study with what the worklist shows of it."""

    __tablename__ = "study"
    __table_args__ = (
        UniqueConstraint("project_id", "centre_id", "uid"),
        Index("study_list", "project_id", "centre_id", "id"),
        Index("study_doubt", "project_id", "centre_id", "doubt"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    uid: Mapped[str] = mapped_column(String(64))
    day: Mapped[date | None] = mapped_column(default=None, index=True)
    modality: Mapped[str] = mapped_column(String(16), default="CT")
    description: Mapped[str] = mapped_column(String(200), default="")
    disease: Mapped[str] = mapped_column(String(100), default="")
    sex: Mapped[str | None] = mapped_column(String(1), default=None)
    age_years: Mapped[float | None] = mapped_column(default=None)
    n_images: Mapped[int] = mapped_column(default=0)
    sample: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    report: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """What de-identification did."""
    job_key: Mapped[str | None] = mapped_column(String(200), default=None, index=True)
    """The newest job; its state is the study's."""
    result: Mapped[str] = mapped_column(String(20), default="", index=True)
    """Class of the first answer of the project's references."""
    t_score: Mapped[float | None] = mapped_column(default=None)
    phase: Mapped[str] = mapped_column(String(20), default="")
    flags: Mapped[str] = mapped_column(Text, default="")
    """Codes of cautions and warnings, each between spaces."""
    doubt: Mapped[float] = mapped_column(Float, default=0.0)
    """How much a human check is worth: 0 none … 1."""
    review: Mapped[str] = mapped_column(String(12), default="open", index=True)
    review_reason: Mapped[str] = mapped_column(String(200), default="")
    assigned_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"), default=None)
    analysis_id: Mapped[int | None] = mapped_column(default=None)
    """The newest analysis."""
    segmentation_id: Mapped[int | None] = mapped_column(default=None)
    """The version of the mask that counts; an analysis of it may still be at work."""
    person: Mapped[Person] = relationship()
    series: Mapped[list[Series]] = relationship(order_by="Series.id", cascade="all, delete-orphan")


class Series(Base):
    """A series of a study."""

    __tablename__ = "series"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    uid: Mapped[str] = mapped_column(String(64))
    modality: Mapped[str] = mapped_column(String(16), default="")
    description: Mapped[str] = mapped_column(String(200), default="")
    refused: Mapped[str] = mapped_column(String(60), default="")
    """Why the newest analysis did not take it."""
    images: Mapped[list[Image]] = relationship(order_by="Image.id", cascade="all, delete-orphan")


class Image(Base):
    """A DICOM object of a series."""

    __tablename__ = "image"
    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]


class Analysis(Base):
    """One run of the analysis; ``result.json`` is among its outputs."""

    __tablename__ = "analysis"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    run: Mapped[str] = mapped_column(String(200), unique=True)
    """Key of the job that made it: a job that is done twice counts once."""
    made: Mapped[datetime] = mapped_column(Moment, default=now)
    software: Mapped[str] = mapped_column(String(30))
    series_uid: Mapped[str] = mapped_column(String(64))
    protocol: Mapped[str] = mapped_column(String(30))
    references: Mapped[list[str]] = mapped_column(JSON, default=list)
    """What was asked; empty: the defaults of the level."""
    segmentation_id: Mapped[int | None] = mapped_column(default=None)
    correction_id: Mapped[int | None] = mapped_column(default=None)
    """The newest level correction that is in it."""
    rows: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON, default=None)
    """The result as rows of a table (:func:`~sarcoscope.exports.result_rows.result_rows`); None: not yet."""
    outputs: Mapped[list[Output]] = relationship(order_by="Output.id", cascade="all, delete-orphan")


class Output(Base):
    """A file of an analysis: report, tables, masks, pictures."""

    __tablename__ = "report"
    id: Mapped[int] = mapped_column(primary_key=True)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]


class CohortRow(Base):
    """A cohort study of some centres of a project."""

    __tablename__ = "cohort"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    name: Mapped[str] = mapped_column(String(61))
    centres: Mapped[list[int]] = mapped_column(JSON)
    """Numbers of the centres whose studies it takes."""
    made: Mapped[datetime] = mapped_column(Moment, default=now)
    versions: Mapped[list[CohortVersion]] = relationship(
        order_by="CohortVersion.number", cascade="all, delete-orphan"
    )


class CohortVersion(Base):
    """A cohort file with the clinical table that it was run on; never changed."""

    __tablename__ = "cohort_version"
    __table_args__ = (UniqueConstraint("cohort_id", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    cohort_id: Mapped[int] = mapped_column(ForeignKey("cohort.id"), index=True)
    number: Mapped[int]
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)
    table_name: Mapped[str] = mapped_column(String(200), default="")
    """Of the clinical table; empty: there is none."""
    mapping: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    reason: Mapped[str] = mapped_column(String(200))
    made: Mapped[datetime] = mapped_column(Moment, default=now)
    job_key: Mapped[str | None] = mapped_column(String(200), default=None)
    files: Mapped[list[CohortFile]] = relationship(order_by="CohortFile.name", cascade="all, delete-orphan")


class CohortFile(Base):
    """A file of a version: what was uploaded (``in/…``), and what came out."""

    __tablename__ = "cohort_file"
    __table_args__ = (UniqueConstraint("version_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("cohort_version.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]


class LevelCorrection(Base):
    """A range of a level as a reader moved it."""

    __tablename__ = "level_correction"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    level: Mapped[str] = mapped_column(String(10))
    index_low: Mapped[int]
    index_high: Mapped[int]
    renumber: Mapped[bool] = mapped_column(default=False)
    """Every other name moved along."""
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    reason: Mapped[str] = mapped_column(String(200))
    made: Mapped[datetime] = mapped_column(Moment, default=now)


class Segmentation(Base):
    """A version of a mask; never overwritten."""

    __tablename__ = "segmentation"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("segmentation.id"), default=None)
    reader: Mapped[str] = mapped_column(String(200))
    """A user's name, or name and version of a model."""
    user_id: Mapped[int | None] = mapped_column(ForeignKey("app_user.id"), default=None)
    reason: Mapped[str] = mapped_column(String(200), default="")
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int]
    made: Mapped[datetime] = mapped_column(Moment, default=now)
    indices: Mapped[list[int]] = mapped_column(JSON, default=list)
    """Slices that it covers; a slice without any tissue is covered too."""
    key: Mapped[str | None] = mapped_column(String(64), unique=True, default=None)
    """Word of the page that saved it: the same save sent twice is one version."""
    blind: Mapped[bool] = mapped_column(default=False)
    """A reading of a reader study: never the version that counts, and not among the others."""


class Draft(Base):
    """A user's work in progress on a study's mask."""

    __tablename__ = "draft"
    __table_args__ = (UniqueConstraint("study_id", "user_id", "task_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    base_id: Mapped[int | None] = mapped_column(ForeignKey("segmentation.id"), default=None)
    """The version that it changes."""
    task_id: Mapped[int | None] = mapped_column(ForeignKey("reader_task.id"), default=None)
    """The reading that it belongs to; None: a correction."""
    made: Mapped[datetime] = mapped_column(Moment, default=now)
    touched: Mapped[datetime] = mapped_column(Moment, default=now)
    slices: Mapped[list[DraftSlice]] = relationship(
        order_by="DraftSlice.index_", cascade="all, delete-orphan"
    )


class DraftSlice(Base):
    """A slice of a draft."""

    __tablename__ = "draft_slice"
    draft_id: Mapped[int] = mapped_column(ForeignKey("draft.id"), primary_key=True)
    index_: Mapped[int] = mapped_column("slice_index", primary_key=True)
    labels: Mapped[bytes] = mapped_column(LargeBinary)
    """zlib of the labels, uint8 [y, x]."""
    measured: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What was measured on it, as in ``slices`` of ``result.json``."""


class ReaderStudy(Base):
    """Several readers read the same studies, blind."""

    __tablename__ = "reader_study"
    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"))
    title: Mapped[str] = mapped_column(String(200))
    level: Mapped[str] = mapped_column(String(10))
    arms: Mapped[list[str]] = mapped_column(JSON)
    repeat_days: Mapped[int | None] = mapped_column(default=None)
    """Every reader reads everything again, so many days after the first time; None: once."""
    seed: Mapped[int] = mapped_column(default=1)
    frozen: Mapped[datetime | None] = mapped_column(Moment, default=None)
    """Nothing changes any more since."""
    created: Mapped[datetime] = mapped_column(Moment, default=now)
    tasks: Mapped[list[ReaderTask]] = relationship(
        order_by="ReaderTask.position", cascade="all, delete-orphan"
    )
    subjects: Mapped[list[ReaderStudySubject]] = relationship(cascade="all, delete-orphan")


class ReaderStudySubject(Base):
    """A study of a reader study, and what the model said of it when the reader study was planned."""

    __tablename__ = "reader_study_subject"
    reader_study_id: Mapped[int] = mapped_column(ForeignKey("reader_study.id"), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True, index=True)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"))
    """The analysis whose series is read."""
    segmentation_id: Mapped[int | None] = mapped_column(ForeignKey("segmentation.id"), default=None)
    """What the model drew."""
    levels: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """The reader study's level where the model saw it, as in ``levels`` of ``result.json``."""


class ReaderTask(Base):
    """One reading: a reader, a study, an arm."""

    __tablename__ = "reader_task"
    id: Mapped[int] = mapped_column(primary_key=True)
    reader_study_id: Mapped[int] = mapped_column(ForeignKey("reader_study.id"), index=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"), index=True)
    arm: Mapped[str] = mapped_column(String(12))
    repeat: Mapped[int] = mapped_column(default=0)
    position: Mapped[int]
    """Place in the reader's own random order."""
    seconds: Mapped[int] = mapped_column(default=0)
    """Time with the study on the screen."""
    index_low: Mapped[int | None] = mapped_column(default=None)
    index_high: Mapped[int | None] = mapped_column(default=None)
    segmentation_id: Mapped[int | None] = mapped_column(ForeignKey("segmentation.id"), default=None)
    rating: Mapped[int | None] = mapped_column(default=None)
    """Acceptability of what the model drew: 1 (useless) … 5 (as it is)."""
    comment: Mapped[str] = mapped_column(String(500), default="")
    finished: Mapped[datetime | None] = mapped_column(Moment, default=None)
    verdict: Mapped[str] = mapped_column(String(12), default="")
    """approved or rejected, by a verifier."""
    verdict_by: Mapped[str] = mapped_column(String(60), default="")
    verdict_comment: Mapped[str] = mapped_column(String(500), default="")


class MeasurementRow(Base):
    """A tissue at a level, by an analysis."""

    __tablename__ = "measurement"
    id: Mapped[int] = mapped_column(primary_key=True)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), index=True)
    level: Mapped[str] = mapped_column(String(10))
    protocol: Mapped[str] = mapped_column(String(30))
    tissue: Mapped[str] = mapped_column(String(12))
    area_cm2: Mapped[float | None]
    area_error_cm2: Mapped[float | None]
    volume_cm3: Mapped[float | None]
    mean_hu: Mapped[float | None]
    sd_hu: Mapped[float | None]


class DiagnosisRow(Base):
    """An answer of a reference set."""

    __tablename__ = "diagnosis"
    id: Mapped[int] = mapped_column(primary_key=True)
    analysis_id: Mapped[int] = mapped_column(ForeignKey("analysis.id"), index=True)
    reference: Mapped[str] = mapped_column(String(60))
    level: Mapped[str] = mapped_column(String(10))
    index_name: Mapped[str] = mapped_column(String(20))
    value: Mapped[float | None]
    t_score: Mapped[float | None]
    class_name: Mapped[str] = mapped_column(String(20))


class Upload(Base):
    """Files on their way in from a browser or script."""

    __tablename__ = "upload"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    centre_id: Mapped[int] = mapped_column(ForeignKey("centre.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    state: Mapped[str] = mapped_column(String(12), default="open")
    """open, taking, done or failed."""
    error: Mapped[str] = mapped_column(Text, default="")
    report: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created: Mapped[datetime] = mapped_column(Moment, default=now)


class SavedView(Base):
    """A worklist's filters and columns under a name."""

    __tablename__ = "saved_view"
    __table_args__ = (UniqueConstraint("user_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("app_user.id"))
    name: Mapped[str] = mapped_column(String(100))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


class JobRow(Base):
    """A row of the job table (see :mod:`sarcoscope.jobs.queue`)."""

    __tablename__ = "job"
    __table_args__ = (Index("job_by_state", "state", "priority", "number"),)
    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(12), default="queued")
    priority: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(100), default=None)
    lease_until: Mapped[float | None] = mapped_column(default=None)
    not_before: Mapped[float] = mapped_column(default=0.0)
    progress: Mapped[float] = mapped_column(default=0.0)
    stage: Mapped[str] = mapped_column(String(40), default="")
    error: Mapped[str | None] = mapped_column(Text, default=None)
    log: Mapped[str] = mapped_column(Text, default="")
    """What happened to it: a line a take and an end."""


class Audit(Base):
    """Who did or read what."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    made: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    user_name: Mapped[str] = mapped_column(String(60), index=True)
    action: Mapped[str] = mapped_column(String(40), index=True)
    project_id: Mapped[int | None] = mapped_column(default=None)
    centre_id: Mapped[int | None] = mapped_column(default=None)
    target: Mapped[str] = mapped_column(String(100), default="")
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    address: Mapped[str] = mapped_column(String(60), default="")
