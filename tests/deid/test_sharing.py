"""Bundles: nothing with an identity gets in, nothing changed gets out, everything is written down."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sarcoscope.deid.folder import deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.sharing import (
    Terms,
    ledger_csv,
    make_bundle,
    mark_destroyed,
    open_bundle,
    read_ledger,
    small_cells,
)
from sarcoscope.errors import IdentityError, InputError, SettingError, UnreadableError
from tests.imaging.kinds import series

LATER = (datetime.now(UTC).date() + timedelta(days=90)).isoformat()
TERMS = Terms("sarcopenia in cirrhosis", "Prof. Kim, Busan", "IRB-2026-17", LATER)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shared")
    with FileMapping(root / "map.sqlite") as mapping:
        deidentify_folder(series(root), root / "out", mapping)
    (root / "out/results.csv").write_text("pseudonym,SMI\nSCX,48\n", encoding="utf-8")
    make_bundle(root / "out", root / "bundle.zip", TERMS, root / "ledger.jsonl")
    return root


def test_bundle_comes_out_as_it_went_in(shared: Path, tmp_path: Path) -> None:
    manifest = open_bundle(shared / "bundle.zip", tmp_path / "in")
    before = {
        p.relative_to(shared / "out"): p.read_bytes() for p in (shared / "out").rglob("*") if p.is_file()
    }
    after = {
        p.relative_to(tmp_path / "in"): p.read_bytes() for p in (tmp_path / "in").rglob("*") if p.is_file()
    }
    assert before == after
    assert manifest["people"] == 1
    assert manifest["terms"]["approval"] == "IRB-2026-17"


def test_ledger_says_who_has_what(shared: Path) -> None:
    entry = read_ledger(shared / "ledger.jsonl")[0]
    assert (entry["people"], entry["files"], entry["destroyed"]) == (1, 16, None)
    assert "Prof. Kim, Busan" in ledger_csv([entry])
    mark_destroyed(shared / "ledger.jsonl", entry["id"])
    assert read_ledger(shared / "ledger.jsonl")[0]["destroyed"]
    with pytest.raises(SettingError, match="knows no bundle"):
        mark_destroyed(shared / "ledger.jsonl", "nothing")


def test_identities_do_not_get_in(tmp_path: Path) -> None:
    folder = series(tmp_path)
    with pytest.raises(IdentityError, match="not de-identified"):
        make_bundle(folder, tmp_path / "b.zip", TERMS, tmp_path / "l")
    for name in ("map.sqlite", "map.sqlite.key", "labs.unmatched.csv"):
        other = tmp_path / name.replace(".", "_")
        other.mkdir()
        (other / name).write_text("x")
        with pytest.raises(IdentityError, match="never shared"):
            make_bundle(other, tmp_path / "b.zip", TERMS, tmp_path / "l")
    assert not (tmp_path / "b.zip").exists()
    assert read_ledger(tmp_path / "l") == []


def test_a_changed_bundle_is_refused(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "bundle.zip") as before, zipfile.ZipFile(tmp_path / "c.zip", "w") as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, content.replace(b"48", b"58") if name.endswith(".csv") else content)
    with pytest.raises(UnreadableError, match="was changed"):
        open_bundle(tmp_path / "c.zip", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    (tmp_path / "d.zip").write_bytes((shared / "bundle.zip").read_bytes()[:5000])
    with pytest.raises(UnreadableError, match="damaged"):
        open_bundle(tmp_path / "d.zip", tmp_path / "x")


def test_paths_that_lead_outside_are_refused(tmp_path: Path) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    manifest = {
        "terms": {"expires": LATER},
        "people": 0,
        "files": [{"path": "../evil.txt", "bytes": 4, "sha256": digest}],
    }
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("data/../evil.txt", "test")
        archive.writestr("manifest.json", json.dumps(manifest))
    with pytest.raises(UnreadableError, match="outside"):
        open_bundle(tmp_path / "e.zip", tmp_path / "in")
    assert not (tmp_path / "evil.txt").exists()


def test_an_expired_bundle_is_not_opened(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="destroyed"):
        open_bundle(shared / "bundle.zip", tmp_path, today=date.fromisoformat(LATER) + timedelta(days=1))


@pytest.mark.parametrize(
    "terms",
    [
        ("", "r", "a", LATER),
        ("p", "", "a", LATER),
        ("p", "r", " ", LATER),
        ("p", "r", "a", "soon"),
        ("p", "r", "a", "2020-01-01"),
    ],
)
def test_incomplete_terms_are_refused(terms: tuple[str, str, str, str]) -> None:
    with pytest.raises(SettingError):
        Terms(*terms)


def test_small_groups_are_found(tmp_path: Path) -> None:
    rows = ["pseudonym,sex,decade"] + [f"P{n},M,60" for n in range(6)] + ["P6,F,90"] * 7 + ["P7,F,90"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert small_cells(tmp_path / "t.csv", ["sex", "decade"]) == {("F", "90"): 2}
    assert small_cells(tmp_path / "t.csv", ["sex"], least=2) == {}
    with pytest.raises(InputError, match="no column"):
        small_cells(tmp_path / "t.csv", ["disease"])
