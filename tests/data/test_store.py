from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.labels import LabelEncoder
from raywce.data.loader import Corpus
from raywce.data.schema import CONTENT_KEY, UTTERANCES
from raywce.data.store import check_prepared, label_lengths, open_split
from raywce.errors import InputError
from raywce.model import load_model, load_tokenizer
from tests.tiny_corpus import rows_of, write_tiny_corpus
from tests.tiny_whisper import write_tiny_whisper

COUNTS = {"gl": 5, "es": 80}  # es: more than one chunk of the Arrow copy
LANGUAGES = list(COUNTS)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_corpus(tmp_path_factory.mktemp("corpus"), COUNTS)


def expected_rows() -> list[dict[str, Any]]:
    return [row for language, count in COUNTS.items() for row in rows_of(language, "train", count)]


def read_all(folder: Path, cache: Path) -> list[list[Any]]:
    """Every row, and the length of its audio."""
    utterances = open_split(folder, "train", LANGUAGES, cache)
    rows = [utterances[index] for index in range(len(utterances))]
    audio = [len(utterances.audio(index)) for index in range(len(utterances))]
    return [[*dataclasses.astuple(row), samples] for row, samples in zip(rows, audio, strict=True)]


# The same, by a process of its own.
READ_ALL = """
import dataclasses, json, sys
from pathlib import Path
from raywce.data.store import open_split

utterances = open_split(Path(sys.argv[1]), "train", ["gl", "es"], Path(sys.argv[2]))
rows = [[*dataclasses.astuple(utterances[i]), len(utterances.audio(i))] for i in range(len(utterances))]
print(json.dumps(rows))
"""


def copies(cache: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in (cache / "arrow").glob("*.arrow")}


def write_rows(file: Path, rows: list[dict[str, Any]], content: str | None = None) -> None:
    """As `prepare` does it, the digest of the rows behind them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(file, UTTERANCES) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=UTTERANCES))
        if content:
            writer.add_key_value_metadata({CONTENT_KEY: content})


def test_rows_and_audio_are_those_of_the_parquet_files(corpus: Path, tmp_path: Path) -> None:
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    assert len(utterances) == 85
    assert utterances.ranges == {"gl": range(5), "es": range(5, 85)}
    for index, row in enumerate(expected_rows()):
        found = utterances[index]
        assert (found.id, found.text, found.language) == (row["id"], row["text"], row["language"])
        assert found.speaker == row["speaker"]
        assert found.duration == pytest.approx(row["duration"], abs=1e-6) == utterances.durations[index]
        assert utterances.id(index) == row["id"]
        expected, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        assert rate == 16_000
        np.testing.assert_array_equal(utterances.audio(index), expected)
    assert utterances.texts(4, 6) == ([expected_rows()[i]["text"] for i in (4, 5)], ["gl", "es"])


def test_several_files_of_a_language_are_read_in_order(tmp_path: Path) -> None:
    rows = rows_of("gl", "train", 6)
    for number in range(3):
        write_rows(tmp_path / "train" / "gl" / f"{number:05d}.parquet", rows[2 * number : 2 * number + 2])
    utterances = open_split(tmp_path, "train", ["gl"], tmp_path / "cache")
    assert [utterances.id(index) for index in range(6)] == [row["id"] for row in rows]


def test_the_copy_is_built_once(corpus: Path, tmp_path: Path) -> None:
    open_split(corpus, "train", LANGUAGES, tmp_path)
    first = copies(tmp_path)
    assert len(first) == len(LANGUAGES)
    open_split(corpus, "train", LANGUAGES, tmp_path)
    assert copies(tmp_path) == first


def test_the_copy_is_memory_mapped(corpus: Path, tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    size = sum(file.stat().st_size for file in copies(tmp_path))
    assert len(utterances) == 85
    assert pa.total_allocated_bytes() - before < size / 100
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert all(str(file) in maps.read_text() for file in copies(tmp_path))


def test_the_copy_is_keyed_by_content_not_by_place_or_time(tmp_path: Path) -> None:
    folder, cache = tmp_path / "first", tmp_path / "cache"
    file = folder / "train" / "gl" / "00000.parquet"
    write_rows(file, rows_of("gl", "train", 3), content="a")
    open_split(folder, "train", ["gl"], cache)
    first = copies(cache)
    shutil.copytree(folder, tmp_path / "second")
    os.utime(tmp_path / "second" / "train" / "gl" / "00000.parquet", (1, 1))
    open_split(tmp_path / "second", "train", ["gl"], cache)
    assert copies(cache) == first
    write_rows(file, rows_of("gl", "train", 4), content="b")
    assert len(open_split(folder, "train", ["gl"], cache)) == 4
    assert len(copies(cache)) == 2


def test_files_without_a_digest_are_told_apart_too(tmp_path: Path) -> None:
    file, cache = tmp_path / "train" / "gl" / "00000.parquet", tmp_path / "cache"
    for count in (3, 4):
        write_rows(file, rows_of("gl", "train", count))
        assert len(open_split(tmp_path, "train", ["gl"], cache)) == count
    assert len(copies(cache)) == 2


def test_two_processes_at_once_share_one_copy(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ_ALL, str(corpus), str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert first == second == read_all(corpus, tmp_path)
    assert len(copies(tmp_path)) == len(LANGUAGES)
    assert not list((tmp_path / "arrow").glob(".*.partial"))


def test_what_a_killed_build_left_does_no_harm(corpus: Path, tmp_path: Path) -> None:
    expected = read_all(corpus, tmp_path)
    for file in copies(tmp_path):
        file.with_name(f".{file.name}.partial").write_bytes(file.read_bytes()[:1000])
        file.unlink()
    assert read_all(corpus, tmp_path) == expected
    assert {file.suffix for file in (tmp_path / "arrow").iterdir()} <= {".arrow", ".lock"}


def test_everything_missing_is_reported_at_once(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_split(corpus, "train", ["fr", "gl", "pt"], tmp_path)
    assert [problem.path for problem in error.value.problems] == ["data.folder"] * 2
    assert "train/fr" in error.value.problems[0].rule
    assert "train/pt" in error.value.problems[1].rule
    assert not check_prepared(corpus, "test", LANGUAGES).found
    missing = check_prepared(corpus, "validation", LANGUAGES, "data.extra_test.own").found
    assert [problem.path for problem in missing] == ["data.extra_test.own"] * 2


def test_a_missing_folder_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_split(tmp_path / "nowhere", "train", LANGUAGES, tmp_path)
    assert len(error.value.problems) == 1
    assert "nowhere" in str(error.value)


def test_broken_and_foreign_files_are_reported_at_once(tmp_path: Path) -> None:
    folder = write_tiny_corpus(tmp_path / "corpus", {"de": 2, "es": 2, "gl": 2})
    broken = folder / "train" / "de" / "00000.parquet"
    broken.write_bytes(broken.read_bytes()[:-100])
    pq.write_table(pa.table({"id": ["a"]}), folder / "train" / "gl" / "00000.parquet")
    with pytest.raises(InputError) as error:
        open_split(folder, "train", ["de", "es", "gl"], tmp_path / "cache")
    assert [problem.got.split(":")[0] for problem in error.value.problems] == [
        str(folder / "train" / language) for language in ("de", "gl")
    ]


def test_columns_in_another_order_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "train" / "gl" / "00000.parquet"
    write_rows(file, rows_of("gl", "train", 2))
    table = pq.read_table(file)
    pq.write_table(table.select(table.column_names[::-1]), file)
    assert open_split(tmp_path, "train", ["gl"], tmp_path / "cache").id(1) == "gl-train-0001"


def test_audio_that_can_not_be_decoded_names_the_utterance(tmp_path: Path) -> None:
    rows = rows_of("gl", "train", 2)
    rows[1]["audio"] = {"bytes": b"fLaC and nothing", "path": "x"}
    write_rows(tmp_path / "train" / "gl" / "00000.parquet", rows)
    utterances = open_split(tmp_path, "train", ["gl"], tmp_path / "cache")
    with pytest.raises(InputError, match="gl-train-0001"):
        utterances.audio(1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> LabelEncoder:
    checkpoint = str(write_tiny_whisper(tmp_path_factory.mktemp("whisper"), max_target_positions=20))
    return LabelEncoder.of(load_model(checkpoint), load_tokenizer(checkpoint), {"gl": "gl", "es": "es"})


def test_label_lengths_are_counted_once(corpus: Path, tmp_path: Path, encoder: LabelEncoder) -> None:
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    lengths = label_lengths(utterances, encoder, tmp_path)
    # The miniature tokenizer has a token for each byte; around them a space, the prompt's three, the end.
    assert lengths.tolist() == [len(str(row["text"]).encode()) + 5 for row in expected_rows()]
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "label_lengths").glob("*.npy")}
    assert label_lengths(utterances, encoder, tmp_path).tolist() == lengths.tolist()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "label_lengths").glob("*.npy")} == files
    assert len(files) == 1


def test_label_lengths_follow_content_order_and_tokenizer(corpus: Path, tmp_path: Path, encoder: LabelEncoder) -> None:
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    lengths = label_lengths(utterances, encoder, tmp_path)
    turned = label_lengths(open_split(corpus, "train", LANGUAGES[::-1], tmp_path), encoder, tmp_path)
    assert turned.tolist() == [*lengths[5:], *lengths[:5]]
    other = load_tokenizer(str(write_tiny_whisper(tmp_path / "whisper")))
    other.add_tokens(["mar"])
    changed = dataclasses.replace(encoder, tokenizer=other)
    assert label_lengths(utterances, changed, tmp_path).sum() < lengths.sum()


def test_utterances_beyond_the_label_limit_are_left_out_of_the_pools(
    corpus: Path, tmp_path: Path, encoder: LabelEncoder
) -> None:
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    pools = Corpus(utterances, encoder, label_lengths(utterances, encoder, tmp_path)).pools(LANGUAGES)
    fits = [len(str(row["text"]).encode()) + 5 <= 20 for row in expected_rows()]
    assert 0 < sum(fits) < len(fits)
    assert [*pools["gl"], *pools["es"]] == np.flatnonzero(fits).tolist()
    assert {name: len(utterances.ranges[name]) - len(pool) for name, pool in pools.items()} == {
        "gl": fits[:5].count(False),
        "es": fits[5:].count(False),
    }


def test_a_language_without_an_utterance_within_the_limit_is_an_error(corpus: Path, tmp_path: Path) -> None:
    checkpoint = str(write_tiny_whisper(tmp_path / "whisper", max_target_positions=7))
    encoder = LabelEncoder.of(load_model(checkpoint), load_tokenizer(checkpoint), {"gl": "gl", "es": "es"})
    utterances = open_split(corpus, "train", LANGUAGES, tmp_path)
    with pytest.raises(InputError) as error:
        Corpus(utterances, encoder, label_lengths(utterances, encoder, tmp_path)).pools(LANGUAGES)
    assert [problem.got for problem in error.value.problems] == ["none of 5 for gl", "none of 80 for es"]


def written_by_others(folder: Path, rate: int = 16_000, channels: int = 1, ids: tuple[str, ...] = ("a", "b")) -> Path:
    """Two utterances of two seconds each, as another program may write them."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((2 * rate, channels)), rate, format="FLAC")
    known = {"audio": {"bytes": buffer.getvalue(), "path": None}, "text": "un", "language": "gl", "duration": 2.0}
    (folder / "dev/gl").mkdir(parents=True)
    table = pa.Table.from_pylist([known | {"id": name} for name in ids], schema=UTTERANCES)
    pq.write_table(table, folder / "dev/gl/0.parquet")
    return folder


@pytest.mark.parametrize("form", [{"rate": 48_000}, {"channels": 2}])
def test_audio_of_another_form_is_refused_where_it_is_read(tmp_path: Path, form: dict[str, int]) -> None:
    utterances = open_split(written_by_others(tmp_path / "speech", **form), "dev", ["gl"], tmp_path / "cache")
    with pytest.raises(InputError, match=r"must be mono at 16000 Hz, but got .*: a"):
        utterances.audio(0)


def test_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ids must differ within dev/gl, but got 1 that are there already"):
        open_split(written_by_others(tmp_path / "speech", ids=("a", "a")), "dev", ["gl"], tmp_path / "cache")


def test_speech_beyond_a_models_window_is_refused(tmp_path: Path) -> None:
    utterances = open_split(written_by_others(tmp_path / "speech"), "dev", ["gl"], tmp_path / "cache")
    utterances.check_window(2.0, "dev")
    with pytest.raises(InputError, match=r"at most 1.5 s long, .* but got 2 that are longer, up to 2.00 s"):
        utterances.check_window(1.5, "dev")
