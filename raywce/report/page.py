"""The page: one HTML file that needs nothing else, neither network nor other files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from raywce.report import plots
from raywce.report.figures import RunReport
from raywce.report.importance import contour_figure, importance_figure
from raywce.report.names import short_names
from raywce.report.run import Run
from raywce.report.trials import ranked

Plots = dict[str, plots.Plot]
_MINUS = "−"
_FORMATS = {
    "percent": (100, ".2f"),
    "change": (100, "+.2f"),
    "share": (100, ".1f"),
    "confidence": (100, ".6g"),
    "points": (1, "+.2f"),
    "count": (1, ".0f"),
    "number": (1, ".4g"),
    "hours": (1, ".3f"),
    "seconds": (1, ".0f"),
}


def page(report: RunReport, run: Run) -> str:
    """The whole file."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(figure=figure, cell=cell)
    environment.globals.update(style=lambda trial_id: plots.style_of(trial_id, report))
    template = environment.get_template("page.html.j2")
    return template.render(
        report=report,
        names=short_names(path for trial in report.trials for path in trial.values),
        css=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        plotly=Markup(_plotly()),
        plots=Markup(_in_script(all_plots(report, run))),
    )


def all_plots(report: RunReport, run: Run) -> Plots:
    """By the id of the element that each is drawn in."""
    done = ranked(report.trials)
    found = {f"wer-{index}": plots.wer_bars(table) for index, table in enumerate(report.wers)}
    if any(point.worst_change is not None for point in done):
        found["trade-off"] = plots.trade_off(report, done)
    if report.alphas:
        found["alpha"] = plots.alphas(report)
    for index, language in enumerate([*report.low_resource, *report.high_resource] if report.curves else []):
        found |= {f"{kind}-over-steps-{index}": plots.learning(report, language, kind) for kind in ("wer", "loss")}
    if report.importance.shares:
        found["importance"] = plots.importance_bars(importance_figure(run, done), report)
    for index, pair in enumerate(report.importance.pairs):
        found[f"contour-{index}"] = plots.contour(contour_figure(run, done, pair), report)
    return found


def figure(value: float | None, kind: str = "number") -> Markup:
    """A number as text, its full value beside it; nothing where it is not known.

    Args:
        value: as the JSON has it.
        kind: a key of `_FORMATS`.
    """
    if value is None or math.isnan(value):
        return Markup("")
    scale, form = _FORMATS[kind]
    text = f"{scale * value:{form}}".replace("-", _MINUS)
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), text)


def cell(value: Any) -> Markup:
    """A searched leaf's value."""
    if isinstance(value, bool) or value is None:
        return escape("" if value is None else str(value).lower())
    return figure(value) if isinstance(value, int | float) else escape(value)


def _asset(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """plotly.js, which plotly ships."""
    return (
        (files("plotly") / "package_data" / "plotly.min.js")
        .read_text(encoding="utf-8")
        .replace("</script", "<\\/script")
    )


def _in_script(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """JSON that can't end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
