"""``sarcoscope batch``: lists, folders, failures, going on, and one table."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sarcoscope import analyze
from sarcoscope.cohort import assemble, read_definition
from sarcoscope.cohort.classes import CLASSES
from sarcoscope.cohort.prevalence import classify_all
from sarcoscope.diagnosis import find_sets
from sarcoscope.errors import InputError, NotFoundError, SettingError
from sarcoscope.jobs.batch import prepare, read_list
from sarcoscope.jobs.queue import JobQueue
from tests.cohort.make import write
from tests.imaging.kinds import series
from tests.tables import read_rows


def _batch(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sarcoscope.cli.main", "batch", *words, "--assume-level", "L3"]
    return subprocess.run(command, capture_output=True, text=True, timeout=58, check=False)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good studies and one that is none."""
    root = tmp_path_factory.mktemp("batch")
    for name in ("one", "two"):
        shutil.move(series(root / name), root / "in" / name)
    (root / "in" / "bad.zip").write_bytes(b"no zip")
    (root / "in" / "notes.txt").write_text("not a study")
    return root


def test_a_folder_of_studies(studies: Path) -> None:
    done = _batch(str(studies / "in"), "--out", str(studies / "out"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "2 studies done, 1 failed" in done.stderr
    rows = read_rows(studies / "out/results.csv")
    assert [(r["id"], r["level"]) for r in rows] == [("one", "L3"), ("two", "L3")]
    direct = analyze(studies / "in/one", assume_level="L3").record
    assert float(rows[0]["muscle_area_cm2"]) == pytest.approx(
        direct.measurements[0].tissues["muscle"].area_cm2, abs=1e-3
    )
    assert rows[0]["p0:SMA_BMI"]
    assert float(rows[0]["SMA_Ht2"]) > 0
    failures = read_rows(studies / "out/failures.csv")
    assert [(f["id"], "damaged" in f["reason"]) for f in failures] == [("bad", True)]
    assert (studies / "out/two/report.pdf").is_file()


def test_resume_does_only_what_is_left(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = tmp_path / "list.csv"
    table.write_text(
        f"path,id,sex,age,height_cm,weight_kg,centre,date,person\n{studies / 'in/one'},P 1,F,61,160,55,seoul,2024-01-05,Z9\n",
        encoding="utf-8",
    )
    assert _batch(str(table), "--out", str(out)).returncode == 0
    first = (out / "P_1/result.json").stat().st_mtime_ns
    with table.open("a", encoding="utf-8") as stream:
        stream.write(f"{studies / 'in/two'},P2,,,,,busan,\n")
    refused = _batch(str(table), "--out", str(out))
    assert (refused.returncode, "--resume" in refused.stderr) == (2, True)
    assert _batch(str(table), "--out", str(out), "--resume").returncode == 0
    assert (out / "P_1/result.json").stat().st_mtime_ns == first
    rows = read_rows(out / "results.csv")
    assert [(r["id"], r["centre"], r["sex"]) for r in rows] == [("P_1", "seoul", "F"), ("P2", "busan", "M")]
    assert rows[0]["weight_kg"] == "55.0"
    assert [r["person"] for r in rows] == ["Z9", ""]


def test_a_cohort_reads_the_results(studies: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text(
        "path,id,sex,age,height_cm,weight_kg,date,person\n"
        f"{studies / 'in/one'},a,F,61,160,55,2024-01-05,Z9\n{studies / 'in/two'},b,F,62,160,56,2025-01-05,Z9\n",
        encoding="utf-8",
    )
    assert _batch(str(table), "--out", str(tmp_path / "out")).returncode == 0
    cohort_file = write(tmp_path / "cohort", [], studies_part='doubtful = "keep"\n')
    (tmp_path / "out/results.csv").rename(tmp_path / "cohort/results.csv")
    found = assemble(read_definition(cohort_file), tmp_path / "cohort")
    assert (found.flow.persons, found.flow.studies, len(found)) == (1, 2, 1)
    assert found.frame.text("id")[0] == "a"
    (row,) = (r for r in read_rows(tmp_path / "cohort/results.csv") if r["id"] == "a")
    (kim,) = (a for a in classify_all(found, find_sets(("kim2021",))) if a.index == "SMA_BMI")
    assert CLASSES[kim.answer[0]] == row["kim2021:SMA_BMI"]


def test_killed_batch_goes_on(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sarcoscope.cli.main", "batch", str(studies / "in"), "--out", str(out)]
    process = subprocess.Popen([*command, "--assume-level", "L3", "-q"])
    while not (out / "jobs.sqlite").exists():
        time.sleep(0.05)
    time.sleep(2.0)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    with JobQueue(out / "jobs.sqlite") as queue:
        # The orphaned worker ends its study and stops; nobody else takes it meanwhile.
        while queue.counts()["running"] and time.monotonic() < deadline:
            time.sleep(0.2)
    done = _batch(str(studies / "in"), "--out", str(out), "--resume")
    assert done.returncode == 0, done.stderr
    assert [r["id"] for r in read_rows(out / "results.csv")] == ["one", "two"]


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing at"):
        read_list(tmp_path / "missing.csv")
    (tmp_path / "a.csv").write_text("id,sex\n1,F\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'path'"):
        read_list(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("path,colour\nx,red\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown column 'colour'"):
        read_list(tmp_path / "b.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="No study"):
        read_list(tmp_path / "empty")


def test_ids_are_safe_and_their_own(tmp_path: Path) -> None:
    rows = "x,../../evil\ny,a/b\nz,a b\nq,jobs.sqlite\nr,\ns.nii.gz,\ns.zip,\nt,홍길동\n"
    (tmp_path / "l.csv").write_text("path,id\n" + rows, encoding="utf-8")
    names = [s.id for s in read_list(tmp_path / "l.csv")]
    assert names == ["_.._evil", "a_b", "a_b-2", "jobs.sqlite-2", "r", "s", "s-2", "홍길동"]


def test_a_bad_number_fails_alone(studies: Path, tmp_path: Path) -> None:
    table = tmp_path / "l.csv"
    table.write_text(
        f"path,id,age\n{studies / 'in/one'},A,old\n{studies / 'in/two'},B,60\n", encoding="utf-8"
    )
    assert _batch(str(table), "--out", str(tmp_path / "o")).returncode == 0
    assert [f["id"] for f in read_rows(tmp_path / "o/failures.csv")] == ["A"]
    assert "no number" in read_rows(tmp_path / "o/failures.csv")[0]["reason"]
    assert [r["id"] for r in read_rows(tmp_path / "o/results.csv")] == ["B"]


def test_settings_are_checked_first(studies: Path, tmp_path: Path) -> None:
    assert _batch(str(studies / "in"), "--out", str(tmp_path / "o"), "--levels", "X9").returncode == 2
    assert not (tmp_path / "o").exists()
    prepare(read_list(studies / "in"), tmp_path / "p", {}, "en", resume=False)
    with pytest.raises(SettingError, match="--resume"):
        prepare(read_list(studies / "in"), tmp_path / "p", {}, "en", resume=False)
