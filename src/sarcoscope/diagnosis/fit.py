"""Does a reference set fit a person and a measurement? The first reason against it, and the cautions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sarcoscope.diagnosis.reference_set import LimitRow, ReferenceSet
from sarcoscope.diagnosis.statement import Case, Caution
from sarcoscope.language.catalogue import say
from sarcoscope.measures.indices import WEIGHT_INDICES
from sarcoscope.measures.measurement import IndexValue

ADULT_YEARS: Final = 18.0
USUAL_KVP: Final = 120.0
DENSITY: Final = "SMD"


def reason_against(
    reference: ReferenceSet, case: Case, index: str, value: IndexValue | None
) -> tuple[Caution | None, LimitRow | None]:
    """(why the set cannot be used, or None; the row that applies, or None).

    Reasons are looked for in a fixed order, the first that applies is given.
    """
    rows = [r for r in reference.rows if r.index == index]
    if case.sex is None and any(r.sex for r in rows):
        return Caution("sex_missing"), None
    rows = [r for r in rows if r.sex in ("", case.sex)]
    if not rows:
        return Caution("sex_outside", {"sex": "M" if case.sex == "F" else "F"}), None
    rows_here = [r for r in rows if r.level == case.level]
    if not rows_here:
        levels = ", ".join(dict.fromkeys(r.level for r in rows))
        return Caution("level_differs", {"levels": levels, "level": case.level}), None
    rows = rows_here
    if reference.muscle_set is not None and reference.muscle_set != case.muscle_set:
        return Caution("muscle_set_differs"), None
    if reference.hu_band is not None and reference.hu_band != case.hu_band:
        low, high = reference.hu_band
        return Caution("hu_band_differs", {"band": f"{low}..{high}"}), None
    reason, rows = _age(reference, case, rows)
    if reason is None and value is None:
        reason = Caution("index_missing")
    if reason is None:
        reason, rows = _weight(case, index, rows)
    if reason is None and index == DENSITY:
        reason = _density(reference, case)
    return (reason, None) if reason is not None else (None, rows[0])


def _age(
    reference: ReferenceSet, case: Case, rows: Sequence[LimitRow]
) -> tuple[Caution | None, list[LimitRow]]:
    age = case.age_years
    if age is not None:
        if age < ADULT_YEARS or not reference.ages.holds(age):
            return Caution("age_outside", {"age": str(int(age))}), []
        fitting = [r for r in rows if r.ages.holds(age) and r.kind != "cutoff_age_unknown"]
        return (None, fitting) if fitting else (Caution("age_outside", {"age": str(int(age))}), [])
    if reference.ages.bounded:
        return Caution("age_missing"), []
    unaged = [r for r in rows if r.kind == "cutoff_age_unknown"] or [r for r in rows if not r.ages.bounded]
    return (None, unaged) if unaged else (Caution("age_missing"), [])


def _weight(case: Case, index: str, rows: Sequence[LimitRow]) -> tuple[Caution | None, list[LimitRow]]:
    stratified = [r for r in rows if r.bmis.bounded]
    spare = [r for r in rows if not r.bmis.bounded]
    if case.fluid and (index in WEIGHT_INDICES or stratified):
        return Caution("fluid"), []
    if not stratified:
        return None, spare
    if case.bmi is None:
        return (None, spare) if spare else (Caution("bmi_missing"), [])
    fitting = [r for r in stratified if r.bmis.holds(case.bmi)]
    if fitting or spare:
        return None, fitting or spare
    return Caution("bmi_outside", {"bmi": f"{int(case.bmi * 10) / 10:.1f}"}), []


def _density(reference: ReferenceSet, case: Case) -> Caution | None:
    """HU limits hold for one phase and 120 kVp only."""
    if case.phase == "unknown":
        return Caution("phase_missing")
    if reference.phase is None:
        return Caution("phase_of_set_unknown")
    if reference.phase != case.phase:
        return Caution("phase_differs", {"set_phase": reference.phase, "phase": case.phase})
    if case.kvp is not None and abs(case.kvp - USUAL_KVP) > 1:
        return Caution("kvp_differs", {"kvp": f"{case.kvp:g}"})
    return None


def cautions(reference: ReferenceSet, case: Case, row: LimitRow, value: IndexValue) -> tuple[Caution, ...]:
    """What to be wary of in an answer that can be given, in a fixed order: the value, the fit, the source."""
    found = [Caution(code) for code in case.doubts]
    found += _of_the_source(reference)
    found += _of_the_scan(reference, case, value)
    if row.kind == "cutoff_bmi_unknown" and case.bmi is not None:
        found.append(Caution("bmi_outside_table"))
    if known_error(value) is None:
        found.append(Caution("error_unknown"))
    if case.age_years is None:
        found.append(Caution("age_not_given"))
    if reference.population is not None:
        found.append(Caution("population_specific", {"population": reference.population["en"]}))
    unknown = _unknown(reference, value.name)
    if unknown:
        found.append(Caution("fit_unknown", {"what": ", ".join(unknown)}))
    return tuple(found)


def _of_the_source(reference: ReferenceSet) -> list[Caution]:
    found = []
    if reference.note == "inferred":
        found.append(Caution("index_inferred"))
    if reference.note == "inconsistent":
        found.append(Caution("inconsistent_source"))
    if not reference.verified:
        found.append(Caution("unverified"))
    return found


def _of_the_scan(reference: ReferenceSet, case: Case, value: IndexValue) -> list[Caution]:
    found = []
    density = value.name == DENSITY
    if reference.protocol is not None and reference.protocol != case.protocol:
        values = {"set_protocol": reference.protocol, "protocol": case.protocol}
        found.append(Caution("protocol_differs", values))
    if not density and reference.phase is not None and reference.phase != case.phase:
        code = "phase_missing_caution" if case.phase == "unknown" else "phase_differs_caution"
        found.append(Caution(code, {"set_phase": reference.phase, "phase": case.phase}))
    if density and case.kvp is None:
        found.append(Caution("kvp_missing"))
    if not density and case.fluid:
        found.append(Caution("fluid_in_area"))
    return found


def known_error(value: IndexValue) -> float | None:
    """The measurement error, or None when it is not known (or no error at all)."""
    error = value.error
    return error if error is not None and math.isfinite(error) and error >= 0 else None


def _unknown(reference: ReferenceSet, index: str) -> list[str]:
    facts: list[tuple[str, object]] = [
        ("protocol", reference.protocol),
        ("phase", reference.phase),
        ("population", reference.population),
    ]
    if index in WEIGHT_INDICES:
        facts.append(("bmi", None if not any(r.bmis.bounded for r in reference.rows) else True))
    facts += [("hu_band", reference.hu_band), ("muscle_set", reference.muscle_set)]
    return [name for name, known in facts if known is None]


def phase_word(phase: str, language: str) -> str:
    """A phase in words."""
    return say("phase_unknown_word" if phase == "unknown" else f"phase_{phase}", language)


def caution_text(reference: ReferenceSet, caution: Caution, language: str) -> str:
    """The sentence of a caution in a language, its values in that language too."""
    values = dict(caution.values)
    if caution.code == "population_specific" and reference.population is not None:
        values["population"] = reference.population[language]
    if caution.code == "fit_unknown":
        values["what"] = ", ".join(say(f"fit_{w}", language) for w in values["what"].split(", "))
    for key in ("phase", "set_phase"):
        if key in values:
            values[key] = phase_word(values[key], language)
    for key in ("protocol", "set_protocol"):
        if key in values:
            values[key] = say(f"protocol_{values[key]}", language)
    return say(f"caution_{caution.code}", language, values)
