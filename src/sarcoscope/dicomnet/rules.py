"""Which series of which sender are analysed: a table, first row that fits decides."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset

from sarcoscope.errors import SettingError
from sarcoscope.imaging.instances import read_header, text_of

ACTIONS: Final = ("analyze", "store", "ignore")
COLUMNS: Final = ("modality", "station", "description", "least_images", "action")


@dataclass(frozen=True)
class Rule:
    """A row: every field that is filled must fit."""

    modality: str = ""
    station: str = ""
    """Pattern for the station name or institution in the header."""
    description: str = ""
    """Pattern for the series description."""
    least_images: int = 0
    action: str = "store"

    def fits(self, header: Dataset, images: int) -> bool:
        """The series with this header and so many images is meant."""
        said = text_of(header, "SeriesDescription")
        where = f"{text_of(header, 'StationName')} {text_of(header, 'InstitutionName')}"
        return (
            (not self.modality or self.modality.upper() == text_of(header, "Modality").upper())
            and (not self.station or re.search(self.station, where, re.IGNORECASE) is not None)
            and (not self.description or re.search(self.description, said, re.IGNORECASE) is not None)
            and images >= self.least_images
        )


@dataclass(frozen=True)
class Rules:
    """All rows, and what is done when none fits."""

    rows: Sequence[Rule] = ()
    otherwise: str = "store"

    @classmethod
    def load(cls, path: Path) -> Rules:
        """Read a CSV with columns ``modality,station,description,least_images,action``.

        Raises:
            SettingError: missing, damaged, or with an unknown action or pattern.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"The rules '{path.name}' cannot be read.") from error
        return cls.parse(text, path.name)

    @classmethod
    def parse(cls, text: str, name: str = "rules") -> Rules:
        """The content of such a CSV.

        Raises:
            SettingError: an unknown column, action or pattern.
        """
        lines = list(csv.DictReader(text.splitlines()))
        unknown = {c for line in lines for c in line if c not in COLUMNS}
        if unknown:
            raise SettingError(f"The rules '{name}' have an unknown column '{sorted(map(str, unknown))[0]}'.")
        return cls(tuple(_rule(line, name) for line in lines))

    def action(self, header: Dataset, images: int) -> str:
        """What is done with a series: one of :data:`ACTIONS`."""
        return next((r.action for r in self.rows if r.fits(header, images)), self.otherwise)


def _rule(line: dict[str, str | None], name: str) -> Rule:
    values = {c: (line.get(c) or "").strip() for c in COLUMNS}
    if values["action"] not in ACTIONS:
        raise SettingError(
            f"'{values['action']}' in '{name}' is no action; actions are {', '.join(ACTIONS)}."
        )
    try:
        for column in ("station", "description"):
            re.compile(values[column])
        least = int(values["least_images"] or 0)
    except (re.error, ValueError) as error:
        raise SettingError(f"A row of '{name}' cannot be understood: {error}.") from error
    return Rule(values["modality"], values["station"], values["description"], least, values["action"])


def sort_out(folder: Path, rules: Rules) -> set[str]:
    """Remove the files of the series to be ignored; original UIDs of the series to be analysed."""
    headers: dict[str, Dataset] = {}
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.dcm")):
        header = read_header(path)
        if header is not None:
            uid = text_of(header, "SeriesInstanceUID")
            headers.setdefault(uid, header)
            files.setdefault(uid, []).append(path)
    wanted = set()
    for uid, header in headers.items():
        action = rules.action(header, len(files[uid]))
        if action == "ignore":
            for path in files[uid]:
                path.unlink()
        elif action == "analyze":
            wanted.add(uid)
    return wanted
