"""Model packages: a folder with ``model.onnx`` and ``card.json``, run by ONNX Runtime or OpenVINO.

An ensemble is one ``model.onnx`` whose outputs carry the member as their first axis; the card lists the
members and the persons whom each did not see, so that cross-validated figures can be had from what ships.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sarcoscope.errors import ModelError
from sarcoscope.models.runtime import Network, open_network, runtime_name

Array = NDArray[Any]


@dataclass(frozen=True)
class ModelPackage:
    """A network and its card."""

    folder: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.card["name"])

    @property
    def kind(self) -> str:
        """What the network is made for (a key of :data:`sarcoscope.models.registry.KINDS`)."""
        return str(self.card.get("kind", self.card["name"]))

    @property
    def version(self) -> str:
        """Version of the model."""
        return str(self.card["version"])

    @cached_property
    def sha256(self) -> str:
        """Checksum of ``model.onnx``."""
        return hashlib.sha256((self.folder / "model.onnx").read_bytes()).hexdigest()

    @property
    def reference(self) -> tuple[str, str, str]:
        """(name, version, sha256), as provenance records it."""
        return self.name, self.version, self.sha256

    def members_without(self, person: str | None) -> list[int]:
        """Members of the ensemble that never saw a person; all of them when none did or for None."""
        held = [m.get("held_out", ()) for m in self.card["members"]]
        if person is None or not any(person in h for h in held):
            return list(range(len(held)))
        return [k for k, h in enumerate(held) if person in h]

    @cached_property
    def _network(self) -> Network:
        runtime = runtime_name()
        try:
            return open_network(self.folder / "model.onnx", runtime)
        except Exception as error:
            raise ModelError(f"The model in '{self.folder.name}' cannot be loaded.") from error

    def check_network(self) -> None:
        """See that the network can be loaded.

        Raises:
            ModelError: it cannot.
        """
        _ = self._network

    def run(self, **inputs: Array) -> list[Array]:
        """Run the network on named inputs (float32); returns its outputs, member axis first."""
        return self._network(inputs)


def load_package(folder: Path) -> ModelPackage:
    """Load a package and check that its card names this very model file.

    Raises:
        ModelError: the folder holds no package, or ``model.onnx`` is not the one that the card describes.
    """
    try:
        stamps = tuple((folder / name).stat().st_mtime_ns for name in ("card.json", "model.onnx"))
    except OSError as error:
        raise ModelError(f"'{folder.name}' holds no model package (card.json and model.onnx).") from error
    return _load(folder, stamps)


@cache
def _load(folder: Path, stamps: tuple[int, ...]) -> ModelPackage:
    """Load a package; files of other time stamps are loaded anew."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"'{folder.name}' holds no readable model package (card.json).") from error
    if not isinstance(card, dict) or not all(card.get(f) for f in ("name", "version", "members")):
        raise ModelError(f"The card of '{folder.name}' does not say name, version and members.")
    package = ModelPackage(folder, card)
    if card.get("sha256") and card["sha256"] != package.sha256:
        raise ModelError(f"The model '{package.name}' is damaged: its checksum is not that of its card.")
    return package


def shipped_package(name: str) -> ModelPackage:
    """A package that ships with Sarcoscope (``level-chain``, ``tissue-compartments``)."""
    return load_package(Path(str(files("sarcoscope.models").joinpath("shipped", name))))
