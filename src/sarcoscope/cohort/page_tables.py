"""The tables of the report: long tables turned so that a person can read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import ALL, SEXES, decade_names
from sarcoscope.cohort.words import Words, index_name, number, p_value, percent, ratio

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PageTable:
    """A table as it is read: texts only."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def flow_table(cohort: Cohort, words: Words) -> PageTable:
    """Persons and studies at every step."""
    flow = cohort.flow
    head = tuple(
        words.heading(c) for c in ("step", "persons_out", "studies_out", "persons_left", "studies_left")
    )
    rows: list[tuple[str, ...]] = [
        (words.say("cohort_flow_all"), "", "", str(flow.persons), str(flow.studies))
    ]
    for s in flow.steps:
        numbers = (s.persons_out, s.studies_out, s.persons_left, s.studies_left)
        rows.append((s.title.say(words.language), *map(str, numbers)))
    return PageTable(words.say("cohort_table_flow"), head, tuple(rows))


def mix_table(cohort: Cohort, words: Words) -> PageTable:
    """How the index studies were made."""
    rows = [
        (words.heading(column), words.value(value) if value else "-", str(n), percent(n / len(cohort)))
        for column, mix in cohort.mixes.items()
        for value, n in mix.items()
    ]
    head = (words.heading("characteristic"), words.heading("value"), "n", "%")
    return PageTable(words.say("cohort_table_mix"), head, tuple(rows))


def overlap_table(cohort: Cohort, words: Words) -> PageTable:
    """People in both of two groups."""
    names = list(cohort.members)
    rows = tuple(
        (words.titles[a], *(str(int((cohort.members[a] & cohort.members[b]).sum())) for b in names))
        for a in names
    )
    head = (words.heading("group"), *(words.titles[n] for n in names))
    return PageTable(words.say("cohort_table_overlap"), head, rows)


def characteristics(cohort: Cohort, rows: Sequence[Row], words: Words) -> PageTable:
    """Table 1."""
    groups = [ALL, *cohort.members]
    head = (words.heading("characteristic"), *(words.titles[g] for g in groups))
    body = tuple((words.term(str(r["characteristic"])), *(str(r[g]) for g in groups)) for r in rows)
    return PageTable(words.say("cohort_table_one"), head, body, (words.say("cohort_table_one_note"),))


def _by_decade(
    cohort: Cohort, rows: Sequence[Row], words: Words, cell: Callable[[Row], str]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Group and sex down, decades across."""
    names = (ALL, *decade_names(cohort.definition.analysis.decades))
    found = {(r["group"], r["sex"], r["decade"]): r for r in rows}
    head = (words.heading("group"), words.heading("sex"), words.say("cohort_all_ages"), *names[1:])
    body = tuple(
        (words.titles[g], words.sex(s), *(cell(found[g, s, d]) for d in names))
        for g in (ALL, *cohort.members)
        for s in SEXES
    )
    return head, body


def distribution_tables(cohort: Cohort, rows: Sequence[Row], words: Words) -> list[PageTable]:
    """Mean and SD of every index by group, sex and decade."""

    def cell(r: Row) -> str:
        if not r["n"]:
            return "-"
        mark = "*" if r["small"] else ""
        spread = f" ({number(r['sd'])})" if "sd" in r else ""
        return f"{number(r['mean'])}{spread}, n={r['n']}{mark}"

    tables = []
    for index in cohort.definition.analysis.indices:
        head, body = _by_decade(cohort, [r for r in rows if r["index"] == index], words, cell)
        title = words.say("cohort_table_distribution", index=index_name(index, unit=True))
        tables.append(PageTable(title, head, body, (_small(cohort, words),)))
    return tables


def _small(cohort: Cohort, words: Words) -> str:
    return words.say("cohort_small", n=cohort.definition.analysis.small_cell)


def prevalence_tables(
    cohort: Cohort, rows: Sequence[Row], titles: Mapping[str, str], words: Words
) -> list[PageTable]:
    """Low muscle by group, sex and decade for every reference and index."""

    def cell(r: Row) -> str:
        if not r["comparable"]:
            return "-"
        share = percent(r["prevalence"], r["prevalence_low"], r["prevalence_high"])
        return f"{share}; {r['low_by_value']}/{r['comparable']}{'*' if r['small'] else ''}"

    tables = []
    for reference, index in dict.fromkeys((str(r["reference"]), str(r["index"])) for r in rows):
        own = [r for r in rows if (r["reference"], r["index"]) == (reference, index)]
        head, body = _by_decade(cohort, own, words, cell)
        whole = own[0]
        notes = [words.say("cohort_prevalence_note"), _small(cohort, words)]
        if whole["comparable"]:
            notes.insert(
                0,
                words.say(
                    "cohort_prevalence_apart",
                    not_comparable=whole["not_comparable"],
                    indeterminate=whole["indeterminate"],
                    certain=percent(whole["prevalence_certain"]),
                    possible=percent(whole["prevalence_possible"]),
                ),
            )
        title = words.say("cohort_table_prevalence", index=index_name(index), reference=titles[reference])
        tables.append(PageTable(title, head, body, tuple(notes)))
    return tables


def plain_table(
    code: str, rows: Sequence[Row], columns: Sequence[str], words: Words, *notes: str
) -> PageTable:
    """Some columns of a table as they are; shares in percent, p-values as papers print them."""
    return PageTable(
        words.say(code),
        tuple(words.heading(c) for c in columns),
        tuple(tuple(_cell(r, c, words) for c in columns) for r in rows),
        tuple(words.say(n) for n in notes),
    )


def _cell(row: Row, column: str, words: Words) -> str:
    value = row.get(column)
    if column in ("p", "p_corrected", "proportional_p", "p_validated", "normality_p"):
        return p_value(value)
    if column == "odds_ratio":
        return ratio(row["odds_ratio"], row["low"], row["high"])
    if column == "hazard_ratio":
        return ratio(row["hazard_ratio"], row["low"], row["high"])
    if column == "hazard_ratio_validated" and value is not None:
        return ratio(row["hazard_ratio_validated"], row["hr_low"], row["hr_high"])
    if column in ("crude", "class_2_prevalence", "class_1_prevalence"):
        return percent(value)
    if column in ("standardised", "survival", "incidence"):
        return percent(value, row.get(f"{column}_low"), row.get(f"{column}_high"))
    if column in ("t_minus_1", "t_minus_2") and f"{column}_low" in row:
        return f"{number(row[column])} ({number(row[f'{column}_low'])}-{number(row[f'{column}_high'])})"
    if column == "sex":
        return words.sex(str(value))
    if column in ("term", "index"):
        return words.term(str(value))
    return "" if value == "" else words.value(value)
