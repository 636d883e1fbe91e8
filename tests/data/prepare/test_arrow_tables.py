"""Audio in parquet and Arrow tables, in each form that tools write it, as `run` prepares it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.errors import InputError
from tests.data.conftest import WriteAudio, tone

SAMPLES = tone(0.3)[:, 0]
FLOATS = (SAMPLES / 32_768).tolist()


def clip() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, SAMPLES, 16_000, format="WAV")
    return buffer.getvalue()


def prepare(tmp_path: Path, columns: dict[str, Any], suffix: str = ".parquet") -> list[dict[str, Any]]:
    """The rows that are kept of a table with these columns and texts."""
    texts = [f"frase {i}" for i in range(len(next(iter(columns.values()))))]
    table = pa.table({**columns, "text": texts} if "text" not in columns else columns)
    file = tmp_path / "in" / f"train{suffix}"
    file.parent.mkdir(exist_ok=True)
    if suffix == ".parquet":
        pq.write_table(table, file)
    else:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    run(PrepareOptions((str(file),), tmp_path / "out", rows=RowOptions("gl")))
    return pq.read_table(tmp_path / "out/train/gl/00000.parquet").to_pylist()


def rejected(tmp_path: Path) -> list[tuple[str, str]]:
    rows = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    return [(row["reason"], row["detail"]) for row in rows]


FORMS = {
    "binary": (pa.binary(), clip),
    "large_binary": (pa.large_binary(), clip),
    "{bytes, path}": (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), lambda: {"bytes": clip()}),
    "{bytes}, large": (pa.struct([("bytes", pa.large_binary())]), lambda: {"bytes": clip()}),
    "{array, sampling_rate}": (
        pa.struct([("path", pa.string()), ("array", pa.list_(pa.float64())), ("sampling_rate", pa.int64())]),
        lambda: {"array": FLOATS, "sampling_rate": 16_000},
    ),
    "floats": (pa.list_(pa.float32()), lambda: FLOATS),
    "doubles, large": (pa.large_list(pa.float64()), lambda: FLOATS),
}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_audio_is_kept_to_the_sample(tmp_path: Path, form: str, suffix: str) -> None:
    kind, value = FORMS[form]
    rows = prepare(tmp_path, {"Audio": pa.array([value(), None, value()], kind)}, suffix)
    assert [row["text"] for row in rows] == ["frase 0", "frase 2"]
    for row in rows:
        samples, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        assert np.array_equal(samples, SAMPLES)
    assert rejected(tmp_path) == [("missing_file", "an empty cell")]


@pytest.mark.parametrize("column", ["sampling_rate", "sample_rate"])
def test_a_list_of_samples_has_the_rate_of_its_row(tmp_path: Path, column: str) -> None:
    rows = prepare(tmp_path, {"audio": [FLOATS, FLOATS], column: [8_000, 32_000]})
    assert [row["duration"] for row in rows] == pytest.approx([0.6, 0.15])


def test_an_array_without_its_rate_is_rejected(tmp_path: Path) -> None:
    audio = [{"array": FLOATS, "sampling_rate": rate} for rate in (None, 0, 16_000)]
    assert len(prepare(tmp_path, {"audio": audio})) == 1
    assert rejected(tmp_path) == [
        ("malformed_row", "audio.sampling_rate must be a number from 1 to 1e+06, but got 0"),
        ("malformed_row", "samples without a sampling rate"),
    ]


def test_a_path_in_place_of_bytes(tmp_path: Path, write_audio: WriteAudio) -> None:
    write_audio(tmp_path / "in" / "e\u0301.wav")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert len(prepare(tmp_path, {"audio": pa.array([{"path": "\u00e9.wav"}, {"path": "b.wav"}], kind)})) == 1
    assert rejected(tmp_path) == [("missing_file", str(tmp_path / "in" / "b.wav"))]


def test_a_path_in_place_of_bytes_may_have_backslashes(tmp_path: Path, write_audio: WriteAudio) -> None:
    write_audio(tmp_path / "in" / "wav" / "a.wav")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert len(prepare(tmp_path, {"audio": pa.array([{"path": r"wav\a.wav"}], kind)})) == 1


def test_an_lfs_pointer_in_place_of_bytes(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    prepare(tmp_path, {"audio": [clip(), pointer]})
    ((reason, detail),) = rejected(tmp_path)
    assert reason == "undecodable_audio"
    assert "git lfs pull" in detail


def test_text_by_its_type(tmp_path: Path) -> None:
    texts = pa.array(["un", None, "nan"]).dictionary_encode()
    rows = prepare(tmp_path, {"audio": [clip()] * 3, "text": texts, "speaker": [1, 2, 3], "id": [4, 4, 4]})
    assert [(row["text"], row["speaker"]) for row in rows] == [("un", "1"), ("nan", "3")]
    assert rejected(tmp_path) == [("empty_transcript", "")]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_text_that_is_not_utf8_is_rejected(tmp_path: Path, suffix: str) -> None:
    texts = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ma\xf1\xe1", "mañá".encode()]).buffers())
    rows = prepare(tmp_path, {"audio": [clip()] * 2, "text": texts}, suffix)
    assert [row["text"] for row in rows] == ["mañá"]
    assert rejected(tmp_path) == [("not_utf8", "in column text; save the table as UTF-8")]


def test_columns_that_rows_are_not_made_of_are_left_alone(tmp_path: Path) -> None:
    when = pa.array([1], pa.timestamp("ns"))  # pyarrow has no Python value for it
    assert len(prepare(tmp_path, {"audio": [clip()], "when": when, "note": [{"a": [1]}]})) == 1


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_damaged_table_is_named(tmp_path: Path, suffix: str) -> None:
    prepare(tmp_path, {"audio": [clip()] * 40}, suffix)
    file = tmp_path / "in" / f"train{suffix}"
    whole = file.read_bytes()
    for damaged in (b"", b"version https://git-lfs", whole[:100], whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        options = PrepareOptions((str(file),), tmp_path / "again", rows=RowOptions("gl"))
        with pytest.raises(InputError, match=rf"train\{suffix}: must be .* that can be read.*download it again"):
            run(options)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("name", [b"speaker", b"sampling_rate"])
def test_a_name_that_is_no_text_is_damage(tmp_path: Path, suffix: str, name: bytes) -> None:
    audio = {"bytes": clip(), "sampling_rate": 16_000}
    assert prepare(tmp_path, {"audio": [audio], "text": ["ola"], "speaker": ["a"]}, suffix)
    file = tmp_path / "in" / f"train{suffix}"
    file.write_bytes(file.read_bytes().replace(name, b"\x80" + name[1:]))
    with pytest.raises(InputError, match=rf"train\{suffix}: must be a whole \{suffix} file that can be read"):
        run(PrepareOptions((str(file),), tmp_path / "again", rows=RowOptions("gl")))


def test_offsets_out_of_an_arrow_stream_are_damage(tmp_path: Path) -> None:
    prepare(tmp_path, {"audio": [clip()] * 2}, ".arrow")
    file = tmp_path / "in" / "train.arrow"
    offsets = np.array([0, 7, 14], np.int32).tobytes()  # of the texts
    assert file.read_bytes().count(offsets) == 1
    file.write_bytes(file.read_bytes().replace(offsets, np.array([0, 2**30, 7], np.int32).tobytes()))
    with pytest.raises(InputError, match=r"train\.arrow: must be a whole \.arrow file"):
        run(PrepareOptions((str(file),), tmp_path / "again", rows=RowOptions("gl")))
