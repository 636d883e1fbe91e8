"""`raywce train`: one fine-tuning run with one choice of hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raywce.cli.figures import write_figures

if TYPE_CHECKING:
    from raywce.training.run import TrainOutcome


def train(
    file: Annotated[Path, typer.Argument(help="Experiment file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the file, and values of searched leaves, as key.path=value.", metavar="[KEY=VALUE]..."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all reports to this file.")] = None,
) -> None:
    """Fine-tune Whisper once, with the weighted loss, and evaluate it on dev.

    The same command goes on with a run that stopped. The model is in <storage>/<name>/model.
    """
    from raywce.cluster import connect
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    experiment = loaded.concrete()
    from raywce.demo.assets import provide_speech
    from raywce.experiment.recorded import check_same
    from raywce.run_folder import RunFolder
    from raywce.storage import storage_failures_told
    from raywce.training.run import finished_run, train_run

    folder = RunFolder.of(experiment.storage, experiment.name)
    check_same(folder, loaded)
    outcome = finished_run(experiment, folder)
    if outcome:
        typer.echo(f"This training is finished; nothing was changed in {folder.uri}")
    else:
        provide_speech(Path(experiment.data.folder))
        with storage_failures_told(folder.uri), folder.held(), connect() as cluster:
            typer.echo(f"raywce {cluster}")
            with cluster.room(experiment, typer.echo).wanted(1):
                folder.open(loaded.resolved_yaml())
                outcome = train_run(experiment, folder, _show)
    _show_outcome(outcome)
    write_figures(json, outcome.as_json())


def _show(report: Mapping[str, Any]) -> None:
    typer.echo(report_line(report))


def report_line(report: Mapping[str, Any]) -> str:
    """One report in a line: step, time, and what was measured, by language."""
    parts = [f"step {report['step']}", f"{report['time_s']:.0f} s"]
    for key, unit, factor, digits in (
        ("loss", "", 1, 3),
        ("alpha", "", 1, 3),
        ("wer", " %", 100, 2),
        ("cer", " %", 100, 2),
    ):
        found = {name.removeprefix(f"{key}/"): value for name, value in report.items() if name.startswith(f"{key}/")}
        if found:
            values = " ".join(
                f"{name} {factor * value:.{digits}f}" for name, value in found.items() if value is not None
            )
            parts.append(f"{key if key in ('loss', 'alpha') else key.upper()} {values}{unit}")
    if report.get("restarts"):
        parts.append(f"worker groups restarted: {report['restarts']}")
    return " | ".join(parts)


_LEFT_OUT = {
    "left_out": "their labels exceed the decoder's positions",
    "beyond_context": "they are longer than training.encoder_context",
}


def _show_outcome(outcome: TrainOutcome) -> None:
    import rich
    from rich.table import Table

    from raywce.training.run import left_out

    original, last = outcome.original, outcome.evaluations[-1]
    table = Table(
        "language", "WER original", "WER", "change in points", "CER", title=f"dev after step {last['step']}, in %"
    )
    for language in outcome.languages:
        before = original[f"wer/{language}"] if original else None
        after, cer = last[f"wer/{language}"], last[f"cer/{language}"]
        change = "" if before is None else f"{100 * (after - before):+.2f}"
        table.add_row(
            language, "" if before is None else f"{100 * before:.2f}", f"{100 * after:.2f}", change, f"{100 * cer:.2f}"
        )
    rich.get_console().print(table)
    for context in ("full", "batch"):
        if f"wer_{context}_context/{outcome.languages[0]}" in last:
            rates = (f"{name} {100 * last[f'wer_{context}_context/{name}']:.2f}" for name in outcome.languages)
            typer.echo(f"WER in % with the encoder context {context}: {', '.join(rates)}")
    for key, why in _LEFT_OUT.items():
        for language, count in left_out(outcome.reports, key).items():
            typer.echo(f"{language}: {count} training utterances left out, {why}")
    typer.echo(f"model: {outcome.model}")
    for line in checkpoint_lines(outcome):
        typer.echo(line)


def checkpoint_lines(outcome: TrainOutcome) -> Iterator[str]:
    """The best checkpoint that is kept, and the evaluation that was better, where there is none of it."""
    best, lowest = outcome.best, outcome.lowest
    if best:
        yield f"best checkpoint by low-resource WER: {outcome.checkpoints[best['step']]}"
    if best is None or lowest["objective"] < best["objective"]:
        yield (
            f"lowest low-resource WER: {100 * lowest['objective']:.2f} % at step {lowest['step']}, "
            "of which no checkpoint is kept"
        )
