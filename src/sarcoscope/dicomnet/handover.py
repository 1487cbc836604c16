"""What happens to a complete study: de-identified, and analysed if the rules say so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sarcoscope.deid.folder import Choices, DeidReport, deidentify_folder
from sarcoscope.deid.mapping import FileMapping
from sarcoscope.dicomnet.rules import Rules, sort_out
from sarcoscope.dicomnet.spool import Spool
from sarcoscope.errors import RetriableError, SarcoscopeError
from sarcoscope.study import AnalysisSettings, analyze

log = logging.getLogger(__name__)


@dataclass
class Handover:
    """Hands complete studies on.

    Attributes:
        out: de-identified studies go to ``<out>/<pseudonym>/…``.
        results: results go to ``<results>/<pseudonym>/<series>/``; None: nothing is analysed.
        mapping: path and project of the mapping.
        language: of the reports.
        told: hears one line about each study (it names nobody).
    """

    spool: Spool
    out: Path
    mapping: Path
    project: str = "default"
    choices: Choices = field(default_factory=Choices)
    rules: Rules = field(default_factory=Rules)
    results: Path | None = None
    settings: AnalysisSettings = field(default_factory=AnalysisSettings)
    language: str = "en"
    told: Callable[[str], None] = log.info

    def step(self, quiet_s: float) -> bool:
        """Hand one complete study on, if there is one; True when there was.

        A study that cannot be done is put aside with the reason; nothing that came is lost.
        """
        folder = self.spool.take_complete(quiet_s)
        if folder is None:
            return False
        try:
            wanted = sort_out(folder, self.rules)
            with FileMapping(self.mapping, project=self.project) as mapping:
                report = deidentify_folder(folder, self.out, mapping, self.choices)
                analysed = {mapping.uid(uid) for uid in wanted}
        except RetriableError:
            raise
        except SarcoscopeError as error:
            self.spool.failed(folder, str(error))
            self.told(f"A study was put aside: {error}")
            return True
        except Exception as error:
            log.exception("a study failed")
            self.spool.failed(folder, f"A fault in Sarcoscope ({type(error).__name__}).")
            self.told("A study was put aside: a fault in Sarcoscope.")
            return True
        self._analyse(report, analysed)
        self.spool.done(folder)
        return True

    def _analyse(self, report: DeidReport, wanted: set[str]) -> None:
        for study in report.studies:
            aside = report.quarantined.total()
            images = sum(study.series.values())
            self.told(f"{study.pseudonym}: {images} images de-identified, {aside} set aside")
            if self.results is None:
                continue
            for uid in study.series:
                if uid not in wanted:
                    continue
                place = self.results / study.pseudonym / uid
                try:
                    source = self.out / study.pseudonym / study.study / uid
                    analyze(source, settings=self.settings).write(place, language=self.language)
                    self.told(f"{study.pseudonym}: analysed")
                except SarcoscopeError as error:
                    place.mkdir(parents=True, exist_ok=True)
                    (place / "failure.txt").write_text(f"{error}\n", encoding="utf-8")
                    self.told(f"{study.pseudonym}: not analysed. {error}")
