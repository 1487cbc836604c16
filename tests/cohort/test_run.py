"""The whole way: one command, the same bytes again, files that Excel and people can read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sarcoscope.cohort.codes import code_table
from sarcoscope.cohort.column_map import read_column_map
from sarcoscope.cohort.definition import read_definition
from sarcoscope.cohort.figure_style import style
from sarcoscope.cohort.figures import prevalence_figure
from sarcoscope.cohort.run import run_cohort
from sarcoscope.cohort.sheets import Sheet, cell, sheet_bytes
from sarcoscope.cohort.study import do_study
from sarcoscope.cohort.words import Words
from sarcoscope.language.catalogue import messages
from sarcoscope.samples.population_files import write_sample_cohort
from tests.cohort.make import person, study, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample_cohort(folder, preset="mixed", n=1500, seed=4)
    text = (folder / "cohort.toml").read_text(encoding="utf-8")
    (folder / "cohort.toml").write_text(
        text.replace("[reference]", "[reference]\ndraws = 100"), encoding="utf-8"
    )
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _run(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sarcoscope.cli.main", *map(str, arguments)]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "utf-8",
        "SARCOSCOPE_HOME": str(home),
        "PYTHONHASHSEED": "random",
    }
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )


def test_the_same_file_gives_the_same_bytes_in_another_process(sample: Path, tmp_path: Path) -> None:
    run_cohort(sample / "cohort.toml", tmp_path / "a")
    done = _run(
        "cohort", "run", sample / "cohort.toml", "--out", tmp_path / "b", "-q", home=tmp_path / "home"
    )
    assert done.returncode == 0, done.stderr
    first, second = _files(tmp_path / "a"), _files(tmp_path / "b")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    manifest = json.loads(first["manifest.json"])
    assert manifest["groups_kind"] == "overlapping"
    assert manifest["persons_in_several_groups"] > 0
    assert set(manifest["outputs"]) == set(first) - {"manifest.json"}
    assert {
        f"figures/{n}.{k}"
        for n in ("flow", "distribution", "prevalence_p0", "outcome")
        for k in ("png", "svg", "pdf")
    } <= set(first)


def test_korean_report_and_tables_for_a_spreadsheet(sample: Path, tmp_path: Path) -> None:
    run_cohort(sample / "cohort.toml", tmp_path, language="ko", formats=("png",))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<html lang='ko'>" in page
    assert "근육량 저하 유병률" in page
    assert not re.search(r"cohort_[a-z_]+|\{[a-z_]+\}", page)
    content = (tmp_path / "tables" / "prevalence.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert {r["group_title"] for r in rows} == {"전체", "지방간", "간경변", "간염", "간섬유화", "간질환 없음"}
    for row in rows:
        assert int(row["n"]) == int(row["comparable"]) + int(row["not_comparable"])


def test_every_word_of_the_report_is_in_both_languages() -> None:
    used = set()
    for path in (ROOT / "src" / "sarcoscope" / "cohort").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'"(cohort_(?!note_\{)[a-z0-9_A-Z]+)"', text))
    used -= {"cohort_file", "cohort_flow_index_", "cohort_note_"}
    missing = {code for code in used if code not in messages()}
    assert missing == set()
    for code, message in messages().items():
        if code.startswith("cohort_"):
            assert set(re.findall(r"\{(\w+)\}", message.texts["en"])) == set(
                re.findall(r"\{(\w+)\}", message.texts["ko"])
            ), code


def test_cells_of_a_spreadsheet() -> None:
    assert [cell(v) for v in (None, float("nan"), True, 3, 1 / 3, "=1+1", "-x", -1.5)] == [
        "", "", "yes", "3", "0.3333333333", "'=1+1", "'-x", "-1.5",
    ]  # fmt: skip
    found = sheet_bytes(Sheet("a", ("group", "n"), [{"group": "g", "n": 1}]), {"g": "가"}).decode("utf-8-sig")
    assert found == "group,group_title,n\r\ng,가,1\r\n"


def test_import_check_and_reference_commands(sample: Path, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "import"
    done = _run("cohort", "import", sample / "clinical.csv", "--out", out, home=home)
    assert "confirmed = true" in done.stderr
    mapping = out / "mapping.toml"
    done = _run("cohort", "import", sample / "clinical.csv", "--out", out, "--mapping", mapping, home=home)
    assert (done.returncode, "is a suggestion" in done.stderr) == (2, True)
    mapping.write_text(
        mapping.read_text(encoding="utf-8").replace("confirmed = false", "confirmed = true"), encoding="utf-8"
    )
    assert read_column_map(mapping).codes.columns == ("icd10",)
    options = ("--out", out, "--mapping", mapping, "--results", sample / "results.csv")
    done = _run("cohort", "import", sample / "clinical.csv", *options, home=home)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == {
        "mapping.toml",
        "clinical.csv",
        "dictionary.csv",
        "matches.csv",
    }
    made = _run("sample", "cohort", "--n", 200, "--seed", 9, "--out", tmp_path / "s", home=home)
    assert "people who do not exist" in made.stdout
    done = _run("cohort", "check", sample / "cohort.toml", "--lang", "ko", home=home)
    assert (done.returncode, "질환군이 중복됩니다" in done.stderr.replace("\n", " ")) == (0, True)
    done = _run("cohort", "reference", sample / "cohort.toml", home=home)
    assert "own_liver_free' (version 1) is ready" in done.stdout
    done = _run("reference", "show", "own_liver_free", home=home)
    assert "population" in done.stdout


def test_a_bad_table_leaves_its_problems_and_nothing_else(sample: Path, tmp_path: Path) -> None:
    lines = (sample / "clinical.csv").read_text(encoding="utf-8").splitlines()
    lines[5] = lines[5].replace(",M,", ",X,").replace(",F,", ",X,")
    (tmp_path / "bad.csv").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"
    done = _run(
        "cohort",
        "import",
        tmp_path / "bad.csv",
        "--out",
        out,
        "--mapping",
        sample / "mapping.toml",
        home=tmp_path,
    )
    assert done.returncode == 2
    assert "row 6" in done.stderr
    assert [p.name for p in out.iterdir()] == ["problems.csv"]
    done = _run("cohort", "run", sample / "cohort.toml", "--out", out, "--formats", "gif", home=tmp_path)
    assert (done.returncode, "is no format" in done.stderr) == (2, True)
    done = _run("cohort", "run", tmp_path / "nothing.toml", "--out", out, home=tmp_path)
    assert (done.returncode, "There is no cohort file" in done.stderr) == (2, True)


ALL = """
[analysis]
references = ["kim2021", "martin2013", "fhs_women", "caan2017"]
indices = ["SMA", "SMD", "SMA_BMI"]
"""
OUTCOME = """
[outcome]
time = "followup_years"
status = "status"
title = { en = "Death" }
exposure = { reference = "kim2021", index = "SMA" }
spline = "age_years"
landmarks = [1.0]
cutpoint = "SMA"
"""


@pytest.mark.parametrize("kind", ["one", "tiny", "no_age", "women", "all_low"])
def test_odd_cohorts_get_an_honest_report(kind: str, tmp_path: Path) -> None:
    n = {"one": 1, "tiny": 6}.get(kind, 40)
    more = {"no_age": {"age_years": None}, "women": {"sex": "F"}, "all_low": {"muscle_area_cm2": 60.0}}
    studies = [study(k, f"P{k}", SMD=35.0 + k, **more.get(kind, {})) for k in range(n)]
    people = [person(f"P{k}", years=1 + k, status=k % 2, cirrhosis=k % 2) for k in range(n)]
    if kind == "women":
        path = write(tmp_path, [s | {"sex": "F"} for s in studies], tail=ALL)
    else:
        path = write(tmp_path, studies, people, tail=ALL + OUTCOME)
    found = run_cohort(path, tmp_path / "out", formats=("png",))
    assert len(found.cohort) == n
    assert (tmp_path / "out" / "report.html").is_file()
    for row in found.models:
        assert row["problem"] or row["odds_ratio"] > 0
    codes = {c.code for c in found.notes}
    assert {"no_age": "cohort_note_no_age", "women": "cohort_note_constant"}.get(
        kind, "cohort_note_overlapping"
    ) in codes


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads((ROOT / "docs" / "cohort.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for part in notebook["cells"]:
        if part["cell_type"] == "code":
            exec("".join(part["source"]), names)
    assert "fatty_liver" in capsys.readouterr().out
    assert (tmp_path / "cohort_demo" / "distribution.png").is_file()


def test_codes_of_the_documents() -> None:
    page = (ROOT / "docs" / "cohort.md").read_text(encoding="utf-8")
    for code in code_table():
        assert f"| {code.prefix} | {code.disease} |" in page, code.prefix


def test_no_bar_is_cut_off_and_signs_in_titles_are_drawn(sample: Path) -> None:
    study_ = do_study(read_definition(sample / "cohort.toml"), sample)
    rows = [
        {**r, "prevalence": 0.9, "prevalence_low": 0.8, "prevalence_high": 0.95} if r["sex"] == "F" else r
        for r in study_.prevalences
    ]
    words = Words(study_.cohort, "en")
    with style():
        figure = prevalence_figure(study_.cohort, rows, "p0", "a $\\frac{$ title", words)
        figure.canvas.draw()
    for axes in figure.axes:
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 95
