"""`raywce evaluate`: WER and CER of a checkpoint on prepared speech."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, cast

import typer

from raywce import numbers
from raywce.cli.figures import unwritable, write_figures
from raywce.evaluation.settings import DecodeSettings

if TYPE_CHECKING:
    import pyarrow as pa

    from raywce.data.context import FromBatch
    from raywce.errors import Problems
    from raywce.evaluation.evaluate import Evaluation
    from raywce.evaluation.rates import LanguageRates
    from raywce.evaluation.robustness import Robustness

COUNTS = ("utterances", "truncated", "loops", "stopped")
METRICS = {
    "wer_normalized": "WER",
    "wer_normalized_capped": "capped WER",
    "cer_normalized": "CER",
    "wer_raw": "raw WER",
    "cer_raw": "raw CER",
    "insertion_rate": "insertions",
    "language_identification_accuracy": "identified",
}


def evaluate(
    model: Annotated[str, typer.Argument(help="Whisper as a transformers folder, a Hub id, or demo:micro-whisper.")],
    data: Annotated[Path, typer.Option(help="Folder that raywce prepare wrote, or demo:six-languages.")],
    split: Annotated[str, typer.Option(help="dev or test.")] = "dev",
    language: Annotated[list[str] | None, typer.Option(help="Repeatable. Default: all languages.")] = None,
    language_token: Annotated[
        list[str] | None, typer.Option(metavar="AST=ES", help="Decode a language with another's token. Repeatable.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Workers; more than one run on a Ray cluster, joined or started.")] = 1,
    batch_size: Annotated[
        int, typer.Option(help="Utterances that a worker encodes at once; up to twice as many are decoded together.")
    ] = 8,
    precision: Annotated[str, typer.Option(help="auto, fp32, tf32, bf16 or fp16.")] = "fp32",
    encoder_context: Annotated[
        str, typer.Option(help="full: the whole window; batch: the longest utterance of a batch and the margin.")
    ] = "full",
    context_margin: Annotated[
        float, typer.Option(help="Seconds of silence after the longest utterance, with --encoder-context batch.")
    ] = DecodeSettings.context_margin,
    stop_loops: Annotated[
        bool, typer.Option("--stop-loops", help="Stop decoding that repeats a phrase without end: saves time.")
    ] = False,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Also decode with time stamps, and say whether the model writes them.")
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Also measure what it writes for silence and noise, and its WER on long-form speech."
        ),
    ] = False,
    normalizer: Annotated[str, typer.Option(help="words or whisper_basic.")] = "words",
    cache: Annotated[Path, typer.Option(help="Folder for the Arrow copy of a node, and for the demo corpus.")] = Path(
        "~/.cache/raywce"
    ),
    open_test_again: Annotated[
        bool, typer.Option("--open-test-again", help="Open a run's test split even if opened before; this is recorded.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write a row per utterance to this file, as parquet.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Decode a split and print corpus-level WER and CER per language, normalised and raw."""
    from raywce.assets import checkpoint_path, speech_path
    from raywce.evaluation.evaluate import Evaluation

    model, cache = checkpoint_path(model, "MODEL"), cache.expanduser().resolve()
    data = Path(speech_path(str(data), cache, "--data"))
    languages = tuple(dict.fromkeys(language or _languages_of(data, split)))
    problems = _check_data(data, split, languages)
    tokens = _parse_tokens(language_token or [], problems)
    _check_model(model, languages, tokens, timestamps, problems)
    settings = DecodeSettings(
        language_tokens=tokens,
        batch_size=batch_size,
        precision=precision,
        normalizer=normalizer,
        identify_language=True,
        encoder_context=cast("FromBatch", encoder_context),
        context_margin=context_margin,
        stop_loops=stop_loops,
        timestamps=timestamps,
    )
    _check_options(settings, workers, {"--out": out, "--json": json}, problems)
    problems.raise_any()
    model = str(Path(model).resolve()) if Path(model).is_dir() else model
    evaluation = Evaluation(model, str(data.resolve()), split, languages, cache, settings)
    with _connected(workers):
        table = _decode(evaluation, workers, open_test_again)
        figures = _report(evaluation, table, out)
        if robustness:
            figures |= _report_robustness(_hard_cases(evaluation, workers))
    write_figures(json, figures)


def _connected(workers: int) -> AbstractContextManager[object]:
    """Join or start one cluster for all that several workers do."""
    from raywce.cluster.connect import connect

    return connect() if workers > 1 else nullcontext()


def _decode(evaluation: Evaluation, workers: int, open_test_again: bool) -> pa.Table:
    """Return the decoded utterances; the opening of the test split of the model's run is recorded before."""
    from raywce.cluster.decode import run_evaluation
    from raywce.demo.generate import provide_speech
    from raywce.runs.test_openings import EVALUATE, open_test_split, run_of_model
    from raywce.training.memory import explained

    provide_speech(Path(evaluation.data))
    if evaluation.split == "test" and (run := run_of_model(evaluation.model)):
        open_test_split(run, EVALUATE, [evaluation.model], open_test_again)
    settings = evaluation.settings
    if workers == 1:
        _set_up_gpu(settings.precision)
    with _progress(evaluation) as on_batch, explained(_doing(settings), "Lower --batch-size"):
        return run_evaluation(evaluation, workers, on_batch)


def _doing(settings: DecodeSettings) -> str:
    return f"decoding {settings.batch_size} utterances at once (encoder context: {settings.encoder_context})"


def _set_up_gpu(precision: str) -> None:
    """Have torch allocate on this machine's GPU as workers do, and say what the card lacks; nothing without a GPU."""
    import torch

    from raywce.cluster.gpu import allocator_settings
    from raywce.precision import shortcoming

    if torch.cuda.is_available():
        os.environ |= allocator_settings()
        if lacking := shortcoming(precision, torch.device("cuda")):
            typer.echo(f"warning: {lacking}", err=True)


def _languages_of(data: Path, split: str) -> list[str]:
    from raywce.assets import is_pending
    from raywce.data.store import language_files

    if is_pending(data):
        from raywce.demo.sentences import LANGUAGES

        return sorted(LANGUAGES)
    folders = sorted((data / split).glob("*")) if split else []
    return [folder.name for folder in folders if language_files(data, split, folder.name)]


def _utterances(data: Path, split: str, language: str) -> int:
    from raywce.storage.node_copy import rows_in

    return rows_in(str(data), [f"{split}/{language}"])


def _check_data(data: Path, split: str, languages: Sequence[str]) -> Problems:
    from raywce.assets import generation_problems, is_pending
    from raywce.data.store import check_prepared
    from raywce.errors import InputError, Problems

    decoded = split in ("dev", "test")
    if is_pending(data):
        problems = Problems(generation_problems(languages, "--data"))
    else:
        problems = check_prepared(data, split, languages if decoded else [], "--data")
        if decoded and not problems.found:
            if not languages:
                problems.add("--data", f"must hold {split}/<language>/*.parquet", data, "Prepare that split.")
            for language in languages:
                try:
                    if not _utterances(data, split, language):
                        problems.add("--data", f"must hold utterances in {split}/{language}", "none")
                except InputError as error:  # of a damaged file
                    problems.found += error.problems
    if not decoded:
        problems.add("--split", "must be dev or test", split)
    return problems


def _parse_tokens(pairs: Sequence[str], problems: Problems) -> dict[str, str]:
    tokens = {}
    for pair in pairs:
        language, _, token = pair.partition("=")
        if not (language and token):
            problems.add("--language-token", "must be two languages, such as ast=es", pair)
        tokens[language] = token
    return tokens


def _check_model(
    model: str, languages: Sequence[str], tokens: Mapping[str, str], timestamps: bool, problems: Problems
) -> None:
    from raywce.experiment.environment import checkpoint_problems, is_hub_id, token_languages
    from raywce.whisper_folder import has_time_stamps

    if found := list(checkpoint_problems(model, "MODEL")):
        problems.found += found
        return
    if timestamps and not is_hub_id(model) and not has_time_stamps(Path(model)):
        problems.add("--timestamps", "must be left out, as the model's vocabulary has no time stamps", model)
    for language in tokens.keys() - set(languages):
        among = ", ".join(languages)
        problems.add("--language-token", "must be of a language that is decoded", language, f"Known: {among}")
    known = token_languages(model)
    for language in languages:
        token = tokens.get(language, language)
        if token not in known:
            do = f"Use the token of another language, such as --language-token {language}=es"
            problems.add("--language", "must have a token in the model", token, do)


def _check_options(
    settings: DecodeSettings, workers: int, files: Mapping[str, Path | None], problems: Problems
) -> None:
    from typing import get_args

    from raywce.data.context import FromBatch
    from raywce.evaluation.normalizer import NORMALIZERS
    from raywce.precision import PRECISIONS

    for option, number in {"--workers": workers, "--batch-size": settings.batch_size}.items():
        if number < 1:
            problems.add(option, "must be at least 1", number)
    for option, value, known in (
        ("--precision", settings.precision, list(PRECISIONS)),
        ("--normalizer", settings.normalizer, list(NORMALIZERS)),
        ("--encoder-context", settings.encoder_context, list(get_args(FromBatch))),
    ):
        if value not in known:
            problems.add(option, f"must be one of {', '.join(known)}", value)
    problems.found += unwritable(files)
    if settings.context_margin < 0:
        problems.add("--context-margin", "must be at least 0", settings.context_margin)


@contextmanager
def _progress(evaluation: Evaluation) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, a line for each tenth elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    total = sum(_utterances(Path(evaluation.data), evaluation.split, name) for name in evaluation.languages)
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("decoding", total=total)
            yield lambda done: bar.advance(task, done)
        return
    so_far = 0

    def line(done: int) -> None:
        nonlocal so_far
        before, so_far = so_far, so_far + done
        if so_far * 10 // total > before * 10 // total:
            typer.echo(f"decoded {so_far} of {total} utterances", err=True)

    yield line


def _hard_cases(evaluation: Evaluation, workers: int) -> pa.Table:
    """Return the rows of what sentences don't show; of long speech faster-whisper's too, where it is here."""
    import pyarrow as pa

    from raywce.cluster.decode import run_evaluation
    from raywce.data.store import open_split
    from raywce.evaluation.evaluate import utterance_table
    from raywce.evaluation.hard_cases import decode_pieces, pieces
    from raywce.export.convert import FASTER_WHISPER, can_convert, long_form
    from raywce.training.memory import explained

    with explained(_doing(evaluation.settings), "Lower --batch-size"):
        table, folder = run_evaluation(replace(evaluation, hard_cases=True), workers), Path(evaluation.model)
    split = open_split(Path(evaluation.data), evaluation.split, evaluation.languages, evaluation.cache)
    found = pieces(split) if can_convert(folder) else []
    if not found:
        return table
    with TemporaryDirectory() as work:
        rows = decode_pieces(split, found, FASTER_WHISPER, long_form(folder, Path(work)), evaluation.settings)
    return pa.concat_tables([table, utterance_table(evaluation, rows)])


def _report(evaluation: Evaluation, table: pa.Table, out: Path | None) -> dict[str, object]:
    """Print the rates, write the rows, and return the figures for `--json`."""
    import pyarrow.parquet as pq

    from raywce.evaluation.normalizer import versioned_name
    from raywce.evaluation.rates import macro_mean, rates_by_language
    from raywce.storage.files import replaced

    rates = rates_by_language(table)
    means = {metric: macro_mean(rates, rates, metric) for metric in METRICS}
    name = versioned_name(evaluation.settings.normalizer)
    show_rates(rates, means, f"{evaluation.model} on {evaluation.split}, normalised by {name}, except raw")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replaced(out) as partial:
            pq.write_table(table, partial)
    return _figures(evaluation, name, rates, means)


def _report_robustness(hard_cases: pa.Table) -> dict[str, object]:
    """Print the measures of hard cases, and return them for `--json`."""
    from raywce.evaluation.robustness import robustness, said_to_nothing

    found, said = robustness(hard_cases), said_to_nothing(hard_cases)
    show_robustness(found, said)
    return {"robustness": {name: asdict(one) for name, one in found.items()}, "said_to_nothing": said}


def show_rates(rates: Mapping[str, LanguageRates], means: Mapping[str, float], title: str) -> None:
    """Print the counts and rates of each language, and their totals and macro means."""
    from raywce.evaluation.writing import separates_words
    from raywce.screen.console import plain_table, show_line, show_table

    show_line(title)
    counts, errors = plain_table("language", *COUNTS), plain_table("language", *METRICS.values())
    for language, rate in rates.items():
        counts.add_row(language, *(str(getattr(rate, name)) for name in COUNTS))
        errors.add_row(language, *(numbers.percent(getattr(rate, metric)) for metric in METRICS))
    counts.add_row("total", *(str(sum(getattr(rate, name) for rate in rates.values())) for name in COUNTS))
    errors.add_row("macro mean", *map(numbers.percent, means.values()))
    show_table("Utterances", counts)
    show_table("Rates in %", errors)
    if any(rate.time_stamps_whole is not None for rate in rates.values()):
        stamps = plain_table("language", "whole in %", "end off by s")
        for language, rate in rates.items():
            error = rate.time_stamps_error
            whole = numbers.percent(rate.time_stamps_whole)
            stamps.add_row(language, whole, "none" if error is None else f"{error:.2f}")
        show_table("Time stamps", stamps)
    phrases = [language for language in rates if not separates_words(language)]
    if phrases:
        show_line(f"No spaces between words of {', '.join(phrases)}: a WER counts phrases, the CER fits.")
    if any(rate.stopped for rate in rates.values()):
        show_line("As loops were stopped, the WERs and CERs that are not capped are lower bounds.")


def show_robustness(found: Mapping[str, Robustness], said: Sequence[str]) -> None:
    """Print what was written for silence and noise, and the WERs of long-form speech."""
    from raywce.evaluation.robustness import unit
    from raywce.screen.console import plain_table, show_line, show_table

    nothing = plain_table("language", "clips", "with text", "words")
    for language, one in found.items():
        nothing.add_row(language, str(one.clips), str(one.clips_with_text), str(one.words))
    show_table("Silence and noise of 2 to 20 s", nothing)
    if said:
        show_line("Written for silence and noise: " + "; ".join(said))
    of_long = {language: one for language, one in found.items() if one.pieces}
    if not of_long:
        show_line("Long-form speech: not measured, as no speaker has a minute, or the model has no time stamps.")
        return
    names = list(next(iter(of_long.values())).long)
    long = plain_table("language", "pieces", "seconds", "in sentences", *names)
    for language, one in of_long.items():
        rates = [one.sentences.rate, *(one.long[name].rate for name in names)]
        long.add_row(language, str(one.pieces), f"{one.seconds:.0f}", *map(numbers.percent, rates))
    show_table("WER in % of long-form speech, decoded sentence by sentence and in one piece", long)
    if phrases := [language for language in of_long if unit(language) == "characters"]:
        show_line(f"Of {', '.join(phrases)} the CER, as there are no spaces between words.")


def _figures(
    evaluation: Evaluation, normalizer: str, rates: Mapping[str, LanguageRates], means: Mapping[str, float]
) -> dict[str, object]:
    """Return the figures for `--json`; rates are fractions, null where all references are empty."""
    from json import loads

    from raywce.runs.folder import versions

    settings = evaluation.settings
    return {
        "model": evaluation.model,
        "data": str(evaluation.data),
        "split": evaluation.split,
        "normalizer": normalizer,
        "precision": settings.precision,
        "batch_size": settings.batch_size,
        "encoder_context": settings.encoder_context,
        "context_margin": settings.context_margin,
        "stop_loops": settings.stop_loops,
        "timestamps": settings.timestamps,
        "language_tokens": dict(settings.language_tokens),
        "languages": {language: asdict(rate) for language, rate in rates.items()},
        "macro_mean": means,
        "versions": loads(versions()),
    }
