"""``report.pdf``: one A4 page, English or Korean, without the person's identity."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Frame, KeepInFrame, Paragraph, Spacer, Table, TableStyle

from sarcoscope.diagnosis import Diagnosis, ReferenceSet, cautions_said
from sarcoscope.diagnosis.fit import phase_word
from sarcoscope.exports.distribution import draw_distribution
from sarcoscope.exports.record import StudyRecord
from sarcoscope.language.catalogue import say, severity
from sarcoscope.language.fonts import font_path
from sarcoscope.measures.body import Known
from sarcoscope.measures.measurement import Measurement, TissueMeasure

PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN: Final = 13 * mm
INK, DIM, ACCENT = HexColor("#1f2933"), HexColor("#616e7c"), HexColor("#1f5fa8")
SEVERITY_COLOURS: Final = {
    "warning": HexColor("#c0392b"),
    "caution": HexColor("#b9770e"),
    "info": HexColor("#616e7c"),
}
_SEVERITIES: Final = ("warning", "caution", "info")
_MOST_FLAGS: Final = 10
_MOST_STATEMENTS: Final = 8
_LEFT: Final = 93 * mm
_GAP: Final = 5 * mm


@cache
def _register_fonts() -> None:
    pdfmetrics.registerFont(TTFont("Report", str(font_path())))
    pdfmetrics.registerFont(TTFont("Report-Bold", str(font_path(bold=True))))
    pdfmetrics.registerFontFamily("Report", normal="Report", bold="Report-Bold")


def _style(
    size: float = 8.0, colour: Color = INK, *, right: bool = False, before: float = 0.0, after: float = 0.0
) -> ParagraphStyle:
    return ParagraphStyle(
        "report",
        fontName="Report",
        fontSize=size,
        leading=size * 1.28,
        textColor=colour,
        alignment=TA_RIGHT if right else TA_LEFT,
        spaceBefore=before,
        spaceAfter=after,
    )


class ReportPage:
    """Draws one record in one language."""

    def __init__(
        self, record: StudyRecord, sets: Mapping[str, ReferenceSet], language: str, *, person: str = ""
    ) -> None:
        self.record, self.sets, self.language = record, sets, language
        self.person = person
        """Who it is, for a page that is printed for the person; empty: nobody is named."""

    def say(self, code: str, **values: object) -> str:
        """A label in the page's language."""
        return say(code, self.language, values)

    def pdf(self, overlay: Image.Image | None, sagittal: Image.Image | None) -> bytes:
        """The page as a PDF whose bytes do not depend on when it is made."""
        _register_fonts()
        buffer = io.BytesIO()
        canvas = Canvas(buffer, pagesize=A4, invariant=1, pageCompression=1)
        canvas.setTitle(self.say("report_title"))
        canvas.setAuthor("Sarcoscope")
        top = self._head(canvas)
        right = MARGIN + _LEFT + _GAP
        right_width = PAGE_WIDTH - MARGIN - right
        picture_bottom = self._pictures(canvas, overlay, sagittal, right, top, right_width)
        middle = min(picture_bottom, top - 128 * mm)
        _fill(canvas, self._left_column(), MARGIN, middle, _LEFT, top - middle)
        foot = MARGIN + 9 * mm
        split = foot + (middle - foot) * 0.43
        self._comparison(canvas, split, middle)
        _fill(canvas, self._flags(), MARGIN, foot, PAGE_WIDTH - 2 * MARGIN, split - foot - 2 * mm)
        self._foot(canvas)
        canvas.showPage()
        canvas.save()
        return buffer.getvalue()

    def _head(self, canvas: Canvas) -> float:
        y = PAGE_HEIGHT - MARGIN
        canvas.setFillColor(INK)
        canvas.setFont("Report-Bold", 16)
        canvas.drawString(MARGIN, y - 12, self.say("report_title"))
        canvas.setFillColor(SEVERITY_COLOURS["warning"])
        canvas.setFont("Report-Bold", 8.5)
        canvas.drawRightString(PAGE_WIDTH - MARGIN, y - 10, self.say("research_only"))
        if self.person:
            canvas.setFillColor(INK)
            canvas.setFont("Report", 9)
            canvas.drawCentredString(PAGE_WIDTH / 2, y - 10, self.person)
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(1.4)
        canvas.line(MARGIN, y - 19, PAGE_WIDTH - MARGIN, y - 19)
        return y - 19 - 4 * mm

    def _pictures(
        self,
        canvas: Canvas,
        overlay: Image.Image | None,
        sagittal: Image.Image | None,
        x: float,
        top: float,
        width: float,
    ) -> float:
        y = top
        for image, tallest in ((overlay, 74 * mm), (sagittal, 92 * mm)):
            if image is None:
                continue
            scale = min(width / image.width, tallest / image.height)
            w, h = image.width * scale, image.height * scale
            y -= h
            canvas.drawImage(ImageReader(image), x + (width - w) / 2, y, w, h)
            y -= 2 * mm
        return y

    def _left_column(self) -> list[Flowable]:
        flow: list[Flowable] = [self._heading("series_heading"), self._facts(self._series_facts())]
        flow += [self._heading("body_heading"), self._facts(self._body_facts())]
        flow += [self._heading("levels_heading"), *self._level_lines()]
        for measurement in self.record.measurements:
            flow += self._measures(measurement)
        if not self.record.measurements:
            flow.append(Paragraph(self.say("no_level"), _style(9, SEVERITY_COLOURS["warning"])))
        return flow

    def _heading(self, code: str, **values: object) -> Paragraph:
        return Paragraph(
            f"<b>{escape(self.say(code, **values))}</b>",
            _style(9.5, ACCENT, before=5, after=2),
        )

    def _facts(self, facts: Sequence[tuple[str, str]]) -> Table:
        rows = []
        for k in range(0, len(facts), 2):
            cells: list[Paragraph] = []
            for name, value in facts[k : k + 2]:
                cells.append(Paragraph(escape(name), _style(7.5, DIM)))
                cells.append(Paragraph(escape(value), _style(8)))
            rows.append(cells + [Paragraph("", _style())] * (4 - len(cells)))
        table = Table(rows, colWidths=[17 * mm, 30 * mm, 17 * mm, 29 * mm], hAlign="LEFT")
        table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_TIGHT]))
        return table

    def _series_facts(self) -> list[tuple[str, str]]:
        series = self.record.series
        info = series.info
        phase = phase_word(series.phase, self.language)
        if series.phase != "unknown" and series.phase_evidence.startswith("picture"):
            phase += f" ({self.say('by_picture')})"
        spacing = " x ".join(f"{s:.2f}" for s in series.spacing_mm)
        date = info.study_date or ""
        shown_date = f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) == 8 else self.say("not_known")
        return [
            (self.say("date"), shown_date),
            (self.say("phase"), phase),
            (self.say("slices"), f"{series.n_slices}; {spacing} mm"),
            (self.say("kvp"), f"{info.kvp:g} kVp" if info.kvp else self.say("not_known")),
            (self.say("kernel"), info.kernel or self.say("not_known")),
            (
                self.say("thickness").capitalize(),
                f"{info.slice_thickness_mm:g} mm" if info.slice_thickness_mm else self.say("not_known"),
            ),
        ]

    def _body_facts(self) -> list[tuple[str, str]]:
        body = self.record.body

        def shown(known: Known[float] | None, unit: str) -> str:
            if known is None:
                return self.say("not_known")
            dry = f", {self.say('dry_weight')}" if known.dry else ""
            return f"{known.value:g} {unit} ({self.say('origin_' + known.origin)}{dry})"

        sex = self.say("not_known")
        if body.sex is not None:
            sex = f"{self.say('sex_word_' + body.sex.value)} ({self.say('origin_' + body.sex.origin)})"
        return [
            (self.say("sex"), sex),
            (self.say("age"), shown(body.age_years, self.say("years"))),
            (self.say("height"), shown(body.height_cm, "cm")),
            (self.say("weight"), shown(body.weight_kg, "kg")),
            (self.say("bmi"), f"{body.bmi:.1f} kg/m²" if body.bmi is not None else self.say("not_known")),
        ]

    def _level_lines(self) -> list[Flowable]:
        assumed = any(f.code == "level_assumed" for f in self.record.flags)
        lines: list[Flowable] = []
        for measurement in self.record.measurements:
            found = self.record.levels.find(measurement.level)
            if found is None:
                continue
            if assumed:
                text = self.say("level_assumed_line", level=found.level)
            else:
                text = self.say(
                    "level_line",
                    level=found.level,
                    low=found.index_low,
                    high=found.index_high,
                    confidence=f"{found.confidence:.2f}",
                    runner_up=found.runner_up or "-",
                )
            lines.append(Paragraph(escape(text), _style(8)))
        return lines

    def _measures(self, measurement: Measurement) -> list[Flowable]:
        protocol = say(f"protocol_{measurement.protocol}", self.language)
        heads = [self.say(c) for c in ("tissue", "area", "mean_hu", "volume")]
        right = _style(8, right=True)
        rows: list[list[Paragraph]] = [
            [Paragraph(f"<b>{escape(h)}</b>", _style(7.5, DIM, right=k > 0)) for k, h in enumerate(heads)]
        ]
        for name, tissue in measurement.tissues.items():
            cells = (_with_error(tissue), _hu(tissue), _volume(tissue))
            label = Paragraph(escape(self.say(f"tissue_{name}")), _style(8))
            rows.append([label, *(Paragraph(c, right) for c in cells)])
        table = Table(rows, colWidths=[24 * mm, 25 * mm, 25 * mm, 19 * mm], hAlign="LEFT")
        rules = [("LINEBELOW", (0, 0), (-1, 0), 0.5, DIM), ("LINEBELOW", (0, -1), (-1, -1), 0.3, DIM)]
        table.setStyle(TableStyle([*rules, *_TIGHT]))
        muscle = measurement.tissues["muscle"]
        notes = []
        if muscle.nama_cm2 is not None and muscle.lama_cm2 is not None:
            notes.append(self.say("nama_lama", nama=f"{muscle.nama_cm2:.1f}", lama=f"{muscle.lama_cm2:.1f}"))
        ratio = {k: "-" if v is None else f"{v:.2f}" for k, v in measurement.ratios.items()}
        notes.append(
            self.say(
                "ratios_line",
                ms=ratio["muscle_to_sat"],
                mv=ratio["muscle_to_vat"],
                vs=ratio["vat_to_sat"],
            )
        )
        flow: list[Flowable] = [
            self._heading("measures_heading", level=measurement.level, protocol=protocol),
            table,
        ]
        flow += [Paragraph(escape(n), _style(7.5)) for n in notes]
        values = [i for i in self.record.indices if i.level == measurement.level]
        lines = [
            f"{escape(self.say('index_' + i.name))} <b>{i.value:.2f}</b>"
            f"{f' ± {i.error:.2f}' if i.error is not None else ''} {_SHOWN_UNITS[i.unit]}"
            for i in values
        ]
        flow.append(self._heading("indices_heading"))
        flow += [Paragraph(line, _style(8)) for line in lines]
        flow.append(Paragraph(escape(self.say("error_note")), _style(6.5, DIM)))
        return flow

    def _comparison(self, canvas: Canvas, bottom: float, top: float) -> None:
        answers = self.record.diagnoses
        chosen = next((d for d in answers if d.class_ != "not_comparable" and (d.limit or d.mean)), None)
        width = PAGE_WIDTH - 2 * MARGIN
        plot_width = 62 * mm if chosen is not None else 0.0
        flow: list[Flowable] = [self._heading("statements_heading")]
        for answer in answers[:_MOST_STATEMENTS]:
            flow += self._statement(answer)
        if len(answers) > _MOST_STATEMENTS:
            more = self.say("more_flags", count=len(answers) - _MOST_STATEMENTS)
            flow.append(Paragraph(escape(more), _style(7, DIM)))
        if not answers:
            flow.append(Paragraph(escape(self.say("no_diagnosis")), _style(8, DIM)))
        _fill(canvas, flow, MARGIN, bottom, width - plot_width - (3 * mm if chosen else 0), top - bottom)
        if chosen is None:
            return
        same = (i for i in self.record.indices if (i.name, i.level) == (chosen.index, chosen.level))
        error = next((i.error for i in same), None)
        height = min(top - bottom - 12 * mm, 34 * mm)
        x = PAGE_WIDTH - MARGIN - plot_width
        name = self.sets[chosen.reference].title.replace(" ({stratum})", "")
        canvas.setFillColor(DIM)
        canvas.setFont("Report", 7)
        canvas.drawString(x, top - 5 * mm, f"{chosen.level} {chosen.index} · {name}")
        draw_distribution(
            canvas, chosen, error, (x, top - 8 * mm - height, plot_width, height), self.language
        )

    def _statement(self, answer: Diagnosis) -> list[Flowable]:
        if answer.class_ == "not_comparable":
            return [
                Paragraph(
                    escape(f"{answer.level} {answer.index}: {answer.statement[self.language]}"),
                    _style(7.5, DIM),
                )
            ]
        lead = f"{answer.level} {answer.index}"
        if answer.value is not None:
            lead += f" {answer.value:.2f}"
        limit = ""
        if answer.limit is not None:
            limit = f" ({self.say('limit')} {answer.limit:.4g})"
        text = f"<b>{escape(answer.statement[self.language])}</b> {escape(lead + limit)}"
        words = [c["text"][self.language] for c in cautions_said(self.sets[answer.reference], answer)]  # type: ignore[index]
        flow: list[Flowable] = [Paragraph(text, _style(8.2, before=1.5))]
        if words:
            flow.append(Paragraph(escape(" ".join(words)), _style(6.6, DIM)))
        return flow

    def _flags(self) -> list[Flowable]:
        flags = sorted(self.record.flags, key=lambda f: _SEVERITIES.index(severity(f.code)))
        flow: list[Flowable] = [self._heading("flags_heading")]
        for flag in flags[:_MOST_FLAGS]:
            level = severity(flag.code)
            colour = SEVERITY_COLOURS[level]
            mark = escape(self.say(f"severity_{level}"))
            text = escape(say(flag.code, self.language, flag.values))
            flow.append(
                Paragraph(f'<font color="{colour.hexval()}"><b>{mark}</b></font>  {text}', _style(7.8))
            )
        if len(flags) > _MOST_FLAGS:
            more = self.say("more_flags", count=len(flags) - _MOST_FLAGS)
            flow.append(Paragraph(escape(more), _style(7.5, DIM)))
        return flow

    def _foot(self, canvas: Canvas) -> None:
        p = self.record.provenance
        bands = {name: f"{low}..{high}" for name, (low, high) in p.hu_bands.items()}
        models = ", ".join(f"{name} {version} ({sha[:8]})" for name, version, sha in p.models) or "-"
        text = self.say(
            "footer",
            version=p.version,
            protocol=p.protocol,
            muscle=bands.get("muscle", ""),
            sat=bands.get("sat", ""),
            vat=bands.get("vat", ""),
            models=models,
        )
        line: list[Flowable] = [Spacer(1, 1), Paragraph(escape(text), _style(6.3, DIM))]
        _fill(canvas, line, MARGIN, MARGIN - 3 * mm, PAGE_WIDTH - 2 * MARGIN, 9 * mm)


_SHOWN_UNITS: Final = {
    "cm2": "cm²",
    "cm2/m2": "cm²/m²",
    "cm2/kg": "cm²/kg",
    "cm2/(kg/m2)": "cm²/(kg/m²)",
    "HU": "HU",
}
_TIGHT: Final = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 1),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
]


def _with_error(tissue: TissueMeasure) -> str:
    error = f" ± {tissue.area_error_cm2:.1f}" if tissue.area_error_cm2 is not None else ""
    return f"{tissue.area_cm2:.1f}{error}"


def _hu(tissue: TissueMeasure) -> str:
    return "-" if tissue.mean_hu is None else f"{tissue.mean_hu:.0f} ± {tissue.sd_hu or 0:.0f}"


def _volume(tissue: TissueMeasure) -> str:
    return "-" if tissue.volume_cm3 is None else f"{tissue.volume_cm3:.0f}"


def _fill(canvas: Canvas, flow: list[Flowable], x: float, y: float, width: float, height: float) -> None:
    """Put flowables into a box; they shrink together where they would not fit, so that nothing is lost."""
    frame = Frame(x, y, width, height, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    frame.addFromList([KeepInFrame(width, height, flow, mode="shrink")], canvas)
