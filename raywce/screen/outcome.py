"""The outcome of a search on the screen: the best feasible trial compared with the baseline and the original."""

from __future__ import annotations

from rich.table import Table

from raywce import numbers
from raywce.screen.confirmation import show_confirmation
from raywce.screen.console import legend, marked, plain_table, show_line, show_notes, show_table
from raywce.screen.settings import show_settings
from raywce.screen.summary import plain_words
from raywce.selection.outcome import SearchOutcome, TrialFigures


def show_outcome(outcome: SearchOutcome) -> None:
    """Print the outcome in plain words, then the best feasible trial beside the baseline and the original."""
    show_line(plain_words(outcome))
    show_line(" ".join([_headline(outcome), outcome.objective_about]).rstrip())
    for path, value in _shown(outcome).values.items():
        show_line(f"{path} = {numbers.hyperparameter(value)}")
    title = f"{outcome.label} in %; change from the baseline and limit in points{legend(outcome.watched)}"
    show_table(title, comparison_table(outcome))
    if outcome.pareto:
        title = f"Pareto set: {outcome.minimised} in %, largest rise under a limit, in points"
        show_table(title, pareto_table(outcome))
    if outcome.settings:
        show_settings(outcome.settings, outcome.label, outcome.watched, outcome.marks)
    show_notes(outcome.notes)
    if outcome.confirmation:
        show_confirmation(outcome.confirmation)
    for name, path in outcome.tables.items():
        show_line(f"{name}: {path}")


def comparison_table(outcome: SearchOutcome) -> Table:
    """Return each language's rate of the original, the baseline and the trial; differences to the baseline in points.

    The baseline has its standard deviation over the seeds, if there are several: the noise to compare changes with.
    """
    trial, deviations = _shown(outcome), outcome.references.baseline_deviation
    own = "best" if outcome.best else "nearest"
    table = plain_table("language", "original", "baseline", own, "change", "limit", text=("limit",))
    for language in [*outcome.low_resource, *outcome.high_resource, *outcome.watched]:
        wer, baseline = trial.wer[language], outcome.references.baseline[language]
        limit = _limit(trial, language, outcome)
        original = outcome.references.original.get(language)
        deviation = deviations[language] if deviations else None
        cells = [numbers.percent(original), numbers.with_deviation(baseline, deviation), numbers.percent(wer)]
        cells += [numbers.change(wer - baseline), limit]
        table.add_row(marked(language, outcome.watched, outcome.marks), *cells)
    return table


def pareto_table(outcome: SearchOutcome) -> Table:
    """Return a row for each trial of the Pareto set."""
    table = plain_table("trial", outcome.minimised.split()[-1], "rise", wrapped=("trial",))
    for one in outcome.pareto:
        table.add_row(one.trial_id, numbers.percent(one.objective), numbers.points(one.worst_change))
    return table


def _headline(outcome: SearchOutcome) -> str:
    feasible = f"{outcome.feasible} settings feasible" if outcome.settings else f"{outcome.feasible} feasible"
    counts = f"{outcome.trials} trials, {feasible}, {len(outcome.failed)} failed"
    counts += f", {outcome.stopped} stopped early" if outcome.stopped else ""
    counts += ", the time limit was reached" if outcome.out_of_time else ""
    if outcome.best is None:
        assert outcome.nearest is not None
        worst = outcome.nearest.worst
        by = f"{worst[0]} is {numbers.distance(worst[1])} points above its limit" if worst else ""
        return f"Nothing feasible ({counts}). The nearest is {outcome.nearest.called}: {by}."
    change = numbers.change(outcome.best.objective - outcome.baseline_objective)
    verdict = f"{change} points of {outcome.minimised} compared with the baseline"
    if not outcome.better:
        verdict = f"not better than the baseline ({change} points of {outcome.minimised})"
    return f"Best feasible {outcome.best.called} ({counts}): {verdict}."


def _shown(outcome: SearchOutcome) -> TrialFigures:
    trial = outcome.best or outcome.nearest
    assert trial is not None
    return trial


def _limit(trial: TrialFigures, language: str, outcome: SearchOutcome) -> str:
    points = trial.violations.get(language)
    if points is None:
        return ""
    rise = 100 * (trial.wer[language] - outcome.references.baseline[language])
    state = "holds" if points <= 0 else f"broken by {numbers.distance(points)}"
    return f"{numbers.points(rise - points)} {state}"
