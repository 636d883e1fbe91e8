"""The plots as plain data for plotly.js; colours are CSS variables of the page, such as `var(--baseline)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from raywce.report.figures import AlphaCurve, Curve, Figure, LanguageRow, RunReport, TrialPoint, WerTable
from raywce.report.names import short_names
from raywce.selection.trials import BASELINE

Plot = dict[str, Any]

ORIGINAL, PLAIN, CHOSEN = "var(--original)", "var(--baseline)", "var(--chosen)"
MUTED, RULE, TEXT = "var(--muted)", "var(--rule)", "var(--text)"
# For the second best trial and those after it, which differ in dash and marker too.
OTHERS = ("var(--other-1)", "var(--other-2)", "var(--other-3)", "var(--other-4)")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
MARKERS = ("circle", "square", "triangle-up", "diamond", "cross")
_MANY = 100  # trials; from this many on, their points are smaller
_CIVIDIS = ["#00204c", "#31446b", "#666870", "#958f78", "#cbba69", "#ffe945"]


def style_of(trial_id: str, report: RunReport) -> dict[str, str]:
    """Return colour, dash and marker of a training, the same in every plot."""
    others = [curve.trial_id for curve in report.curves if curve.trial_id != report.best]
    others = [one for one in others if not one.startswith(BASELINE)]
    if trial_id.startswith(BASELINE):
        return {"colour": PLAIN, "dash": "dash", "marker": "square"}
    if trial_id == report.best:
        return {"colour": CHOSEN, "dash": "solid", "marker": "circle"}
    place = others.index(trial_id) % len(OTHERS)
    return {"colour": OTHERS[place], "dash": DASHES[1 + place], "marker": MARKERS[1 + place]}


def wer_bars(table: WerTable) -> Plot:
    """WER per language with intervals, low- and high-resource languages on separate axes."""
    sides = [[row for row in table.languages if row.low_resource is low] for low in (True, False)]
    sides = [rows for rows in sides if rows]
    models = (("original", ORIGINAL, ""), ("baseline", PLAIN, "/"), (table.label, CHOSEN, ""))
    data = [_bars(rows, index, model, place) for place, rows in enumerate(sides) for index, model in enumerate(models)]
    layout = _layout(barmode="group", bargap=0.25, bargroupgap=0.06)
    gap, widths = 0.12, [max(len(rows), 1.6) for rows in sides]
    start, scale = 0.0, (1 - gap * (len(sides) - 1)) / sum(widths)
    for place, width in enumerate(widths):
        number = "" if place == 0 else str(place + 1)
        domain = [start, start + width * scale]
        layout[f"xaxis{number}"] = _axis("", domain=domain, anchor=f"y{number}", showgrid=False)
        layout[f"yaxis{number}"] = _axis("WER in %" if place == 0 else "", anchor=f"x{number}", rangemode="tozero")
        start = domain[1] + gap
    return {"data": data, "layout": layout}


def trade_off(report: RunReport, points: Sequence[TrialPoint]) -> Plot:
    """Low-resource WER against the worst change of a high-resource one, for all completed trials."""
    placed = [point for point in points if point.objective is not None and point.worst_change is not None]
    feasible = [point for point in placed if point.feasible and point.trial_id != report.best]
    broken = [point for point in placed if not point.feasible and point.trial_id != report.best]
    chosen = [point for point in placed if point.trial_id == report.best]
    front = sorted((point for point in placed if point.in_pareto_set), key=lambda point: point.worst_change or 0.0)
    size = 9 if len(placed) < _MANY else 6
    ring = {"symbol": "circle-open", "size": 15, "color": TEXT, "line": {"width": 1.5}}
    data = [
        _points(
            front, "Pareto set", mode="lines+markers", line={"color": TEXT, "width": 1, "dash": "dot"}, marker=ring
        ),
        _points(broken, "breaks a limit", marker={"symbol": "x-thin-open", "size": size, "color": MUTED}),
        _points(feasible, "feasible", marker={"symbol": "circle", "size": size, "color": "var(--other-1)"}),
        _points(chosen, report.label, marker={"symbol": "star", "size": 17, "color": CHOSEN}),
    ]
    if report.baseline_objective is not None:
        marker = {"symbol": "diamond", "size": 13, "color": PLAIN}
        place = {"x": [0], "y": [100 * report.baseline_objective], "name": "baseline", "marker": marker}
        data.append({"type": "scatter", "mode": "markers", **place, "hovertemplate": _hover("baseline")})
    layout = _layout(**_limit_lines(report.allowed))
    layout["xaxis"] = _axis("largest rise of a high-resource WER, in points", zeroline=True)
    layout["yaxis"] = _axis("low-resource WER in %")
    return {"data": [trace for trace in data if trace["x"]], "layout": layout}


def alphas(report: RunReport) -> Plot:
    """The scheduled alpha as lines, the alpha in force where it was reported as markers."""
    several = len(report.low_resource) > 1
    data = [trace for curve in report.alphas for trace in _alpha(curve, report, several)]
    layout = _layout(showlegend=False)
    layout["xaxis"], layout["yaxis"] = _axis("completed steps"), _axis("alpha", rangemode="tozero")
    return {"data": data, "layout": layout}


def learning(report: RunReport, language: str, kind: str) -> Plot:
    """One language's WER (`wer`, in %) or training cross-entropy (`loss`) over the steps."""
    start = _start(report, language) if kind == "wer" else None
    data = [_learning(curve, report, language, kind, start) for curve in report.curves]
    layout = _layout(showlegend=False, margin={"l": 38, "r": 8, "t": 6, "b": 30}, height=190)
    small = {"automargin": False}  # which would draw each of them several times
    layout["xaxis"] = _axis("", nticks=4, **small)
    layout["yaxis"] = _axis("", rangemode="tozero", nticks=5, **small)
    return {"data": [trace for trace in data if trace["x"]], "layout": layout}


def importance_bars(figure: Plot, report: RunReport) -> Plot:
    """Return Optuna's plot in the page's colours and with short names."""
    names = short_names(report.importance.shares)
    (bars,) = figure["data"]
    bars["y"] = [f"{escape(names[path])} " for path in _listed(bars["y"])]
    bars.update(
        marker={"color": PLAIN}, hovertemplate=None, hoverinfo="x+y", textfont={"color": TEXT}, cliponaxis=False
    )
    layout = _layout(showlegend=False, height=80 + 34 * len(names), margin={"l": 20, "r": 40, "t": 8, "b": 46})
    layout["xaxis"], layout["yaxis"] = _axis("share of the importance"), _axis("", showgrid=False)
    return {"data": [bars], "layout": layout}


def contour(figure: Plot, report: RunReport) -> Plot:
    """Return Optuna's contour in the page's colours and with short names."""
    names = short_names(report.importance.shares)
    for trace in figure["data"]:
        trace.update({axis: _escaped(trace[axis]) for axis in ("x", "y")})
        if trace["type"] == "contour":
            bar = {
                "title": {"text": "WER in %", "font": {"size": 11}},
                "thickness": 8,
                "tickfont": {"color": MUTED},
                "outlinewidth": 0,
            }
            trace.update(colorscale=_scale(), colorbar=bar, reversescale=False, line={"width": 0})
        else:
            trace.update(marker={**trace["marker"], "size": 6, "line": {"width": 1, "color": "#fff"}})
    own, layout = figure["layout"], _layout(showlegend=False, height=270, margin={"l": 46, "r": 8, "t": 10, "b": 42})
    for axis in ("xaxis", "yaxis"):
        kept = {key: own[axis][key] for key in ("type", "range") if key in own[axis]}
        layout[axis] = _axis(escape(names[own[axis]["title"]["text"]]), showgrid=False, **kept)
    return {"data": figure["data"], "layout": layout}


def _bars(rows: Sequence[LanguageRow], index: int, model: tuple[str, str, str], place: int) -> Plot:
    name, colour, pattern = model
    figures = [(row.original, row.baseline, row.chosen)[index] for row in rows]
    bounded = any(figure and figure.low is not None for figure in figures)
    axes = {"xaxis": f"x{place + 1 if place else ''}", "yaxis": f"y{place + 1 if place else ''}"}
    return {
        "type": "bar",
        "name": escape(name),
        "legendgroup": name,
        "showlegend": place == 0,
        "x": [escape(row.language) for row in rows],
        "y": [figure and 100 * figure.value for figure in figures],
        "error_y": _error_bars(figures) if bounded else {"visible": False},
        "marker": {
            "color": colour,
            "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "var(--bg)", "size": 6, "solidity": 0.15},
        },
        "hovertemplate": f"%{{x}}: %{{y:.2f}} %<extra>{escape(name)}</extra>",
        **axes,
    }


def _error_bars(figures: Sequence[Figure | None]) -> Plot:
    """Return the bars, cut off at 0: no WER is below."""
    ends = [(f.value, f.low, f.high) if f and f.low is not None and f.high is not None else None for f in figures]
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (end[2] - end[0]) if end else 0 for end in ends],
        "arrayminus": [100 * (end[0] - max(end[1], 0.0)) if end else 0 for end in ends],
        "color": TEXT,
        "thickness": 1.2,
        "width": 3,
    }


def _points(points: Sequence[TrialPoint], name: str, **look: Any) -> Plot:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [point.worst_change for point in points],
        "y": [100 * (point.objective or 0.0) for point in points],
        "text": [point.trial_id for point in points],
        "hovertemplate": _hover("%{text}"),
        **look,
    }


def _hover(name: str) -> str:
    return f"<b>{name}</b><br>low-resource WER %{{y:.2f}} %<br>largest rise %{{x:+.2f}} points<extra></extra>"


def _limit_lines(allowed: Mapping[str, float]) -> Plot:
    """Return one line where all languages have the same limit, else the lowest and the highest."""
    if not allowed:
        return {}
    low, high = min(allowed.values()), max(allowed.values())
    same = high - low < 1e-6
    shapes = [
        {
            "type": "line",
            "x0": x,
            "x1": x,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": TEXT, "dash": "dash", "width": 1.2},
        }
        for x in ([low] if same else [low, high])
    ]
    text = "limit" if same else "limits, by language"
    note = {"x": high, "y": 1, "yref": "paper", "text": text, "showarrow": False, "xanchor": "left", "yanchor": "top"}
    return {"shapes": shapes, "annotations": [{**note, "xshift": 4, "font": {"color": MUTED, "size": 12}}]}


def _alpha(curve: AlphaCurve, report: RunReport, several: bool) -> list[Plot]:
    style, name = style_of(curve.trial_id, report), escape(curve.trial_id)
    name += f", {escape(curve.language)}" if several else ""
    line = {"color": style["colour"], "dash": style["dash"], "width": 3 if curve.trial_id == report.best else 1.8}
    hover = f"after %{{x}} steps: alpha %{{y:.3g}}<extra>{name}, scheduled</extra>"
    scheduled = {
        "type": "scatter",
        "mode": "lines",
        "x": curve.steps,
        "y": curve.alpha,
        "line": line,
        "hovertemplate": hover,
    }
    reports = next(one.reports for one in report.curves if one.trial_id == curve.trial_id)
    known = [one for one in reports if curve.language in one.alpha]
    marker = {"color": style["colour"], "symbol": style["marker"], "size": 8}
    in_force = {
        "type": "scatter",
        "mode": "markers",
        "x": [max(one.step - 1, 0) for one in known],  # a step's own alpha is that of the steps completed before it
        "y": [one.alpha[curve.language] for one in known],
        "text": [one.step for one in known],
        "marker": marker,
        "hovertemplate": f"reported at step %{{text}}: alpha %{{y:.3g}}<extra>{name}, in force</extra>",
    }
    return [scheduled, in_force]


def _start(report: RunReport, language: str) -> float | None:
    """Return the WER of the model before its first step, where all trainings start."""
    found = [one.wer[language] for curve in report.curves for one in curve.reports if one.step == 0 and one.wer]
    return found[0] if found else None


def _learning(curve: Curve, report: RunReport, language: str, kind: str, start: float | None) -> Plot:
    style, scale = style_of(curve.trial_id, report), 100 if kind == "wer" else 1
    known = {one.step: getattr(one, kind)[language] for one in curve.reports if language in getattr(one, kind)}
    known = ({0: start} if start is not None else {}) | known
    unit = " %" if kind == "wer" else ""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(known),
        "y": [scale * value for value in known.values()],
        "line": {
            "color": style["colour"],
            "dash": style["dash"],
            "width": 2.4 if curve.trial_id == report.best else 1.4,
        },
        "marker": {"color": style["colour"], "symbol": style["marker"], "size": 6},
        "hovertemplate": f"step %{{x}}: %{{y:.4g}}{unit}<extra>{escape(curve.trial_id)}</extra>",
    }


def _layout(**more: Any) -> Plot:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": TEXT},
        "margin": {"l": 52, "r": 12, "t": 12, "b": 46},
        "height": 380,
        "hoverlabel": {"bgcolor": "var(--panel)", "bordercolor": RULE, "font": {"color": TEXT}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        **more,
    }


def _axis(title: str, **more: Any) -> Plot:
    return {
        "title": {"text": title, "font": {"size": 12, "color": MUTED}, "standoff": 8},
        "gridcolor": RULE,
        "linecolor": RULE,
        "zerolinecolor": RULE,
        "tickfont": {"color": MUTED},
        "automargin": True,
        "zeroline": False,
        **more,
    }


def _scale() -> list[list[Any]]:
    return [[place / (len(_CIVIDIS) - 1), colour] for place, colour in enumerate(_CIVIDIS)]


def _escaped(values: Any) -> Any:
    """Return choices as escaped text: plotly.js reads some HTML in labels."""
    is_text = isinstance(values, list) and any(isinstance(value, str) for value in values)
    return [escape(str(value)) for value in values] if is_text else values


def _listed(values: Any) -> list[str]:
    return [str(value).strip() for value in values]
