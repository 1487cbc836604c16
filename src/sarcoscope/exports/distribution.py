"""Where a value lies against its reference: the curve of a population, or the limit alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from reportlab.lib.colors import Color, HexColor
from reportlab.pdfgen.canvas import Canvas

from sarcoscope.diagnosis import Diagnosis
from sarcoscope.language.catalogue import say

INK, LINE = HexColor("#1f2933"), HexColor("#9aa5b1")
LOW, VALUE = HexColor("#d64541"), HexColor("#1f5fa8")
_SPAN_SD = 3.5


def draw_distribution(
    canvas: Canvas,
    diagnosis: Diagnosis,
    error: float | None,
    box: tuple[float, float, float, float],
    language: str,
) -> None:
    """Draw a comparison into ``box`` (x, y, width, height in points).

    A population with mean and SD gets its normal curve with the T (or z) = -1 and -2 lines; a published limit
    gets just its line, because its distribution is not known.
    """
    x, y, width, height = box
    value = diagnosis.value
    if value is None:
        return
    low, high = _axis(diagnosis, value, error or 0.0)
    base = y + 16

    def place(number: float) -> float:
        return x + (number - low) / (high - low) * width

    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.7)
    canvas.line(x, base, x + width, base)
    if diagnosis.mean is not None and diagnosis.sd is not None:
        _curve(canvas, diagnosis.mean, diagnosis.sd, (low, high), (x, base, width, height - 30))
        score = "T" if diagnosis.kind == "population" else "z"
        _marks(canvas, diagnosis.mean, diagnosis.sd, score, place, (base, height - 30))
    elif diagnosis.limit is not None:
        canvas.setFillColor(Color(LOW.red, LOW.green, LOW.blue, alpha=0.12))
        canvas.rect(x, base, place(diagnosis.limit) - x, height - 34, stroke=0, fill=1)
        canvas.setStrokeColor(LOW)
        canvas.line(place(diagnosis.limit), base, place(diagnosis.limit), base + height - 34)
        _label(canvas, place(diagnosis.limit), y + 6, f"{say('limit', language)} {diagnosis.limit:g}", LOW)
    _value(canvas, place, value, error or 0.0, base + (height - 34) / 2)
    _label(canvas, place(value), base + height - 30, f"{say('your_value', language)} {value:.2f}", VALUE)


def _axis(diagnosis: Diagnosis, value: float, error: float) -> tuple[float, float]:
    if diagnosis.mean is not None and diagnosis.sd is not None:
        low, high = diagnosis.mean - _SPAN_SD * diagnosis.sd, diagnosis.mean + _SPAN_SD * diagnosis.sd
    else:
        middle = diagnosis.limit if diagnosis.limit is not None else value
        reach = max(abs(middle) * 0.55, abs(value - middle) * 1.35, 1e-6)
        low, high = middle - reach, middle + reach
    return min(low, value - 1.5 * error), max(high, value + 1.5 * error)


def _curve(
    canvas: Canvas,
    mean: float,
    sd: float,
    axis: tuple[float, float],
    box: tuple[float, float, float, float],
) -> None:
    x, y, width, height = box
    path = canvas.beginPath()
    for k in range(121):
        number = axis[0] + (axis[1] - axis[0]) * k / 120
        point = (x + width * k / 120, y + height * math.exp(-0.5 * ((number - mean) / sd) ** 2))
        if k == 0:
            path.moveTo(*point)
        else:
            path.lineTo(*point)
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1.0)
    canvas.drawPath(path)


def _marks(
    canvas: Canvas,
    mean: float,
    sd: float,
    score: str,
    place: Callable[[float], float],
    span: tuple[float, float],
) -> None:
    base, height = span
    for steps in (-2, -1, 0):
        at = place(mean + steps * sd)
        colour = LOW if steps == -2 and score == "T" else LINE
        canvas.setStrokeColor(colour)
        canvas.setDash(2, 2)
        canvas.line(at, base, at, base + height)
        canvas.setDash()
        _label(canvas, at, base - 10, f"{score} {steps}", LOW if colour is LOW else INK)


def _value(canvas: Canvas, place: Callable[[float], float], value: float, error: float, y: float) -> None:
    canvas.setStrokeColor(VALUE)
    canvas.setFillColor(VALUE)
    canvas.setLineWidth(1.6)
    canvas.line(place(value - error), y, place(value + error), y)
    canvas.circle(place(value), y, 3.2, stroke=0, fill=1)


def _label(canvas: Canvas, x: float, y: float, text: str, colour: Color) -> None:
    canvas.setFillColor(colour)
    canvas.setFont("Report", 6.5)
    canvas.drawCentredString(x, y, text)
