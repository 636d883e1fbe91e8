"""The demo corpus: sentences spoken by synthetic speakers, as an audiofolder or prepared."""

from __future__ import annotations

import csv
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import soxr

from raywce.data.prepare.audio import Samples, encode_flac
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.prepare.summary import Prepared
from raywce.data.schema import MAX_SECONDS, SAMPLE_RATE, SPLITS
from raywce.demo.espeak import Espeak
from raywce.demo.sentences import LANGUAGES, sentences
from raywce.demo.speakers import Speaker, speakers
from raywce.errors import Problems, fail

LOW_RESOURCE = "gl"
_MARGIN = SAMPLE_RATE // 10  # samples of silence kept around an utterance
_TRIES = 1000  # sentences that may be too long in a row
_SILENCE = 10 ** (-45 / 20)  # below this part of the peak


@dataclass(frozen=True)
class CorpusSize:
    """Utterances of each language in each split; the low-resource language (gl) has numbers of its own."""

    train: int = 1200
    low_resource_train: int = 120
    dev: int = 160
    low_resource_dev: int = 240
    test: int = 100
    low_resource_test: int = 250

    def of(self, language: str, split: str) -> int:
        """The number for a language and split."""
        count: int = getattr(self, f"low_resource_{split}" if language == LOW_RESOURCE else split)
        return count


FULL_SIZE = CorpusSize()


def write_corpus(
    folder: Path,
    size: CorpusSize = FULL_SIZE,
    *,
    languages: Sequence[str] = LANGUAGES,
    splits: Sequence[str] = SPLITS,
    seed: int = 0,
    max_seconds: float = 3.0,
    jobs: int = 1,
) -> None:
    """Write an audiofolder: LANGUAGE/SPLIT/metadata.csv (file_name, text, language, speaker) and 16 kHz mono FLAC.

    The speakers of a group (a language and split) take turns. A sentence that lasts longer than `max_seconds` is left
    out, its speaker says the next one. The audio follows from the seed, whatever `jobs` and the other groups are;
    that of a smaller group is the beginning of that of a larger one.

    Args:
        folder: new or empty.
        size: utterances of each group.
        languages: which languages; Galician is spoken with espeak-ng's Aragonese voice, as it has none for it.
        splits: which splits.
        seed: of the choice and order of the sentences.
        max_seconds: the longest utterance, margins of a tenth of a second included.
        jobs: groups spoken at the same time.

    Raises:
        InputError: no espeak-ng, no such language or split, or a group has fewer sentences than wanted.
    """
    _check(folder, languages, splits, max_seconds, jobs)
    groups = [
        _Group(folder / language / split, language, split, size.of(language, split), seed, max_seconds)
        for split in splits
        for language in languages
    ]
    # A process of its own for each group: what espeak-ng said before must not change how it says this.
    spawn = multiprocessing.get_context("spawn")
    quiet = (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process of the terminal: a worker leaves at once
    with ProcessPoolExecutor(jobs, spawn, signal.signal, quiet, max_tasks_per_child=1) as executor:
        list(executor.map(_write_group, groups))


def prepare_corpus(
    folder: Path,
    size: CorpusSize = FULL_SIZE,
    *,
    languages: Sequence[str] = LANGUAGES,
    splits: Sequence[str] = SPLITS,
    seed: int = 0,
    max_seconds: float = 3.0,
    jobs: int = 1,
    tokenizer: str | None = None,
) -> Prepared:
    """Speak the corpus and prepare it into `folder`, as `raywce prepare` does real speech.

    Args:
        folder: new or empty.
        size: utterances of each group.
        languages: which languages.
        splits: which splits.
        seed: of the choice and order of the sentences.
        max_seconds: the longest utterance.
        jobs: worker processes.
        tokenizer: a Whisper folder or Hub id; with it, transcripts beyond its label limit are rejected.

    Raises:
        InputError: as `write_corpus`, or nothing was kept.
    """
    _check(folder, languages, splits, max_seconds, jobs)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        speech = Path(temporary) / "demo"  # this name begins each id
        write_corpus(speech, size, languages=languages, splits=splits, seed=seed, max_seconds=max_seconds, jobs=jobs)
        sources = (str(speech),)
        return run(PrepareOptions(sources, folder, tokenizer=tokenizer, max_seconds=max_seconds, jobs=jobs))


def _check(folder: Path, languages: Sequence[str], splits: Sequence[str], max_seconds: float, jobs: int) -> None:
    problems = Problems()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.add("folder", "must be new or empty", folder)
    for language in sorted(set(languages) - set(LANGUAGES)):
        problems.add("language", f"must be one of {', '.join(LANGUAGES)}", language)
    for split in sorted(set(splits) - set(SPLITS)):
        problems.add("split", f"must be one of {', '.join(SPLITS)}", split)
    if not 0 < max_seconds <= MAX_SECONDS:
        problems.add("max_seconds", f"must be above 0 and at most {MAX_SECONDS:g}", max_seconds)
    if jobs < 1:
        problems.add("jobs", "must be at least 1", jobs)
    problems.raise_any()


@dataclass(frozen=True)
class _Group:
    folder: Path
    language: str
    split: str
    count: int
    seed: int
    max_seconds: float


def _write_group(group: _Group) -> None:
    group.folder.mkdir(parents=True)
    with (group.folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "text", "language", "speaker"])
        for number, (text, speaker, samples) in enumerate(_utterances(group)):
            name = f"{number:05d}.flac"
            (group.folder / name).write_bytes(encode_flac(samples))
            table.writerow([name, text, group.language, speaker.id])


def _utterances(group: _Group) -> Iterator[tuple[str, Speaker, Samples]]:
    espeak = Espeak()
    texts = sentences(group.language, group.split, group.seed)
    turns = cycle(speakers(group.language, group.split))
    for number in range(group.count):
        speaker = next(turns)
        for text in islice(texts, _TRIES):
            spoken = espeak.speak(text, speaker.voice, speaker.pitch, speaker.speed)
            samples = finish(spoken, espeak.sample_rate, speaker.peak)
            if len(samples) <= group.max_seconds * SAMPLE_RATE:
                yield text, speaker, samples
                break
        else:
            name = f"{group.language}/{group.split}"
            fail(name, f"must have {group.count} sentences of at most {group.max_seconds:g} s", number)


def finish(spoken: npt.NDArray[np.int16], sample_rate: int, peak: float) -> Samples:
    """Resample to 16 kHz, leave a tenth of a second of silence at each end, bring the peak to `peak` dBFS.

    Args:
        spoken: int16, shape (T,), not silent.
        sample_rate: of `spoken`, hertz.
        peak: dBFS, below 0.

    Returns:
        samples: float32, shape (T',), full scale is 1.
    """
    samples: Samples = soxr.resample(spoken.astype(np.float32), sample_rate, SAMPLE_RATE, quality="HQ")
    level = np.abs(samples)
    loud = np.flatnonzero(level > level.max() * _SILENCE)
    padded = np.pad(samples, _MARGIN)
    inner = padded[loud[0] : loud[-1] + 1 + 2 * _MARGIN]
    return (inner * np.float32(10 ** (peak / 20) / level.max())).astype(np.float32)
