"""Pretraining of the micro Whisper on the demo's high-resource languages: `python -m raywce.demo.pretrain --help`.

One process; needs the `demo` extra. It writes what `raywce/demo/micro_whisper/` holds.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import transformers
import typer
from transformers import PreTrainedTokenizerBase, WhisperForConditionalGeneration

from raywce.augmentation.augmenter import Augmenter
from raywce.augmentation.spec_augment import SpecAugment
from raywce.augmentation.transforms import PitchShift, TimeStretch, Transform
from raywce.data.features import LogMel
from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus, Loader
from raywce.data.sampler import BatchSampler, language_shares
from raywce.data.store import Utterances, label_lengths, open_split
from raywce.demo.architecture import WINDOW_SECONDS, write_untrained
from raywce.demo.corpus import LOW_RESOURCE, CorpusSize, prepare_corpus
from raywce.demo.sentences import LANGUAGES
from raywce.evaluation.decode import evaluate_utterances
from raywce.evaluation.rates import rates_by_language
from raywce.evaluation.settings import DecodeSettings
from raywce.evaluation.utterances import to_table
from raywce.model import UtteranceLosses, load_model, load_tokenizer
from raywce.training.optimizer import OptimizerSettings, learning_rate, make_optimizer, set_learning_rate
from raywce.training.step import Stepper, update

HIGH_RESOURCE = [language for language in LANGUAGES if language != LOW_RESOURCE]


def pretrain(
    out: Annotated[Path, typer.Argument(help="Folder of the model; the speech it is trained on goes beside it.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 3000,
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances of a step.")] = 32,
    peak: Annotated[float, typer.Option(help="Learning rate after the warm-up; it decays to 0.")] = 1e-3,
    utterances: Annotated[int, typer.Option(min=1, help="Train utterances of each language.")] = 5000,
    dev: Annotated[int, typer.Option(min=1, help="Dev utterances of each language.")] = 80,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between losses.")] = 50,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between evaluations on dev.")] = 1000,
    start: Annotated[Path | None, typer.Option(help="Continue from this model; none: from random weights.")] = None,
    augment: Annotated[bool, typer.Option(help="Augment half of the draws, for voices that are not in train.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, the batches, dropout and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of the processor.")] = 2,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 where the processor has it.")] = "fp32",
) -> None:
    """Speak the corpus where it is not there yet, train, and save the model as float16 at each evaluation."""
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    size = CorpusSize(train=utterances, low_resource_train=1, dev=dev, low_resource_dev=2 * dev)
    train, decoded, cache = _speech(out, size, threads)
    if start:
        shutil.copytree(start, out, dirs_exist_ok=True)
    else:
        write_untrained(out, train.texts(0, len(train))[0], LANGUAGES, seed)
    model, tokenizer, log_mel = load_model(str(out)), load_tokenizer(str(out)), LogMel.from_checkpoint(str(out))
    encoder = LabelEncoder.of(model, tokenizer, {language: language for language in HIGH_RESOURCE})
    corpus = Corpus(train, encoder, label_lengths(train, encoder, cache))
    loader = Loader(corpus, _sampler(corpus, batch_size, steps, seed, augment), 0, 1, 1, threads=1, prefetch=4)
    augmenter = _augmenter(log_mel, seed) if augment else None
    trained = UtteranceLosses(model)
    stepper = Stepper(trained, log_mel, {}, HIGH_RESOURCE, steps, precision=precision, seed=seed, augmenter=augmenter)
    started = time.monotonic()
    recent: defaultdict[str, list[float]] = defaultdict(list)  # losses since the last line
    for done, losses in enumerate(_training(stepper, loader, peak), start=1):
        for language, loss in losses.items():
            recent[language].append(loss)
        if done % log_every == 0 or done == steps:
            means = {language: float(np.mean(recent[language])) for language in HIGH_RESOURCE if recent[language]}
            _say(done, started, "loss", means)
            recent.clear()
        if done % evaluate_every == 0 or done == steps:
            copy.deepcopy(model).half().save_pretrained(out)
            wers = _wers(model, tokenizer, log_mel, decoded, batch_size)
            _say(done, started, "dev WER", {language: 100 * wer for language, wer in wers.items()})


def _speech(out: Path, size: CorpusSize, jobs: int) -> tuple[Utterances, Utterances, Path]:
    """Return train of the high-resource languages, dev of all, and the cache that they are opened from."""
    speech = out.with_name(f"speech-{size.train}-{size.dev}")
    cache = speech.with_name(f"{speech.name}-cache")
    if not speech.exists():
        prepare_corpus(speech, size, splits=("train", "dev"), max_seconds=WINDOW_SECONDS, jobs=jobs)
    return open_split(speech, "train", HIGH_RESOURCE, cache), open_split(speech, "dev", LANGUAGES, cache), cache


def _augmenter(log_mel: LogMel, seed: int) -> Augmenter:
    """Return an augmenter of other voices, speeds, and masks: each of them on half of the augmented draws."""
    transforms: list[Transform] = [
        TimeStretch(0.5, 1.0, rate=0.15, max_samples=log_mel.n_samples),
        PitchShift(0.5, 1.0, semitones=4.0),
    ]
    return Augmenter(transforms, SpecAugment(0.5, 2, 0.1, 2, 0.2), seed, log_mel.hop_length)


def _training(stepper: Stepper, loader: Loader, peak: float) -> Iterator[dict[str, float]]:
    """Train, and yield each step's mean token loss of each language."""
    steps = stepper.steps
    settings = OptimizerSettings(peak, 0.01, 0.9, 0.98, 1e-8, min(500, steps // 10), "linear", 1.0)
    optimizer = make_optimizer(stepper.model, settings)
    for step, batch in enumerate(loader.batches(0)):
        set_learning_rate(optimizer, learning_rate(settings, step, steps))
        unread = stepper.gradients(batch, step)
        result = unread.read(update(stepper.model, optimizer, settings.max_gradient_norm))
        yield {language: result.losses[language] / tokens for language, tokens in batch.tokens.items() if tokens}


def _sampler(corpus: Corpus, batch_size: int, steps: int, seed: int, augment: bool) -> BatchSampler:
    pools = corpus.pools(HIGH_RESOURCE)
    shares = language_shares({name: len(pool) for name, pool in pools.items()})
    return BatchSampler(
        pools,
        corpus.utterances.durations,
        shares,
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        copies=dict.fromkeys(pools, int(augment)),
    )


def _wers(
    model: WhisperForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    log_mel: LogMel,
    utterances: Utterances,
    batch_size: int,
) -> dict[str, float]:
    rows = evaluate_utterances(
        model,
        tokenizer,
        [utterances[index] for index in range(len(utterances))],
        lambda indices: log_mel.of([utterances.audio(index) for index in indices]),
        DecodeSettings(batch_size=batch_size),
    )
    return {language: rates.wer_normalized for language, rates in rates_by_language(to_table(rows)).items()}


def _say(done: int, started: float, what: str, figures: Mapping[str, float]) -> None:
    listed = " ".join(f"{language} {figure:.3f}" for language, figure in figures.items())
    typer.echo(f"step {done} | {time.monotonic() - started:.0f} s | {what} {listed}")


if __name__ == "__main__":
    typer.run(pretrain)
