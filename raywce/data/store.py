"""Prepared speech on a node: an Arrow copy built once under a lock, then memory-mapped by whoever reads it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from raywce.data.schema import CONTENT_KEY, SAMPLE_RATE, UTTERANCES
from raywce.errors import Problems, fail, first_line
from raywce.storage.node_copy import made_once
from raywce.storage.prepared_folder import UNFINISHED, WINDOW_SLACK_S, is_unfinished, window_rule

if TYPE_CHECKING:  # checking an experiment file does not have to load torch
    from raywce.data.labels import LabelEncoder

ROWS_A_CHUNK = 64  # some 10 MB of FLAC
PREPARE_AGAIN = "Run `raywce prepare` again"


@dataclass(frozen=True)
class Utterance:
    """One utterance without its audio; `duration` in seconds."""

    id: str
    text: str
    language: str
    speaker: str | None
    duration: float


class Utterances:
    """Memory-mapped utterances of some languages, one language behind the other. Safe to read from threads.

    Attributes:
        durations: (n,) float32, seconds.
        ranges: for each language, its indices.
        content: a key that changes with the content of the files.
    """

    def __init__(self, tables: dict[str, pa.Table], content: str) -> None:
        self._table = pa.concat_tables(tables.values())
        self.content = content
        self.durations: NDArray[np.float32] = np.asarray(self._table["duration"].to_numpy(), np.float32)
        starts = np.cumsum([0, *(len(table) for table in tables.values())])
        self.ranges = {
            language: range(start, stop)
            for language, start, stop in zip(tables, starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        }

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Utterance:
        id_, text, language, speaker = (
            self._table[name][index].as_py() for name in ("id", "text", "language", "speaker")
        )
        return Utterance(id_, text, language, speaker, float(self.durations[index]))

    @cached_property
    def ids(self) -> list[str]:
        """All ids, read at once: one by one takes a hundred times as long."""
        ids: list[str] = self._table["id"].to_pylist()
        return ids

    @cached_property
    def speakers(self) -> list[str | None]:
        """All speakers, likewise."""
        speakers: list[str | None] = self._table["speaker"].to_pylist()
        return speakers

    def id(self, index: int) -> str:
        """Return the utterance's id alone."""
        return str(self._table["id"][index].as_py())

    def audio(self, index: int) -> NDArray[np.float32]:
        """Return (T,) float32 samples at 16 kHz.

        Raises:
            InputError: the audio can't be decoded, or is not mono at 16 kHz, as others' files may be.
        """
        encoded = self._table["audio"][index]["bytes"].as_buffer()
        samples: NDArray[np.float32]
        try:
            samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32")
        except soundfile.LibsndfileError as error:
            fail("data.folder", "audio must be whole", f"{self.id(index)}: {error}", PREPARE_AGAIN)
        if rate != SAMPLE_RATE or samples.ndim > 1:
            found = f"{rate} Hz, {samples[:1].size} channels: {self.id(index)}"
            fail("data.folder", f"audio must be mono at {SAMPLE_RATE} Hz", found, PREPARE_AGAIN)
        return samples

    def check_window(self, seconds: float, split: str) -> None:
        """Check that a model's window holds each utterance.

        Args:
            seconds: the window's.
            split: for the message.

        Raises:
            InputError: utterances are longer.
        """
        longer = np.flatnonzero(self.durations > seconds + WINDOW_SLACK_S)
        if len(longer):
            longest = int(longer[np.argmax(self.durations[longer])])
            found = f"{len(longer)} that are longer, up to {self.durations[longest]:.2f} s: {self.id(longest)}"
            rule, do = window_rule(split, seconds)
            fail("data.folder", rule, found, do)

    def texts(self, start: int, stop: int) -> tuple[list[str], list[str]]:
        """Return texts and languages of the utterances from `start` to `stop`."""
        part = self._table.select(["text", "language"]).slice(start, stop - start).to_pydict()
        return part["text"], part["language"]


def language_files(folder: Path, split: str, language: str) -> list[Path]:
    """Return the parquet files of one split and language in a prepared folder, in order."""
    return sorted((folder / split / language).glob("*.parquet"))


def check_prepared(folder: Path, split: str, languages: Sequence[str], path: str = "data.folder") -> Problems:
    """Return what the prepared folder lacks of `split` in `languages`; `path` names the option in the messages."""
    problems = Problems()
    if not folder.is_dir():
        problems.add(path, "must be a folder that `raywce prepare` wrote", folder, "Check the path")
        return problems
    if is_unfinished(str(folder)):
        rule, do = UNFINISHED
        problems.add(path, rule, folder, do)
    for language in languages:
        if not language_files(folder, split, language):
            problems.add(path, f"must hold {split}/{language}/*.parquet", folder, "Prepare that language and split")
    return problems


def open_split(folder: Path, split: str, languages: Sequence[str], cache: Path) -> Utterances:
    """Open one split, building the node's Arrow copy of each language where it is missing.

    Raises:
        InputError: the folder, or a language in it, is missing or can't be read.
    """
    problems = check_prepared(folder, split, languages)
    problems.raise_any()
    paths: dict[str, Path] = {}
    for language in languages:
        files = language_files(folder, split, language)
        try:
            copy = cache / "arrow" / f"{_content(files)}.arrow"
            paths[language] = made_once(copy, partial(_write_arrow, files))
        except (ValueError, KeyError) as error:  # pyarrow's, of a broken file or other columns
            rule = f"parquet must be whole and have the columns {', '.join(UTTERANCES.names)}"
            problems.add("data.folder", rule, f"{files[0].parent}: {first_line(error)}", PREPARE_AGAIN)
    problems.raise_any()
    tables = {language: pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for language, path in paths.items()}
    content = hashlib.sha256("".join(path.name for path in paths.values()).encode()).hexdigest()
    return Utterances(tables, content)


def _content(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        metadata = pq.read_metadata(file).metadata or {}  # the footer's own: the schema's lacks what is added last
        stat = file.stat()
        # Files by others carry no digest of their rows: size and time stand in for it.
        digest.update(metadata.get(CONTENT_KEY) or f"{file}:{stat.st_size}:{stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _write_arrow(files: list[Path], target: Path) -> None:
    seen: set[str] = set()
    rows = 0
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, UTTERANCES) as writer:
        for file in files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(ROWS_A_CHUNK, columns=UTTERANCES.names):
                    table = pa.Table.from_batches([batch])
                    seen.update(table["id"].to_pylist())
                    rows += len(table)
                    writer.write_table(table.select(UTTERANCES.names).cast(UTTERANCES))
    if repeated := rows - len(seen):
        rule = f"ids must differ within {'/'.join(files[0].parts[-3:-1])}"
        fail("data.folder", rule, f"{repeated} that are there already", PREPARE_AGAIN)


def label_lengths(utterances: Utterances, encoder: LabelEncoder, cache: Path) -> NDArray[np.int32]:
    """Return (n,) numbers of labels, end token included, of the utterances; cached by content and tokenizer."""
    key = hashlib.sha256(f"{utterances.content}{encoder.fingerprint}".encode()).hexdigest()

    def count(target: Path) -> None:
        counts: list[int] = []
        for start in range(0, len(utterances), 1000):
            texts, languages = utterances.texts(start, min(start + 1000, len(utterances)))
            counts.extend(map(len, encoder.encode(texts, languages)))
        with target.open("wb") as stream:
            np.save(stream, np.asarray(counts, np.int32))

    lengths: NDArray[np.int32] = np.load(made_once(cache / "label_lengths" / f"{key}.npy", count))
    return lengths
