from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.make import abdomen, chest, series


def run(*arguments: object, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sarcoscope.cli.main", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    if home is not None:
        environment["SARCOSCOPE_HOME"] = str(home)
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )


def test_analyze_prints_a_summary_and_progress(tmp_path: Path) -> None:
    done = run(
        "analyze", series(abdomen()), "--out", tmp_path / "o", "--sex", "f", "--height", 160, "--weight", 55
    )
    assert done.returncode == 0, done.stderr
    assert "Finding vertebral levels" in done.stderr
    assert "Measured at L3" in done.stdout
    assert "Research use only" in done.stdout
    assert (tmp_path / "o" / "report.pdf").is_file()


def test_quiet_json_and_korean(tmp_path: Path) -> None:
    done = run("analyze", series(chest()), "--out", tmp_path / "o", "--quiet", "--json", "--lang", "ko")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert "l3_not_in_view" in {f["code"] for f in result["flags"]}


def test_levels_json() -> None:
    done = run("levels", series(abdomen()), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"series", "levels", "flags"}
    assert "L3" in {r["level"] for r in answer["levels"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("analyze", "nowhere", "--out", "o"), "There is nothing"),
        (("analyze", ".", "--out", "o", "--levels", "L9"), "is no level"),
        (("analyze", ".", "--out", "o", "--lang", "fr"), "is no language"),
        (("analyze", ".", "--out", "o", "--reference", "nobody"), "no reference set"),
        (("analyze", ".", "--out", "o", "--height", "1.6", "--assume-level", "L3"), "cannot be true"),
        (("levels", "nowhere"), "There is nothing"),
        (("reference", "show", "nobody"), "no reference set"),
        (("sample", "fetch", "brain"), "no sample"),
        (("sample", "make", "--out", "o", "--faults", "magic"), "no fault"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = run(*(str(tmp_path) if a in (".", "o") else a for a in arguments))
    assert done.returncode == 2
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_own_reference_from_the_command_line(tmp_path: Path) -> None:
    table = tmp_path / "young.csv"
    rows = [f"{sex},{20 + k % 20},{100 + k % 7 * 5},165,60" for sex in "MF" for k in range(30)]
    table.write_text("sex,age,sma_cm2,height_cm,weight_kg\n" + "\n".join(rows), encoding="utf-8")
    assert run("reference", "add", table, "--name", "ours", home=tmp_path).returncode == 0
    listed = run("reference", "list", home=tmp_path)
    assert "ours" in listed.stdout
    assert "p0" in listed.stdout
    folder = series(abdomen())
    done = run(
        "analyze", folder, "--out", tmp_path / "o", "--reference", "ours", "--json", "-q", home=tmp_path
    )
    answers = json.loads(done.stdout)["diagnosis"]
    assert {d["reference"] for d in answers} == {"ours"}
    assert all(d["t_score"] is not None for d in answers if d["class"] != "not_comparable")
    assert run("reference", "remove", "ours", home=tmp_path).returncode == 0
    assert run("reference", "show", "ours", home=tmp_path).returncode == 2


def test_sample_make_is_read_back(tmp_path: Path) -> None:
    made = run(
        "sample",
        "make",
        "--out",
        tmp_path / "p",
        "--matrix",
        128,
        "--pixel",
        3.2,
        "--faults",
        "junk-files,localiser",
    )
    assert made.returncode == 0, made.stderr
    truth = json.loads((tmp_path / "p.truth.json").read_text(encoding="utf-8"))
    assert "muscle" in truth["areas_cm2"]
    done = run("levels", tmp_path / "p", "--json")
    assert [r["reason"] for r in json.loads(done.stdout)["series"]["refused"]] == ["localiser"]


def test_version() -> None:
    assert run("--version").stdout.startswith("sarcoscope ")
