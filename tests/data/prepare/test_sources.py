"""Each form of source, read through `run`: what comes out has the right language, split, speaker and text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.prepare.forms import FindOptions, Format
from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.prepare.sources import find_tables
from raywce.errors import InputError
from tests.data.conftest import WriteAudio, WriteFolder, tone


def prepared_rows(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(out.rglob("[0-9]*.parquet")) for row in pq.read_table(file).to_pylist()]


def prepare(source: Path | list[Path], out: Path, rows: RowOptions | None = None, **options: Any) -> list[dict]:
    sources = source if isinstance(source, list) else [source]
    run(PrepareOptions(tuple(map(str, sources)), out, rows=rows or RowOptions(), **options))
    return prepared_rows(out)


def common_voice(folder: Path, write_audio: WriteAudio, columns: str, suffix: str = ".mp3") -> Path:
    names = columns.split("\t")
    for split, number in (("train", 2), ("dev", 1), ("test", 1)):
        lines = [columns]
        for index in range(number):
            clip = f"common_voice_{folder.name}_{split}{index}"
            write_audio(folder / "clips" / f"{clip}.mp3", 0.5, rate=32_000)
            known = {"client_id": f"who{index}", "path": clip + suffix, "sentence": f'"Frase {split} {index}'}
            known["locale"] = folder.name
            lines.append("\t".join(known.get(name, "") for name in names))
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "validated.tsv").write_text(columns + "\n")
    return folder


NEW = "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment"
OLD = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"


@pytest.mark.parametrize(("columns", "suffix"), [(NEW, ".mp3"), (OLD, ".mp3"), (OLD, "")])
def test_common_voice(tmp_path: Path, write_audio: WriteAudio, columns: str, suffix: str) -> None:
    common_voice(tmp_path / "cv-corpus" / "gl", write_audio, columns, suffix)
    common_voice(tmp_path / "cv-corpus" / "sv-SE", write_audio, columns, suffix)
    rows = prepare(tmp_path / "cv-corpus", tmp_path / "out")
    assert len(rows) == 8
    assert {row["language"] for row in rows} == {"gl", "sv"}
    first = pq.read_table(tmp_path / "out/train/gl/00000.parquet").to_pylist()[0]
    assert first["id"] == "common_voice_gl_train0"
    assert first["text"] == '"Frase train 0'
    assert first["speaker"] == "who0"
    assert first["duration"] == pytest.approx(0.5, abs=0.1)


def test_a_number_that_all_readers_of_a_sentence_share_is_no_id(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "fleurs" / "gl" / "train"
    for name in ("one", "two"):
        write_audio(folder / f"{name}.wav", 0.5)
    (folder / "table.csv").write_text("id,path,text\n1504,one.wav,sol\n1504,two.wav,sol\n")
    assert [row["id"].rpartition("/")[2] for row in prepare(folder, tmp_path / "out")] == ["one", "two"]


def test_spontaneous_speech(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "sps-corpus-1.0" / "gl"
    for index in range(2):
        write_audio(folder / "audios" / f"spontaneous-{index}.mp3")
    columns = "client_id\taudio_id\taudio_file\tduration_ms\tprompt\ttranscription\tlanguage\tsplit"
    lines = [f"a\t{i}\tspontaneous-{i}.mp3\t500\tQue?\tPois {i}\tgl\t{s}" for i, s in enumerate(("train", "dev"))]
    (folder / "ss-corpus-gl.tsv").write_text("\n".join([columns, *lines]) + "\n")
    rows = prepare(tmp_path, tmp_path / "out")
    assert {(row["id"], row["text"]) for row in rows} == {
        ("spontaneous-0", "Pois 0"),
        ("spontaneous-1", "Pois 1"),
    }
    assert (tmp_path / "out/dev/gl/00000.parquet").exists()


def test_a_parent_of_audiofolders(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    for language in ("gl", "es"):
        for split in ("train", "validation"):
            write_audiofolder(tmp_path / "speech" / language / split, [f"{language} un", "dous"], speaker=["a", "b"])
    rows = prepare(tmp_path / "speech", tmp_path / "out")
    assert len(rows) == 8
    assert {path.parent.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("[a-z]*/*/*")} == {
        "train/gl",
        "train/es",
        "dev/gl",
        "dev/es",
    }
    assert rows[0]["id"] == "speech/es/validation/clip_0"


def test_one_metadata_file_over_split_folders(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "set"
    lines = ["file_name,text,lang"]
    for split in ("train", "test"):
        write_audio(folder / split / "a.wav")
        lines.append(f"{split}/a.wav,ola,Galician")
    (folder / "metadata.csv").write_text("\n".join(lines))
    prepare(folder, tmp_path / "out")
    assert sorted(path.parent.parent.name for path in (tmp_path / "out").glob("*/gl/*")) == ["test", "train"]


def test_nemo_manifest_with_offsets(tmp_path: Path, write_audio: WriteAudio) -> None:
    samples = tone(6.0)
    (tmp_path / "m").mkdir()
    soundfile.write(tmp_path / "m" / "long.wav", samples, 16_000)
    entries = [
        {"audio_filepath": "long.wav", "text": f"parte {start}", "offset": start, "duration": 2.0, "lang": "gl"}
        for start in (0.0, 3.5)
    ]
    text = "\n".join(json.dumps(entry) for entry in [*entries, {**entries[0], "offset": "x"}])
    (tmp_path / "m" / "train_manifest.json").write_text(text)
    rows = prepare(tmp_path / "m" / "train_manifest.json", tmp_path / "out")
    assert [row["id"] for row in rows] == ["m/long@0.000", "m/long@3.500"]
    audio, _ = soundfile.read(io.BytesIO(rows[1]["audio"]["bytes"]), dtype="int16")
    assert np.array_equal(audio, samples[56_000:88_000, 0])
    assert pq.read_table(tmp_path / "out/rejected.parquet")["reason"].to_pylist() == ["malformed_row"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dev.tsv", "path\tsentence\n{}\tola\n"),
        ("dev.csv", "path,sentence\n{},ola\n"),
        ("dev.jsonl", '{{"path": "{}", "sentence": "ola"}}\n'),
    ],
)
def test_manifests_of_a_folder(tmp_path: Path, write_audio: WriteAudio, name: str, text: str) -> None:
    clip = write_audio(tmp_path / "elsewhere" / "clip.ogg")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / name).write_text(text.format(clip))
    (tmp_path / "lists" / "licences.csv").write_text("name,licence\na,b\n")
    rows = prepare(tmp_path / "lists", tmp_path / "out", RowOptions(language="gl"))
    assert [(row["text"], row["language"]) for row in rows] == [("ola", "gl")]
    assert (tmp_path / "out/dev/gl").is_dir()


def hf_rows(write_audio: WriteAudio, folder: Path, count: int = 5) -> list[dict[str, Any]]:
    return [
        {
            "id": 7,  # as in FLEURS: a number, the same for all who read a sentence
            "audio": {
                "bytes": write_audio(folder / f"{i}.wav", 0.3, seed=i).read_bytes(),
                "path": f"{i}.wav",
            },
            "transcription": f"frase {i}",
            "language": "Galician",
        }
        for i in range(count)
    ]


def test_saved_dataset_dict(tmp_path: Path, write_audio: WriteAudio) -> None:
    features = datasets.Features(
        id=datasets.Value("int64"),
        audio=datasets.Audio(sampling_rate=16_000, decode=False),
        transcription=datasets.Value("string"),
        language=datasets.Value("string"),
    )
    rows = hf_rows(write_audio, tmp_path / "wav")
    table = pa.Table.from_pylist(rows).cast(features.arrow_schema)
    dataset = datasets.Dataset(table, datasets.DatasetInfo(features=features))
    datasets.DatasetDict(train=dataset, validation=dataset.select([4, 2])).save_to_disk(str(tmp_path / "saved"))
    prepared = prepare(tmp_path / "saved", tmp_path / "out")
    assert len(prepared) == 7
    dev = pq.read_table(tmp_path / "out/dev/gl/00000.parquet").to_pylist()
    assert [row["text"] for row in dev] == ["frase 4", "frase 2"]
    again, _ = soundfile.read(io.BytesIO(dev[0]["audio"]["bytes"]), dtype="int16")
    assert np.array_equal(again, soundfile.read(tmp_path / "wav/4.wav", dtype="int16")[0])


@pytest.mark.parametrize(("row_group", "suffix"), [(2, "parquet"), (100, "PARQUET")])
def test_parquet_folder(tmp_path: Path, write_audio: WriteAudio, row_group: int, suffix: str) -> None:
    table = pa.Table.from_pylist(hf_rows(write_audio, tmp_path / "wav", 40))
    (tmp_path / "hub" / "data").mkdir(parents=True)
    pq.write_table(table, tmp_path / f"hub/data/test-00000-of-00001.{suffix}", row_group_size=row_group)
    rows = prepare(tmp_path / "hub", tmp_path / "out")
    assert [row["text"] for row in rows] == [f"frase {i}" for i in range(40)]
    for i in (0, 17, 39):
        again, _ = soundfile.read(io.BytesIO(rows[i]["audio"]["bytes"]), dtype="int16")
        assert np.array_equal(again, tone(0.3, seed=i)[:, 0])


def test_what_was_prepared_can_be_prepared_again(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    write_audiofolder(tmp_path / "gl" / "train", ["un", "dous", "tres"])
    first = prepare(tmp_path / "gl", tmp_path / "one")
    assert prepare(tmp_path / "one", tmp_path / "two") == first


def test_a_link_is_known_by_its_own_name(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    write_audiofolder(tmp_path / "store" / "es_dev_2024", ["un"])
    (tmp_path / "speech" / "gl").mkdir(parents=True)
    (tmp_path / "speech" / "gl" / "test").symlink_to(tmp_path / "store" / "es_dev_2024")
    (row,) = prepare(tmp_path / "speech" / "gl" / "test", tmp_path / "out")
    assert row["language"] == "gl"
    assert [file.parent.parent.name for file in (tmp_path / "out").glob("*/*/*.parquet")] == ["test"]

    (tmp_path / "blobs").mkdir()
    next((tmp_path / "out").glob("test/gl/*.parquet")).rename(tmp_path / "blobs" / "0123abcd")
    snapshot = tmp_path / "snapshots" / "gl" / "train"
    snapshot.mkdir(parents=True)
    (snapshot / "0000.parquet").symlink_to(tmp_path / "blobs" / "0123abcd")
    assert len(prepare(snapshot / "0000.parquet", tmp_path / "again")) == 1


def test_two_sources_with_the_same_names(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    one = write_audiofolder(tmp_path / "a" / "gl" / "train", ["un"])
    two = write_audiofolder(tmp_path / "b" / "gl" / "train", ["dous"])
    rows = prepare([one, two], tmp_path / "out")
    assert [(row["id"], row["text"]) for row in rows] == [("train-1/clip_0", "un"), ("train-2/clip_0", "dous")]


def test_hub_options_reach_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*names: Any, **options: Any) -> Any:
        asked.append((names, options))
        raise ConnectionError("Couldn't reach the Hub\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"google/fleurs.*Couldn't reach the Hub") as error:
        find_tables(["google/fleurs"], FindOptions(config="gl_es", revision="refs/convert/parquet"))
    assert asked == [(("google/fleurs", "gl_es"), {"revision": "refs/convert/parquet"})]
    assert len(str(error.value).splitlines()) == 1


def test_hub_dataset_takes_its_language_from_the_config(
    tmp_path: Path, write_audio: WriteAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row, "language": "Unlisted tongue"} for row in hf_rows(write_audio, tmp_path / "wav", 3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0000.parquet")
    cached = datasets.load_dataset(
        "parquet", data_files={"validation": str(tmp_path / "0000.parquet")}, cache_dir=str(tmp_path / "cache")
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: cached)
    prepared = run(PrepareOptions(("google/fleurs",), tmp_path / "out", Format.HUB, "ast_es"))
    assert [row["language"] for row in prepared_rows(tmp_path / "out")] == ["ast"] * 3
    assert prepared.unread_languages == {"Unlisted tongue": 3}


def test_every_bad_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.xyz").write_text("x")
    sources = [str(tmp_path / name) for name in ("empty", "a.xyz", "not there")]
    with pytest.raises(InputError) as error:
        find_tables(sources, FindOptions())
    assert [problem.path for problem in error.value.problems] == sources


def test_a_folder_that_only_looks_like_a_saved_dataset_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=f"{tmp_path}: must be a whole dataset of save_to_disk"):
        find_tables([str(tmp_path)], FindOptions())


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,words\na.wav,ola\n")
    with pytest.raises(InputError, match=r"text column.*file_name, words.*--text-column"):
        run(PrepareOptions((str(tmp_path),), tmp_path / "out"))
