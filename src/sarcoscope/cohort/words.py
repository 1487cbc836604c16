"""Names of columns, groups and answers in a language, and numbers as a paper prints them."""

from __future__ import annotations

import math
from typing import Any

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import ALL
from sarcoscope.cohort.fields import fields
from sarcoscope.diagnosis.fit import phase_word
from sarcoscope.language.catalogue import messages, say
from sarcoscope.study.settings import PHASES

INDEX_SIGNS = {"SMA": "SMA", "SMA_Ht2": "SMA/Ht²", "SMA_Wt": "SMA/Wt", "SMA_BMI": "SMA/BMI", "SMD": "SMD"}
INDEX_UNITS = {"SMA": "cm²", "SMA_Ht2": "cm²/m²", "SMA_Wt": "cm²/kg", "SMA_BMI": "cm²/(kg/m²)", "SMD": "HU"}


def index_name(index: str, *, unit: bool = False) -> str:
    """``SMA/Ht² (cm²/m²)``."""
    sign = INDEX_SIGNS.get(index, index)
    return f"{sign} ({INDEX_UNITS[index]})" if unit and index in INDEX_UNITS else sign


class Words:
    """Speaks of a cohort in a language."""

    def __init__(self, cohort: Cohort, language: str) -> None:
        self.language = language
        self._titles = {ALL: say("cohort_all", language), **cohort.titles(language)}
        self._fields = {**fields(), **(cohort.clinical.fields if cohort.clinical else {})}

    @property
    def titles(self) -> dict[str, str]:
        """Group -> title."""
        return self._titles

    def say(self, code: str, **values: object) -> str:
        """A sentence of the catalogue."""
        return say(code, self.language, values)

    def sex(self, sex: str) -> str:
        """Men, women or everybody."""
        return say(f"cohort_sex_{sex}", self.language)

    def heading(self, column: str) -> str:
        """Heading of a column."""
        code = f"cohort_col_{column}"
        return say(code, self.language) if code in messages() else self.term(column)

    def term(self, name: str) -> str:
        """A characteristic, a term of a model, a group, an index or a field."""
        if name in INDEX_SIGNS:
            return index_name(name)
        if name in self._titles:
            return self._titles[name]
        base, _, rest = name.partition("|")
        if rest:
            return f"{self.term(base)}, {say(f'cohort_stat_{rest}', self.language)}"
        base, _, rest = name.partition(":")
        if rest:
            return f"{self.term(base)}: {self.value(rest)}"
        if "_spline_" in name:
            base, _, rest = name.partition("_spline_")
            return f"{self.term(base)}, {say('cohort_term_spline', self.language)} {rest}"
        code = f"cohort_term_{name}"
        if code in messages():
            return say(code, self.language)
        if name in self._fields:
            field = self._fields[name]
            return (
                f"{field.title[self.language]} ({field.unit})" if field.unit else field.title[self.language]
            )
        return name

    def value(self, value: Any) -> str:
        """A cell as a person reads it."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "-"
        if isinstance(value, bool):
            return say("cohort_yes" if value else "cohort_no", self.language)
        if isinstance(value, float):
            return number(value)
        text = str(value)
        if text in PHASES:
            return phase_word(text, self.language)
        if f"cohort_value_{text}" in messages():
            return say(f"cohort_value_{text}", self.language)
        return self._titles.get(text, index_name(text))


def number(value: float) -> str:
    """Three or four digits."""
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def p_value(p: float | None) -> str:
    """As papers print it."""
    if p is None or math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(share: float | None, low: float | None = None, high: float | None = None) -> str:
    """``12.3 (10.1-14.8)``, in percent."""
    if share is None or math.isnan(share):
        return "-"
    text = f"{100 * share:.1f}"
    return text if low is None or high is None else f"{text} ({100 * low:.1f}-{100 * high:.1f})"


def ratio(value: float, low: float, high: float) -> str:
    """``1.80 (1.62-2.01)``."""
    return "-" if math.isnan(value) else f"{value:.2f} ({low:.2f}-{high:.2f})"
