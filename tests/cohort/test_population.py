"""The synthetic cohort: same seed same bytes, P0's sizes, and a truth that a study finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from sarcoscope.cohort.assemble import assemble
from sarcoscope.cohort.definition import read_definition
from sarcoscope.errors import SettingError
from sarcoscope.samples.population_files import write_sample_cohort
from tests.cohort.recovery import coverage

RUNS = 20


def test_same_seed_same_bytes_and_other_seed_other_people(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_sample_cohort(tmp_path / name, preset="mixed", n=300, seed=seed)
    for file in ("results.csv", "clinical.csv", "truth.json", "cohort.toml", "mapping.toml"):
        first = (tmp_path / "a" / file).read_bytes()
        assert first == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / "results.csv").read_bytes() != (tmp_path / "c" / "results.csv").read_bytes()


def test_the_sizes_of_p0(tmp_path: Path) -> None:
    write_sample_cohort(tmp_path, preset="p0", n=None, seed=1)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert (truth["counts"]["fatty_liver:M"], truth["counts"]["fatty_liver:F"]) == (3818, 2858)
    cohort = assemble(read_definition(tmp_path / "cohort.toml"), tmp_path)
    assert len(cohort) == truth["people_with_usable_ct"]
    fatty, sex = cohort.members["fatty_liver"], cohort.frame.text("sex")
    assert int((fatty & (sex == "M")).sum()) == 3818
    assert int((fatty & (sex == "F")).sum()) == 2858
    # P0 found fibrosis highest and cirrhosis lowest, and a rise with age.
    table = truth["prevalence_class_2"]["p0:SMA_BMI"]
    for sex_name in ("M", "F"):
        at = {g.split(":")[0]: v for g, v in table.items() if g.endswith(sex_name)}
        assert max(at, key=lambda g: at[g]["all"]) == "fibrosis"
        assert min(at, key=lambda g: at[g]["all"]) == "cirrhosis"
        for values in at.values():
            decades = [values[d] for d in ("30-39", "40-49", "50-59", "60-69")]
            assert decades == sorted(decades)


def test_wrong_wishes(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least 100"):
        write_sample_cohort(tmp_path, preset="mixed", n=None, seed=1)
    with pytest.raises(SettingError, match="no sample cohort like"):
        write_sample_cohort(tmp_path, preset="p9", n=500, seed=1)


def test_a_study_finds_the_truth(tmp_path: Path) -> None:
    """Each of 44 intervals in 20 cohorts; the soak does 200. A 95 % interval misses one in twenty."""
    held, runs = coverage(tmp_path, RUNS, seed=100)
    assert len(held) == 44
    worst = stats.binom.ppf(1e-4, runs, 0.95)
    assert {name: n for name, n in held.items() if n < worst} == {}
    assert 0.93 <= sum(held.values()) / (len(held) * runs) <= 0.975
