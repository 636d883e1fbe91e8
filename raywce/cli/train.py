"""`raywce train`: one fine-tuning run with given hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from raywce import numbers
from raywce.cli.figures import write_figures
from raywce.screen.console import legend, marked, plain_table, show_line, show_table

if TYPE_CHECKING:
    from raywce.evaluation.metric import Metrics
    from raywce.experiment.schema import Experiment
    from raywce.training.run import TrainOutcome
    from raywce.trial_report import Report


def train(
    file: Annotated[Path, typer.Argument(help="Experiment file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the file, and values of searched keys, as key.path=value.", metavar="[KEY=VALUE]..."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all reports to this file.")] = None,
) -> None:
    """Fine-tune Whisper once, with the weighted loss, and evaluate it on dev.

    Run the same command to resume a run that stopped. The model is in <storage>/<name>/model.
    """
    from raywce.cluster.connect import connect
    from raywce.experiment.load import load

    loaded = load(file, overrides or [])
    experiment = loaded.concrete()
    metrics = experiment.metrics
    from raywce.demo.generate import provide_speech
    from raywce.runs.folder import RunFolder
    from raywce.runs.recorded import check_same
    from raywce.storage.failures import report_storage_failures
    from raywce.training.run import finished_run, train_run

    folder = RunFolder.of(experiment.storage, experiment.name)
    check_same(folder, loaded)
    outcome = finished_run(experiment, folder)
    if outcome:
        typer.echo(f"This training is finished; nothing was changed in {folder.uri}")
    else:
        provide_speech(Path(experiment.data.folder))
        with report_storage_failures(folder.uri), folder.held(), connect() as cluster:
            typer.echo(f"raywce {cluster}")
            with cluster.room(experiment, typer.echo).wanted(1):
                folder.open(loaded.resolved_yaml())
                outcome = train_run(experiment, folder, lambda report: typer.echo(report_line(report, metrics)))
        if outcome.reports[-1].warning:
            typer.echo(f"warning: {outcome.reports[-1].warning}", err=True)
    show_outcome(outcome, experiment)
    write_figures(json, outcome.as_json())


def report_line(report: Report, metrics: Metrics) -> str:
    """Return a report in one line: step, time, and the figures by language; `metrics` names the rates."""
    parts = [f"step {report.step}", f"{report.time_s or 0.0:.0f} s"]
    for heading, form, unit, found in (
        ("loss", "{:.3f}".format, "", report.loss),
        ("alpha", "{:.3f}".format, "", report.alpha),
        (metrics.words.label, numbers.percent, " %", report.wer),
        (metrics.characters.label, numbers.percent, " %", report.cer),
    ):
        if found:
            values = " ".join(f"{name} {form(value)}" for name, value in found.items())
            parts.append(f"{heading} {values}{unit}")
    if report.skipped_steps:
        parts.append(f"steps skipped, as gradients overflowed: {report.skipped_steps} (scale {report.loss_scale:g})")
    if report.restarts:
        parts.append(f"worker groups restarted: {report.restarts}")
    return " | ".join(parts)


def show_outcome(outcome: TrainOutcome, experiment: Experiment) -> None:
    """Print the last evaluation beside the original model, the utterances left out, and where the model is."""
    original, last = outcome.original, outcome.evaluations[-1]
    metrics, watched = experiment.metrics, experiment.languages.watched
    rates = f"{metrics.label} and {metrics.other_label}"
    title = f"dev after step {last.step}: {rates} in %, change of the {metrics.label} in points{legend(watched)}"
    show_table(title, dev_table(original, last, metrics, watched))
    for why, counts in (
        ("as their labels exceed the decoder's positions", outcome.reports[-1].left_out),
        ("as they are longer than training.encoder_context", outcome.reports[-1].beyond_context),
    ):
        for language, count in counts.items():
            if count:
                show_line(f"{language}: {count} training utterances left out {why}")
    show_line(f"model: {outcome.model}")
    for line in checkpoint_lines(outcome, metrics):
        show_line(line)


def dev_table(original: Report | None, last: Report, metrics: Metrics, watched: Collection[str]) -> Table:
    """Return a row for each language of the last evaluation, beside its rate of the original model where known."""
    own, other = (label.removeprefix("capped ") for label in (metrics.label, metrics.other_label))
    table = plain_table("language", f"original {own}", own, "change", other)
    before_all = metrics.deciding(original.rates) if original else {}
    for language, after in metrics.deciding(last.rates).items():
        before = before_all.get(language)
        change = "" if before is None else numbers.change(after - before)
        over_other = (last.cer if metrics.of(language).unit == "wer" else last.wer)[language]
        rates = (numbers.percent(before), numbers.percent(after), change, numbers.percent(over_other))
        table.add_row(marked(language, watched, metrics.marks), *rates)
    return table


def checkpoint_lines(outcome: TrainOutcome, metrics: Metrics) -> Iterator[str]:
    """Yield the best checkpoint that is kept, and an evaluation that was better but whose checkpoint is not kept."""
    best, lowest = outcome.best, outcome.lowest
    rate = "geometric mean of the low-resource rates" if metrics.is_relative else metrics.objective_label
    if best:
        yield f"best checkpoint by {rate}: {outcome.checkpoints[best.step]}"
    if best is None or (lowest.objective or 0.0) < (best.objective or 0.0):
        yield (
            f"lowest {rate}: {numbers.percent(lowest.objective)} % at step {lowest.step}, whose checkpoint is not kept"
        )
