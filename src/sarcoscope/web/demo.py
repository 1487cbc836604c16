"""Sample studies for a first look: a real CT and phantoms under invented names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from sarcoscope.errors import SarcoscopeError
from sarcoscope.imaging.reader import read_volume
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.progress import Progress
from sarcoscope.samples.dicom_series import SeriesSettings, write_dicom_series, write_volume_series
from sarcoscope.samples.fetch import fetch
from sarcoscope.samples.phantom import PhantomSettings, make_phantom
from sarcoscope.store.accounts import found_project, hashed
from sarcoscope.store.intake import take_in
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Centre, Project, Study, User

DEMO_PASSWORD: Final = "sample-studies"
_CODE: Final = "demo"
_PHANTOMS: Final[tuple[tuple[str, dict[str, Any], str, float, float], ...]] = (
    ("Sample^One", {"sex": "M", "seed": 11}, "063Y", 1.74, 72.0),
    (
        "Sample^Two",
        {"sex": "F", "seed": 12, "muscle": 0.75, "imat": 0.12, "muscle_hu": 38.0},
        "071Y",
        1.56,
        61.0,
    ),
    (
        "Sample^Three",
        {"sex": "M", "seed": 13, "muscle": 0.72, "vat_mm": 24.0, "sat_mm": 26.0},
        "068Y",
        1.69,
        88.0,
    ),
    ("Sample^Four", {"sex": "F", "seed": 14, "ascites": True}, "055Y", 1.60, 66.0),
    ("Sample^Five", {"sex": "M", "seed": 15, "bottom_level": "T8", "top_level": "T3"}, "049Y", 1.77, 80.0),
)
"""Name, phantom, age, height (m), weight (kg): the body values are invented."""


def add_demo(store: Store, progress: Progress | None = None) -> None:
    """Fill a store with sample studies and a user for them, once."""
    with store.database.reading() as session:
        if session.scalar(select(User).where(User.name == _CODE)) is not None:
            return
    with store.database.writing() as session:
        user = User(name=_CODE, full_name="Demonstration", password=hashed(DEMO_PASSWORD), administrator=True)
        centre = session.scalar(select(Centre).where(Centre.code == _CODE)) or Centre(
            code=_CODE, name="Sample hospital"
        )
        project = Project(
            code=_CODE, title="Sample studies", purpose="Demonstration with invented body values"
        )
        found_project(session, user, centre, project)
        project_id, centre_id = project.id, centre.id
    with store.work_folder() as folder:
        _write_samples(folder / "in", progress)
        taken = take_in(store, project_id, centre_id, folder / "in", sample=True)
    with store.database.writing() as session:
        for number in taken.studies:
            queue_study(session, store, session.get_one(Study, number))


def _write_samples(folder: Path, progress: Progress | None) -> None:
    try:
        sample = fetch("abdomen", progress=progress)
    except SarcoscopeError:
        pass  # offline: the phantoms stand alone
    else:
        settings = SeriesSettings(
            patient_id="S-0",
            patient_name="Sample^Real",
            sex="M",
            size_m=1.72,
            description="Abdomen",
            seed="0",
        )
        write_volume_series(read_volume(sample.path), folder / "0", settings)
    for n, (name, phantom, age, height, weight) in enumerate(_PHANTOMS, 1):
        if progress is not None:
            progress("demo", n / len(_PHANTOMS))
        shape = PhantomSettings(matrix=256, pixel_mm=1.6, noise_hu=8.0, blur_mm=0.6, **phantom)
        settings = SeriesSettings(
            patient_id=f"S-{n}", patient_name=name, age=age, size_m=height, weight_kg=weight, seed=str(n)
        )
        write_dicom_series(make_phantom(shape), folder / str(n), settings)
