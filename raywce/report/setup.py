"""The configuration of a run, and its cost."""

from __future__ import annotations

from raywce.report.figures import PhaseCost, SetUp
from raywce.report.run import Run
from raywce.runs.folder import EXPERIMENT
from raywce.runs.test_openings import openings
from raywce.selection.trials import PHASES


def set_up(run: Run) -> SetUp:
    """Return configuration, versions, seeds, time and cost."""
    experiment = run.experiment
    return SetUp(
        experiment=run.folder.read_text(EXPERIMENT),
        choice=run.outcome.choice if run.outcome else "",
        versions=run.versions,
        seeds={
            "training.seed": experiment.training.seed,
            "search.seed": experiment.search.seed,
            "search.baseline_seeds": experiment.search.baseline_seeds,
            "search.seeds": experiment.search.seeds,
            "search.confirm.seeds": experiment.search.confirm.seeds if experiment.search.confirm.candidates else 0,
        },
        test_split=[f"{one['opened']}, {one['command']}: {', '.join(one['models'])}" for one in openings(run.folder)],
        costs=[cost for phase in PHASES if (cost := _cost(run, phase)).trainings],
        search_seconds=run.search_seconds,
    )


def _cost(run: Run, phase: str) -> PhaseCost:
    resources, trial_ids = run.experiment.resources, run.table.trial_ids(phase)
    seconds = sum(run.table.of(trial_id)[-1].get("time_s") or 0.0 for trial_id in trial_ids)
    hours = seconds * resources.workers / 3600
    return PhaseCost(
        phase=phase,
        trainings=len(trial_ids),
        seconds=seconds,
        cpu_hours=hours * resources.cpus_per_worker,
        gpu_hours=hours * resources.gpus_per_worker,
    )
