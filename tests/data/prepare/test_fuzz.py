"""Random sources through `raywce prepare`: it reads them or names what is wrong, and loses no row.

RAYWCE_FUZZ_S=600 tries other inputs for that many seconds; -s prints how many were tried.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raywce.cli import main
from raywce.data.prepare.cells import readable
from raywce.data.prepare.files import is_table
from raywce.data.prepare.forms import OF_SAVED_DATASET, FindOptions, Format
from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.sources import find_tables
from raywce.data.schema import SAMPLE_RATE, UTTERANCES
from tests.data.conftest import tone

EXAMPLES = 100  # of a round
CODES = {0, 2}  # prepared, or bad input
FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)]


def clip(form: str, subtype: str | None, rate: int, channels: int, seconds: float) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds, rate, channels), rate, format=form, subtype=subtype)
    return buffer.getvalue()


CLIPS = [clip(form, kind, rate, n, 0.1) for form, kind in FORMATS for rate, n in ((16_000, 1), (44_100, 2))]
CLIPS += [b"", b"RIFF", clip("WAV", "PCM_16", 16_000, 1, 0.0), b"version https://git-lfs.github.com/spec/v1\n"]


AUDIO_COLUMNS = ("file_name", "path", "audio", "audio_filepath", "wav_filename")
COLUMNS = [*AUDIO_COLUMNS, "sentence", "text", "language", "locale", "split", "id", "speaker", "client_id", "up_votes"]
COLUMNS += ["offset", "duration", "sampling_rate", "título", ""]
NAMES = ["a.wav", "b.flac", "c.mp3", "d.ogg", "train/a.wav", "é.wav", "e\u0301.wav", "no suffix"]
FOLDERS = ["", "gl", "gl/train", "es/dev", "cv/gl/clips", "cv/gl", "train", "xx", "mañá", "man\u0303a", ".x", "a b"]
FOLDERS += [os.fsdecode(b"ma\xf1\xe1/gl")]
TABLES = ["metadata.csv", "metadata.tsv", "metadata.jsonl", "train.csv", "train.tsv", "validated.tsv", "dev.jsonl"]
TABLES += ["train.json", "test_manifest.json", "DATA.CSV", "data.parquet", "metadata.parquet", "data.arrow"]
TABLES += ["other.tsv", "._train.csv", "all.PARQUET"]
COUNTS = [4, 3, 5, 2, 1, 0]  # of rows
ENCODINGS = ["utf-8", "utf-8", "utf-8-sig", "utf-16"]
OTHER_ENCODINGS = ["latin-1", "utf-16-le", "utf-16-be", "utf-32"]
LETTERS = st.characters(codec="utf-8") | st.sampled_from("\0\"',;|\t\n\r\u2028\ufeff{[")
TEXTS = st.sampled_from(["ola", "mañá, si", '"si"', 'di "si"', '"mar', "nan", "null", "gl", "train", "0", "1", " "])
LONG = ["palabra " * 600, "x" * 300, "ñ" * 300]
WORDS = TEXTS | st.text(LETTERS, max_size=12) | st.sampled_from([*LONG, "../..", "/"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.integers(), max_size=3)
VALUES |= st.dictionaries(st.sampled_from(["path", "bytes", "array"]), st.none() | st.integers(), max_size=2)
AUDIO_TYPES = [
    pa.binary(),
    pa.large_binary(),
    pa.string(),
    pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    pa.struct([("array", pa.list_(pa.float64())), ("sampling_rate", pa.int64())]),
    pa.list_(pa.float32()),
]
TEXT_TYPES = [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
OTHER_TYPES = [pa.int64(), pa.list_(pa.string()), pa.list_(pa.int16()), pa.timestamp("ns"), pa.bool_(), pa.null()]


@dataclass
class Source:
    """Files by path, as bytes, and the options that go with them."""

    files: dict[str, bytes] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)


def rarely(draw: st.DrawFn, of: int) -> bool:
    """Whether it is the one time of so many."""
    return draw(st.integers(1, of)) == of // 2 + 1  # hypothesis prefers the ends of a range


@st.composite
def mutated(draw: st.DrawFn, data: bytes, of: int) -> bytes:
    """Bytes with a piece cut off, replaced or put in, one time of so many."""
    if not data or not rarely(draw, of):
        return data
    at, piece = draw(st.integers(0, len(data) - 1)), draw(st.binary(min_size=1, max_size=6))
    end = draw(st.sampled_from([at, at + len(piece), len(data)]))
    return data[:at] + piece + data[end:]


@st.composite
def headers(draw: st.DrawFn) -> list[str]:
    """Columns that are mostly those of speech, in any spelling."""
    names = draw(st.lists(st.sampled_from(COLUMNS), max_size=5, unique=True))
    names = [draw(st.text(LETTERS, max_size=5)), *names] if rarely(draw, 9) else ["path", "sentence", *names]
    spell = draw(st.sampled_from([str, str, str.upper, str.title, lambda name: f" {name}"]))
    return [spell(name) for name in draw(st.permutations(names if rarely(draw, 9) else list(dict.fromkeys(names))))]


def is_audio(column: str) -> bool:
    return column.strip().lower() in AUDIO_COLUMNS


@st.composite
def cells(draw: st.DrawFn, column: str, others: st.SearchStrategy[Any]) -> Any:
    """What a column should hold, most of the time."""
    if rarely(draw, 5):
        return draw(others)
    languages = column.strip().lower() in ("language", "locale")
    return draw(st.sampled_from(NAMES) if is_audio(column) else st.sampled_from(["gl", "es"]) if languages else TEXTS)


@st.composite
def delimited(draw: st.DrawFn, names: list[str]) -> str:
    """Lines of cells, quoted as a writer does it, or not at all."""
    separator, end = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    rows = [names, *([draw(cells(name, WORDS)) for name in names] for _ in range(draw(st.sampled_from(COUNTS))))]
    if rarely(draw, 4):
        rows.append(draw(st.lists(WORDS, max_size=8)))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None]))
    if quoting is None:
        return end.join(separator.join(row) for row in rows)
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    return out.getvalue()


@st.composite
def json_text(draw: st.DrawFn, names: list[str]) -> str:
    """Objects, a line each or as one array."""
    rows = [
        {name: draw(cells(name, WORDS | VALUES)) for name in names if not rarely(draw, 8)}
        for _ in range(draw(st.sampled_from(COUNTS)))
    ]
    return json.dumps(rows) if rarely(draw, 6) else "\n".join(map(json.dumps, rows))


@st.composite
def arrow_values(draw: st.DrawFn, column: str, kind: pa.DataType) -> Any:
    """A value of an Arrow type."""
    if rarely(draw, 6) or pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        return {part.name: draw(arrow_values(column, part.type)) for part in kind}
    if pa.types.is_list(kind):
        of_text, of_floats = pa.types.is_string(kind.value_type), pa.types.is_floating(kind.value_type)
        samples = st.floats(-1, 1, width=32) if of_floats else st.integers(-9, 9)
        return draw(st.lists(st.text(max_size=3) if of_text else samples, max_size=20))
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        return draw(st.sampled_from([-1, 0, 1, 8000, 16_000, 2**40]))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return draw(st.sampled_from(CLIPS).flatmap(lambda clip: mutated(clip, of=2)))
    return draw(st.booleans() if pa.types.is_boolean(kind) else cells(column, WORDS))


@st.composite
def arrow_bytes(draw: st.DrawFn, names: list[str], suffix: str) -> bytes:
    """A parquet file or an Arrow stream."""
    count = draw(st.sampled_from(COUNTS))
    columns = []
    for name in names:
        usual = AUDIO_TYPES if is_audio(name) else TEXT_TYPES
        kind = draw(st.sampled_from(OTHER_TYPES if rarely(draw, 20) else usual))
        columns.append(pa.array([draw(arrow_values(name, kind)) for _ in range(count)], kind))
    table = pa.table(columns, names=names)
    buffer = io.BytesIO()
    if suffix == ".parquet":
        pq.write_table(table, buffer, row_group_size=draw(st.integers(1, 5)))
    else:
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table)
    return buffer.getvalue()


@st.composite
def tables(draw: st.DrawFn, name: str) -> bytes:
    """A table of the kind that its name says."""
    suffix, names = Path(name).suffix.lower(), draw(headers())
    if suffix in (".parquet", ".arrow"):
        return draw(mutated(draw(arrow_bytes(names, suffix)), of=8))
    text = draw(json_text(names) if suffix.startswith(".json") else delimited(names))
    encoding = draw(st.sampled_from(OTHER_ENCODINGS if rarely(draw, 8) else ENCODINGS))
    return draw(mutated(text.encode(encoding, "replace"), of=8))


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Folders of tables and audio, and options."""
    source = Source()
    for folder in draw(st.lists(st.sampled_from(FOLDERS), min_size=1, max_size=3, unique=True)):
        count = 2 if rarely(draw, 3) else 1
        for name in draw(st.lists(st.sampled_from(TABLES), min_size=count, max_size=count, unique=True)):
            source.files[f"{folder}/{name}"] = draw(tables(name))
        for name in draw(st.lists(st.sampled_from(NAMES), min_size=3, max_size=6, unique=True)):
            source.files[f"{folder}/{name}"] = draw(st.sampled_from(CLIPS).flatmap(lambda clip: mutated(clip, of=5)))
        if rarely(draw, 20):
            source.files[f"{folder}/state.json"] = b"{}"
    choices = {"--text-column": ["Título", "text"], "--cap": ["1"], "--clean-up": ["nfc"], "--format": ["parquet"]}
    for name, values in choices.items():
        if rarely(draw, 20):
            source.options += [name, draw(st.sampled_from(values))]
    return Source(source.files, source.options + ([] if rarely(draw, 6) else ["--language", "gl", "--split", "train"]))


def written(source: Source, folder: Path) -> Path:
    for name, data in source.files.items():
        path = folder / "speech" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "speech"


def command(arguments: list[object]) -> tuple[int, str, str]:
    """The exit code, and what is printed; what is no bad input is raised."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("RAYWCE_DEBUG", "1")
        patch.setattr("sys.argv", ["raywce", "prepare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


def check_prepared(source: Source, folder: Path) -> int:
    """Prepare a source and check what came of it; return the exit code."""
    speech, out = written(source, folder), folder / "out"
    code, printed, said = command([speech, "--out", out, "--jobs", 1, *source.options])
    assert code in CODES, said
    assert "Traceback" not in printed + said
    assert_short(printed + said)
    assert code == 0 or "problem" in said
    if code == 0:
        check_output(out)
        check_every_table_is_read_or_named(speech, json.loads((out / "prepared.json").read_text(encoding="utf-8")))
    return code


def assert_short(message: str) -> None:
    """No message shows more than 80 characters of a cell; those of `LONG` are long."""
    assert not any(text[:81] in message for text in LONG)


def check_output(out: Path) -> None:
    prepared = json.loads((out / "prepared.json").read_text(encoding="utf-8"))
    files = [file for split in ("train", "dev", "test") for file in (out / split).glob("*/*.parquet")]
    rows = [row for file in files for row in pq.read_table(file, schema=UTTERANCES).to_pylist()]
    rejected = pq.read_table(out / "rejected.parquet").to_pylist()
    assert_short("\n".join(row["detail"] for row in rejected))
    assert prepared["utterances"] == len(rows) > 0
    assert prepared["rejected"] == len(rejected)
    assert prepared["rows"] == len(rows) + len(rejected) + prepared["capped"]
    assert prepared["rows"] == sum(group["rows"] for group in prepared["groups"])
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert rate == SAMPLE_RATE
        assert len(samples) == round(row["duration"] * rate) > 0
        assert row["text"].strip() == row["text"] != ""


def check_every_table_is_read_or_named(speech: Path, prepared: dict[str, Any]) -> None:
    form, rows = Format(prepared["settings"]["form"]), prepared["settings"]["rows"]
    text_columns = RowOptions(text_column=rows["text_column"]).text_columns
    found = find_tables([str(speech)], FindOptions(form, split=rows["split"], text_columns=text_columns))
    read = {readable(str(table.path)) for table in found.tables}
    named = {str(Path(group["folder"], name)) for group in prepared["passed_over"] for name in group["names"]}
    files = (file for file in speech.rglob("*") if is_table(file.name) and file.name not in OF_SAVED_DATASET)
    there = {readable(str(file)) for file in files}
    assert read | named >= there
    assert not read & named


def a_round(number: int, check: Callable[[Source], object]) -> None:
    """Check so many examples, always the same ones for a number."""
    options = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(number)(options(given(sources())(check)))()


@pytest.mark.timeout(0)
def test_random_sources_are_prepared_or_named(tmp_path: Path) -> None:
    codes: list[int] = []

    def check(source: Source) -> None:
        shutil.rmtree(tmp_path / "input", ignore_errors=True)
        codes.append(check_prepared(source, tmp_path / "input"))

    end = time.monotonic() + float(os.environ.get("RAYWCE_FUZZ_S", "0"))
    number = 0
    while number == 0 or time.monotonic() < end:
        a_round(number, check)
        number += 1
    print(f"\n{len(codes)} sources tried, {codes.count(0)} prepared")
    assert set(codes) == CODES  # both are met, or the inputs test nothing
