"""From a cohort file to one row a person: studies filtered, the index study chosen, clinical data joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sarcoscope.cohort.clinical import Clinical, import_clinical
from sarcoscope.cohort.column_map import read_column_map
from sarcoscope.cohort.conditions import holds
from sarcoscope.cohort.definition import REST, Definition, Title
from sarcoscope.cohort.flow import Flow
from sarcoscope.cohort.frame import Flags, Frame, Ints
from sarcoscope.cohort.join import clinical_keys, join_clinical, rows_of
from sarcoscope.cohort.studies import Note, check_studies, doubtful, named_in, policy_steps, read_studies
from sarcoscope.errors import InputError, SettingError
from sarcoscope.language.catalogue import say_all

MIXES: Final = ("phase", "kvp", "slice_thickness_mm", "kernel", "centre")
_LAST: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Cohort:
    """The people of a study, one row each."""

    definition: Definition
    frame: Frame
    flow: Flow
    members: Mapping[str, Flags]
    """Group -> who is in it; with ``hierarchical`` groups nobody is in two."""
    mixes: Mapping[str, Mapping[str, int]]
    """How the index studies were made (phase, kVp, thickness, kernel, centre) and flagged."""
    notes: tuple[Note, ...]
    clinical: Clinical | None

    def __len__(self) -> int:
        return len(self.frame)

    def titles(self, language: str) -> dict[str, str]:
        """Group -> title."""
        groups = self.definition.groups
        found = {g.name: g.title.say(language) for g in groups.list}
        return found | ({REST: groups.rest.say(language)} if groups.rest else {})

    @property
    def memberships(self) -> np.ndarray:
        """In how many groups everybody is."""
        return np.asarray(np.sum(list(self.members.values()), axis=0))

    @property
    def disjoint(self) -> bool:
        """Is nobody in two groups?"""
        return int(self.memberships.max(initial=0)) <= 1


def assemble(definition: Definition, base: Path) -> Cohort:
    """Carry out a cohort file whose paths start at ``base``.

    Raises:
        InputError: tables that cannot be used, or nobody is left.
        SettingError: a rule that fits no column.
    """
    part = definition.studies
    clinical = _clinical(definition, base)
    rows, notes = read_studies(definition, base)
    measured = np.asarray((rows.text("level") == part.level) & (rows.text("protocol") == part.protocol))
    _, first = np.unique(rows.text("id").astype(str), return_index=True)
    studies = rows.take(np.sort(first))
    flow = Flow.start(studies.text("person"))
    ids = set(rows.text("id")[measured])
    there = np.array([i in ids for i in studies.text("id")], np.bool_)
    flow.step(
        _said("cohort_flow_level", level=part.level, protocol=part.protocol), studies.text("person"), there
    )
    frame = _someone(rows.take(measured))
    notes += check_studies(frame, part.results)
    for code, values, stays in policy_steps(definition):
        frame = _keep(frame, flow, _said(code, **values), stays(frame))
    if part.doubtful == "exclude":
        frame = _keep(frame, flow, _said("cohort_flow_doubtful"), ~doubtful(frame, definition, base))
    else:
        unsure = int(doubtful(frame, definition, base).sum())
        notes.append(Note("cohort_note_doubtful_kept", {"n": unsure}))
    if clinical is not None and definition.clinical is not None:
        keys, wanted = clinical_keys(clinical, frame)
        known = np.isin(wanted.astype(str), keys.astype(str))
        if definition.clinical.unmatched == "exclude":
            frame = _keep(frame, flow, _said("cohort_flow_unmatched"), known)
        nobody = len(set(keys) - set(wanted))
        if nobody:
            notes.append(Note("cohort_note_no_ct", {"n": nobody}))
    undated = _undated(frame)
    if undated and part.index_study != "nearest":
        notes.append(Note("cohort_note_index_undated", {"n": undated}))
    frame = _index_studies(frame, flow, definition, clinical)
    if clinical is not None and definition.clinical is not None:
        frame, more = join_clinical(frame, clinical, definition.clinical)
        notes += more + _of_codes(clinical) + _of_outcome(definition, clinical)
    return _grouped(definition, frame, flow, notes, clinical)


def _said(code: str, **values: object) -> Title:
    return Title(**say_all(code, values))


def _someone(frame: Frame) -> Frame:
    if not len(frame):
        raise InputError("Nobody is left in the cohort: see the rules and the policy of the cohort file.")
    return frame


def _keep(frame: Frame, flow: Flow, title: Title, kept: Flags) -> Frame:
    flow.step(title, frame.text("person"), kept)
    return _someone(frame.take(kept))


def _clinical(definition: Definition, base: Path) -> Clinical | None:
    part = definition.clinical
    if part is None:
        return None
    table = base / part.table
    return import_clinical(table, read_column_map(base / part.mapping)).checked(table.name)


def _of_codes(clinical: Clinical) -> list[Note]:
    notes = []
    unsure = [c.prefix for c in clinical.codes_used if not c.verified]
    if unsure:
        notes.append(Note("cohort_note_codes_unverified", {"codes": ", ".join(unsure)}))
    if clinical.codes_unknown:
        codes = sorted(clinical.codes_unknown, key=lambda c: (-clinical.codes_unknown[c], c))
        values = {"n": sum(clinical.codes_unknown.values()), "codes": ", ".join(codes[:8])}
        notes.append(Note("cohort_note_codes_unknown", values))
    return notes


def _of_outcome(definition: Definition, clinical: Clinical) -> list[Note]:
    """People whose visits disagree about what became of them."""
    part = definition.outcome
    if part is None or not clinical.visits:
        return []
    names = [n for n in dict.fromkeys((part.time, part.status)) if n in clinical.frame]
    who = clinical.frame.text("pseudonym")
    if "centre" in clinical.frame:
        who = named_in(clinical.frame.text("centre"), who)
    said: dict[tuple[str, str], set[str]] = {}
    for name in names:
        for person, value in zip(who, clinical.frame.columns[name].astype(str), strict=True):
            said.setdefault((person, name), set()).add(value)
    people = {person for (person, _), values in said.items() if len(values) > 1}
    values = {"n": len(people), "columns": ", ".join(names)}
    return [Note("cohort_note_outcome_visits", values)] if people else []


def _undated(frame: Frame) -> int:
    """How many people have several studies, one of them without a date."""
    people, group, counts = np.unique(
        frame.text("person").astype(str), return_inverse=True, return_counts=True
    )
    unsure = np.isnat(frame.columns["day"]) & (counts[group] > 1)
    return len(set(people[group[unsure]]))


def _index_studies(frame: Frame, flow: Flow, definition: Definition, clinical: Clinical | None) -> Frame:
    """One study a person; of one day the better phase, then the name decides."""
    part = definition.studies
    day = frame.columns["day"]
    when: Ints = np.where(np.isnat(day), _LAST, day.astype(np.int64))
    if part.index_study == "last":
        when = np.where(np.isnat(day), _LAST, -day.astype(np.int64))
    elif part.index_study == "nearest":
        if clinical is None or part.nearest_to not in clinical.frame:
            raise SettingError(f"There is no clinical date '{part.nearest_to}' to be nearest to.")
        dates = clinical.frame.columns[part.nearest_to]
        if dates.dtype.kind != "M":
            raise SettingError(f"'{part.nearest_to}' is no column of dates.")
        keys, wanted = clinical_keys(clinical, frame)
        dated_rows = ~np.isnat(dates)
        keys, dates = keys[dated_rows], dates[dated_rows]
        if not len(dates):
            raise InputError(f"Nobody has a date in '{part.nearest_to}' to be nearest to.")
        row = rows_of(keys, dates, wanted, day)
        wished = np.where(row >= 0, dates[np.maximum(row, 0)], np.datetime64("NaT", "D"))
        dated = ~np.isnat(wished) & ~np.isnat(day)
        frame = _keep(frame, flow, _said("cohort_flow_no_date", column=part.nearest_to), dated)
        when = np.abs((frame.columns["day"] - wished[dated]).astype(np.int64))
    places = {p: k for k, p in enumerate(definition.policy.phases)}
    rank = np.array([places.get(p, len(places)) for p in frame.text("phase")])
    order = np.lexsort((frame.text("id").astype(str), rank, when, frame.text("person").astype(str)))
    person = frame.text("person")[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = person[1:] != person[:-1]
    kept = np.zeros(len(order), np.bool_)
    kept[order[first]] = True
    return _keep(frame, flow, _said(f"cohort_flow_index_{part.index_study}", column=part.nearest_to), kept)


def _grouped(
    definition: Definition, frame: Frame, flow: Flow, notes: list[Note], clinical: Clinical | None
) -> Cohort:
    frame = frame.adding(_group_columns(definition, frame))
    for rule in definition.rules:
        met, gone = holds(frame, rule)
        stays = met if rule.action == "include" else ~met
        stays = np.where(gone, rule.keeps_missing, stays)
        title = rule.reason
        if rule.action == "include":
            title = Title(
                en=_said("cohort_flow_not", reason=title.say("en")).en,
                ko=_said("cohort_flow_not", reason=title.say("ko")).ko,
            )
        frame = _keep(frame, flow, title, stays)
    names = [g.name for g in definition.groups.list] + ([REST] if definition.groups.rest else [])
    members = {name: frame.number(f"group_{name}") > 0 for name in names}
    mixes = {}
    for column in MIXES:
        values, counts = np.unique(frame.text(column).astype(str), return_counts=True)
        ordered = sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda p: (-p[1], p[0]))
        mixes[column] = dict(ordered)
    flags = Counter(flag for text in frame.text("flags") for flag in text.split())
    mixes["flags"] = dict(sorted(flags.items(), key=lambda p: (-p[1], p[0])))
    cohort = Cohort(definition, frame, flow, members, mixes, (), clinical)
    return Cohort(definition, frame, flow, members, mixes, (*notes, *_group_notes(cohort)), clinical)


def _group_columns(definition: Definition, frame: Frame) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    taken = np.zeros(len(frame), np.bool_)
    several = np.zeros(len(frame), np.int64)
    for group in definition.groups.list:
        if group.where is not None:
            inside, _ = holds(frame, group.where)
        elif group.name in frame:
            inside = frame.number(group.name) > 0
        else:
            raise SettingError(
                f"The clinical table has no disease '{group.name}', and the group says no other condition."
            )
        several += inside
        if definition.groups.kind == "hierarchical":
            inside = inside & ~taken
        taken |= inside
        columns[f"group_{group.name}"] = inside.astype(np.float64)
    columns["diseases"] = several.astype(np.float64)
    columns["group_rest"] = (~taken).astype(np.float64)
    return columns


def _not_known(definition: Definition, frame: Frame) -> Flags:
    """Of whom it is not known whether they are in every one of the groups."""
    found = np.zeros(len(frame), np.bool_)
    for group in definition.groups.list:
        if group.where is None:
            found |= np.isnan(frame.number(group.name))
        else:
            found |= holds(frame, group.where)[1]
    return found


def _group_notes(cohort: Cohort) -> list[Note]:
    several = int((cohort.frame.number("diseases") > 1).sum())
    kind = cohort.definition.groups.kind
    notes = [Note(f"cohort_note_{kind}", {"n": several})]
    unsure = _not_known(cohort.definition, cohort.frame) & (cohort.frame.number("group_rest") > 0)
    if unsure.any():
        notes.append(Note("cohort_note_rest_unknown", {"n": int(unsure.sum())}))
    if cohort.definition.groups.rest is None:
        left = int((cohort.memberships == 0).sum())
        if left:
            notes.append(Note("cohort_note_in_no_group", {"n": left}))
    ages = cohort.frame.number("age_years")
    unknown = int(np.isnan(ages).sum())
    if unknown:
        notes.append(Note("cohort_note_no_age", {"n": unknown}))
    phases = {p: n for p, n in cohort.mixes["phase"].items()}
    if len(phases) > 1:
        notes.append(Note("cohort_note_phases", {"n": len(phases)}))
    return notes
