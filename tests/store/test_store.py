"""The store on SQLite and PostgreSQL: migrations, files, backup while busy, kills in the middle."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pydicom
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text

from sarcoscope.errors import SettingError, StorageError, UnreadableError
from sarcoscope.jobs.study_job import queue_study
from sarcoscope.jobs.workers import run_workers
from sarcoscope.store.intake import take_in
from sarcoscope.store.results import remove_study
from sarcoscope.store.store import Store
from sarcoscope.store.tables import Analysis, Base, Centre, Image, Output, Person, Project, Study
from sarcoscope.store.upkeep import backup_store, check_store, restore_store, room_for
from tests.jobs.kills import survive
from tests.web.server import add_users, phantom_folder, work_off


def _ids(store: Store) -> tuple[int, int]:
    with store.database.reading() as session:
        return session.scalars(select(Project.id)).one(), session.scalars(
            select(Centre.id).where(Centre.code == "here")
        ).one()


def _fill(store: Store, folder: Path, count: int = 1) -> list[int]:
    for n in range(count):
        phantom_folder(folder / str(n), number=f"H-{n}", seed=f"s{n}")
    taken = take_in(store, *_ids(store), folder)
    with store.database.writing() as session:
        for number in taken.studies:
            queue_study(session, store, session.get_one(Study, number))
    return taken.studies


def test_migrations_make_what_the_tables_say(store: Store) -> None:
    store.database.migrate()  # again: nothing happens
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_newer_database_is_not_touched(store: Store) -> None:
    with store.database.connected() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer version"):
        store.database.migrate()


def test_study_from_files_to_result_once(store: Store, tmp_path: Path) -> None:
    (number,) = _fill(store, tmp_path / "in")
    work_off(store)
    with store.database.reading() as session:
        study = session.get_one(Study, number)
        assert study.analysis_id is not None
        assert study.result != ""
        assert session.scalar(select(func.count()).select_from(Analysis)) == 1
    # The same job once more (its worker was killed after it had written): nothing doubles.
    with store.database.connected() as connection:
        connection.execute(text("UPDATE job SET state = 'queued'"))
    work_off(store)
    with store.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Analysis)) == 1
    assert check_store(store).sound


def test_a_study_is_never_given_to_a_second_person(store: Store, tmp_path: Path) -> None:
    """Two people under one study UID, one upload after the other: the second is refused, nothing is mixed."""
    (number,) = _fill(store, tmp_path / "in")
    phantom_folder(tmp_path / "more", number="H-other", name="Somebody^Else", seed="s0")
    for path in (tmp_path / "more").glob("*.dcm"):  # images that the first one does not have
        image = pydicom.dcmread(path)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID[:-2]}.7"
        image.save_as(path)
    count = len(list((tmp_path / "more").glob("*.dcm")))
    with store.database.reading() as session:
        before = session.get_one(Study, number).n_images
    taken = take_in(store, *_ids(store), tmp_path / "more")
    assert taken.studies == []
    assert taken.report.refused_studies == 1
    assert taken.report.quarantined == {"identity_conflict": count}
    assert taken.report.written == 0
    with store.database.reading() as session:
        assert session.get_one(Study, number).n_images == before
        assert session.scalar(select(func.count()).select_from(Person)) == 1
    assert check_store(store).unnamed == []
    # The way out when the hospital corrected a number: the study is deleted and taken in again.
    with store.database.writing() as session:
        gone = remove_study(session, session.get_one(Study, number))
    for name in gone:
        store.files.remove(name)
    assert len(take_in(store, *_ids(store), tmp_path / "more").studies) == 1


def test_backup_while_busy_and_restore_elsewhere(store: Store, tmp_path: Path) -> None:
    _fill(store, tmp_path / "in", 2)
    worker = threading.Thread(target=work_off, args=(store,))
    worker.start()
    time.sleep(0.5)
    backup_store(store, tmp_path / "busy.tar")
    worker.join()
    manifest = backup_store(store, tmp_path / "b.tar")
    for archive in ("busy.tar", "b.tar"):
        other = Store.open(tmp_path / f"of-{archive}")
        restore_store(tmp_path / archive, other)
        found = check_store(other)
        assert found.sound
        assert found.unnamed == []
        if archive == "b.tar":
            again = backup_store(other, tmp_path / "c.tar")
            same = {k: v for k, v in manifest["files"].items() if not k.startswith("mapping/")}
            assert same == {k: v for k, v in again["files"].items() if not k.startswith("mapping/")}
            shutil.copy(store.mapping_path("here").with_suffix(".sqlite.key"), other.data / "mapping")
            with other.mapping("here", "liver") as mapping, other.database.reading() as session:
                pseudonym = session.scalars(select(Study)).first().person.pseudonym  # type: ignore[union-attr]
                assert mapping.person_of(pseudonym).identity.patient_id.startswith("H-")  # type: ignore[union-attr]
        with pytest.raises(SettingError, match="not empty"):
            restore_store(tmp_path / archive, other)
        other.close()


def test_a_damaged_backup_is_refused(store: Store, tmp_path: Path) -> None:
    _fill(store, tmp_path / "in")
    backup_store(store, tmp_path / "b.tar")
    content = bytearray((tmp_path / "b.tar").read_bytes())
    place = content.index(b"DICM") + 400
    content[place] ^= 1
    (tmp_path / "b.tar").write_bytes(content)
    other = Store.open(tmp_path / "other")
    with pytest.raises(UnreadableError, match="damaged"):
        restore_store(tmp_path / "b.tar", other)
    other.close()


def test_check_finds_what_is_missing_and_damaged(store: Store, tmp_path: Path) -> None:
    _fill(store, tmp_path / "in")
    with store.database.reading() as session:
        first, second = session.scalars(select(Image.sha256).limit(2)).all()
    store.files.path(first).unlink()
    store.files.path(second).write_bytes(b"other")
    store.files.put(b"left behind")
    found = check_store(store, remove_unnamed=True)
    assert (found.missing, found.damaged, len(found.unnamed)) == ([first], [second], 1)
    assert list(store.files.names()).count(found.unnamed[0]) == 0


@pytest.mark.parametrize("keeps", ["series", "slices"])
def test_a_project_keeps_what_it_chose(store: Store, tmp_path: Path, keeps: str) -> None:
    with store.database.writing() as session:
        session.scalars(select(Project)).one().keeps = keeps
    (number,) = _fill(store, tmp_path / "in")
    work_off(store)
    with store.database.reading() as session:
        study = session.get_one(Study, number)
        images = [i for s in study.series for i in s.images]
        assert len(images) == study.n_images
        assert (len(images) < 12) is (keeps == "slices")
    assert check_store(store).unnamed == []
    with store.database.writing() as session:
        for name in remove_study(session, session.get_one(Study, number)):
            store.files.remove(name)
    assert list(store.files.names()) == []


def test_room(store: Store, tmp_path: Path) -> None:
    assert room_for(store, 10).known_studies == 0
    _fill(store, tmp_path / "in")
    work_off(store)
    found = room_for(store, 10)
    with store.database.reading() as session:
        size = sum(session.scalar(select(func.sum(t.size))) or 0 for t in (Image, Output))
    assert found.disk_bytes == pytest.approx(10 * size)
    with pytest.raises(SettingError):
        room_for(store, 0)


def test_kills_lose_and_double_nothing(store: Store, tmp_path: Path) -> None:
    """`python -m tests.soak studies` does this with 500 larger studies, and on a Dask cluster."""
    survived = survive(store, tmp_path, 50, seed=1, slices=1)
    assert survived.killed["worker"] >= 1


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data")
    add_users(store)
    survived = survive(store, tmp_path, 10, seed=1, slices=3, dask=True)
    store.close()
    assert survived.killed["worker"] == 1


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no URL"):
        Store.open(tmp_path / "a", "nonsense")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "sarcoscope.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StorageError):
        Store.open(tmp_path / "b")
    with pytest.raises(StorageError, match="does not answer"):
        Store.open(tmp_path / "c", "postgresql://nobody@127.0.0.1:9/none")
    run_workers(tmp_path / "jobs.sqlite", print, 1)  # nothing to do: returns
