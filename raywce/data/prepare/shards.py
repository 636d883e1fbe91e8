"""Shards of the output: their rows decoded, checked and written by worker processes, each shard whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa
from tokenizers import Tokenizer

from raywce.data.prepare.arrow_tables import audio_file, audio_path, read_audio
from raywce.data.prepare.audio import BadAudioError, decode, encode_flac
from raywce.data.prepare.cells import cut, readable
from raywce.data.prepare.file_names import find_file, with_slashes
from raywce.data.prepare.files import LFS_POINTER
from raywce.data.prepare.parquet_files import parquet_writer
from raywce.data.prepare.rows import Row
from raywce.data.prepare.summary import RESCALED, Reason, Reject
from raywce.data.schema import CONTENT_KEY, SAMPLE_RATE, UTTERANCES
from raywce.errors import InputError, RunFailed, fail, first_line
from raywce.storage.files import replaced
from raywce.storage.git_lfs import POINTER_HEAD

_ROW_GROUP = 64  # utterances held in memory at a time
_AROUND = 4  # labels around a transcript: language token, task, no timestamps; end token
_LONGEST_PATH = 400  # characters shown
_DIGITS = 16  # hexadecimal, of a recording's digest
_QUEUED = 2  # shards a worker, so that none waits for the main process

_Kept = tuple[Row, bytes, int]
"""A row with its audio as FLAC, and the number of samples."""


@dataclass(frozen=True)
class LabelLimit:
    """A tokenizer in a file, and how many labels its model takes; workers count with it and need no torch.

    Attributes:
        tokenizer: a `tokenizers` JSON file.
        labels: at most so many (`max_target_positions`, 448 for Whisper).
    """

    tokenizer: Path
    labels: int

    def count(self, text: str) -> int:
        """Count the labels of a transcript, which Whisper reads with a space in front."""
        tokens = _tokenizer(self.tokenizer).encode(" " + text.strip(), add_special_tokens=False)
        return len(tokens.ids) + _AROUND

    @property
    def fingerprint(self) -> str:
        """Text that changes where counts could."""
        return f"{self.labels}:{sha256(self.tokenizer.read_bytes()).hexdigest()}"


def load_label_limit(model: str, save_to: Path) -> LabelLimit:
    """Take tokenizer and limit from a transformers folder or Hub id; the tokenizer is written to `save_to`.

    Raises:
        InputError: nothing there that transformers can open.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        labels = AutoConfig.from_pretrained(model).max_target_positions
        text = tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # transformers raises many kinds; the user needs the one line
        fail("--tokenizer", "must be a Whisper folder or Hub id that transformers opens", model, first_line(error))
    save_to.parent.mkdir(parents=True, exist_ok=True)
    save_to.write_text(text)
    return LabelLimit(save_to, int(labels))


@lru_cache(maxsize=1)
def _tokenizer(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # a transcript that spells "<|endoftext|>" is text
    return tokenizer


@dataclass(frozen=True)
class ShardOptions:
    """Options that a shard's content depends on beside its rows."""

    max_seconds: float
    label_limit: LabelLimit | None = None
    reject_silent: bool = False

    @property
    def fingerprint(self) -> str:
        """Text that changes where the shard could."""
        label_limit = self.label_limit.fingerprint if self.label_limit else ""
        return f"{self.max_seconds} {label_limit} {self.reject_silent}"


@dataclass(frozen=True)
class Shard:
    """A shard to write: `file` is the parquet file, `record` the JSON beside it that says it is whole."""

    file: Path
    record: Path
    rows: list[Row]
    options: ShardOptions


@dataclass(frozen=True)
class ShardResult:
    """Outcome of a shard's rows.

    Attributes:
        kept: utterances written; none means that there is no parquet file.
        samples: their audio at 16 kHz.
        audio: a digest of each one's recording.
        rejects: the others.
        remarks: counts of what is to be known of the kept ones.
    """

    kept: int
    samples: int
    audio: list[str]
    rejects: list[Reject]
    remarks: Mapping[str, int] = field(default_factory=dict)


def write_shard(shard: Shard) -> ShardResult:
    """Write a shard, or find it written by an earlier run from the same rows, files and settings."""
    key = _key(shard)
    done = read_result(shard.record, key)
    if done and (done.kept == 0 or shard.file.exists()):
        return done
    result = _write(shard)
    state = {
        "key": key,
        "kept": result.kept,
        "samples": result.samples,
        "audio": result.audio,
        "remarks": result.remarks,
    }
    lines = [json.dumps(state), *(reject.dump() for reject in result.rejects)]
    shard.record.parent.mkdir(parents=True, exist_ok=True)
    with replaced(shard.record) as partial:
        partial.write_text("\n".join(lines) + "\n")
    return result


def read_result(record: Path, key: str | None = None) -> ShardResult | None:
    """Return what a shard's record holds; None where there is none, none for this key, or a damaged one."""
    if not record.exists():
        return None
    try:
        state, *rejects = record.read_text().splitlines()
        fields, loaded = json.loads(state), [Reject.load(line) for line in rejects]
    except ValueError:
        return None
    if key is not None and fields["key"] != key:
        return None
    return ShardResult(fields["kept"], fields["samples"], fields["audio"], loaded, fields["remarks"])


def _write(shard: Shard) -> ShardResult:
    shard.record.unlink(missing_ok=True)
    shard.file.unlink(missing_ok=True)
    rejects: list[Reject] = []
    remarks: Counter[str] = Counter()
    utterances = _utterances(shard, rejects, remarks)
    first = list(islice(utterances, _ROW_GROUP))
    if not first:
        return ShardResult(0, 0, [], rejects)
    shard.file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(shard.file) as partial:
        audio, samples = _write_parquet(partial, first, utterances)
    return ShardResult(len(audio), samples, audio, rejects, remarks)


def _write_parquet(path: Path, batch: list[_Kept], utterances: Iterator[_Kept]) -> tuple[list[str], int]:
    """Write row groups of bounded size, then the digest of all rows; return a digest of each recording, and samples."""
    digest, samples = sha256(), 0
    audio: list[str] = []
    options = {"compression": "none", "use_dictionary": ["language", "speaker"], "write_statistics": False}
    with parquet_writer(path, UTTERANCES, **options) as writer:
        while batch:
            for row, flac, count in batch:
                recording = sha256(flac).hexdigest()
                values = [recording, row.id, row.text, row.language, row.speaker]
                audio.append(recording[:_DIGITS])
                digest.update(json.dumps(values).encode())
                samples += count
            writer.write_table(pa.Table.from_pylist([_columns(*utterance) for utterance in batch], schema=UTTERANCES))
            batch = list(islice(utterances, _ROW_GROUP))
        writer.add_key_value_metadata({CONTENT_KEY: digest.hexdigest()})
    return audio, samples


def _columns(row: Row, flac: bytes, samples: int) -> dict[str, object]:
    """Return a row of `UTTERANCES`."""
    known = {"id": row.id, "text": row.text, "language": row.language, "speaker": row.speaker}
    return {**known, "audio": {"bytes": flac, "path": f"{row.id}.flac"}, "duration": samples / SAMPLE_RATE}


def _utterances(shard: Shard, rejects: list[Reject], remarks: Counter[str]) -> Iterator[_Kept]:
    """Yield the rows that can be kept, in order, counted in `remarks`; the others are added to `rejects`."""
    limit = shard.options.label_limit
    for row, data in _with_audio(shard.rows):
        try:
            if limit and (labels := limit.count(row.text)) > limit.labels:
                raise BadAudioError(Reason.LABEL_LIMIT, f"{labels} labels, limit {limit.labels}")
            if isinstance(data, BadAudioError):
                raise data
            if data.startswith(POINTER_HEAD):
                raise BadAudioError(Reason.UNDECODABLE_AUDIO, LFS_POINTER)
            clip = decode(data, shard.options.max_seconds, row.offset or 0.0, row.seconds)
            if (flaw := clip.flaw) and shard.options.reject_silent:
                raise BadAudioError(*flaw)
        except BadAudioError as error:
            rejects.append(row.reject(error.reason, error.detail))
        else:
            remarks.update([flaw[0].value] if flaw else [])
            remarks.update([RESCALED] * clip.rescaled)
            yield row, encode_flac(clip.samples), len(clip.samples)


def _with_audio(rows: list[Row]) -> Iterator[tuple[Row, bytes | BadAudioError]]:
    """Yield each row with its audio's bytes as they are in the file, or why they can't be had."""
    for (path, column, embedded), group in groupby(rows, lambda row: (row.path, row.column, row.index is not None)):
        if embedded:
            yield from _embedded(Path(path), column, list(group))
        else:
            data = _read(Path(path))
            yield from ((row, data) for row in group)


def _read(file: Path) -> bytes | BadAudioError:
    try:
        return file.read_bytes()
    except (FileNotFoundError, ValueError):  # a path with a NUL character can't be there
        return BadAudioError(Reason.MISSING_FILE, _shown(file))
    except OSError as error:
        return BadAudioError(Reason.UNREADABLE_FILE, f"{_shown(file)}: {error.strerror}")


def _shown(file: Path) -> str:
    """Return a path as a detail shows it: one that is too long for a disk is cut."""
    return cut(readable(str(file.with_name(cut(file.name))) if file.name else str(file)), _LONGEST_PATH)


def _embedded(table: Path, column: str, rows: list[Row]) -> Iterator[tuple[Row, bytes | BadAudioError]]:
    """Yield rows of a table with the audio in it; where a cell has a path only, that file."""
    remaining = iter(rows)
    try:
        for cell in read_audio(table, column, [row.index or 0 for row in rows]):
            row = next(remaining)
            yield row, _of_cell(table, cell, row.rate)
    except InputError as error:  # the table is damaged from here on
        damage = BadAudioError(Reason.UNREADABLE_FILE, str(error))
        yield from ((row, damage) for row in remaining)


def _of_cell(table: Path, cell: pa.Scalar, rate: int | None) -> bytes | BadAudioError:
    try:
        data = audio_file(cell, rate)
    except ValueError as error:
        return BadAudioError(Reason.MALFORMED_ROW, str(error))
    if data is not None:
        return data
    path = with_slashes(audio_path(cell))
    return _read(find_file(table.parent / path)) if path else BadAudioError(Reason.MISSING_FILE, "an empty cell")


def _key(shard: Shard) -> str:
    """Return a digest of the rows, the size and time of each file they need, and the options."""
    digest = sha256(shard.options.fingerprint.encode())
    for row in shard.rows:
        digest.update(row.dump().encode())
    for path in dict.fromkeys(row.path for row in shard.rows):
        stat = _stat(Path(path))
        state = f" {stat.st_size} {stat.st_mtime_ns}" if stat else ""
        digest.update(f"{path}{state}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except (OSError, ValueError):
        return None


class Workers:
    """A pool of `jobs` processes, started when first needed, until `close`; a single job runs in this process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(jobs, spawn, _start_worker) if jobs > 1 else None

    def close(self) -> None:
        """End the processes; shards that none has begun are not written."""
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, ShardResult]]:
        """Write the shards and yield the results as they are ready."""
        if self._pool is None:
            yield from ((shard, write_shard(shard)) for shard in shards)
            return
        waiting = iter(shards)
        running: dict[Future[ShardResult], Shard] = {}
        while True:
            for shard in islice(waiting, self._jobs * _QUEUED - len(running)):
                with _interrupts_held():  # a process that starts inherits this, until it handles it
                    running[self._pool.submit(write_shard, shard)] = shard
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), _result(done)


def _result(done: Future[ShardResult]) -> ShardResult:
    try:
        return done.result()
    except BrokenProcessPool as error:
        text = "a worker process died (out of memory?); run the same command with fewer --jobs to resume"
        raise RunFailed(text) from error


@contextmanager
def _interrupts_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Let a worker end at once by Ctrl-C, which reaches every process of the terminal, and with its parent."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
