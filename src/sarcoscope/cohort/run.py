"""Runs a cohort file: tables, figures, report and manifest; the same inputs give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from sarcoscope._version import __version__
from sarcoscope.cohort.definition import Definition, read_definition
from sarcoscope.cohort.figure_style import FORMATS, saved, style
from sarcoscope.cohort.figures import (
    distribution_figure,
    flow_figure,
    model_figure,
    prevalence_figure,
    sensitivity_figure,
)
from sarcoscope.cohort.figures_over_time import centile_figure, outcome_figure, spline_figure
from sarcoscope.cohort.page import page
from sarcoscope.cohort.report import parts_of
from sarcoscope.cohort.sheets import sheet_bytes
from sarcoscope.cohort.study import Study, do_study
from sarcoscope.cohort.words import Words
from sarcoscope.diagnosis.own import reference_text
from sarcoscope.errors import SettingError
from sarcoscope.files import make_folder, write_bytes
from sarcoscope.language.catalogue import check_language, say
from sarcoscope.progress import Progress

TABLES: Final = "tables"
FIGURES: Final = "figures"


def run_cohort(
    path: Path,
    out: Path,
    *,
    language: str = "en",
    formats: Sequence[str] = FORMATS,
    progress: Progress | None = None,
) -> Study:
    """Write ``report.html``, ``tables/*.csv``, ``figures/*``, the own reference and ``manifest.json``.

    Args:
        path: the cohort file; its paths start where it lies.
        out: folder.
        language: of report and figures.
        formats: of the figures; ``svg`` is what the report shows.
        progress: hears how far the work is.

    Raises:
        InputError: tables that cannot be used.
        SettingError: a cohort file that cannot be used.
        StorageError: the folder cannot be written.
    """
    check_language(language)
    unknown = [k for k in formats if k not in FORMATS]
    if unknown:
        raise SettingError(f"'{unknown[0]}' is no format of figures; there are {', '.join(FORMATS)}.")
    study = do_study(read_definition(path), path.parent, progress)
    write_study(study, path, out, language=language, formats=formats, progress=progress)
    return study


def write_study(
    study: Study,
    path: Path,
    out: Path,
    *,
    language: str,
    formats: Sequence[str] = FORMATS,
    progress: Progress | None = None,
) -> None:
    """Write everything that :func:`run_cohort` writes, of a study that was done.

    Raises:
        StorageError: the folder cannot be written.
    """
    report = progress or (lambda stage, fraction: None)
    definition, words = study.cohort.definition, Words(study.cohort, language)
    files: dict[str, bytes] = {}
    for sheet in study.sheets():
        files[f"{TABLES}/{sheet.name}.csv"] = sheet_bytes(sheet, words.titles)
    if study.built is not None:
        text = reference_text(study.built.reference, study.built.details())
        files[f"reference_{study.built.reference.name}.json"] = text.encode()
    drawn = []
    with style():
        for k, (name, figure) in enumerate(figures_of(study, words)):
            drawn.append(name)
            kinds = tuple(dict.fromkeys((*formats, "svg")))
            files |= {f"{FIGURES}/{name}.{kind}": content for kind, content in saved(figure, kinds).items()}
            report("figures", min((k + 1) / 10, 1.0))
    title = definition.title.say(language)
    warnings = [say(n.code, language, n.values) for n in study.notes]
    lead = [words.say("cohort_lead", name=definition.name, version=__version__, n=len(study.cohort))]
    files["report.html"] = page(title, lead, warnings, parts_of(study, words, drawn), language).encode()
    manifest = _manifest(path, definition, study, language, files)
    files["manifest.json"] = (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
    for folder in (out, out / TABLES, out / FIGURES):
        make_folder(folder)
    for name, content in files.items():
        write_bytes(out / name, content)


def figures_of(study: Study, words: Words) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of everything that can be drawn."""
    cohort, part = study.cohort, study.cohort.definition
    yield "flow", flow_figure(cohort, words)
    yield "distribution", distribution_figure(cohort, words)
    for name, title in study.reference_titles.items():
        if any(r["reference"] == name for r in study.prevalences):
            yield f"prevalence_{name}", prevalence_figure(cohort, study.prevalences, name, title, words)
    models = model_figure(study.models, words)
    if models is not None:
        yield "group_models", models
    if study.built is not None and part.reference is not None:
        centiles = centile_figure(cohort, study.built, part.reference, words)
        if centiles is not None:
            yield "reference_centiles", centiles
        yield "reference_sensitivity", sensitivity_figure(study.built.sensitivity, words)
    if study.outcome is not None and part.outcome is not None:
        yield "outcome", outcome_figure(study.outcome, part.outcome, words)
        spline = spline_figure(study.outcome, part.outcome, words)
        if spline is not None:
            yield "outcome_spline", spline


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def inputs_of(definition: Definition) -> list[str]:
    """Files that a cohort file names."""
    studies = definition.studies
    names = [studies.results, studies.people, studies.verdicts, definition.analysis.standard]
    if definition.clinical is not None:
        names += [definition.clinical.table, definition.clinical.mapping]
    return [n for n in names if n]


def _manifest(
    path: Path, definition: Definition, study: Study, language: str, files: dict[str, bytes]
) -> dict[str, Any]:
    """What went in, what came out, and who is in it; no times, so that it stays the same."""
    flow = study.cohort.flow
    clinical = study.cohort.clinical
    return {
        "version": __version__,
        "language": language,
        "cohort_file": {"name": path.name, "sha256": _digest(path.read_bytes())},
        "definition": definition.model_dump(mode="json"),
        "inputs": {n: _digest((path.parent / n).read_bytes()) for n in inputs_of(definition)},
        "persons": len(study.cohort),
        "groups": {g: int(m.sum()) for g, m in study.cohort.members.items()},
        "groups_kind": definition.groups.kind,
        "persons_in_several_groups": int((study.cohort.memberships > 1).sum()),
        "flow": [
            {"step": s.title.en, "persons_left": s.persons_left, "studies_left": s.studies_left}
            for s in flow.steps
        ],
        "references": {
            s.name: {
                "source": s.source,
                "certainty": s.certainty,
                "sha256": _digest(reference_text(s).encode()),
            }
            for s in study.sets
        },
        "codes": [
            {"prefix": c.prefix, "disease": c.disease, "source": c.source, "certainty": c.certainty}
            for c in (clinical.codes_used if clinical else ())
        ],
        "notes": [
            say(n.code, language, n.values)
            for n in (*study.notes, *(study.outcome.notes if study.outcome else ()))
        ],
        "outputs": {name: _digest(content) for name, content in sorted(files.items())},
    }
