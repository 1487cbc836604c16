"""Many studies: read the list, do each once, gather the results into one table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sarcoscope.deid.link import read_table
from sarcoscope.errors import InputError, NotFoundError, SettingError
from sarcoscope.exports.result_rows import result_rows
from sarcoscope.files import csv_text, make_folder, write_bytes
from sarcoscope.jobs.queue import JobQueue
from sarcoscope.measures.body_info import GivenBody
from sarcoscope.progress import Progress
from sarcoscope.study import AnalysisSettings, analyze

COLUMNS: Final = ("path", "id", "sex", "age", "height_cm", "weight_kg", "centre", "date", "person")
"""Columns of a list; ``path`` alone is needed."""
TABLE: Final = "jobs.sqlite"
_BAD: Final = re.compile(r"[^\w.\-]+")
_LONGEST: Final = 80
_STUDY_FILES: Final = (".zip", ".nii", ".nii.gz", ".dcm")


@dataclass(frozen=True)
class BatchStudy:
    """A row of the list."""

    id: str
    path: str
    sex: str = ""
    age: str = ""
    height_cm: str = ""
    weight_kg: str = ""
    centre: str = ""
    date: str = ""
    person: str = ""
    """Pseudonym: whose study it is, for cohorts in which somebody has several."""


def read_list(source: Path) -> list[BatchStudy]:
    """Studies of a folder (every entry is one) or of a CSV or XLSX with the columns :data:`COLUMNS`.

    Relative paths of a table start at the table's folder. Two studies never share an id.

    Raises:
        InputError: nothing is there, or a column is missing or unknown.
    """
    if not source.exists():
        raise NotFoundError(f"There is nothing at '{source.name}'.")
    if source.is_dir():
        entries = sorted(p for p in source.iterdir() if _may_be_study(p))
        rows = [{"path": str(p.resolve()), "id": _plain(p)} for p in entries]
    else:
        heading, table = read_table(source)
        unknown = [h for h in heading if h not in COLUMNS]
        if "path" not in heading or unknown:
            wrong = f"an unknown column '{unknown[0]}'" if unknown else "no column 'path'"
            raise InputError(f"The list '{source.name}' has {wrong}; columns are {', '.join(COLUMNS)}.")
        base = source.resolve().parent
        rows = [{**r, "path": str(base / r["path"])} for r in table if r["path"].strip()]
    if not rows:
        raise NotFoundError(f"No study was found in '{source.name}'.")
    taken: set[str] = set()
    studies = []
    for row in rows:
        name = _free(_BAD.sub("_", row.get("id", "").strip() or _plain(Path(row["path"])))[:_LONGEST], taken)
        studies.append(BatchStudy(**{**{c: row.get(c, "").strip() for c in COLUMNS}, "id": name}))
    return studies


def _may_be_study(path: Path) -> bool:
    return not path.name.startswith(".") and (path.is_dir() or path.name.lower().endswith(_STUDY_FILES))


def _plain(path: Path) -> str:
    name = path.name
    for suffix in (".nii.gz", ".nii", ".zip", ".dcm"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _free(name: str, taken: set[str]) -> str:
    """An id that is not taken and is no name of a file beside it."""
    name = name.strip(".") or "study"
    wanted, n = name, 2
    while wanted.casefold() in taken or wanted.casefold() in (TABLE, "results.csv", "failures.csv"):
        wanted, n = f"{name}-{n}", n + 1
    taken.add(wanted.casefold())
    return wanted


def prepare(
    studies: Sequence[BatchStudy], out: Path, settings: Mapping[str, Any], language: str, *, resume: bool
) -> Path:
    """Fill the job table of a batch; returns its path.

    Args:
        studies: what is to be done.
        out: folder of the batch.
        settings: fields of :class:`AnalysisSettings` as plain values.
        language: of the reports.
        resume: go on with a batch that is there; failed studies stay failed.

    Raises:
        SettingError: the folder holds a batch and ``resume`` is not asked for.
    """
    make_folder(out)
    path = out / TABLE
    if path.exists() and not resume:
        raise SettingError(
            f"'{out.name}' holds a batch already: go on with --resume, or give another folder."
        )
    with JobQueue(path) as queue:
        for study in studies:
            payload = {
                "study": asdict(study),
                "out": str(out.resolve()),
                "settings": dict(settings),
                "language": language,
            }
            queue.add(study.id, payload)
    return path


def settings_of(plain: Mapping[str, Any]) -> AnalysisSettings:
    """Settings from plain JSON values.

    Raises:
        SettingError: a choice that is not known.
    """
    chosen = dict(plain)
    for name in ("levels", "references", "models"):
        chosen[name] = tuple(chosen.get(name, ()))
    if chosen.get("series_policy"):
        chosen["series_policy"] = Path(chosen["series_policy"])
    return AnalysisSettings(**chosen)


def do_study(payload: Mapping[str, Any], report: Progress) -> None:
    """Analyse one study of a batch into its folder."""
    study = BatchStudy(**payload["study"])
    settings = settings_of(payload["settings"])
    result = analyze(study.path, body=_body(study), settings=settings, progress=report)
    result.write(Path(payload["out"]) / study.id, language=payload["language"], progress=report)


def _body(study: BatchStudy) -> GivenBody:
    def number(text: str, name: str) -> float | None:
        try:
            return float(text) if text else None
        except ValueError:
            raise InputError(f"The {name} '{text}' of '{study.id}' is no number.") from None

    return GivenBody(
        sex=study.sex or None,
        age_years=number(study.age, "age"),
        height_cm=number(study.height_cm, "height"),
        weight_kg=number(study.weight_kg, "weight"),
        weight_date=study.date or None,
    )


def gather(out: Path) -> tuple[int, int]:
    """Write ``results.csv`` (a row a study and level) and ``failures.csv``; returns (done, failed)."""
    rows: list[dict[str, object]] = []
    failures: list[dict[str, object]] = []
    done = 0
    with JobQueue(out / TABLE) as queue:
        for job in queue.jobs("done", "failed", "cancelled"):
            study = BatchStudy(**job.payload["study"])
            if job.state == "done":
                done += 1
                text = (out / study.id / "result.json").read_text(encoding="utf-8")
                rows += [{**_named(study), **row} for row in result_rows(json.loads(text))]
            else:
                reason = job.error or "cancelled"
                failures.append(
                    {"id": study.id, "path": study.path, "reason": reason, "attempts": job.attempts}
                )
    columns = dict.fromkeys(name for row in rows for name in row)
    write_bytes(out / "results.csv", csv_text(list(columns) or ["id"], rows).encode())
    write_bytes(out / "failures.csv", csv_text(["id", "path", "reason", "attempts"], failures).encode())
    return done, len(failures)


def _named(study: BatchStudy) -> dict[str, object]:
    return {"id": study.id, "person": study.person, "centre": study.centre, "date": study.date}
