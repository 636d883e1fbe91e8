"""`raywce validate`: everything that is wrong with an experiment file, or what it would do; nothing is started."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from raywce.cli.figures import write_figures
from raywce.errors import InputError
from raywce.search.choice import Choice, chosen


def validate(
    file: Annotated[Path, typer.Argument(help="Experiment file.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Put in its place: weighting.alpha=2")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the outcome as JSON.")] = None,
) -> None:
    """Check an experiment file: all of its errors at once, or a summary."""
    from raywce.experiment.load import load

    try:
        loaded = load(file, overrides or [])
    except InputError as error:
        write_figures(json, {"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        raise
    summary = _summary(loaded)
    write_figures(json, {"valid": True, **summary})
    for line in _lines(file, summary):
        typer.echo(line)


def _summary(loaded: Any) -> dict[str, Any]:
    experiment, space = loaded.experiment, loaded.space
    training, resources = experiment.training, experiment.resources
    parts = resources.workers * training.accumulation_steps
    return {
        "name": experiment.name,
        "languages": {
            "low_resource": experiment.languages.low_resource,
            "high_resource": experiment.languages.high_resource,
        },
        "weighting": experiment.weighting.kind,
        "searched": {path: str(distribution) for path, distribution in space.items()},
        "first_points": loaded.published_points(),
        "runs": {"baseline": experiment.search.baseline_seeds, "trials": loaded.trials} if space else None,
        "sampler": asdict(chosen(experiment, space)) if space else None,
        "grid": _grid(loaded) if space and experiment.search.sampler == "grid" else None,
        "trial": {
            "steps": training.steps,
            "batch_size": training.batch_size,
            "micro_batch_size": training.batch_size // parts,
            "utterances": training.steps * training.batch_size,
            "workers": resources.workers,
            "cpus": resources.workers * resources.cpus_per_worker,
            "gpus": resources.workers * resources.gpus_per_worker,
        },
        "disk": _disk(loaded) if space else None,
        "estimate": _estimate(loaded) if space else None,
        "notes": loaded.notes,
    }


def _grid(loaded: Any) -> dict[str, Any]:
    """The settings of a grid, and those that the baseline's runs stand for."""
    return {"settings": loaded.settings(), "seeds": loaded.experiment.search.seeds, "baseline": loaded.stood_for()}


def _disk(loaded: Any) -> dict[str, int] | None:
    from raywce.experiment.disk import disk_of, parameters_of, speech_bytes

    parameters = parameters_of(loaded.experiment.model)
    if parameters is None:
        return None
    return asdict(disk_of(loaded.experiment, loaded.trials, parameters, speech_bytes(loaded.experiment)))


def _estimate(loaded: Any) -> dict[str, Any] | None:
    from raywce.profile.known import last_estimate

    return last_estimate(loaded)


def _estimate_line(estimate: dict[str, Any] | None) -> str:
    from raywce.profile.known import estimate_line

    return f"time           {estimate_line(estimate) if estimate else 'unknown: raywce profile measures it'}"


def _disk_line(disk: dict[str, int] | None) -> str:
    if disk is None:
        return "disk           unknown: no safetensors header of the checkpoint can be read, here or on the Hub"
    finished, trial, node = (f"{size / 1e9:.2f} GB" for size in disk.values())
    return f"disk           storage: up to {finished}, and {trial} for each trial under way; each node: {node}"


def _lines(file: Path, summary: dict[str, Any]) -> list[str]:
    low, high = (", ".join(names) or "none" for names in summary["languages"].values())
    trial, runs = summary["trial"], summary["runs"]
    lines = [
        f"{file}: valid",
        f"low-resource   {low}",
        f"high-resource  {high}",
        f"weighting      {summary['weighting']}",
        "a trial        {steps} steps of {batch_size} utterances ({utterances} in all), micro-batches of "
        "{micro_batch_size}".format(**trial),
        "takes          {workers} workers: {cpus:g} CPUs, {gpus:g} GPUs".format(**trial),
    ]
    if runs:
        lines.append(f"search         baseline runs: {runs['baseline']}, trials: {runs['trials']}, over")
        lines += [f"  {path}: {distribution}" for path, distribution in summary["searched"].items()]
        lines += [f"first point    {_point(point)}" for point in summary["first_points"]]
        lines.append(str(Choice(**summary["sampler"])))
        lines.append(_disk_line(summary["disk"]))
        lines.append(_estimate_line(summary["estimate"]))
        if grid := summary["grid"]:
            lines.append(f"grid           settings: {len(grid['settings'])}, seeds of each: {grid['seeds']}")
            lines += [f"baseline       stands for {_point(values)}" for values in grid["baseline"]]
    else:
        lines.append("search         no leaf has a distribution: for raywce train")
    return lines + [f"note: {note}" for note in summary["notes"]]


def _point(point: dict[str, Any]) -> str:
    return ", ".join(f"{path.rpartition('.')[2]} {json_text.dumps(value)}" for path, value in point.items())
