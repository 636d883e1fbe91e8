"""The page: one HTML file that needs neither network nor other files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from importlib.resources import files

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from raywce import numbers
from raywce.experiment.space import Scalar
from raywce.report import plots
from raywce.report.figures import RunReport
from raywce.report.importance import contour_figure, importance_figure
from raywce.report.run import Run
from raywce.report.trials import ranked
from raywce.selection.languages import labelled
from raywce.selection.settings import short_names

Plots = dict[str, plots.Plot]
_FORMATS: dict[str, Callable[[float], str]] = {
    "percent": numbers.percent,
    "share": partial(numbers.percent, digits=1),
    "change": numbers.change,
    "points": numbers.points,
    "confidence": numbers.confidence,
    "hours": numbers.hours,
    "number": "{:.4g}".format,
    "whole": "{:.0f}".format,
}


def page(report: RunReport, run: Run) -> str:
    """Return the whole file."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = partial(labelled, watched=report.watched, marks=report.marks)
    environment.filters.update(figure=figure, cell=cell, duration=numbers.duration, hours=numbers.hours, labelled=named)
    environment.globals.update(style=lambda trial_id: plots.style_of(trial_id, report))
    template = environment.get_template("page.html.j2")
    return template.render(
        report=report,
        names=short_names(path for trial in report.trials for path in trial.values),
        css=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
        plots=Markup(_in_script(all_plots(report, run))),
    )


def all_plots(report: RunReport, run: Run) -> Plots:
    """Return the plots by the id of the element that each is drawn in."""
    done = ranked(report.trials)
    found = {f"wer-{index}": plots.wer_bars(table, report) for index, table in enumerate(report.wers)}
    if any(point.worst_change is not None for point in done):
        found["trade-off"] = plots.trade_off(report, done)
    if report.alphas:
        found["alpha"] = plots.alphas(report)
    trained = [*report.low_resource, *report.high_resource]
    for kind, languages in (("wer", [*trained, *report.watched]), ("loss", trained)):
        for index, language in enumerate(languages if report.curves else []):
            found[f"{kind}-over-steps-{index}"] = plots.learning(report, language, kind)
    if report.importance.shares:
        found["importance"] = plots.importance_bars(importance_figure(run, done), report)
    for index, pair in enumerate(report.importance.pairs):
        found[f"contour-{index}"] = plots.contour(contour_figure(run, done, pair), report)
    return found


def figure(value: float | None, kind: str = "number") -> Markup:
    """Return a number as text in an element that has its full value; an empty text where it is unknown.

    Args:
        value: as the JSON has it.
        kind: a key of `_FORMATS`.
    """
    if value is None or math.isnan(value):
        return Markup("")
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), numbers.with_minus(_FORMATS[kind](value)))


def cell(value: Scalar) -> Markup:
    """Return the value of a searched key."""
    if isinstance(value, bool) or value is None:
        return escape("" if value is None else str(value).lower())
    return figure(value) if isinstance(value, int | float) else escape(value)


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _in_script(value: Plots) -> str:
    """Return JSON that can't end the script element that it is in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
