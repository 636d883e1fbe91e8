"""What the last profile of an experiment's run folder says of its search."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from raywce.profile.estimate import Estimate, estimate
from raywce.profile.measured import Measured
from raywce.remote import rows_in
from raywce.run_folder import RunFolder

if TYPE_CHECKING:
    from raywce.experiment.load import ExperimentFile


def estimate_of(file: ExperimentFile, measured: Measured) -> Estimate:
    """The search's; its test splits are counted where it opens them."""
    data, confirm = file.experiment.data, file.experiment.search.confirm
    folders = [data.folder, *data.extra_test.values()] if confirm.candidates and confirm.test else []
    parts = [f"test/{language}" for language in file.experiment.languages.all]
    return estimate(file, measured, sum(rows_in(folder, parts) for folder in folders))


def last_estimate(file: ExperimentFile) -> dict[str, Any] | None:
    """For `raywce validate`: the last profile's estimate; what it was made with may have `changed` since.

    None where there is no profile.
    """
    experiment = file.experiment
    measured = Measured.read(RunFolder.of(experiment.storage, experiment.name))
    if measured is None:
        return None
    found: dict[str, Any] = {
        "profiled": measured.when,
        "nodes": measured.nodes,
        "changed": measured.changed(experiment),
    }
    return found if found["changed"] else found | figures_of(estimate_of(file, measured))


def figures_of(estimated: Estimate) -> dict[str, Any]:
    """As plain values, sums too."""
    return asdict(estimated) | {"seconds": estimated.seconds, "trial_seconds": estimated.trial.seconds}


def estimate_line(figures: dict[str, Any]) -> str:
    """In a line."""
    nodes = figures["nodes"]
    cpus, gpus = (sum(node[name] for node in nodes) for name in ("CPU", "GPU"))
    where = f"profiled {figures['profiled']} on {len(nodes)} node(s) with {cpus:g} CPUs and {gpus:g} GPUs"
    if figures["changed"]:
        return f"unknown: {', '.join(figures['changed'])} changed since it was {where}: raywce profile again"
    trainings = sum(phase["trainings"] for phase in figures["phases"])
    took = f"{trainings} trainings of {lasting(figures['trial_seconds'])}, {figures['at_once']} at a time"
    return f"about {lasting(figures['seconds'])} ({took}; {used(figures)}); {where}"


def used(figures: dict[str, Any]) -> str:
    """GPU-hours, or CPU-hours where no GPU is used."""
    return f"{figures['gpu_hours']:.1f} GPU-hours" if figures["gpu_hours"] else f"{figures['cpu_hours']:.1f} CPU-hours"


def lasting(seconds: float) -> str:
    """Such as 48 s, 12 min or 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
