"""Figures of a cohort: flow chart, distributions (P0's figure 4), prevalence (figure 5), models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from sarcoscope.cohort.assemble import Cohort
from sarcoscope.cohort.cells import ALL, SEXES, decade_names, decade_of
from sarcoscope.cohort.figure_style import COLOURS, HATCHES, new_figure
from sarcoscope.cohort.words import Words, index_name

_LEAST_BOX: Final = 5
"""A box needs so many values; fewer are drawn as dots."""
_WRAP: Final = 46


def _groups(cohort: Cohort) -> list[str]:
    return list(cohort.members)


def flow_figure(cohort: Cohort, words: Words) -> Figure:
    """Persons and studies from step to step."""
    flow = cohort.flow
    steps = [s for s in flow.steps if s.persons_out or s.studies_out]
    figure = new_figure(7.4, 0.4 + 0.8 * (len(steps) + 1))
    axes = figure.subplots()
    axes.axis("off")
    top = len(steps) + 1.0
    axes.set_xlim(0, 10)
    axes.set_ylim(0.6, top + 0.4)

    def box(x: float, y: float, text: str, *, side: bool = False) -> None:
        face = "#ffffff" if side else "#eaf2fa"
        edge = {"boxstyle": "round,pad=0.45", "facecolor": face, "edgecolor": "#4b5563", "linewidth": 0.8}
        axes.text(x, y, text, ha="left" if side else "center", va="center", bbox=edge, fontsize=8)

    line = {"arrowstyle": "-|>", "color": "#4b5563", "linewidth": 0.8}
    begin = words.say("cohort_flow_start", persons=flow.persons, studies=flow.studies)
    box(2.0, top, begin)
    for k, step in enumerate(steps):
        y = top - 1 - k
        left = words.say("cohort_flow_left", persons=step.persons_left, studies=step.studies_left)
        out = words.say("cohort_flow_out", persons=step.persons_out, studies=step.studies_out)
        axes.annotate("", (2.0, y + 0.26), (2.0, y + 0.74), arrowprops=line)
        axes.annotate("", (4.25, y + 0.5), (2.0, y + 0.5), arrowprops=line)
        box(4.35, y + 0.5, _wrapped(f"{step.title.say(words.language)}: {out}"), side=True)
        box(2.0, y, left)
    return figure


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > _WRAP:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def distribution_figure(cohort: Cohort, words: Words) -> Figure:
    """Boxes of every index by decade, disease and sex: median, quartiles, whiskers to 1.5 quartile ranges."""
    part = cohort.definition.analysis
    names = decade_names(part.decades)
    decade, sex = decade_of(cohort.frame, part.decades), cohort.frame.text("sex")
    groups = _groups(cohort)
    figure = new_figure(9.0, 2.35 * len(part.indices) + 0.5)
    grid = np.atleast_2d(figure.subplots(len(part.indices), 2, sharex=True, sharey="row"))
    width = 0.8 / len(groups)
    for row, index in enumerate(part.indices):
        values = cohort.frame.number(index)
        for column, which in enumerate(SEXES):
            axes = grid[row][column]
            for g, group in enumerate(groups):
                own = cohort.members[group] & (sex == which) & np.isfinite(values)
                boxes, places = [], []
                for k in range(len(names)):
                    found = values[own & (decade == k)]
                    at = k - 0.4 + width * (g + 0.5)
                    if len(found) >= _LEAST_BOX:
                        boxes.append(_box(found))
                        places.append(at)
                    else:
                        axes.plot([at] * len(found), found, ".", color=COLOURS[g % 8], markersize=3)
                if boxes:
                    _draw_boxes(axes, boxes, places, width, g)
            axes.set_title(words.sex(which) if row == 0 else "")
            axes.set_ylabel(index_name(index, unit=True) if column == 0 else "")
            axes.set_xticks(range(len(names)), names)
    for axes in grid[-1]:
        axes.set_xlabel(words.say("cohort_axis_age"))
    _legend(figure, groups, words)
    return figure


def _box(values: Any) -> dict[str, Any]:
    q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    return {"med": median, "q1": q1, "q3": q3, "whislo": inside.min(), "whishi": inside.max(), "fliers": []}


def _draw_boxes(axes: Any, boxes: list[dict[str, Any]], places: list[float], width: float, g: int) -> None:
    fill = {"facecolor": COLOURS[g % 8], "alpha": 0.55, "linewidth": 0.5, "hatch": HATCHES[g % 8]}
    thin = {"linewidth": 0.6, "color": "#374151"}
    axes.bxp(
        boxes,
        positions=places,
        widths=width * 0.86,
        patch_artist=True,
        showfliers=False,
        boxprops=fill,
        medianprops={"linewidth": 1.2, "color": "#111827"},
        whiskerprops=thin,
        capprops=thin,
        manage_ticks=False,
    )


def _legend(figure: Figure, groups: Sequence[str], words: Words) -> None:
    from matplotlib.patches import Patch

    marks = [
        Patch(facecolor=COLOURS[k % 8], hatch=HATCHES[k % 8], alpha=0.6, label=words.titles[g])
        for k, g in enumerate(groups)
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=min(len(marks), 5))


def prevalence_figure(
    cohort: Cohort, rows: Sequence[Mapping[str, Any]], reference: str, title: str, words: Words
) -> Figure:
    """Bars of prevalence by decade, disease and sex with Wilson intervals; small cells are hollow."""
    part = cohort.definition.analysis
    names, groups = decade_names(part.decades), _groups(cohort)
    own = [r for r in rows if r["reference"] == reference]
    indices = list(dict.fromkeys(str(r["index"]) for r in own))
    found = {(r["index"], r["group"], r["sex"], r["decade"]): r for r in own}
    figure = new_figure(9.0, 2.35 * len(indices) + 0.9)
    grid = np.atleast_2d(figure.subplots(len(indices), 2, sharex=True, sharey="row"))
    width = 0.8 / len(groups)
    for row, index in enumerate(indices):
        for column, sex in enumerate(SEXES):
            axes = grid[row][column]
            for g, group in enumerate(groups):
                for k, name in enumerate(names):
                    _bar(axes, found[index, group, sex, name], k - 0.4 + width * (g + 0.5), width, g)
            axes.set_title(words.sex(sex) if row == 0 else "")
            label = f"{index_name(index)}: {words.say('cohort_axis_prevalence')}"
            axes.set_ylabel(label if column == 0 else "")
            axes.set_xticks(range(len(names)), names)
        # Only now: the limit of the first of a row would be that of the second, whose bars it cuts off.
        grid[row][0].set_ylim(0, None)
    for axes in grid[-1]:
        axes.set_xlabel(words.say("cohort_axis_age"))
    figure.suptitle(title, fontsize=10)
    _legend(figure, groups, words)
    return figure


def _bar(axes: Any, row: Mapping[str, Any], at: float, width: float, g: int) -> None:
    share = row.get("prevalence")
    if share is None:
        return
    colour = COLOURS[g % 8]
    face = "none" if row["small"] else colour
    axes.bar(at, 100 * share, width * 0.86, facecolor=face, edgecolor=colour, linewidth=0.7, alpha=0.75,
             hatch=HATCHES[g % 8])  # fmt: skip
    low, high = 100 * row["prevalence_low"], 100 * row["prevalence_high"]
    axes.plot([at, at], [low, high], color="#111827", linewidth=0.8)


def model_figure(rows: Sequence[Mapping[str, Any]], words: Words) -> Figure | None:
    """Adjusted odds ratios of the diseases for every reference and index."""
    shown = [r for r in rows if r["model"] == "adjusted" and r["term"] in words.titles and not r["problem"]]
    if not shown:
        return None
    terms = list(dict.fromkeys(str(r["term"]) for r in shown))
    keys = list(dict.fromkeys((str(r["reference"]), str(r["index"])) for r in shown))
    figure = new_figure(7.6, 0.9 + 0.26 * len(keys) * len(terms))
    axes = figure.subplots()
    for k, key in enumerate(keys):
        for t, term in enumerate(terms):
            row = next(r for r in shown if (r["reference"], r["index"], r["term"]) == (*key, term))
            y = -(k * (len(terms) + 0.8) + t)
            axes.plot([row["low"], row["high"]], [y, y], color=COLOURS[t % 8], linewidth=1.2)
            axes.plot(row["odds_ratio"], y, "o", color=COLOURS[t % 8], markersize=4,
                      label=words.titles[term] if k == 0 else None)  # fmt: skip
        middle = -(k * (len(terms) + 0.8) + (len(terms) - 1) / 2)
        axes.text(-0.02, middle, f"{key[0]}: {index_name(key[1])}", ha="right", va="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
    axes.axvline(1, color="#6b7280", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="x", which="minor", labelsize=7)
    axes.set_yticks([])
    axes.set_xlabel(words.say("cohort_axis_odds"))
    figure.legend(loc="outside lower center", ncols=min(len(terms), 5))
    return figure


def sensitivity_figure(rows: Sequence[Mapping[str, Any]], words: Words) -> Figure:
    """Prevalence of class II by the young range of the reference, everybody and every group."""
    spans = list(dict.fromkeys(str(r["young"]) for r in rows))
    indices = list(dict.fromkeys(str(r["index"]) for r in rows))
    groups = [g for g in dict.fromkeys(str(r["group"]) for r in rows) if g != ALL]
    found = {(r["young"], r["index"], r["sex"], r["group"]): r for r in rows}
    figure = new_figure(8.0, 2.1 * len(indices) + 0.6)
    grid = np.atleast_2d(figure.subplots(len(indices), 2, sharex=True, sharey="row"))
    for i, index in enumerate(indices):
        for column, sex in enumerate(SEXES):
            axes = grid[i][column]
            for g, group in enumerate(groups):
                points = [found.get((s, index, sex, group)) for s in spans]
                shares = [100 * p["class_2_prevalence"] if p and p["n"] else np.nan for p in points]
                shift = (g - (len(groups) - 1) / 2) * 0.07
                x = np.arange(len(spans)) + shift
                axes.plot(x, shares, "o-", color=COLOURS[g % 8], markersize=3, linewidth=0.9)
                for at, p in zip(x, points, strict=True):
                    if p and p["n"]:
                        span = [100 * p["class_2_low"], 100 * p["class_2_high"]]
                        axes.plot([at, at], span, color=COLOURS[g % 8], linewidth=0.8)
            axes.set_title(words.sex(sex) if i == 0 else "")
            axes.set_ylabel(f"{index_name(index)}: {words.say('cohort_axis_class_2')}" if column == 0 else "")
            axes.set_xticks(range(len(spans)), spans)
        grid[i][0].set_ylim(0, None)
    for axes in grid[-1]:
        axes.set_xlabel(words.say("cohort_axis_young"))
    _legend(figure, groups, words)
    return figure
