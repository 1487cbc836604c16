"""Compare a person's indices with reference sets: class, T- or z-score, cautions and sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sarcoscope.diagnosis.fit import DENSITY, caution_text, cautions, known_error, phase_word, reason_against
from sarcoscope.diagnosis.reference_set import LimitRow, ReferenceSet
from sarcoscope.diagnosis.statement import Case, Caution, Diagnosis
from sarcoscope.language.catalogue import LANGUAGES, say
from sarcoscope.measures.measurement import IndexValue

CLASS_1_T = -1.0
CLASS_2_T = -2.0
TINY = 1e-9
"""A value on the limit stays on it whatever the arithmetic of computers adds (areas have three decimals)."""


def diagnose(case: Case, sets: Sequence[ReferenceSet]) -> tuple[Diagnosis, ...]:
    """One answer for every set and index; a set that only knows other levels gives one answer in all."""
    answers: list[Diagnosis] = []
    for reference in sets:
        answers += _by_set(case, reference)
    return tuple(answers)


def _by_set(case: Case, reference: ReferenceSet) -> list[Diagnosis]:
    values = {v.name: v for v in case.indices if v.level == case.level}
    answers = []
    for index in reference.indices:
        value = values.get(index)
        reason, row = reason_against(reference, case, index, value)
        if reason is not None or row is None or value is None:
            answers.append(_not_comparable(case, reference, index, value, reason or Caution("index_missing")))
        else:
            answers.append(_answer(case, reference, row, value))
    codes = {a.reason.code for a in answers if a.reason is not None}
    return answers[:1] if codes == {"level_differs"} and len(answers) == len(reference.indices) else answers


def _not_comparable(
    case: Case, reference: ReferenceSet, index: str, value: IndexValue | None, reason: Caution
) -> Diagnosis:
    row = next(r for r in reference.rows if r.index == index)
    said = {
        language: say(
            "statement_not_comparable",
            language,
            {"title": title(reference, None), "reason": reason_text(reason, language)},
        )
        for language in LANGUAGES
    }
    return Diagnosis(
        reference=reference.name,
        kind=_kind(row),
        index=index,
        level=case.level,
        value=value.value if value else None,
        limit=None,
        operator=None,
        class_="not_comparable",
        statement=said,
        source=reference.source,
        certainty=reference.certainty,
        reason=reason,
    )


def _kind(row: LimitRow) -> str:
    return row.kind if row.kind.startswith("population") else "cutoff"


def title(reference: ReferenceSet, row: LimitRow | None) -> str:
    """Display title of a set, with the stratum where its title names one."""
    if row is None:
        return reference.title.replace(" ({stratum})", "")
    return reference.title.replace("{stratum}", row.stratum)


def reason_text(reason: Caution, language: str) -> str:
    """Short sentence (lower case, no full stop) of why a set cannot be used."""
    values = dict(reason.values)
    for key in ("phase", "set_phase"):
        if key in values:
            values[key] = phase_word(values[key], language)
    if "sex" in values:
        values["sex"] = say(f"sex_{values['sex']}", language)
    return say(f"reason_{reason.code}", language, values)


def _answer(case: Case, reference: ReferenceSet, row: LimitRow, value: IndexValue) -> Diagnosis:
    t_score = z_score = None
    limit, operator = row.limit, reference.operator
    if row.mean is not None and row.sd is not None:
        score = (value.value - row.mean) / row.sd
        if row.kind == "population":
            t_score, limit, operator = score, row.mean + CLASS_2_T * row.sd, "<"
        else:
            z_score = score
    class_ = _class(row, value, limit, operator)
    said = {
        language: _statement(class_, reference, row, value.name, t_score, z_score, language)
        for language in LANGUAGES
    }
    return Diagnosis(
        reference=reference.name,
        kind=_kind(row),
        index=value.name,
        level=case.level,
        value=value.value,
        limit=limit,
        operator=operator if limit is not None else None,
        class_=class_,
        statement=said,
        source=reference.source,
        certainty=reference.certainty,
        t_score=t_score,
        z_score=z_score,
        cautions=cautions(reference, case, row, value),
        mean=row.mean,
        sd=row.sd,
    )


def _class(row: LimitRow, value: IndexValue, limit: float | None, operator: str) -> str | None:
    if row.kind == "population_not_young" or limit is None:
        return None
    bounds = [limit]
    if row.kind == "population" and row.mean is not None and row.sd is not None:
        bounds.append(row.mean + CLASS_1_T * row.sd)
    error = known_error(value) or 0.0
    if error > 0 and any(abs(value.value - bound) <= error + TINY for bound in bounds):
        return "indeterminate"
    below = value.value < limit - TINY or (operator == "<=" and value.value <= limit + TINY)
    if row.kind == "t_limit":
        return "class_2" if below else "not_class_2"
    if row.kind == "population":
        if below:
            return "class_2"
        return "class_1" if value.value < bounds[1] - TINY else "not_low"
    return "low" if below else "not_low"


def _statement(
    class_: str | None,
    reference: ReferenceSet,
    row: LimitRow,
    index: str,
    t_score: float | None,
    z_score: float | None,
    language: str,
) -> str:
    values: Mapping[str, object] = {
        "title": title(reference, row),
        "what": say("density" if index == DENSITY else "mass", language),
        "t": _signed(t_score, 2),
        "z": _signed(z_score, 1),
    }
    if class_ is None:
        return say("statement_z", language, values)
    scored = t_score is not None
    return say(f"statement_{class_}{'_t' if scored else ''}", language, values)


def _signed(score: float | None, digits: int) -> str:
    """Fixed decimals with the sign; never ``-0.0``. A T-score has two, lest it contradict its class."""
    return "" if score is None else f"{round(score, digits) + 0.0:+.{digits}f}"


def cautions_said(reference: ReferenceSet, diagnosis: Diagnosis) -> list[dict[str, object]]:
    """The cautions of an answer as objects with their text in every language."""
    return [
        {"code": c.code, "text": {language: caution_text(reference, c, language) for language in LANGUAGES}}
        for c in diagnosis.cautions
    ]
