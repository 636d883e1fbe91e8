"""The estimate of a search from the last profile in its run folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raywce import numbers
from raywce.profile.estimate import Estimate, estimate
from raywce.profile.measured import Measured
from raywce.runs.folder import RunFolder
from raywce.storage.node_copy import rows_in

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile

Figures = dict[str, Any]
"""An estimate as plain values, for JSON."""


def estimate_of(file: ExperimentFile, measured: Measured) -> Estimate:
    """Return the estimate of a search; its test splits are counted where it opens them."""
    data, confirm = file.experiment.data, file.experiment.search.confirm
    folders = [data.folder, *data.extra_test.values()] if confirm.candidates and confirm.test else []
    parts = [f"test/{language}" for language in file.experiment.languages.decoded]
    return estimate(file, measured, sum(rows_in(folder, parts) for folder in folders))


def last_estimate(file: ExperimentFile) -> Figures | None:
    """Return the estimate from the last profile; None without a profile.

    `changed` names the sections that differ from those profiled; where there are any, there is no estimate.
    """
    experiment = file.experiment
    measured = Measured.read(RunFolder.of(experiment.storage, experiment.name))
    if measured is None:
        return None
    found = {"profiled": measured.when, "nodes": measured.nodes, "changed": measured.changed(experiment)}
    return found if found["changed"] else found | figures_of(estimate_of(file, measured))


def figures_of(estimated: Estimate) -> Figures:
    """Return the estimate as plain values, with its sums."""
    return asdict(estimated) | {"seconds": estimated.seconds, "trial_seconds": estimated.trial.seconds}


def estimate_line(figures: Figures) -> str:
    """Return the estimate in one line."""
    nodes = figures["nodes"]
    cpus, gpus = (sum(node[name] for node in nodes) for name in ("CPU", "GPU"))
    count = "one node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    where = f"profiled {figures['profiled']} on {count} with {cpus:g} CPUs and {gpus:g} GPUs"
    if figures["changed"]:
        return f"unknown: {', '.join(figures['changed'])} changed since it was {where}; run raywce profile again"
    trainings = sum(phase["trainings"] for phase in figures["phases"])
    took = f"{trainings} trainings of {numbers.duration(figures['trial_seconds'])}, {figures['at_once']} at a time"
    gpu, cpu = figures["gpu_hours"], figures["cpu_hours"]
    used = f"{numbers.hours(gpu)} GPU-hours" if gpu else f"{numbers.hours(cpu)} CPU-hours"
    return f"about {numbers.duration(figures['seconds'])} ({took}; {used}); {where}"
