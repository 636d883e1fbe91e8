"""`raywce profile`: a minute of real steps, where their time goes, and what the whole search will take."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raywce.cli.figures import write_figures

if TYPE_CHECKING:
    from raywce.profile.measured import Measured


def profile(
    file: Annotated[Path, typer.Argument(help="Experiment file.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the file, as key.path=value.", metavar="[KEY=VALUE]...")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="To measure for; slow steps take longer.")] = 60,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Measure one training of an experiment file on the cluster at hand, and estimate the time of its search.

    Searched leaves have the first value of their distribution. Nothing is kept but profile.json in the run folder,
    from which `raywce validate` tells the estimate.
    """
    from raywce.cluster import connect
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    experiment = loaded.experiment
    from raywce.demo.assets import provide_speech
    from raywce.profile.known import estimate_line, estimate_of, figures_of
    from raywce.profile.run import profile_training
    from raywce.run_folder import RunFolder
    from raywce.storage import storage_failures_told

    folder = RunFolder.of(experiment.storage, experiment.name)
    provide_speech(Path(experiment.data.folder))
    start = time.monotonic()
    with storage_failures_told(folder.uri), folder.held(), connect() as cluster:
        connect_s = 0.0 if cluster.joined else time.monotonic() - start
        typer.echo(f"raywce {cluster}")
        with cluster.room(experiment, typer.echo).wanted(1):
            measured = profile_training(experiment, folder, seconds, connect_s)
        measured.write(folder)
    _show(measured)
    figures: dict[str, Any] = {"measured": asdict(measured)}
    if loaded.space:
        estimated = figures_of(estimate_of(loaded, measured))
        figures["estimate"] = estimated
        told = estimated | {"profiled": measured.when, "nodes": measured.nodes, "changed": []}
        _show_trial(estimated["trial"])
        typer.echo(f"the search       {estimate_line(told)}")
    write_figures(json, figures)


def _show(measured: Measured) -> None:
    import rich
    from rich.table import Table

    memory = "unknown" if measured.gigabytes is None else f"{measured.gigabytes:.2f} GB"
    rates = ", ".join(f"{rate:.1f} utterances/s ({name})" for name, rate in measured.decoded_per_second.items())
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in measured.shares.items())
    typer.echo(
        f"training         {measured.utterances_per_second:.2f} utterances/s, "
        f"{measured.audio_per_second:.1f} s of audio/s, {measured.step_s:.2f} s a step (mean of {measured.steps})"
    )
    typer.echo(f"a step's time    {shares}")
    typer.echo(f"memory           {memory} at most in a worker")
    typer.echo(f"evaluation       {rates}, with the encoder context in brackets; dev has {measured.dev['all']}")
    table = Table("batch_size", "accumulation_steps", "micro-batch", "utterances/s", "GB", title="ways to make batches")
    for one in measured.batches:
        rate = f"{one.utterances_per_second:.2f}" if one.utterances_per_second else one.why_not
        gigabytes = "" if one.gigabytes is None else f"{one.gigabytes:.2f}"
        table.add_row(str(one.batch_size), str(one.accumulation_steps), str(one.micro_batch), rate, gigabytes)
    rich.get_console().print(table)
    fastest, largest = measured.fastest(), measured.largest()
    if fastest and largest:
        typer.echo(
            f"of the file's batches, the fastest has training.accumulation_steps={fastest.accumulation_steps}; "
            f"the largest micro-batch that fitted: {largest.micro_batch}"
        )


def _show_trial(trial: dict[str, float]) -> None:
    from raywce.profile.known import lasting

    parts = ", ".join(f"{name} {lasting(seconds)}" for name, seconds in trial.items())
    typer.echo(f"a training       {lasting(sum(trial.values()))}: {parts}")
