from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from raywce.data.context import BUCKET, EncoderContext
from raywce.data.labels import IGNORED, LabelEncoder
from raywce.data.loader import Corpus, Loader, MicroBatch, StepBatch
from raywce.data.sampler import BatchSampler, Draw, language_shares
from raywce.data.store import label_lengths, open_split
from raywce.errors import InputError, fail
from raywce.model import load_model, load_tokenizer
from tests.tiny_corpus import rows_of, write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

COUNTS = {"gl": 9, "es": 30}
STEPS, BATCH_SIZE = 12, 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("data")
    checkpoint = str(write_tiny_whisper(folder / "whisper"))
    tokens = {language: language for language in COUNTS}
    encoder = LabelEncoder.of(load_model(checkpoint), load_tokenizer(checkpoint), tokens)
    utterances = open_split(write_tiny_corpus(folder / "corpus", COUNTS), "train", list(COUNTS), folder / "cache")
    return Corpus(utterances, encoder, label_lengths(utterances, encoder, folder / "cache"))


def make_loader(corpus: Corpus, **changes: Any) -> Loader:
    pools = corpus.pools(list(COUNTS))
    sampler = BatchSampler(
        pools,
        corpus.utterances.durations,
        language_shares(COUNTS, 2.0),
        batch_size=BATCH_SIZE,
        steps=STEPS,
        seed=3,
        duration_window=3,
        copies=changes.pop("copies", None),
        timed=changes.pop("timed", 0.0),
    )
    defaults = {"rank": 0, "workers": 1, "accumulation_steps": 1, "threads": 2, "prefetch": 4}
    return Loader(corpus, sampler, **(defaults | changes))


def assert_equal_batches(first: list[StepBatch], second: list[StepBatch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.tokens, one.utterances, one.ids) == (other.tokens, other.utterances, other.ids)
        for a, b in zip(one.micro_batches, other.micro_batches, strict=True):
            assert (a.samples, a.languages, a.ids) == (b.samples, b.languages, b.ids)
            assert (a.epochs, a.copies) == (b.epochs, b.copies)
            assert torch.equal(a.waveforms, b.waveforms)
            assert torch.equal(a.labels, b.labels)


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_a_micro_batch_holds_what_the_corpus_says(corpus: Corpus) -> None:
    rows = {row["id"]: row for name, count in COUNTS.items() for row in rows_of(name, "train", count)}
    places = {corpus.utterances.id(index): index for index in range(len(corpus.utterances))}
    for batch in make_loader(corpus).batches(0):
        for micro_batch in batch.micro_batches:
            assert micro_batch.waveforms.dtype == torch.float32
            for number, id_ in enumerate(micro_batch.ids):
                audio = corpus.utterances.audio(places[id_])
                assert micro_batch.languages[number] == rows[id_]["language"]
                assert micro_batch.samples[number] == len(audio)
                np.testing.assert_array_equal(micro_batch.waveforms[number, : len(audio)], audio)
                assert not micro_batch.waveforms[number, len(audio) :].any()
                (expected,) = corpus.encoder.encode([rows[id_]["text"]], [rows[id_]["language"]])
                labels = micro_batch.labels[number]
                assert labels[labels != IGNORED].tolist() == expected


def test_a_micro_batch_says_which_draws_its_utterances_are(corpus: Corpus) -> None:
    loader = make_loader(corpus, copies={"gl": 1})
    for step, batch in enumerate(loader.batches(0)):
        draws = {corpus.utterances.id(draw.index): (draw.epoch, draw.copy) for draw in loader.sampler.batch(step)}
        (micro_batch,) = batch.micro_batches
        assert [draws[id_] for id_ in micro_batch.ids] == list(zip(micro_batch.epochs, micro_batch.copies, strict=True))
    assert {draw.copy for step in range(STEPS) for draw in loader.sampler.batch(step)} == {0, 1}


@pytest.mark.parametrize("first_step", [1, 5, STEPS - 1, STEPS])
def test_batches_from_a_step_on_are_those_of_a_whole_run(corpus: Corpus, first_step: int) -> None:
    whole = list(make_loader(corpus).batches(0))
    assert len(whole) == STEPS
    assert_equal_batches(list(make_loader(corpus).batches(first_step)), whole[first_step:])


@pytest.mark.parametrize(("workers", "accumulation_steps"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2)])
def test_all_ranks_know_the_whole_global_batch(corpus: Corpus, workers: int, accumulation_steps: int) -> None:
    ranks = [
        list(make_loader(corpus, rank=rank, workers=workers, accumulation_steps=accumulation_steps).batches(0))
        for rank in range(workers)
    ]
    for step, parts in enumerate(zip(*ranks, strict=True)):
        micro_batches = [micro_batch for part in parts for micro_batch in part.micro_batches]
        assert len(micro_batches) == workers * accumulation_steps
        tokens: Counter[str] = Counter()
        for micro_batch in micro_batches:
            counts = (micro_batch.labels != IGNORED).sum(dim=1).tolist()
            for name, count in zip(micro_batch.languages, counts, strict=True):
                tokens[name] += count
        utterances = Counter(name for micro_batch in micro_batches for name in micro_batch.languages)
        ids = Counter(id_ for micro_batch in micro_batches for id_ in micro_batch.ids)
        assert sum(len(micro_batch) for micro_batch in micro_batches) == BATCH_SIZE
        for part in parts:
            assert part.tokens == {name: tokens[name] for name in COUNTS}
            assert part.utterances == {name: utterances[name] for name in COUNTS}
            assert Counter(part.ids) == ids
        if workers == 1:
            whole = [corpus.utterances.id(draw.index) for draw in make_loader(corpus).sampler.batch(step)]
            assert Counter(whole) == ids


@dataclass(frozen=True)
class SlowAtFirst(Corpus):
    """The sooner a micro-batch is asked for, the longer it takes."""

    asked: list[int] = field(default_factory=list)

    def load(self, draws: list[Draw], frames: int | None = None) -> MicroBatch:
        self.asked.append(1)
        time.sleep(0.02 * max(0, 5 - len(self.asked)))
        return super().load(draws, frames)


@pytest.mark.parametrize(("threads", "prefetch"), [(1, 1), (4, 1), (8, 12), (3, 100)])
def test_order_holds_with_any_number_of_threads(corpus: Corpus, threads: int, prefetch: int) -> None:
    slow = SlowAtFirst(corpus.utterances, corpus.encoder, corpus.label_lengths)
    loader = make_loader(slow, threads=threads, prefetch=prefetch, accumulation_steps=2)
    assert_equal_batches(list(loader.batches(0)), list(make_loader(corpus, threads=1, accumulation_steps=2).batches(0)))


def test_only_so_much_is_decoded_ahead(corpus: Corpus) -> None:
    slow = SlowAtFirst(corpus.utterances, corpus.encoder, corpus.label_lengths)
    batches = make_loader(slow, prefetch=4, accumulation_steps=2).batches(0)
    next(batches)
    assert len(slow.asked) <= 2 + 4
    batches.close()


class Broken(Corpus):
    """Fails at one utterance."""

    def load(self, draws: list[Draw], frames: int | None = None) -> MicroBatch:
        micro_batch = super().load(draws, frames)
        if "es-train-0007" in micro_batch.ids:
            fail("data.folder", "audio must be whole", "es-train-0007")
        return micro_batch


def test_an_error_in_decoding_reaches_whoever_iterates(corpus: Corpus) -> None:
    whole = list(make_loader(corpus).batches(0))
    bad = next(step for step, batch in enumerate(whole) if "es-train-0007" in batch.ids)
    batches = make_loader(Broken(corpus.utterances, corpus.encoder, corpus.label_lengths)).batches(0)
    assert_equal_batches(list(islice(batches, bad)), whole[:bad])
    with pytest.raises(InputError, match="es-train-0007"):
        next(batches)
    assert not loader_threads()


def test_threads_end_with_the_iteration(corpus: Corpus) -> None:
    batches = make_loader(corpus, threads=3).batches(0)
    next(batches)
    assert loader_threads()
    batches.close()
    assert not loader_threads()
    for _ in make_loader(corpus, threads=3).batches(STEPS - 2):
        pass
    assert not loader_threads()


def contexts(corpus: Corpus, **changes: Any) -> list[int | None]:
    return [batch.frames for batch in make_loader(corpus, **changes).batches(0)]


def test_the_context_is_that_of_the_global_batch_on_each_rank(corpus: Corpus) -> None:
    context = EncoderContext(3000, 160, "batch")
    alone = contexts(corpus, context=context)
    sampler = make_loader(corpus).sampler
    longest = [max(corpus.utterances.durations[draw.index] for draw in sampler.batch(step)) for step in range(STEPS)]
    assert alone == [context.frames(float(seconds)) for seconds in longest]
    assert len(set(alone)) > 2
    for rank in (0, 1):
        assert contexts(corpus, context=context, rank=rank, workers=2, accumulation_steps=2) == alone
    resumed = make_loader(corpus, context=context).batches(5)
    assert [batch.frames for batch in resumed] == alone[5:]


def test_without_a_context_it_is_the_whole_window(corpus: Corpus) -> None:
    assert contexts(corpus) == [None] * STEPS


def test_there_is_room_for_the_slowest_copy(corpus: Corpus) -> None:
    context = EncoderContext(3000, 160, "batch")
    sampler = make_loader(corpus, copies={"gl": 1, "es": 1}).sampler
    frames = contexts(corpus, copies={"gl": 1, "es": 1}, context=context, slowest=2.0)
    for step, own in enumerate(frames):
        durations = {draw: float(corpus.utterances.durations[draw.index]) for draw in sampler.batch(step)}
        wanted = max(seconds * (2.0 if draw.copy else 1.0) for draw, seconds in durations.items())
        assert own is not None
        assert 0 < own / 100 - wanted < BUCKET + 0.01


def test_longer_utterances_than_the_context_are_left_out_and_counted(corpus: Corpus) -> None:
    durations = corpus.utterances.durations
    pools = corpus.pools(list(COUNTS), longest=1.0)
    assert all((durations[rows] <= 1.0).all() for rows in pools.values())
    left = corpus.left_out(list(COUNTS), longest=1.0)
    assert left["left_out"] == {"gl": 0, "es": 0}
    assert {name: left["beyond_context"][name] + len(pools[name]) for name in COUNTS} == COUNTS
    assert left["beyond_context"]["es"] > 0
    with pytest.raises(InputError, match=r"448 labels and 0.1 s, but got none of 9 for gl"):
        corpus.pools(list(COUNTS), longest=0.1)


def test_time_stamps_are_counted_and_need_room(corpus: Corpus) -> None:
    plain, timed = (list(make_loader(corpus, timed=share).batches(0)) for share in (0.0, 1.0))
    for before, after in zip(plain, timed, strict=True):
        (one,), (other,) = before.micro_batches, after.micro_batches
        assert one.ids == other.ids
        counts = (other.labels != IGNORED).sum(dim=1)
        assert torch.equal(counts, (one.labels != IGNORED).sum(dim=1) + 1)
        assert sum(after.tokens.values()) == counts.sum()
        assert {name: after.tokens[name] - before.tokens[name] for name in COUNTS} == after.utterances
    longest = int(corpus.label_lengths.max())
    limited = replace(corpus, encoder=replace(corpus.encoder, limit=longest))
    assert sum(limited.left_out(list(COUNTS))["left_out"].values()) == 0
    assert sum(replace(limited, timed=True).left_out(list(COUNTS))["left_out"].values()) > 0
