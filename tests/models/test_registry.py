from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sarcoscope.cli.main import app
from sarcoscope.errors import ModelError, NotFoundError, SettingError
from sarcoscope.models.package import shipped_package
from sarcoscope.models.registry import (
    add_package,
    chosen_packages,
    find_package,
    package_folders,
    remove_package,
    shipped_folder,
    verify_package,
    write_zip,
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARCOSCOPE_HOME", str(tmp_path / "home"))


def _copy(tmp_path: Path, **changes: object) -> Path:
    folder = tmp_path / "own"
    shutil.copytree(shipped_folder() / "spine-canal", folder, dirs_exist_ok=True)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {"name": "own-canal", **changes}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def test_what_ships_is_sound_and_small() -> None:
    folders = [f for f in package_folders() if f.parent == shipped_folder()]
    assert {f.name for f in folders} >= {"level-chain", "spine-canal", "tissue-compartments"}
    for folder in folders:
        package = verify_package(folder)
        assert package.card["licence"] == "CC BY-NC 4.0"
        assert "medical device" in package.card["intended_use"]
    assert sum(p.stat().st_size for f in folders for p in f.iterdir()) < 60e6


def test_add_use_and_remove(tmp_path: Path) -> None:
    add_package(_copy(tmp_path))
    assert find_package("own-canal").kind == "spine-canal"
    assert set(chosen_packages(("own-canal",))) == {"spine-canal"}
    packed = tmp_path / "own.zip"
    write_zip(_copy(tmp_path, version="2.0"), packed)
    assert add_package(packed).version == "2.0"
    remove_package("own-canal")
    with pytest.raises(SettingError, match="no model"):
        find_package("own-canal")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "wizard"}, "cannot be used"),
        ({"sha256": "0" * 64}, "damaged"),
        ({"name": "../evil"}, "name"),
        ({"licence": ""}, "licence"),
        ({"name": "level-chain"}, "ships"),
        ({"members": []}, "members"),
    ],
)
def test_unsound_packages_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        add_package(_copy(tmp_path, **change))
    assert not [f for f in package_folders() if f.parent != shipped_folder() and not f.name.startswith(".")]


def test_files_that_are_no_packages(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        add_package(tmp_path / "nothing")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no zip")
    with pytest.raises(ModelError, match="zip"):
        add_package(bad)
    folder = _copy(tmp_path)
    (folder / "model.onnx").write_bytes(b"no network")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    import hashlib

    card["sha256"] = hashlib.sha256(b"no network").hexdigest()
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        add_package(folder)


def test_two_models_for_one_step_are_refused() -> None:
    with pytest.raises(SettingError, match="same step"):
        chosen_packages(("level-chain", "level-chain"))


def test_what_ships_cannot_be_removed() -> None:
    with pytest.raises(SettingError, match="ships"):
        remove_package("level-chain")


def test_command_line(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert "tissue-compartments" in run(app, ["models", "list"]).output
    assert '"licence": "CC BY-NC 4.0"' in run(app, ["models", "show", "level-chain"]).output
    assert run(app, ["models", "verify"]).output.count("sound") == len(package_folders())
    assert run(app, ["models", "add", str(_copy(tmp_path))]).exit_code == 0
    own = tmp_path / "home" / "models" / "own-canal" / "model.onnx"
    own.write_bytes(own.read_bytes()[:-1])
    assert "DAMAGED" in run(app, ["models", "list"]).output
    assert run(app, ["models", "verify"]).exit_code != 0
    assert run(app, ["models", "remove", "own-canal"]).exit_code == 0


def test_members_that_never_saw_a_person() -> None:
    package = shipped_package("level-chain")
    for member in package.members_without("cort"):
        assert "cort" in package.card["members"][member]["held_out"]
    assert len(package.members_without("nobody")) == len(package.card["members"])
