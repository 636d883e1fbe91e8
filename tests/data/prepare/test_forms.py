"""Which files of a source are read, which are passed over and why: folders as people have them, read through `run`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.data.prepare.forms import Format
from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.prepare.summary import Prepared
from raywce.errors import InputError
from tests.data.conftest import WriteAudio

WriteTable = Callable[..., Path]


@pytest.fixture
def write_table(write_audio: WriteAudio) -> WriteTable:
    """Writes a CSV with a row for each audio path, and the audio where it is not there yet."""

    def write(path: Path, audio: Sequence[str], folder: str = ".", **columns: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [",".join(["file_name", "text", *columns])]
        for name in audio:
            if not (path.parent / folder / name).exists():
                write_audio(path.parent / folder / name, 0.1)
            lines.append(",".join([name, f"frase {Path(name).stem}", *columns.values()]))
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def prepare(source: Path | Sequence[Path], out: Path, rows: RowOptions | None = None, **options: Any) -> Prepared:
    sources = [source] if isinstance(source, Path) else source
    return run(PrepareOptions(tuple(map(str, sources)), out, rows=rows or RowOptions(), **options))


def counts(prepared: Prepared) -> dict[tuple[str, str], int]:
    assert prepared.rows == prepared.utterances + prepared.rejected + prepared.capped
    return {(group.language, group.split): group.utterances for group in prepared.groups if group.utterances}


def passed_over(prepared: Prepared, root: Path) -> dict[str, str]:
    """Reason by file, relative to the root."""
    return {
        Path(group.folder, name).relative_to(root).as_posix(): group.reason
        for group in prepared.passed_over
        for name in group.names
    }


def problems(source: Path, out: Path, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        prepare(source, out, **options)
    return str(error.value)


STRAY = pytest.mark.parametrize("stray", ["metadata.csv", "all.csv", "../all.csv"])


def with_stray(root: Path, write_table: WriteTable, stray: str, audio: str) -> str:
    """Three tables that say their split, each of a clip, and one that lists these clips and another one."""
    for split, name in (("train", "a"), ("dev", "b"), ("test", "c")):
        write_table(root / "gl" / f"{split}.csv", [f"{audio}/{name}.wav"])
    prefix = "gl/" if stray.startswith("..") else ""
    write_table(root / "gl" / stray, [f"{prefix}{audio}/{name}.wav" for name in "abcd"], id="x")
    return (root / "gl" / stray).resolve().relative_to(root).as_posix()


@STRAY
def test_a_table_without_split_gives_way_to_those_that_say_theirs(
    tmp_path: Path, write_table: WriteTable, stray: str
) -> None:
    file = with_stray(tmp_path / "speech", write_table, stray, "wav")
    prepared = prepare(tmp_path / "speech", tmp_path / "out")
    assert counts(prepared) == {("gl", "train"): 1, ("gl", "dev"): 1, ("gl", "test"): 1}
    assert set(passed_over(prepared, tmp_path / "speech")) == {file, "gl/wav/d.wav"}


@STRAY
@pytest.mark.parametrize(("audio", "split"), [("wav", "train"), ("wav/train", None)])
def test_a_table_with_less_evidence_of_its_split_adds_only_what_others_lack(
    tmp_path: Path, write_table: WriteTable, stray: str, audio: str, split: str | None
) -> None:
    with_stray(tmp_path / "speech", write_table, stray, audio)
    table = tmp_path / "speech" / "gl" / stray
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(f"{line}{index}" for index, line in enumerate(lines[1:]))]))
    prepared = prepare(tmp_path / "speech", tmp_path / "out", RowOptions(split=split))
    assert counts(prepared) == {("gl", "train"): 2, ("gl", "dev"): 1, ("gl", "test"): 1}
    assert prepared.passed_over == ()
    rejected = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert [row["reason"] for row in rejected] == ["repeated_audio"] * 3
    assert rejected[0]["detail"] == f"first in {tmp_path / 'speech/gl/train.csv'}:2"


@pytest.mark.parametrize("key", ["audio_filepath", "audio_filename"])
def test_segments_of_one_file_are_not_repeated_audio(tmp_path: Path, write_audio: WriteAudio, key: str) -> None:
    write_audio(tmp_path / "gl" / "a.wav", 1.0)
    for split, offset in (("train", 0.0), ("dev", 0.5)):
        row = {key: "a.wav", "text": split, "offset": offset, "duration": 0.4}
        (tmp_path / "gl" / f"{split}.jsonl").write_text(json.dumps(row))
    assert counts(prepare(tmp_path / "gl", tmp_path / "out")) == {("gl", "train"): 1, ("gl", "dev"): 1}


def test_a_table_in_the_parent_hides_nothing_below_it(tmp_path: Path, write_table: WriteTable) -> None:
    write_table(tmp_path / "in" / "train.csv", ["gl/a.wav", "es/b.wav"])
    write_table(tmp_path / "in" / "pt" / "train" / "metadata.csv", ["c.wav"])
    assert counts(prepare(tmp_path / "in", tmp_path / "out")) == {
        ("gl", "train"): 1,
        ("es", "train"): 1,
        ("pt", "train"): 1,
    }


def test_what_is_no_table_of_speech_is_named(tmp_path: Path, write_table: WriteTable, write_audio: WriteAudio) -> None:
    root = tmp_path / "gl"
    write_table(root / "train.csv", ["a.wav"])
    write_audio(root / "more" / "b.wav", 0.1)
    files = {
        "licences.csv": "name,licence\na,b\n",
        "empty.csv": "",
        "header.csv": "file_name,text\n",
        "package.json": '{"name": "x",\n "version": 1}\n',
        "nested.json": '{"data": [{"file_name": "a.wav", "text": "x"}]}\n',
        "list.xlsx": "PK",
        "filelist.txt": "a.wav|frase\n",
        "wav.scp": "a a.wav\n",
        "train.lst": "a a.wav 100.0 frase\n",
        "a.srt": "1\n00:00:00,000 --> 00:00:01,000\nfrase\n",
        "a.TextGrid": "x",
        "a.txt": "frase\n",
        "wav.tar.gz": "x",
        ".ipynb_checkpoints/train.csv": "file_name,text\na.wav,x\n",
        "rejected.parquet": "x",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (root / "README.txt").write_text("Recorded in 2024.\n")
    (root / f"{'n' * 251}.txt").write_text("No name of audio can be so long.\n")
    prepared = prepare(root, tmp_path / "out")
    assert set(passed_over(prepared, root)) == {*files, "more/b.wav"}
    saved = json.loads((tmp_path / "out/prepared.json").read_text())["passed_over"]
    assert sum(group["files"] for group in saved) == len(files) + 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.CSV", "file_name,text\na.wav,ola\n"),
        ("Train.Tsv", "file_name\ttext\na.wav\tola\n"),
        ("train.json", '{"file_name": "a.wav", "text": "ola"}\n'),
        ("manifest_train.json", '[\n {"audio_filepath": "a.wav",\n  "text": "ola"}\n]\n'),
        ("train.jsonl", '[{"path": "a.wav", "sentence": "ola"}]'),
        ("train.csv", "wav_filename,wav_filesize,transcript\na.wav,3244,ola\n"),
        ("train.csv", "file_name,text\n.\\a.wav,ola\n"),
    ],
)
def test_manifests_as_people_name_and_write_them(tmp_path: Path, write_audio: WriteAudio, name: str, text: str) -> None:
    write_audio(tmp_path / "gl" / "a.wav", 0.1)
    (tmp_path / "gl" / name).write_text(text)
    prepared = prepare(tmp_path / "gl", tmp_path / "out")
    assert counts(prepared) == {("gl", "train"): 1}
    assert prepared.passed_over == ()


def test_one_form_of_a_folder_is_read_and_splits_that_it_lacks(tmp_path: Path, write_table: WriteTable) -> None:
    root = tmp_path / "gl"
    write_table(root / "train.csv", ["a.wav"])
    write_table(root / "dev.csv", ["b.wav"])
    audio = {"bytes": (root / "a.wav").read_bytes(), "path": "a.wav"}
    pq.write_table(pa.table({"audio": [audio], "text": ["frase a"]}), root / "train-00000.parquet")
    prepared = prepare(root, tmp_path / "out")
    assert counts(prepared) == {("gl", "train"): 1, ("gl", "dev"): 1}
    assert set(passed_over(prepared, root)) == {"train.csv"}


def test_a_link_to_the_folder_itself_is_followed_once(tmp_path: Path, write_table: WriteTable) -> None:
    write_table(tmp_path / "gl" / "train.csv", ["a.wav"])
    (tmp_path / "gl" / "again").symlink_to(tmp_path / "gl")
    assert counts(prepare(tmp_path / "gl", tmp_path / "out")) == {("gl", "train"): 1}


def test_audio_is_found_used_by_any_path_to_it(tmp_path: Path, write_audio: WriteAudio) -> None:
    clip = write_audio(tmp_path / "in" / "wav" / "a\u0301.wav", 0.1)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "gl").mkdir()
    rows = [f"../wav/{clip.name},un", f"{tmp_path / 'link' / 'wav' / clip.name},dous"]
    (tmp_path / "in" / "gl" / "train.csv").write_text("file_name,text\n" + "\n".join(rows) + "\n")
    assert prepare(tmp_path / "in", tmp_path / "out").passed_over == ()


def test_files_of_macos_are_counted(tmp_path: Path, write_table: WriteTable) -> None:
    root = tmp_path / "speech"
    write_table(root / "gl" / "train" / "clips.csv", ["a.wav"])
    for place in ("gl/train", "__MACOSX/gl/train"):
        (root / place).mkdir(parents=True, exist_ok=True)
        for name in ("._clips.csv", "._a.wav", "._0000.parquet"):
            (root / place / name).write_bytes(b"\0\x05\x16\x07")
    prepared = prepare(root, tmp_path / "out")
    assert counts(prepared) == {("gl", "train"): 1}
    (group,) = prepared.passed_over
    assert (group.folder, group.files) == (str(root), 6)
    assert "macOS" in group.reason


def test_damaged_tables_and_lfs_pointers_are_named_together(tmp_path: Path, write_table: WriteTable) -> None:
    write_table(tmp_path / "in" / "gl" / "train.csv", ["a.wav"])
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    (tmp_path / "in" / "gl" / "test.csv").symlink_to("moved.csv")
    for name, text in {"es/train.parquet": pointer, "pt/train.csv": pointer, "fr/train.parquet": "PAR1"}.items():
        (tmp_path / "in" / name).parent.mkdir()
        (tmp_path / "in" / name).write_text(text)
    said = problems(tmp_path / "in", tmp_path / "out").splitlines()
    assert len(said) == 4
    assert "gl/test.csv: must be a whole .csv file that can be read, but got [Errno 2]" in said.pop(2)
    assert "es/train.parquet: must be a table, but got a Git LFS pointer" in said[0]
    assert "git lfs pull" in said[0]
    assert "fr/train.parquet: must be a whole .parquet file" in said[1]
    assert "pt/train.csv: must be a table, but got a Git LFS pointer" in said[2]


def test_a_header_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "gl").mkdir()
    (tmp_path / "gl" / "train.csv").write_bytes("son,título\na.wav,mañá\n".encode("latin-1"))
    said = problems(tmp_path / "gl", tmp_path / "out")
    assert "another encoding in line 1: 'son,t?tulo'. Save it as UTF-8." in said


def test_audio_that_is_a_git_lfs_pointer(tmp_path: Path, write_table: WriteTable) -> None:
    table = write_table(tmp_path / "gl" / "train.csv", ["a.wav", "b.wav"])
    (table.parent / "b.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    prepare(table, tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert row["reason"] == "undecodable_audio"
    assert "git lfs pull" in row["detail"]


def test_nothing_readable_names_what_is_there(tmp_path: Path, write_audio: WriteAudio) -> None:
    write_audio(tmp_path / "in" / "wav" / "a.wav", 0.1)
    (tmp_path / "in" / "wav.scp").write_text("a wav/a.wav\n")
    said = problems(tmp_path / "in", tmp_path / "out").splitlines()
    assert "nothing that prepare can read" in said[0]
    assert said[1].startswith(str(tmp_path / "in/wav.scp"))
    assert said[2].startswith(str(tmp_path / "in/wav/a.wav"))


def release(folder: Path, write_audio: WriteAudio, *names: str) -> Path:
    """A Common Voice language: two clips for each table."""
    for name in names:
        lines = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tlocale"]
        for index in range(2):
            clip = f"common_voice_{folder.name}_{name}_{index}.wav"
            write_audio(folder / "clips" / clip, 0.1)
            lines.append(f"who{index}\t{clip}\tfrase {name} {index}\t2\t0\t{folder.name}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


FULL = ("train", "dev", "test", "validated", "invalidated", "other")


def test_a_release_is_read_by_its_own_splits(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = release(tmp_path / "cv" / "gl", write_audio, *FULL, "my_train")
    (folder / "reported.tsv").write_text("sentence_id\tsentence\tlocale\treason\n1\tx\tgl\ty\n")
    prepared = prepare(tmp_path / "cv", tmp_path / "out", RowOptions(split="train"))
    assert counts(prepared) == {("gl", "train"): 2, ("gl", "dev"): 2, ("gl", "test"): 2}
    named = passed_over(prepared, folder)
    tables = {"validated.tsv", "invalidated.tsv", "other.tsv", "my_train.tsv", "reported.tsv"}
    assert {name for name in named if name.endswith(".tsv")} == tables
    assert len(named) == len(tables) + 8


@pytest.mark.parametrize("form", [Format.AUTO, Format.COMMON_VOICE])
def test_tables_of_a_release_find_their_clips(tmp_path: Path, write_audio: WriteAudio, form: Format) -> None:
    folder = release(tmp_path / "gl", write_audio, *FULL, "my_train")
    assert counts(prepare([folder / "train.tsv", folder / "dev.tsv"], tmp_path / "one", form=form)) == {
        ("gl", "train"): 2,
        ("gl", "dev"): 2,
    }
    asked = prepare(folder / "validated.tsv", tmp_path / "two", RowOptions(split="train"), form=form)
    assert counts(asked) == {("gl", "train"): 2}
    assert counts(prepare(folder / "my_train.tsv", tmp_path / "three", form=form)) == {("gl", "train"): 2}


@pytest.mark.parametrize("name", ["invalidated", "other"])
def test_clips_that_are_not_validated_are_never_read(tmp_path: Path, write_audio: WriteAudio, name: str) -> None:
    folder = release(tmp_path / "gl", write_audio, name)
    for source in (folder, folder / f"{name}.tsv"):
        assert "never read" in problems(source, tmp_path / "out", rows=RowOptions(split="train"))


@pytest.mark.parametrize("place", ["%s-00000-of-00002.parquet", "%s/0000.parquet"])
@pytest.mark.parametrize("name", ["invalidated", "other"])
def test_nor_are_they_as_the_hub_stores_them(tmp_path: Path, name: str, place: str) -> None:
    file = tmp_path / "gl" / (place % name)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"client_id": ["x"], "audio": [b"RIFF"], "sentence": ["sol"]}), file)
    assert "never read" in problems(tmp_path / "gl", tmp_path / "out", rows=RowOptions(split="train"))


def test_a_delta_release_is_read_where_its_split_is_told(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = release(tmp_path / "gl", write_audio, "validated", "invalidated", "other")
    assert "validated.tsv: Common Voice's clips before they are split; --split" in problems(folder, tmp_path / "no")
    prepared = prepare(folder, tmp_path / "out", RowOptions(split="train"))
    assert counts(prepared) == {("gl", "train"): 2}
    assert {"invalidated.tsv", "other.tsv"} < set(passed_over(prepared, folder))


@pytest.mark.parametrize(
    ("table", "audio", "columns", "expected"),
    [
        ("gl/test.csv", "wav/train/a.wav", {}, ("gl", "test")),
        ("gl/test.csv", "wav/train/a.wav", {"split": "dev"}, ("gl", "dev")),
        ("gl/test.csv", "wav/train/a.wav", {"split": "fold1"}, ("gl", "test")),
        ("gl/all.csv", "wav/train/a.wav", {}, ("gl", "train")),
        ("swh/dev.csv", "a.wav", {}, ("sw", "dev")),
        ("gl/dev/metadata.csv", "train/a.wav", {}, ("gl", "train")),
        ("train/gl/list.csv", "a.wav", {}, ("gl", "train")),
        ("dev.csv", "pt_br/a.wav", {}, ("pt", "dev")),
        ("gl_dev.csv", "es/a.wav", {}, ("gl", "dev")),
        ("gl/dev.csv", "ben/a.wav", {}, ("gl", "dev")),
        ("gl/dev.csv", "a.wav", {"language": "Asturian"}, ("ast", "dev")),
        ("gl/dev.csv", "a.wav", {"lang": "of all kinds"}, ("gl", "dev")),
        ("xx/gl/v2/dev.csv", "a.wav", {"locale": "n/a"}, ("gl", "dev")),
    ],
)
def test_order_of_evidence(
    tmp_path: Path, write_table: WriteTable, table: str, audio: str, columns: dict[str, str], expected: tuple[str, str]
) -> None:
    write_table(tmp_path / "in" / table, [audio], **columns)
    assert counts(prepare(tmp_path / "in", tmp_path / "out")) == {expected: 1}


def test_varieties_are_shown_or_kept_apart(tmp_path: Path, write_table: WriteTable) -> None:
    for folder in ("zh-CN", "zh-HK", "speech_gl"):
        write_table(tmp_path / "in" / folder / "train.csv", ["a.wav"])
    merged = prepare(tmp_path / "in", tmp_path / "merged")
    assert counts(merged) == {("zh", "train"): 2}
    assert merged.merged_languages == {"zh": {"zh-CN": 1, "zh-HK": 1}}
    mapping = {"zh_hk": "yue", "speech_gl": "gl"}
    apart = prepare(tmp_path / "in", tmp_path / "apart", RowOptions(language_map=mapping))
    assert counts(apart) == {("zh", "train"): 1, ("yue", "train"): 1, ("gl", "train"): 1}
    assert apart.merged_languages == {}


def test_a_column_without_a_language_is_shown(tmp_path: Path, write_table: WriteTable) -> None:
    write_table(tmp_path / "gl" / "train.csv", ["a.wav", "b.wav"], language="of all kinds")
    assert prepare(tmp_path / "gl", tmp_path / "out").unread_languages == {"of all kinds": 2}


def test_a_language_map_needs_codes(tmp_path: Path) -> None:
    said = problems(tmp_path, tmp_path / "out", rows=RowOptions(language_map={"a": "../x", "b": "xx", "c": "gl"}))
    assert said.splitlines() == [
        "--language-map: must map to a language's code, but got a=../x",
        "--language-map: must map to a language's code, but got b=xx",
    ]
