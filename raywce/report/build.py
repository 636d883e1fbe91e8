"""The figures of a report, from a run folder."""

from __future__ import annotations

from collections import Counter

from raywce import numbers
from raywce.report.corpus import corpus
from raywce.report.examples import Examples, examples_of, no_examples
from raywce.report.figures import PhaseCost, RunReport, SetUp, TrialPoint, WerTable
from raywce.report.importance import importance
from raywce.report.run import Run
from raywce.report.trials import alpha_curves, curve, ranked, trial_points
from raywce.report.wers import allowances, wer_tables
from raywce.runs.folder import EXPERIMENT
from raywce.runs.test_openings import openings
from raywce.screen.confirmation import finding as confirmed_finding
from raywce.screen.confirmation import taken
from raywce.screen.summary import plain_words
from raywce.selection.equal_weights import distinct
from raywce.selection.outcome import SearchOutcome
from raywce.selection.settings import about_baseline
from raywce.selection.trials import BASELINE, CONFIRM, FAIL, PHASES, PRUNED, SEARCH

BEST_TRIALS = 5


def build(run: Run) -> RunReport:
    """Return all figures of the run, finished or not."""
    outcome, experiment, metrics = run.outcome, run.experiment, run.experiment.metrics
    points = trial_points(run)
    done, tables = ranked(points), wer_tables(run)
    states = Counter(point.state for point in points if point.phase == SEARCH)
    best = _best(run)
    confirmed = [point for point in points if point.phase == CONFIRM and point.trial_id == best]
    shown = _distinct([*confirmed, *sorted(done, key=lambda point: point.trial_id != best)], run)[:BEST_TRIALS]
    return RunReport(
        name=experiment.name,
        folder=run.folder.uri,
        metric=f"{experiment.evaluation.metric}: {metrics.about}" if metrics.marks else experiment.evaluation.metric,
        rate=metrics.label,
        objective=metrics.objective_label,
        objective_about=metrics.objective_about,
        marks=metrics.marks,
        rate_title=metrics.title,
        counted=metrics.counted,
        capped=metrics.capped,
        normalizer=experiment.evaluation.normalizer,
        confidence=experiment.search.confirm.confidence,
        low_resource=list(experiment.languages.low_resource),
        high_resource=list(experiment.languages.high_resource),
        watched=list(experiment.languages.watched),
        finished=run.finished,
        headline=numbers.with_minus(plain_words(outcome)) if outcome and run.finished else "",
        finding=numbers.with_minus(_finding(run, tables)),
        label=tables[0].label if tables else "trial",
        notes=_notes(outcome) if outcome else [],
        rate_notes=_rate_notes(outcome) if outcome else [],
        wanted=run.file.trials,
        completed=len(done),
        feasible=sum(bool(point.feasible) for point in done),
        failed=states[FAIL],
        stopped=states[PRUNED],
        baseline_about=about_baseline(experiment.search.baseline),
        baseline_objective=outcome.baseline_objective if outcome else None,
        wers=tables,
        claims=outcome.confirmation.choice.claims if outcome and outcome.confirmation else {},
        trials=points,
        pareto=list(outcome.pareto) if outcome else [],
        best=best,
        candidate=outcome.confirmation.choice.shown if outcome and outcome.confirmation else None,
        allowed=allowances(outcome, experiment) if outcome else {},
        alphas=alpha_curves(run, shown),
        curves=[curve(run, one) for one in (*run.table.trial_ids(BASELINE)[:1], *(point.trial_id for point in shown))],
        importance=importance(run, done),
        settings=(outcome.settings if outcome else None) or [],
        examples=_examples(run, best),
        corpus=corpus(experiment.data.folder),
        set_up=_set_up(run),
        robustness=outcome.confirmation.robustness if outcome and outcome.confirmation else None,
    )


def _best(run: Run) -> str | None:
    """Return the training that the finding is about: the candidate's first, or the search's best or nearest trial."""
    outcome = run.outcome
    if outcome is None:
        return None
    shown = outcome.confirmation.choice.shown if outcome.confirmation else None
    if shown:
        return _first_of(run, shown)
    trial = outcome.best or outcome.nearest
    return trial.trial_ids[0] if trial else None


def _first_of(run: Run, candidate: str) -> str:
    """Return a candidate's training of the first seed."""
    rows = [row for row in run.table.last_rows(CONFIRM) if row["candidate"] == candidate]
    return str(min(rows, key=lambda row: int(row["seed"]))["trial_id"])


def _distinct(points: list[TrialPoint], run: Run) -> list[TrialPoint]:
    """Return only the first of trials that are one training, or have the same rate in every language."""
    trainings = {one.trial_id: (run.file.at(one.values), run.table.ratios(one.trial_id)) for one in points}
    names = distinct({one.trial_id: one.wer for one in points}, trainings)
    return [point for point in points if point.trial_id in names]


def _finding(run: Run, tables: list[WerTable]) -> str:
    """Return the outcome of the run in a sentence or two, with its interval."""
    outcome = run.outcome
    if outcome is None:
        return f"There is no finding yet: {run.why_no_outcome}."
    if outcome.confirmation:
        confirmed = f"{confirmed_finding(outcome.confirmation)} {taken(outcome.confirmation)}".rstrip()
        has_more = outcome.confirmation.choice.winner is None and outcome.confirmation.choice.claims
        return f"{confirmed} {tables[0].chosen} {_change(run, tables[0])}." if has_more else confirmed
    begun = "" if run.finished else f"The search is not finished ({outcome.trials} of {run.file.trials} trials). "
    change = _change(run, tables[0])
    if outcome.best is None:
        assert outcome.nearest is not None
        worst = outcome.nearest.worst
        by = f"{worst[0]} is {numbers.distance(worst[1])} points above its limit" if worst else "it has no figures"
        return f"{begun}Nothing feasible: in the nearest, {outcome.nearest.called}, {by}. It {change}."
    name = outcome.best.called
    if outcome.better:
        caution = "It was chosen by these figures; no confirm phase has tested it on other speech."
        return f"{begun}The best that is feasible, {name}, {change}. {caution}"
    return f"{begun}Nothing feasible beats the baseline: the best, {name}, {change}."


def _change(run: Run, table: WerTable) -> str:
    gain, languages = table.gain, " and ".join(run.experiment.languages.low_resource)
    metrics = run.experiment.metrics
    rate, unit = metrics.objective_label.removeprefix("low-resource "), "points"
    if metrics.is_relative:
        rate, unit = "error rates", "% of the baseline's on average"
    assert gain is not None
    verb = "lowers" if gain.value < 0 else "raises"
    by = f"{verb} the {rate} of {languages} by {numbers.distance(100 * gain.value)} {unit}"
    change = f"{by if gain.value else f'leaves the {rate} of {languages} as it is'} compared with the baseline"
    if gain.low is None:
        return change
    level = numbers.confidence(run.experiment.search.confirm.confidence)
    return f"{change} ({level} % interval of the change: {numbers.change_bounds(gain.low, gain.high)})"


def _notes(outcome: SearchOutcome) -> list[str]:
    notes = ["The time limit was reached before all trials had been run."] if outcome.out_of_time else []
    if outcome.confirmation:
        closed, failed = outcome.confirmation.closed, outcome.confirmation.failed
        notes += [f"The test split stays closed: {closed}"] if closed else []
        notes += [f"{name} is left out because one of its runs failed: {reason}" for name, reason in failed.items()]
    return notes


def _rate_notes(outcome: SearchOutcome) -> list[str]:
    notes = list(outcome.notes)
    if outcome.confirmation:
        notes += [f"held-out dev: {note}" for note in outcome.confirmation.dev.notes]
        notes += [f"{name}: {note}" for name, test in outcome.confirmation.tests.items() for note in test.notes]
    return notes


def _examples(run: Run, best: str | None) -> Examples:
    """Return examples for the first seed of the best and of the baseline, on the utterances of the first table."""
    if run.outcome is None or best is None:
        return no_examples("there is no training to compare with the baseline yet")
    pair = [(BASELINE, run.table.trial_ids(BASELINE)[0]), (SEARCH, best)]
    if best in run.table.trial_ids(CONFIRM):
        pair = [(CONFIRM, _first_of(run, BASELINE)), (CONFIRM, best)]
    parts = run.decoded(pair)
    if parts is None:
        return no_examples("utterances.parquet does not have these trainings yet")
    baseline, chosen = parts
    return examples_of(baseline, chosen, [trial_id for _, trial_id in pair], run.experiment.metrics)


def _set_up(run: Run) -> SetUp:
    """Return configuration, versions, seeds, time and cost."""
    experiment = run.experiment
    confirm = experiment.search.confirm
    return SetUp(
        experiment=run.folder.read_text(EXPERIMENT),
        choice=run.outcome.choice if run.outcome else "",
        versions=run.versions,
        seeds={
            "training.seed": experiment.training.seed,
            "search.seed": experiment.search.seed,
            "search.baseline_seeds": experiment.search.baseline_seeds,
            "search.seeds": experiment.search.seeds,
            "search.confirm.seeds": confirm.seeds if confirm.candidates else 0,
        },
        test_split=[f"{one['opened']}, {one['command']}: {', '.join(one['models'])}" for one in openings(run.folder)],
        costs=[_cost(run, phase) for phase in PHASES if run.table.trial_ids(phase)],
        search_seconds=run.search_seconds,
    )


def _cost(run: Run, phase: str) -> PhaseCost:
    resources, rows = run.experiment.resources, run.table.last_rows(phase)
    seconds = sum(row.get("time_s") or 0.0 for row in rows)
    hours = seconds * resources.workers / 3600
    gpu_hours, cpu_hours = hours * resources.gpus_per_worker, hours * resources.cpus_per_worker
    return PhaseCost(phase, len(rows), seconds, cpu_hours=cpu_hours, gpu_hours=gpu_hours)
