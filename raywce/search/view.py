"""What a search came to, on the screen: the best feasible trial beside the baseline and the original."""

from __future__ import annotations

from typing import Any

import rich
from rich.table import Table

from raywce.search.confirmation_view import show_confirmation
from raywce.search.lines import show_line
from raywce.search.outcome import SearchOutcome, TrialFigures
from raywce.search.settings_view import print_settings


def show_outcome(outcome: SearchOutcome) -> None:
    """Print the best feasible trial beside the baseline and the original, or what stood in the way of one."""
    show_line(_headline(outcome))
    for path, value in _shown(outcome).values.items():
        show_line(f"{path} = {_value(value)}")
    rich.get_console().print(comparison(outcome))
    if outcome.pareto:
        points = (f"{one.trial_id} {_percent(one.objective)}, {one.worst_change:+.2f}" for one in outcome.pareto)
        show_line(f"Pareto set (low-resource WER in %, worst high-resource change in points): {'; '.join(points)}")
    if outcome.settings:
        print_settings(rich.get_console(), outcome.settings)
    if outcome.confirmation:
        show_confirmation(outcome.confirmation)
    for name, path in outcome.tables.items():
        show_line(f"{name}: {path}")


def comparison(outcome: SearchOutcome) -> Table:
    """WER per language of the original, the baseline and the trial; differences to the baseline in points.

    The baseline's has its standard deviation over several seeds, which is the noise that differences stand against.
    """
    trial, deviations = _shown(outcome), outcome.references.baseline_deviation
    table = Table(
        "language",
        "original",
        "baseline",
        "best" if outcome.best else "nearest",
        "against baseline",
        "limit",
        title="WER in %",
    )
    for language in [*outcome.low_resource, *outcome.high_resource]:
        wer, baseline = trial.wer[language], outcome.references.baseline[language]
        limit = _limit(trial, language)
        original = outcome.references.original.get(language)
        deviation = f" ± {100 * deviations[language]:.2f}" if deviations else ""
        cells = [_percent(original), f"{_percent(baseline)}{deviation}", _percent(wer)]
        cells += [f"{100 * (wer - baseline):+.2f}", limit]
        table.add_row(language, *cells)
    return table


def _headline(outcome: SearchOutcome) -> str:
    counts = f"{outcome.trials} trials, {outcome.feasible} feasible, {len(outcome.failed)} failed"
    counts += f", {outcome.stopped} stopped early" if outcome.stopped else ""
    counts += ", the time limit was reached" if outcome.out_of_time else ""
    if outcome.best is None:
        assert outcome.nearest is not None
        stopped = outcome.nearest.worst
        by = f"{stopped[0]} is {stopped[1]:.2f} points above its limit" if stopped else ""
        return f"Nothing feasible ({counts}). The nearest trial is {outcome.nearest.trial_id}: {by}."
    points = 100 * (outcome.best.objective - outcome.baseline_objective)
    verdict = f"{points:+.2f} points of low-resource WER against the baseline"
    if not outcome.better:
        verdict = f"not better than the baseline ({points:+.2f} points of low-resource WER)"
    return f"Best feasible trial {outcome.best.trial_id} ({counts}): {verdict}."


def _shown(outcome: SearchOutcome) -> TrialFigures:
    trial = outcome.best or outcome.nearest
    assert trial is not None
    return trial


def _limit(trial: TrialFigures, language: str) -> str:
    points = trial.violations.get(language)
    if points is None:
        return ""
    return "holds" if points <= 0 else f"broken by {points:.2f}"


def _percent(wer: float | None) -> str:
    return "" if wer is None else f"{100 * wer:.2f}"


def _value(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
