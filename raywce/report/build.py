"""The figures of a report, from a run folder."""

from __future__ import annotations

from raywce.report.corpus import corpus
from raywce.report.curves import alpha_curves, curves
from raywce.report.examples import Examples, examples_of, no_examples, of_trial
from raywce.report.figures import RunReport, TrialPoint, WerTable
from raywce.report.finding import finding
from raywce.report.importance import importance
from raywce.report.run import Run
from raywce.report.setup import set_up
from raywce.report.trials import ranked, trial_points
from raywce.report.wers import allowances, chosen_in, ids_of, wer_tables
from raywce.selection.outcome import SearchOutcome
from raywce.selection.trials import BASELINE, CONFIRM, FAIL, PRUNED, SEARCH

BEST_TRIALS = 5


def build(run: Run) -> RunReport:
    """Return all figures of the run, finished or not."""
    outcome, experiment = run.outcome, run.experiment
    points = trial_points(run)
    done, tables = ranked(points), wer_tables(run)
    best = _best(outcome)
    shown = _distinct(_first(done, best))[:BEST_TRIALS]
    return RunReport(
        name=experiment.name,
        folder=run.folder.uri,
        metric=experiment.evaluation.metric,
        normalizer=experiment.evaluation.normalizer,
        confidence=experiment.search.confirm.confidence,
        low_resource=list(experiment.languages.low_resource),
        high_resource=list(experiment.languages.high_resource),
        finished=run.finished,
        finding=finding(run, tables),
        label=tables[0].label if tables else "trial",
        notes=_notes(run, points),
        wanted=run.file.trials,
        completed=len(done),
        feasible=sum(bool(point.feasible) for point in done),
        failed=_count(points, FAIL),
        stopped=_count(points, PRUNED),
        baseline_objective=outcome.baseline_objective if outcome else None,
        wers=tables,
        claims=dict(outcome.confirmation.choice.claims) if outcome and outcome.confirmation else {},
        trials=points,
        best=best,
        allowed=allowances(outcome, experiment) if outcome else {},
        alphas=alpha_curves(run, shown),
        curves=curves(run, [*run.table.trial_ids(BASELINE)[:1], *(trial.trial_id for trial in shown)]),
        importance=importance(run, done),
        settings=list(outcome.settings or []) if outcome else [],
        examples=_examples(run, tables),
        corpus=corpus(experiment.data.folder),
        set_up=set_up(run),
    )


def _best(outcome: SearchOutcome | None) -> str | None:
    """Return the trial that the finding is about: the winner, or the best or nearest trial of the search."""
    if outcome is None:
        return None
    shown = chosen_in(outcome.confirmation) if outcome.confirmation else None
    trial = outcome.best or outcome.nearest
    return shown or (ids_of(trial)[0] if trial else None)


def _first(points: list[TrialPoint], best: str | None) -> list[TrialPoint]:
    """Return the best one first, also where the confirm phase chose another than the search."""
    return sorted(points, key=lambda point: point.trial_id != best)


def _distinct(points: list[TrialPoint]) -> list[TrialPoint]:
    """Return only the first of trials with the same WER in every language: they are the same training."""
    return [point for index, point in enumerate(points) if all(point.wer != other.wer for other in points[:index])]


def _count(points: list[TrialPoint], state: str) -> int:
    return sum(point.state == state for point in points if point.phase == SEARCH)


def _notes(run: Run, points: list[TrialPoint]) -> list[str]:
    outcome, notes = run.outcome, []
    if outcome and outcome.out_of_time:
        notes.append("The time limit was reached before all trials had been run.")
    if outcome and outcome.confirmation and outcome.confirmation.closed:
        notes.append(f"The test split stays closed: {outcome.confirmation.closed}")
    failed = outcome.confirmation.failed if outcome and outcome.confirmation else {}
    notes += [f"{name} is left out because one of its runs failed: {reason}" for name, reason in failed.items()]
    return notes


def _examples(run: Run, tables: list[WerTable]) -> Examples:
    """Return examples for the first seed of both trainings, on the utterances of the first table."""
    pair = _pair(run)
    if pair is None:
        return no_examples("there is no training to compare with the baseline yet")
    phase, baseline, chosen = pair
    found = run.utterances([baseline, chosen])
    parts = [] if found is None else [of_trial(found, *one) for one in ((phase[0], baseline), (phase[1], chosen))]
    if not parts or any(part.num_rows == 0 for part in parts):
        return no_examples("utterances.parquet does not have these trainings yet")
    return examples_of(parts[0], parts[1], [baseline, chosen], run.experiment.evaluation.metric)


def _pair(run: Run) -> tuple[tuple[str, str], str, str] | None:
    """Return the phases and ids of the baseline's training and of the chosen one."""
    outcome = run.outcome
    if outcome is None:
        return None
    shown = chosen_in(outcome.confirmation) if outcome.confirmation else None
    if shown:
        first = {run.table.of(one)[-1]["candidate"]: one for one in reversed(run.table.trial_ids(CONFIRM))}
        return (CONFIRM, CONFIRM), first[BASELINE], first[shown]
    trial = outcome.best or outcome.nearest
    return ((BASELINE, SEARCH), run.table.trial_ids(BASELINE)[0], ids_of(trial)[0]) if trial else None
