"""A cohort file: who is in a study, which CT of each person counts, which groups are compared, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sarcoscope.anatomy.levels import LEVELS
from sarcoscope.cohort.column_map import read_toml, sentence_of
from sarcoscope.errors import SettingError
from sarcoscope.measures.indices import INDEX_UNITS
from sarcoscope.measures.measurement import PROTOCOLS
from sarcoscope.study.settings import PHASES

VERSION: Final = 1
DOUBTFUL_FLAGS: Final = (
    "level_confidence_low", "numbering_uncertain", "level_cut_off", "muscle_border_doubtful",
    "tissue_cut_off", "implausible_values",
)  # fmt: skip
REST: Final = "rest"
"""Name of the group of people without any of the diseases."""
OPERATORS: Final = ("<", "<=", ">", ">=", "==", "!=", "between", "in", "not in", "missing", "present")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Title(_Strict):
    """A name in both languages; Korean is the English one where it is not given."""

    en: str
    ko: str = ""

    def say(self, language: str) -> str:
        """In a language."""
        return self.ko if language == "ko" and self.ko else self.en


class Condition(_Strict):
    """A comparison of a column; ``between`` holds the lower bound and not the upper one."""

    column: str
    op: Literal["<", "<=", ">", ">=", "==", "!=", "between", "in", "not in", "missing", "present"]
    value: float | str | list[float | str] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Condition:
        many = isinstance(self.value, list)
        if self.op in ("missing", "present"):
            wrong = self.value is not None
        elif self.op == "between":
            wrong = not (many and len(self.value) == 2)  # type: ignore[arg-type]
        elif self.op in ("in", "not in"):
            wrong = not many or not self.value
        else:
            wrong = many or self.value is None
        if wrong:
            raise ValueError(f"the value of '{self.column} {self.op}' does not fit its operator")
        if self.op == "between" and isinstance(self.value, list):
            low, high = self.value
            if type(low) is not type(high) or not low < high:  # type: ignore[operator]
                raise ValueError(f"the bounds of '{self.column} between' are not a lower and a higher one")
        return self


class Rule(Condition):
    """Who is taken in or left out, with the reason that the flow chart shows."""

    action: Literal["include", "exclude"]
    reason: Title
    missing: Literal["exclude", "keep", ""] = ""
    """What becomes of people without the value: by default left out by ``include``, kept by ``exclude``."""

    @property
    def keeps_missing(self) -> bool:
        """Do people without the value stay?"""
        return self.missing == "keep" or (not self.missing and self.action == "exclude")


class Studies(_Strict):
    """Where the measured studies are, and which of a person's counts."""

    results: str
    person: str = "person"
    people: str = ""
    """CSV ``id,person`` where the results do not say whose a study is."""
    level: str = "L3"
    protocol: str = "range"
    index_study: Literal["first", "last", "nearest"] = "first"
    nearest_to: str = ""
    doubtful: Literal["exclude", "keep"] = "exclude"
    doubtful_flags: tuple[str, ...] = DOUBTFUL_FLAGS
    verdicts: str = ""
    """CSV ``id,verdict`` of people who looked: ``ok`` beats the flags, ``doubtful`` and ``bad`` count so."""

    @model_validator(mode="after")
    def _known(self) -> Studies:
        if self.level not in LEVELS:
            raise ValueError(f"'{self.level}' is no level")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"'{self.protocol}' is no protocol")
        if (self.index_study == "nearest") != bool(self.nearest_to):
            raise ValueError("index_study 'nearest' and nearest_to go together")
        return self


class Policy(_Strict):
    """Which series may count; of several studies of one day the first phase of the list is taken."""

    phases: tuple[str, ...] = PHASES
    kvp: tuple[float, float] | None = None
    thickness_mm: tuple[float, float] | None = None
    sharp_kernel: bool = True

    @model_validator(mode="after")
    def _known(self) -> Policy:
        unknown = [p for p in self.phases if p not in PHASES]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is no phase; phases are {', '.join(PHASES)}")
        return self


class ClinicalPart(_Strict):
    """The clinical table."""

    table: str
    mapping: str
    max_days: float | None = None
    body: Literal["results", "clinical"] = "results"
    """Whose height and weight go first; the other fills the gaps."""
    unmatched: Literal["exclude", "keep"] = "exclude"
    """What becomes of people of the studies who are not in the table."""


class Group(_Strict):
    """A disease group: a disease of the clinical table, or people who meet a condition."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    title: Title
    where: Condition | None = None


class Groups(_Strict):
    """How people are put into groups; it must be said."""

    kind: Literal["hierarchical", "overlapping"]
    list: tuple[Group, ...] = Field(min_length=1)
    rest: Title | None = None
    """Makes a group of those who are in none."""

    @model_validator(mode="after")
    def _named_once(self) -> Groups:
        names = [g.name for g in self.list]
        if len(set(names)) < len(names) or REST in names:
            raise ValueError(f"group names must differ, and '{REST}' is taken")
        return self


class Analysis(_Strict):
    """What is tabled."""

    indices: tuple[str, ...] = Field(("SMA", "SMA_Ht2", "SMA_Wt", "SMA_BMI"), min_length=1)
    references: tuple[str, ...] = ("p0", "kim2021")
    decades: tuple[int, ...] = (30, 40, 50, 60, 70)
    """Lower edges of the tens of years; the last is the end of the one before."""
    small_cell: int = Field(10, ge=1)
    correction: Literal["holm", "bh"] = "holm"
    adjust: tuple[str, ...] = ("age_years", "sex", "bmi")
    table_one: tuple[str, ...] = ("age_years", "bmi")
    standard: str = ""
    """CSV ``sex,decade,weight`` of a standard population; else the cohort itself."""
    seed: int = 1

    @model_validator(mode="after")
    def _known(self) -> Analysis:
        unknown = [i for i in self.indices if i not in INDEX_UNITS]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is no index; indices are {', '.join(INDEX_UNITS)}")
        edges = list(self.decades)
        if len(edges) < 2 or edges != sorted(set(edges)):
            raise ValueError("decades are two or more ages, rising")
        return self


class OwnReference(_Strict):
    """A reference of the centre's own healthy people."""

    name: str
    where: tuple[Condition, ...] = ()
    young: tuple[float, float] = (20.0, 44.0)
    compare_young: tuple[tuple[float, float], ...] = ((20, 39), (20, 44), (20, 49))
    phase: str | None = None
    draws: int = Field(1000, ge=100, le=20_000)


class Exposure(_Strict):
    """Low muscle by a reference, as what outcome is asked of."""

    reference: str
    index: str


class Outcome(_Strict):
    """Time to an event after the index study."""

    time: str
    status: str
    event: int = 1
    title: Title
    unit: Title = Title(en="years", ko="년")
    exposure: Exposure
    adjust: tuple[str, ...] = ("age_years", "sex")
    spline: str = ""
    landmarks: tuple[float, ...] = ()
    cutpoint: str = ""
    """Index for which a cut-point is looked for in the data (exploratory)."""


class Definition(_Strict):
    """A cohort file, checked."""

    version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")
    title: Title
    studies: Studies
    policy: Policy = Policy()
    clinical: ClinicalPart | None = None
    rules: tuple[Rule, ...] = ()
    groups: Groups
    analysis: Analysis = Analysis()
    reference: OwnReference | None = None
    outcome: Outcome | None = None


def read_definition(path: Path) -> Definition:
    """Read a cohort file (TOML or JSON).

    Raises:
        SettingError: it cannot be used; the first fault is named.
        NotFoundError: it is not there.
    """
    try:
        if path.suffix.lower() == ".json":
            return Definition.model_validate_json(path.read_bytes())
        return Definition.model_validate(_plain(read_toml(path, "cohort file")))
    except ValidationError as error:
        raise SettingError(f"The cohort file '{path.name}' cannot be used: {sentence_of(error)}.") from error
    except OSError as error:
        raise SettingError(f"The cohort file '{path.name}' cannot be read: {error.strerror}.") from error


def _plain(value: Any) -> Any:
    """Dates of TOML as text."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
