"""`raywce validate`: all errors of an experiment file, or a summary of what it would do; nothing is started."""

from __future__ import annotations

import json as json_text
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raywce import numbers
from raywce.cli.figures import write_figures
from raywce.errors import InputError, Problem
from raywce.selection.sampler_choice import Choice, chosen

if TYPE_CHECKING:
    from raywce.experiment.disk import Parameters
    from raywce.experiment.load import ExperimentFile

Summary = dict[str, Any]  # as `--json` has it
_UNREAD = "unknown: no safetensors header of the checkpoint can be read, here or on the Hub"


def validate(
    file: Annotated[Path, typer.Argument(help="Experiment file.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the file, such as weighting.alpha=2")
    ] = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the whole file, every default filled in, in place of a summary.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="What this machine does not have is an error, as for search and train.")
    ] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the outcome as JSON.")] = None,
) -> None:
    """Check an experiment file: all of its errors at once, or a summary.

    What the file needs and this machine does not have, such as GPUs or a folder, is listed, and no error.
    """
    from raywce.experiment.load import load

    try:
        loaded = load(file, overrides or [], allow_absent=not here)
    except InputError as error:
        write_figures(json, {"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        raise
    if resolved:
        typer.echo(loaded.resolved_yaml(), nl=False)
        if json is None:
            return
    summary = _summary(loaded)
    write_figures(json, {"valid": True, **summary})
    if not resolved:
        _show(file, summary)


def _show(file: Path, summary: Summary) -> None:
    from raywce.screen.console import show_fields, show_line

    show_line(f"{file}: valid")
    show_fields(_fields(summary))
    for note in summary["notes"]:
        show_line(f"note: {note}")
    for lacking in summary["not_here"]:
        show_line(f"not here: {Problem(**lacking)}")


def _summary(loaded: ExperimentFile) -> Summary:
    from raywce.profile.known import last_estimate

    experiment, space = loaded.experiment, loaded.space
    training, resources, metrics = experiment.training, experiment.resources, experiment.metrics
    parts = resources.workers * training.accumulation_steps
    parameters = _parameters(loaded)
    has_speech = not any(problem.path.startswith("data.") for problem in loaded.not_here)
    return {
        "name": experiment.name,
        "languages": experiment.languages.model_dump(include={"low_resource", "high_resource", "watched"}),
        "limited": experiment.limited_languages,
        "metric": {
            "name": experiment.evaluation.metric,
            "languages": {of: metrics.of(of).label for of in metrics.languages},
            "minimised": metrics.objective_label,
            "about": metrics.objective_about,
        },
        "draws": _draws(loaded) if has_speech else None,
        "weighting": experiment.weighting.kind,
        "searched": {path: str(distribution) for path, distribution in space.items()},
        "first_points": loaded.published_points(),
        "runs": _runs(loaded) if space else None,
        "power": _power(loaded) if space and has_speech else None,
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
        "memory": parameters.memory if parameters else None,
        "disk": _disk(loaded, parameters, has_speech) if space else None,
        "estimate": last_estimate(loaded) if space and has_speech else None,
        "notes": loaded.notes,
        "not_here": [asdict(problem) for problem in loaded.not_here],
    }


def _draws(loaded: ExperimentFile) -> Summary | None:
    """Return each language's share of the baseline's utterances, and what the sampling's keys alone ask for.

    None where the demo corpus was not generated yet.
    """
    from raywce.storage.node_copy import rows_in
    from raywce.training.draws import asked_draws, draws

    baseline = loaded.baseline()
    counts = {of: rows_in(baseline.data.folder, [f"train/{of}"]) for of in baseline.languages.all}
    if not all(counts.values()):
        return None
    return {"shares": draws(baseline, counts), "asked": asked_draws(baseline, counts)}


def _runs(loaded: ExperimentFile) -> Summary:
    """Return how many trainings each phase has, at most."""
    search = loaded.experiment.search
    seeds = search.confirm.seeds
    of_baseline = search.confirm.of_baseline(seeds)
    confirm = {"candidates": search.confirm.candidates, "seeds": seeds, "baseline_seeds": of_baseline}
    return {"baseline": search.baseline_seeds, "trials": loaded.trials, "confirm": confirm}


def _power(loaded: ExperimentFile) -> Summary | None:
    """Return what the confirm phase can show, as figures and in words."""
    from raywce.search.power import power_lines, power_of

    found = power_of(loaded)
    return asdict(found) | {"words": power_lines(loaded, found)} if found else None


def _grid(loaded: ExperimentFile) -> Summary:
    """Return the settings of a grid, and those that the baseline's runs replace."""
    return {"settings": loaded.settings(), "seeds": loaded.experiment.search.seeds, "baseline": loaded.stood_for()}


def _disk(loaded: ExperimentFile, parameters: Parameters | None, has_speech: bool) -> Summary | None:
    from raywce.experiment.disk import disk_of, kept_bytes, speech_bytes

    experiment = loaded.experiment
    if parameters is None:
        return None
    speech = speech_bytes(experiment) + kept_bytes(experiment, parameters.width) if has_speech else 0
    disk = disk_of(experiment, loaded.trials, parameters, speech)
    return asdict(disk) | ({} if has_speech else {"node": None})


def _parameters(loaded: ExperimentFile) -> Parameters | None:
    from raywce.experiment.disk import parameters_of

    rank = loaded.space.get("model.lora.rank")
    ranks = rank.listed() if rank else ()
    return parameters_of(loaded.experiment.model, [one for one in ranks if isinstance(one, int)])


def _memory_text(memory: int | None) -> str:
    if memory is None:
        return _UNREAD
    return f"{memory / 1e9:.2f} GB for a worker's weights, gradients and optimizer; raywce profile measures the rest"


def _disk_text(disk: Summary | None) -> str:
    if disk is None:
        return _UNREAD
    finished, trial, node = ("unknown" if size is None else f"{size / 1e9:.2f} GB" for size in disk.values())
    return f"storage: up to {finished}, plus {trial} for each running trial; each node: {node}"


def _fields(summary: Summary) -> list[tuple[str, str]]:
    from raywce.profile.known import estimate_line

    low, high, watched = summary["languages"].values()
    trial, runs, estimate = summary["trial"], summary["runs"], summary["estimate"]
    steps = "{steps} steps of {batch_size} utterances ({utterances} in all), micro-batches of {micro_batch_size}"
    fields = [
        ("low-resource", ", ".join(low)),
        ("high-resource", ", ".join(high) or "none"),
        *_watched_field(watched, summary["limited"]),
        ("metric", _metric_text(summary["metric"])),
        *_draws_field(summary["draws"], low),
        ("weighting", summary["weighting"]),
        ("a trial", steps.format(**trial)),
        ("takes", "workers: {workers}, CPUs: {cpus:g}, GPUs: {gpus:g}".format(**trial)),
        ("memory", _memory_text(summary["memory"])),
    ]
    if not runs:
        return [*fields, ("search", "no key has a distribution: a file for raywce train")]
    fields.append(("search", f"baseline runs: {runs['baseline']}, trials: {runs['trials']}, over"))
    fields += [("", f"{path}: {distribution}") for path, distribution in summary["searched"].items()]
    if confirm := runs["confirm"]["candidates"]:
        seeds, of_baseline = runs["confirm"]["seeds"], runs["confirm"]["baseline_seeds"]
        fields.append(
            (
                "confirm",
                f"up to {confirm} candidate{'s' if confirm > 1 else ''} over {seeds} new seeds, the baseline over "
                f"{of_baseline}",
            )
        )
    fields += [
        ("power" if not index else "", line) for index, line in enumerate((summary["power"] or {}).get("words", []))
    ]
    fields += [("first point", _point(point)) for point in summary["first_points"]]
    fields.append(("sampler", str(Choice(**summary["sampler"])).removeprefix("Sampler ")))
    time = estimate_line(estimate) if estimate else "unknown: run raywce profile to measure it"
    fields += [("disk", _disk_text(summary["disk"])), ("time", time)]
    if grid := summary["grid"]:
        fields.append(("grid", f"settings: {len(grid['settings'])}, seeds of each: {grid['seeds']}"))
        fields += [("baseline", f"replaces {_point(values)}") for values in grid["baseline"]]
    return fields


def _draws_field(found: Summary | None, low: Sequence[str]) -> list[tuple[str, str]]:
    """Return the field of the draws, with a word where both kinds in every batch change them."""
    if found is None:
        return []
    shares, asked = found["shares"], found["asked"]
    text = ", ".join(f"{of} {numbers.percent(share, digits=1)} %" for of, share in shares.items())
    before, after = (sum(one[of] for of in low) for one in (asked, shares))
    if not math.isclose(before, after):
        text += f" (data.sampling.both_kinds: {numbers.percent(before, digits=1)} % of low-resource ones are too few"
        text += " for one in each batch)" if after > before else " leave no room for another in each batch)"
    return [("draws", text)]


def _metric_text(metric: Summary) -> str:
    """Return the rate of each language, and what is minimised."""
    labels: Mapping[str, str] = metric["languages"]
    by_label = {label: [of for of in labels if labels[of] == label] for label in dict.fromkeys(labels.values())}
    rates = [label if len(by_label) == 1 else f"{label} of {', '.join(of)}" for label, of in by_label.items()]
    return f"{metric['name']}: {', '.join(rates)}; minimised: {metric['minimised']}. {metric['about']}".rstrip(". ")


def _watched_field(watched: Sequence[str], limited: Collection[str]) -> list[tuple[str, str]]:
    """Return the field of the watched languages, each with a word on its limit; none without such languages."""
    named = [f"{language} (with a limit)" if language in limited else language for language in watched]
    return [("watched", ", ".join(named))] if named else []


def _point(point: Mapping[str, object]) -> str:
    from raywce.selection.settings import short_names

    names = short_names(point)
    return ", ".join(f"{names[path]} {json_text.dumps(value)}" for path, value in point.items())
