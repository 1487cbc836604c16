"""Figures with a curve: centiles over age, survival, incidence, a spline."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.builder import Built, healthy_people
from sarcoscope.cohort.cells import SEXES
from sarcoscope.cohort.definition import Outcome, OwnReference
from sarcoscope.cohort.figure_style import COLOURS, new_figure
from sarcoscope.cohort.frame import Floats
from sarcoscope.cohort.outcome import GROUPS, OutcomeResult
from sarcoscope.cohort.stats.survival import Curve
from sarcoscope.cohort.words import Words, index_name

_DOTS: Final = 1500
_SHOWN: Final = (0.03, 0.10, 0.25, 0.50, 0.75, 0.90, 0.97)


def centile_figure(cohort: Cohort, built: Built, part: OwnReference, words: Words) -> Figure | None:
    """Centiles of healthy people over age, with (at most 1500 of) the people."""
    indices = list(dict.fromkeys(index for index, _ in built.curves))
    if not indices:
        return None
    healthy = healthy_people(cohort, part)
    age, sex = cohort.frame.number("age_years"), cohort.frame.text("sex")
    figure = new_figure(8.4, 2.3 * len(indices) + 0.3)
    grid = np.atleast_2d(figure.subplots(len(indices), 2, sharex=True))
    for row, index in enumerate(indices):
        values = cohort.frame.number(index)
        for column, which in enumerate(SEXES):
            axes = grid[row][column]
            own = np.flatnonzero(healthy & (sex == which) & np.isfinite(values) & np.isfinite(age))
            own = own[:: max(len(own) // _DOTS, 1)]
            axes.plot(age[own], values[own], ".", color="#9ca3af", markersize=1.4, rasterized=True)
            fit = built.curves.get((index, which))
            if fit is not None:
                ages = np.linspace(*fit.ages, 120)
                for share in _SHOWN:
                    curve = fit.value(ages, share)
                    strong = share == 0.5
                    axes.plot(ages, curve, color=COLOURS[0], linewidth=1.5 if strong else 0.8)
                    axes.text(ages[-1] + 0.5, curve[-1], f"{100 * share:g}", fontsize=6, va="center")
            axes.axvspan(part.young[0], part.young[1] + 1, color="#fef3c7", zorder=0)
            axes.set_title(words.sex(which) if row == 0 else "")
            axes.set_ylabel(index_name(index, unit=True) if column == 0 else "")
    for axes in grid[-1]:
        axes.set_xlabel(words.say("cohort_axis_age"))
    return figure


def outcome_figure(result: OutcomeResult, part: Outcome, words: Words) -> Figure:
    """Survival and, where something competes, cumulative incidence by low muscle, with people at risk."""
    kinds: list[tuple[str, dict[str, Curve]]] = [("survival", result.survival)]
    if result.incidence:
        kinds.append(("incidence", result.incidence))
    figure = new_figure(4.5 * len(kinds), 4.0)
    for axes, (kind, curves) in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        for k, name in enumerate(GROUPS):
            if name in curves:
                last = float(result.times[name].max())
                _steps(axes, curves[name], last, COLOURS[k], words.say(f"cohort_muscle_{name}"))
        axes.set_xlabel(f"{words.say('cohort_axis_time')} ({part.unit.say(words.language)})")
        _at_risk(axes, result.times, words)
        axes.set_ylabel(words.say(f"cohort_axis_{kind}", event=part.title.say(words.language)))
        axes.set_ylim(0.0, 1.0 if kind == "survival" else None)
        axes.legend(loc="lower left" if kind == "survival" else "upper left")
    return figure


def _steps(axes: Any, curve: Curve, last: float, colour: str, label: str) -> None:
    """A curve from the start to the last follow-up."""
    times = np.concatenate([[0.0], curve.times, [last]])

    def whole(values: Floats) -> Floats:
        return np.concatenate([[curve.start], values, values[-1:] if len(values) else [curve.start]])

    axes.step(times, whole(curve.value), where="post", color=colour, linewidth=1.4, label=label)
    low, high = whole(curve.low), whole(curve.high)
    known = np.isfinite(low) & np.isfinite(high)
    axes.fill_between(
        times[known], low[known], high[known], step="post", color=colour, alpha=0.15, linewidth=0
    )


def _at_risk(axes: Any, times: dict[str, Floats], words: Words) -> None:
    """Rows of people at risk under the ticks of the time axis."""
    last = max(float(t.max()) for t in times.values())
    step = max(int(np.ceil(last / 5)), 1) if last > 2 else last / 4
    places = np.arange(0, last + 1e-9, step)
    axes.set_xlim(0, last * 1.02)
    axes.set_xticks(places, [f"{p:g}" for p in places])
    below = axes.get_xaxis_transform()
    axes.text(
        0, -0.21, words.say("cohort_axis_at_risk"), transform=below, ha="left", fontsize=7, color="#4b5563"
    )
    for k, name in enumerate(n for n in GROUPS if n in times):
        y = -0.26 - 0.05 * k
        for place in places:
            count = int((times[name] >= place).sum())
            axes.text(place, y, str(count), transform=below, ha="center", fontsize=7, color=COLOURS[k])


def spline_figure(result: OutcomeResult, part: Outcome, words: Words) -> Figure | None:
    """Hazard ratio over a covariate against its median."""
    if result.spline is None:
        return None
    at, hazard, low, high = result.spline
    figure = new_figure(4.6, 3.4)
    axes = figure.subplots()
    axes.plot(at, hazard, color=COLOURS[0])
    axes.fill_between(at, low, high, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.axhline(1, color="#6b7280", linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel(words.term(part.spline))
    axes.set_ylabel(words.say("cohort_axis_hazard"))
    return figure
