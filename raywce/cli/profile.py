"""`raywce profile`: a minute of real steps, their time by part, and an estimate of the whole search."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raywce import numbers
from raywce.cli.figures import write_figures

if TYPE_CHECKING:
    from raywce.profile.measured import Measured


def profile(
    file: Annotated[Path, typer.Argument(help="Experiment file.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the file, as key.path=value.", metavar="[KEY=VALUE]...")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure; slow steps take longer.")] = 60,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Measure one training of an experiment file on this cluster, and estimate the time of its search.

    Searched keys take the first value of their distribution. Only profile.json is kept, in the run folder;
    `raywce validate` shows its estimate.
    """
    from raywce.cluster.connect import connect
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    experiment = loaded.experiment
    from raywce.demo.generate import provide_speech
    from raywce.profile.known import estimate_line, estimate_of, figures_of
    from raywce.profile.run import profile_training
    from raywce.runs.folder import RunFolder
    from raywce.screen.console import show_fields
    from raywce.search.power import power_lines, power_of
    from raywce.storage.failures import report_storage_failures

    folder = RunFolder.of(experiment.storage, experiment.name)
    provide_speech(Path(experiment.data.folder))
    start = time.monotonic()
    with report_storage_failures(folder.uri), folder.held(), connect() as cluster:
        connect_s = 0.0 if cluster.joined else time.monotonic() - start
        typer.echo(f"raywce {cluster}")
        with cluster.room(experiment, typer.echo).wanted(1):
            measured = profile_training(experiment, folder, seconds, connect_s)
        measured.write(folder)
    show_measured(measured)
    figures: dict[str, Any] = {"measured": asdict(measured)}
    if loaded.space:
        estimated = figures_of(estimate_of(loaded, measured))
        figures["estimate"] = estimated
        known = estimated | {"profiled": measured.when, "nodes": measured.nodes, "changed": []}
        shown = power_of(loaded)
        words = [("power", line) for line in power_lines(loaded, shown)] if shown else []
        show_fields([("a training", _parts(estimated["trial"])), ("the search", estimate_line(known)), *words])
    write_figures(json, figures)


def show_measured(measured: Measured) -> None:
    """Print what was measured of a training and of each way to split its batch."""
    from raywce.screen.console import plain_table, show_fields, show_line, show_table

    memory = "unknown" if measured.gigabytes is None else f"{measured.gigabytes:.2f} GB"
    shares = ", ".join(f"{name} {numbers.percent(share, digits=0)} %" for name, share in measured.shares.items())
    speed = f"{measured.utterances_per_second:.2f} utterances/s, {measured.audio_per_second:.1f} s of audio/s"
    peak = f"{measured.matrix_peak / 1e12:.2f} TFLOP/s, of a worker's large products in {measured.precision}"
    states = f"{measured.encoded_per_second or 0:.1f} utterances/s, once a node; the rest is measured with them there"
    decoded = f"{measured.decoded_per_second:.1f} utterances/s; dev has {measured.dev['all']} utterances"
    show_fields(
        [
            ("training", f"{speed}, {measured.step_s:.2f} s a step (mean of {measured.steps})"),
            ("a step's time", shares),
            ("matrix peak", f"{numbers.percent(measured.of_peak, digits=0)} % of {peak}"),
            ("limited by", measured.limited_by),
            ("memory", f"at most {memory} in a worker"),
            ("evaluation", decoded),
            *([("encoder states", states)] if measured.encoded_per_second else []),
        ]
    )
    table = plain_table("batch_size", "accumulation_steps", "micro-batch", "utterances/s", "GB")
    for one in measured.batches:
        rate = f"{one.utterances_per_second:.2f}" if one.utterances_per_second else ""
        gigabytes = "" if one.gigabytes is None else f"{one.gigabytes:.2f}"
        table.add_row(str(one.batch_size), str(one.accumulation_steps), str(one.micro_batch), rate, gigabytes)
    show_table("Ways to split a batch", table)
    for one in measured.batches:
        if one.why_not:
            show_line(f"batch_size {one.batch_size}, micro-batch {one.micro_batch} was not measured: {one.why_not}")
    fastest, largest = measured.fastest(), measured.largest()
    if fastest and largest:
        show_line(f"fastest for the file's batch_size: training.accumulation_steps={fastest.accumulation_steps}")
        show_line(f"largest micro-batch that fitted: {largest.micro_batch}")


def _parts(trial: dict[str, float]) -> str:
    parts = ", ".join(f"{name.replace('_', ' ')} {numbers.duration(seconds)}" for name, seconds in trial.items())
    return f"{numbers.duration(sum(trial.values()))}: {parts}"
