"""One shard of the output: its rows decoded, checked and written, by a worker process, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raywce.data.prepare.audio import BadAudioError, Segment, decode, encode_flac
from raywce.data.prepare.label_limit import LabelLimit
from raywce.data.prepare.rejects import Reason, Reject, dump, load
from raywce.data.prepare.rows import Row
from raywce.data.schema import CONTENT_KEY, SAMPLE_RATE, UTTERANCES

ROWS = 256  # rows of a shard; some 20 MB
_ROW_GROUP = 64  # utterances held in memory at a time
_EMBEDDED_BATCH = 16  # rows of an embedding parquet file read at a time


@dataclass(frozen=True)
class ShardOptions:
    """What a shard's content depends on beside its rows."""

    max_seconds: float
    label_limit: LabelLimit | None = None

    @property
    def fingerprint(self) -> str:
        """Changes where the shard could."""
        return f"{self.max_seconds} {self.label_limit.fingerprint if self.label_limit else ''}"


@dataclass(frozen=True)
class Shard:
    """A shard to write: `file` is the parquet file, `record` the JSON beside it that says it is whole."""

    file: Path
    record: Path
    rows: list[Row]
    options: ShardOptions


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard's rows.

    Attributes:
        record: the JSON file that holds this.
        kept: utterances written; none means that there is no parquet file.
        samples: their audio at 16 kHz.
        rejects: the others.
        reused: whether an earlier run had done it.
    """

    record: Path
    kept: int
    samples: int
    rejects: list[Reject]
    reused: bool = False


def write_shard(shard: Shard) -> ShardResult:
    """Write a shard, or find it written by an earlier run from the same rows, files and settings."""
    key = _key(shard)
    done = read_result(shard.record, key)
    if done and (done.kept == 0 or shard.file.exists()):
        return replace(done, reused=True)
    result = _write(shard)
    state = {"key": key, "kept": result.kept, "samples": result.samples}
    lines = [json.dumps(state), *map(dump, result.rejects)]
    shard.record.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(shard.record)
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(shard.record)
    return result


def read_result(record: Path, key: str | None = None) -> ShardResult | None:
    """What a shard's record holds; None where there is none, or none for this key."""
    if not record.exists():
        return None
    state, *rejects = record.read_text().splitlines()
    fields = json.loads(state)
    if key is not None and fields["key"] != key:
        return None
    return ShardResult(record, fields["kept"], fields["samples"], [load(line) for line in rejects])


def _write(shard: Shard) -> ShardResult:
    shard.record.unlink(missing_ok=True)
    shard.file.unlink(missing_ok=True)
    rejects: list[Reject] = []
    utterances = _utterances(shard, rejects)
    first = list(islice(utterances, _ROW_GROUP))
    if not first:
        return ShardResult(shard.record, 0, 0, rejects)
    shard.file.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(shard.file)
    kept, samples = _write_parquet(partial, first, utterances)
    partial.replace(shard.file)
    return ShardResult(shard.record, kept, samples, rejects)


def _write_parquet(path: Path, batch: list[dict[str, Any]], utterances: Iterator[dict[str, Any]]) -> tuple[int, int]:
    """Write row groups of bounded size, then the digest of all rows; return utterances and samples."""
    digest, kept, samples = sha256(), 0, 0
    options = {"compression": "none", "use_dictionary": ["language", "speaker"], "write_statistics": False}
    with pq.ParquetWriter(path, UTTERANCES, **options) as writer:
        while batch:
            samples += sum(utterance.pop("samples") for utterance in batch)
            kept += len(batch)
            for utterance in batch:
                _digest(digest, utterance)
            writer.write_table(pa.Table.from_pylist(batch, schema=UTTERANCES))
            batch = list(islice(utterances, _ROW_GROUP))
        writer.add_key_value_metadata({CONTENT_KEY: digest.hexdigest()})
    return kept, samples


def _digest(digest: Any, utterance: dict[str, Any]) -> None:
    audio = sha256(utterance["audio"]["bytes"]).hexdigest()
    names = ("id", "text", "language", "speaker")
    digest.update(json.dumps([audio, *(utterance[name] for name in names)]).encode())


def _utterances(shard: Shard, rejects: list[Reject]) -> Iterator[dict[str, Any]]:
    """The rows that can be kept, in order; the others are added to `rejects`."""
    limit = shard.options.label_limit
    for row, data in _with_audio(shard.rows):
        try:
            if limit and (labels := limit.count(row.text)) > limit.labels:
                raise BadAudioError(Reason.LABEL_LIMIT, f"{labels} labels, limit {limit.labels}")
            yield _utterance(row, data, shard.options.max_seconds)
        except BadAudioError as error:
            rejects.append(row.reject(error.reason, error.detail))


def _utterance(row: Row, data: bytes | BadAudioError, max_seconds: float) -> dict[str, Any]:
    if isinstance(data, BadAudioError):
        raise data
    samples = decode(data, max_seconds, Segment(row.offset or 0.0, row.seconds))
    audio = {"bytes": encode_flac(samples), "path": f"{row.id}.flac"}
    known = {"id": row.id, "text": row.text, "language": row.language, "speaker": row.speaker}
    return {**known, "audio": audio, "duration": len(samples) / SAMPLE_RATE, "samples": len(samples)}


def _with_audio(rows: list[Row]) -> Iterator[tuple[Row, bytes | BadAudioError]]:
    """Each row with its audio's bytes as they are in the file, or why they can't be had."""
    for (path, column, embedded), group in groupby(rows, lambda row: (row.path, row.column, row.index is not None)):
        if embedded:
            yield from _embedded(Path(path), column, list(group))
        else:
            data = _read(Path(path))
            yield from ((row, data) for row in group)


def _read(file: Path) -> bytes | BadAudioError:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return BadAudioError(Reason.MISSING_FILE, str(file))
    except OSError as error:
        return BadAudioError(Reason.UNREADABLE_FILE, f"{file}: {error.strerror}")


def _embedded(table: Path, column: str, rows: list[Row]) -> Iterator[tuple[Row, bytes | BadAudioError]]:
    """Rows of a table with the audio in it; where a cell has a path only, that file."""
    numbers = [row.index or 0 for row in rows]
    read_cells = _parquet_cells if table.suffix == ".parquet" else _arrow_cells
    for row, cell in zip(rows, read_cells(table, column, numbers), strict=True):
        data = cell.get("bytes")
        yield row, _read(table.parent / (cell.get("path") or "no path")) if data is None else data


def _arrow_cells(table: Path, column: str, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    with pa.memory_map(str(table)) as source:
        cells = pa.ipc.open_stream(source).read_all()[column]
        for number in numbers:
            yield cells[number].as_py() or {}


def _parquet_cells(table: Path, column: str, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Cells by ascending row number; only row groups that hold one are read, a few rows at a time."""
    wanted = set(numbers)
    with pq.ParquetFile(table) as file:
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            if not wanted.isdisjoint(range(start, stop)):
                yield from _group_cells(file, group, start, column, wanted)
            start = stop


def _group_cells(
    file: pq.ParquetFile, group: int, start: int, column: str, wanted: set[int]
) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_EMBEDDED_BATCH, row_groups=[group], columns=[column]):
        for index in range(len(batch)):
            if start + index in wanted:
                yield batch.column(0)[index].as_py() or {}
        start += len(batch)


def _key(shard: Shard) -> str:
    """Digest of the rows, the size and time of each file they need, and the options."""
    digest = sha256(shard.options.fingerprint.encode())
    for row in shard.rows:
        digest.update(row.dump().encode())
    for path in dict.fromkeys(row.path for row in shard.rows):
        file = Path(path)
        stat = file.stat() if file.exists() else None
        digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode() if stat else path.encode())
    return digest.hexdigest()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
