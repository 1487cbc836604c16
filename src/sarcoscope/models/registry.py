"""The model packages of this installation: those that ship, and those that the user added."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sarcoscope.errors import ModelError, NotFoundError, SettingError, StorageError
from sarcoscope.home import user_folder
from sarcoscope.models.package import ModelPackage, load_package

KINDS: Final[Mapping[str, str]] = {
    "spine-canal": "levels",
    "level-chain": "levels",
    "slice-levels": "levels",
    "l3-slice": "levels",
    "tissue-compartments": "tissues",
    "tissue-classes": "tissues",
}
"""What a package can be (its card's ``kind``), and which step of the analysis it does."""
CARD_FIELDS: Final = ("name", "version", "kind", "task", "classes", "input", "training", "licence", "sha256",
                      "intended_use", "members")  # fmt: skip
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
_FILES: Final = ("card.json", "model.onnx")
_LARGEST_BYTES: Final = 2 * 1024**3


def shipped_folder() -> Path:
    """Folder of the packages that ship."""
    return Path(str(files("sarcoscope.models").joinpath("shipped")))


def installed_packages() -> tuple[ModelPackage, ...]:
    """All packages, those that ship first; a damaged one is left out (``verify`` names it)."""
    found = []
    for folder in package_folders():
        try:
            found.append(load_package(folder))
        except ModelError:
            continue
    return tuple(found)


def package_folders() -> tuple[Path, ...]:
    """Folders of all packages, damaged ones too."""
    roots = (shipped_folder(), user_folder("models"))
    return tuple(p for root in roots if root.is_dir() for p in sorted(root.iterdir()) if p.is_dir())


def find_package(name: str) -> ModelPackage:
    """A package by its name, or by the path of its folder.

    Raises:
        SettingError: no package has that name.
        ModelError: the package is damaged.
    """
    for folder in package_folders():
        if folder.name == name:
            return load_package(folder)
    path = Path(name)
    if path.is_dir() and (path / "card.json").is_file():
        return load_package(path.resolve())
    names = ", ".join(f.name for f in package_folders())
    raise SettingError(f"'{name}' is no model of this installation; there are {names}.")


def chosen_packages(names: Sequence[str]) -> dict[str, ModelPackage]:
    """Kind of package -> package, of the models chosen by name.

    Raises:
        SettingError: an unknown name, or two models for one step.
    """
    chosen: dict[str, ModelPackage] = {}
    steps: dict[str, str] = {}
    for name in names:
        package = find_package(name)
        check_card(package.card)
        step = package.kind if package.kind == "spine-canal" else KINDS[package.kind]
        if step in steps:
            raise SettingError(f"'{steps[step]}' and '{name}' do the same step; choose one of them.")
        steps[step] = name
        chosen[package.kind] = package
    return chosen


def check_card(card: Mapping[str, Any]) -> None:
    """See that a card says what a package must say.

    Raises:
        ModelError: a field is missing or the kind is not known.
    """
    missing = [f for f in CARD_FIELDS if not card.get(f)]
    if missing:
        raise ModelError(f"The model's card does not say: {', '.join(missing)}.")
    if card["kind"] not in KINDS:
        raise ModelError(
            f"A model of the kind '{card['kind']}' cannot be used; kinds are {', '.join(KINDS)}."
        )
    if not _NAME.fullmatch(str(card["name"])):
        raise ModelError("A model's name has small letters, digits, '.', '-' and '_' only.")


def verify_package(folder: Path) -> ModelPackage:
    """Load a package and see that card, checksum and network hold together.

    Raises:
        ModelError: what is wrong with it.
    """
    package = load_package(folder)
    check_card(package.card)
    package.check_network()
    return package


def add_package(source: Path) -> ModelPackage:
    """Install a package from a folder or a zip; an older one of the same name is replaced.

    Raises:
        NotFoundError: there is nothing at that path.
        ModelError: it is no sound package, or has the name of one that ships.
        StorageError: the user's folder cannot be written.
    """
    if not source.exists():
        raise NotFoundError(f"There is no file or folder '{source.name}'.")
    root = user_folder("models")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".add-") as scratch:
            work = Path(scratch) / "package"
            work.mkdir()
            if source.is_dir():
                _copy_folder(source, work)
            else:
                _unzip(source, work)
            package = verify_package(work)
            if (shipped_folder() / package.name).is_dir():
                raise ModelError(f"'{package.name}' is the name of a model that ships; choose another name.")
            target = root / package.name
            if target.exists():
                shutil.rmtree(target)
            work.rename(target)
    except OSError as error:
        raise StorageError(f"The model could not be stored: {error.strerror}.") from error
    return load_package(target)


def remove_package(name: str) -> None:
    """Remove a package that the user added.

    Raises:
        SettingError: no such package, or one that ships.
    """
    target = user_folder("models") / name
    if not _NAME.fullmatch(name) or not target.is_dir():
        kind = "ships with Sarcoscope" if (shipped_folder() / name).is_dir() else "is not installed"
        raise SettingError(f"The model '{name}' {kind} and cannot be removed.")
    shutil.rmtree(target)


def _copy_folder(source: Path, work: Path) -> None:
    for name in _FILES:
        if not (source / name).is_file():
            raise ModelError(f"'{source.name}' holds no {name}.")
        shutil.copyfile(source / name, work / name)


def _unzip(source: Path, work: Path) -> None:
    """Take the two files of a package out of a zip (in its root or in one folder)."""
    try:
        with zipfile.ZipFile(source) as archive:
            for name in _FILES:
                inside = [i for i in archive.infolist() if i.filename.split("/")[-1] == name]
                if len(inside) != 1 or inside[0].file_size > _LARGEST_BYTES:
                    raise ModelError(f"'{source.name}' is no model package: it must hold one {name}.")
                with archive.open(inside[0]) as stream, (work / name).open("wb") as target:
                    shutil.copyfileobj(stream, target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"'{source.name}' is no zip that can be read.") from error


def write_zip(folder: Path, target: Path) -> None:
    """A package folder as a zip."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _FILES:
            archive.write(folder / name, name)


def card_text(package: ModelPackage) -> str:
    """The card as indented JSON."""
    return json.dumps(package.card, indent=1, ensure_ascii=False)
