"""Options that several commands share about the mapping of pseudonyms and the profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sarcoscope.deid.mapping import FileMapping
from sarcoscope.deid.profile import Profile, default_options, method_rows
from sarcoscope.errors import SettingError
from sarcoscope.home import user_folder

MappingOption = Annotated[
    Path | None, typer.Option(help="File that keeps who is who (by default in your data folder).")
]
ProjectOption = Annotated[str, typer.Option(help="Project: each has pseudonyms of its own.")]
OPTION_HELP = "Further option of PS3.15: " + ", ".join(
    o.replace("_", "-") for o, r in method_rows().items() if r["default"] == "no"
)
_DATE_CHOICES = {"modified": "modified_dates", "full": "full_dates", "remove": ""}


def mapping_path(given: Path | None, project: str) -> Path:
    """Where the mapping of a project lies."""
    return given or user_folder("mapping") / f"{project}.sqlite"


def known_mapping(given: Path | None, project: str) -> FileMapping:
    """The mapping of a project, which must be there.

    Raises:
        MappingError: it is not, or cannot be opened.
    """
    return FileMapping(mapping_path(given, project), project=project, create=False)


def chosen_profile(options: list[str], without: list[str], dates: str) -> Profile:
    """The profile of the command line's options."""
    if dates not in _DATE_CHOICES:
        raise SettingError(f"'{dates}' is no way to treat dates; give {', '.join(_DATE_CHOICES)}.")
    names = {o.replace("-", "_") for o in options}
    off = {o.replace("-", "_") for o in without}
    unknown = (names | off) - set(method_rows())
    if unknown:
        raise SettingError(f"There is no option '{sorted(unknown)[0].replace('_', '-')}'; see --help.")
    chosen = (set(default_options()) - {"modified_dates"}) | names
    chosen |= {_DATE_CHOICES[dates]} - {""}
    return Profile(frozenset(chosen - off))
