"""The plots as plain data for plotly.js; colours are CSS variables of the page, such as `var(--baseline)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from raywce.report.figures import AlphaCurve, Curve, Figure, LanguageRow, RunReport, TrialPoint, WerTable
from raywce.selection.languages import labelled
from raywce.selection.outcome import ParetoPoint
from raywce.selection.settings import short_names
from raywce.selection.trials import BASELINE, CONFIRM

Plot = dict[str, Any]
"""A figure of plotly.js, or a part of one."""

ORIGINAL, PLAIN, CHOSEN = "var(--original)", "var(--baseline)", "var(--chosen)"
MUTED, RULE, TEXT = "var(--muted)", "var(--rule)", "var(--text)"
# For the second best trial and those after it, which differ in dash and marker too.
OTHERS = ("var(--other-1)", "var(--other-2)", "var(--other-3)", "var(--other-4)")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "square", "triangle-up", "diamond", "cross")
_MANY = 100  # trials; from this many on, their points are smaller
_CIVIDIS = ["#00204c", "#31446b", "#666870", "#958f78", "#cbba69", "#ffe945"]
_AXIS = {
    "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8},
    "showgrid": True,
    "gridcolor": RULE,
    "showline": True,
    "linecolor": RULE,
    "zerolinecolor": RULE,
    "tickfont": {"color": MUTED},
    "automargin": True,
    "zeroline": False,
}
_TEMPLATE = {
    "layout": {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        "margin": {"l": 52, "r": 12, "t": 12, "b": 46},
        "hoverlabel": {"bgcolor": "var(--panel)", "bordercolor": RULE, "font": {"color": TEXT}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
}


def style_of(trial_id: str, report: RunReport) -> dict[str, str]:
    """Return colour, dash and marker of a training, the same in every plot."""
    if trial_id.startswith(BASELINE):
        return {"colour": PLAIN, "dash": "dash", "marker": "square"}
    if trial_id == report.best:
        return {"colour": CHOSEN, "dash": "solid", "marker": "circle"}
    shown = [curve.trial_id for curve in report.curves]
    others = [one for one in shown if one != report.best and not one.startswith(BASELINE)]
    place = others.index(trial_id) % len(OTHERS)
    return {"colour": OTHERS[place], "dash": DASHES[1 + place], "marker": MARKERS[1 + place]}


def wer_bars(table: WerTable, report: RunReport) -> Plot:
    """Return bars of the rate per language with intervals, low-resource and other languages on separate axes."""
    sides = [[row for row in table.languages if row.low_resource is low] for low in (True, False)]
    sides = [rows for rows in sides if rows]
    gap, widths = 0.12, [max(len(rows), 1.6) for rows in sides]
    start, scale = 0.0, (1 - gap * (len(sides) - 1)) / sum(widths)
    axes: Plot = {}
    for number, width in zip(("", "2"), widths, strict=False):
        end = start + width * scale
        axes[f"xaxis{number}"] = _axis("", domain=[start, end], anchor=f"y{number}", showgrid=False)
        axes[f"yaxis{number}"] = _axis("" if number else f"{report.rate} in %", anchor=f"x{number}", rangemode="tozero")
        start = end + gap
    bars = [
        bar for number, rows in zip(("", "2"), sides, strict=False) for bar in _bars(rows, table.label, number, report)
    ]
    return _plot(bars, **axes, barmode="group", bargap=0.25, bargroupgap=0.06)


def trade_off(report: RunReport, points: Sequence[TrialPoint]) -> Plot:
    """Return the objective of all completed trials against the worst change of a rate that has a limit."""
    placed = [point for point in points if point.objective is not None and point.worst_change is not None]
    front = sorted(report.pareto, key=lambda point: point.worst_change)
    chosen = [point for point in placed if point.trial_id == report.best]
    others = [point for point in placed if point.trial_id != report.best]
    feasible = [point for point in others if point.feasible]
    broken = [point for point in others if not point.feasible]
    size = 9 if len(placed) < _MANY else 6
    ring = {"symbol": "circle-open", "size": 15, "color": TEXT, "line": {"width": 1.5}}
    dots = {"color": TEXT, "width": 1, "dash": "dot"}
    hover = f"<br>{report.objective} %{{y:.2f}} %<br>largest rise %{{x:+.2f}} points<extra></extra>"
    data = [
        _points(front, hover, "Pareto set", ring, mode="lines+markers", line=dots),
        _points(broken, hover, "breaks a limit", {"symbol": "x-thin-open", "size": size, "color": MUTED}),
        _points(feasible, hover, "feasible", {"symbol": "circle", "size": size, "color": OTHERS[0]}),
    ]
    if chosen:  # a candidate of the confirm phase is no trial of the search
        data.append(_points(chosen, hover, report.label, {"symbol": "star", "size": 17, "color": CHOSEN}))
    if report.baseline_objective is not None:
        marker = {"symbol": "diamond", "size": 13, "color": PLAIN}
        y = [100 * report.baseline_objective]
        data.append(_scatter("markers", [0], y, f"<b>baseline</b>{hover}", name="baseline", marker=marker))
    return _plot(
        data,
        xaxis=_axis(f"largest rise of a {report.rate} with a limit, in points", zeroline=True),
        yaxis=_axis(f"{report.objective} in %"),
        **_limit_lines(report.allowed),
    )


def alphas(report: RunReport) -> Plot:
    """Return the scheduled alpha as lines, the alpha in force where it was reported as markers."""
    data = [trace for curve in report.alphas for trace in _alpha(curve, report)]
    return _plot(data, xaxis=_axis("completed steps"), yaxis=_axis("alpha", rangemode="tozero"), showlegend=False)


def learning(report: RunReport, language: str, kind: str) -> Plot:
    """Return one language's rate (`wer`, in %) or training cross-entropy (`loss`) over the steps."""
    start = _start(report, language) if kind == "wer" else None
    # With `automargin`, each of these small plots would be drawn several times.
    x = _axis("", nticks=4, automargin=False)
    y = _axis("", rangemode="tozero", nticks=5, automargin=False)
    margin = {"l": 38, "r": 8, "t": 6, "b": 30}
    of_other_speech = {one.trial_id for one in report.trials if one.phase == CONFIRM}
    data = [
        _learning(curve, report, language, kind, None if curve.trial_id in of_other_speech else start)
        for curve in report.curves
    ]
    return _plot(data, xaxis=x, yaxis=y, showlegend=False, margin=margin, height=190)


def importance_bars(figure: Plot, report: RunReport) -> Plot:
    """Return Optuna's plot in the page's colours and with short names."""
    names = short_names(report.importance.shares)
    (bars,) = figure["data"]
    bars["y"] = [f"{escape(names[str(path).strip()])} " for path in bars["y"]]
    bars |= {"marker": {"color": PLAIN}, "hovertemplate": None, "hoverinfo": "x+y"}
    bars |= {"textfont": {"color": TEXT}, "cliponaxis": False}
    x, y = _axis("share of the importance"), _axis("", showgrid=False)
    margin, height = {"l": 20, "r": 40, "t": 8, "b": 46}, 80 + 34 * len(names)
    return _plot([bars], xaxis=x, yaxis=y, showlegend=False, height=height, margin=margin)


def contour(figure: Plot, report: RunReport) -> Plot:
    """Return Optuna's contour in the page's colours and with short names."""
    names = short_names(report.importance.shares)
    title = {"text": f"{report.objective} in %", "font": {"size": 11}}
    bar = {"title": title, "thickness": 8, "tickfont": {"color": MUTED}, "outlinewidth": 0}
    scale = [[place / (len(_CIVIDIS) - 1), colour] for place, colour in enumerate(_CIVIDIS)]
    for trace in figure["data"]:
        trace |= {axis: _escaped(trace[axis]) for axis in ("x", "y")}
        if trace["type"] == "contour":
            trace |= {"colorscale": scale, "colorbar": bar, "reversescale": False, "line": {"width": 0}}
        else:
            trace["marker"] |= {"size": 6, "line": {"width": 1, "color": "#fff"}}
    axes = {}
    for name in ("xaxis", "yaxis"):
        own = figure["layout"][name]
        kept = {key: own[key] for key in ("type", "range") if key in own}
        axes[name] = _axis(escape(names[own["title"]["text"]]), showgrid=False, **kept)
    margin = {"l": 46, "r": 8, "t": 10, "b": 42}
    return _plot(figure["data"], **axes, showlegend=False, height=270, margin=margin)


def _bars(rows: Sequence[LanguageRow], label: str, number: str, report: RunReport) -> list[Plot]:
    """Return the bars of the three models on the axes of that number."""
    models: list[tuple[str, str, str, list[Figure | None]]] = [
        ("original", ORIGINAL, "", [row.original for row in rows]),
        ("baseline", PLAIN, "/", [row.baseline for row in rows]),
        (label, CHOSEN, "", [row.chosen for row in rows]),
    ]
    pattern = {"fillmode": "overlay", "fgcolor": "var(--bg)", "size": 6, "solidity": 0.15}
    return [
        {
            "type": "bar",
            "name": escape(name),
            "legendgroup": name,
            "showlegend": not number,
            "x": [escape(labelled(row.language, report.watched, report.marks)) for row in rows],
            "y": [figure and 100 * figure.value for figure in figures],
            "error_y": _error_bars(figures),
            "marker": {"color": colour, "pattern": {"shape": shape, **pattern}},
            "hovertemplate": f"%{{x}}: %{{y:.2f}} %<extra>{escape(name)}</extra>",
            "xaxis": f"x{number}",
            "yaxis": f"y{number}",
        }
        for name, colour, shape, figures in models
    ]


def _error_bars(figures: Sequence[Figure | None]) -> Plot:
    """Return the bars, cut off at 0: no rate is below; none where no interval is known."""
    ends = [(f.value, f.low, f.high) if f and f.low is not None and f.high is not None else None for f in figures]
    if not any(ends):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (end[2] - end[0]) if end else 0 for end in ends],
        "arrayminus": [100 * (end[0] - max(end[1], 0.0)) if end else 0 for end in ends],
        "color": TEXT,
        "thickness": 1.2,
        "width": 3,
    }


def _points(
    points: Sequence[TrialPoint | ParetoPoint],
    hover: str,
    name: str,
    marker: Plot,
    mode: str = "markers",
    **look: object,
) -> Plot:
    x, y = [point.worst_change for point in points], [100 * (point.objective or 0.0) for point in points]
    text = [point.trial_id for point in points]
    return _scatter(mode, x, y, f"<b>%{{text}}</b>{hover}", name=name, text=text, marker=marker, **look)


def _limit_lines(allowed: Mapping[str, float]) -> Plot:
    """Return one line where all languages have the same limit, else the lowest and the highest."""
    if not allowed:
        return {}
    low, high = min(allowed.values()), max(allowed.values())
    same = high - low < 1e-6
    line = {"color": TEXT, "dash": "dash", "width": 1.2}
    upright = {"type": "line", "y0": 0, "y1": 1, "yref": "paper", "line": line}
    text = "limit" if same else "limits, by language"
    note = {"x": high, "y": 1, "yref": "paper", "text": text, "showarrow": False, "xanchor": "left", "yanchor": "top"}
    note |= {"xshift": 4, "font": {"color": MUTED, "size": 12}}
    return {"shapes": [{**upright, "x0": x, "x1": x} for x in ([low] if same else [low, high])], "annotations": [note]}


def _alpha(curve: AlphaCurve, report: RunReport) -> list[Plot]:
    name = escape(curve.trial_id) + (f", {escape(curve.language)}" if len(report.low_resource) > 1 else "")
    look = _look(curve.trial_id, report, (3, 1.8), 8)
    reports = next(one.reports for one in report.curves if one.trial_id == curve.trial_id)
    known = [one for one in reports if curve.language in one.alpha]
    completed = [max(one.step - 1, 0) for one in known]  # a step's own alpha is that of the steps before it
    in_force, steps = [one.alpha[curve.language] for one in known], [one.step for one in known]
    scheduled = f"after %{{x}} steps: alpha %{{y:.3g}}<extra>{name}, scheduled</extra>"
    reported = f"reported at step %{{text}}: alpha %{{y:.3g}}<extra>{name}, in force</extra>"
    return [
        _scatter("lines", curve.steps, curve.alpha, scheduled, **look),
        _scatter("markers", completed, in_force, reported, text=steps, **look),
    ]


def _start(report: RunReport, language: str) -> float | None:
    """Return the rate of the model before its first step, where all trainings start."""
    found = [one.wer[language] for curve in report.curves for one in curve.reports if one.step == 0 and one.wer]
    return found[0] if found else None


def _learning(curve: Curve, report: RunReport, language: str, kind: str, start: float | None) -> Plot:
    scale, unit = (100, " %") if kind == "wer" else (1, "")
    known = {one.step: getattr(one, kind)[language] for one in curve.reports if language in getattr(one, kind)}
    known = ({0: start} if start is not None else {}) | known
    y = [scale * value for value in known.values()]
    hover = f"step %{{x}}: %{{y:.4g}}{unit}<extra>{escape(curve.trial_id)}</extra>"
    return _scatter("lines+markers", list(known), y, hover, **_look(curve.trial_id, report, (2.4, 1.4), 6))


def _look(trial_id: str, report: RunReport, widths: tuple[float, float], size: int) -> Plot:
    """Return line and marker of a training; the first of the widths is for the best one's line."""
    style = style_of(trial_id, report)
    line = {"color": style["colour"], "dash": style["dash"], "width": widths[trial_id != report.best]}
    return {"line": line, "marker": {"color": style["colour"], "symbol": style["marker"], "size": size}}


def _scatter(mode: str, x: Sequence[float | None], y: Sequence[float], hover: str, **look: object) -> Plot:
    return {"type": "scatter", "mode": mode, "x": x, "y": y, "hovertemplate": hover, **look}


def _plot(data: Sequence[Plot], **layout: object) -> Plot:
    """Return a plot of the traces that have a point, in the page's look."""
    return {"data": [trace for trace in data if trace["x"]], "layout": {"template": _TEMPLATE, "height": 380, **layout}}


def _axis(title: str, **more: object) -> Plot:
    return {"title": {"text": title}, **more}


def _escaped(values: object) -> object:
    """Return choices as escaped text: plotly.js reads some HTML in labels."""
    if not isinstance(values, list) or not any(isinstance(value, str) for value in values):
        return values
    return [escape(str(value)) for value in values]
