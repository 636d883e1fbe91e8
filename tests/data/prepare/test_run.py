from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.prepare import shards, writer
from raywce.data.prepare.audio import decode, encode_flac
from raywce.data.prepare.rows import RowOptions
from raywce.data.prepare.run import PrepareOptions, run
from raywce.data.schema import CONTENT_KEY, UTTERANCES
from raywce.data.store import check_prepared
from raywce.errors import InputError
from tests.data.conftest import WriteAudio, WriteFolder
from tests.tiny_whisper import write_tiny_whisper


def options_for(source: Path, out: Path, **options: Any) -> PrepareOptions:
    return PrepareOptions((str(source),), out, **options)


def digests(out: Path) -> dict[str, str]:
    files = [path for path in out.rglob("*") if path.is_file() and path.parts[len(out.parts)] != ".prepare"]
    return {str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, write_audiofolder: WriteFolder) -> Path:
    """Three languages; es train has some empty transcripts and missing files."""
    root = tmp_path_factory.mktemp("corpus") / "speech"
    for language, count in (("gl", 4), ("es", 20), ("pt", 12)):
        for split in ("train", "dev"):
            texts = [f"{language} {split} {i}" if i % 5 or language != "es" else "" for i in range(count)]
            who = [f"{language}-{i % 3}" for i in range(count)]
            write_audiofolder(root / language / split, texts, speaker=who)
    for index in (1, 2, 3):
        (root / "es/train" / f"clip_{index}.flac").unlink()
    return root


def damaged(folder: Path, write_audio: WriteAudio) -> Path:
    """One row for each thing that can be wrong, between good ones."""
    for name in ("good", "cut", "no_text", "no_words", "quote", "after", "many_words", "again", "header"):
        write_audio(folder / f"{name}.flac", 1.0)
    data = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(data[: len(data) // 2])
    (folder / "header.flac").write_bytes(b"fLaC but nothing more of it")
    (folder / "empty.flac").touch()
    write_audio(folder / "long.flac", 31.0)
    write_audio(folder / "none.wav", 0.0)
    write_audio(folder / "stereo.wav", 1.0, rate=44_100, channels=2)
    rows = [
        "file_name,sentence,id,language",
        "good.flac,Todo ben,good,gl",
        "cut.flac,Cortado,cut,gl",
        "header.flac,Nada,header,gl",
        "empty.flac,Baleiro,empty,gl",
        "missing.flac,Falta,missing,gl",
        "no_text.flac,  ,no_text,gl",
        "no_words.flac,♪ … ♪,no_words,gl",
        'quote.flac,"Sen, fin,quote,gl',
        "after.flac,Despois,after,gl",
        "long.flac,Longo,long,gl",
        f"many_words.flac,{'palabra ' * 60},many_words,gl",
        "stereo.wav,Estéreo,stereo,gl",
        "none.wav,Nada,none,gl",
        "again.flac,Outra vez,good,gl",
        "good.flac,Que lingua,tongue,the unknown one",
    ]
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def test_each_bad_row_has_its_own_reason(tmp_path: Path, write_audio: WriteAudio) -> None:
    source = damaged(tmp_path / "set" / "train", write_audio)
    model = write_tiny_whisper(tmp_path / "whisper")
    prepared = run(options_for(source, tmp_path / "out", tokenizer=str(model)))
    kept = pq.read_table(tmp_path / "out/train/gl/00000.parquet").to_pylist()
    rejected = {
        row["id"]: row for row in pq.read_table(tmp_path / "out/rejected.parquet").to_pylist() if row["id"] != "good"
    }
    assert [row["id"] for row in kept] == ["good", "after", "stereo"]
    reasons = {identifier: row["reason"] for identifier, row in rejected.items()}
    assert reasons.pop("train/quote") == "unbalanced_quote"
    assert reasons == {
        "cut": "truncated_audio",
        "header": "undecodable_audio",
        "empty": "empty_file",
        "missing": "missing_file",
        "no_text": "empty_transcript",
        "no_words": "empty_transcript",
        "long": "too_long",
        "many_words": "label_limit",
        "none": "no_samples",
        "tongue": "unknown_language",
    }
    assert rejected["many_words"]["detail"] == "484 labels, limit 448"
    assert rejected["no_words"]["detail"] == "'♪ … ♪' has no letter and no digit"
    assert rejected["header"]["detail"].endswith(
        "starts with b'fLaC but nothing'. If it can be played, convert it to WAV or FLAC"
    )
    assert rejected["long"]["detail"] == "31.00 s, limit 30 s"
    assert (prepared.utterances, prepared.rejected, prepared.rows) == (3, 12, 15)


@pytest.mark.parametrize(("name", "reason"), [("n" * 300, "unreadable_file"), ("a\0b", "malformed_row")])
def test_a_name_that_no_file_can_have_is_a_rejected_row(
    tmp_path: Path, write_audio: WriteAudio, name: str, reason: str
) -> None:
    write_audio(tmp_path / "gl" / "a.wav")
    rows = [{"file_name": f"{name}.wav", "text": "un"}, {"file_name": "a.wav", "text": "dous"}]
    (tmp_path / "gl" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepared = run(options_for(tmp_path / "gl", tmp_path / "out"))
    assert (prepared.utterances, prepared.groups[0].rejected) == (1, {reason: 1})


def test_repeated_id_keeps_the_first(tmp_path: Path, write_audio: WriteAudio) -> None:
    run(options_for(damaged(tmp_path / "train", write_audio), tmp_path / "out"))
    rows = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    (repeated,) = (row for row in rows if row["reason"] == "repeated_id")
    assert repeated["text"] == "Outra vez"
    assert repeated["detail"].endswith("metadata.csv:2")


def with_ids(folder: Path, name: str, ids: Sequence[str], clips: Sequence[str], write_audio: WriteAudio) -> None:
    for clip in clips:
        write_audio(folder / clip, 0.2)
    rows = [f"{identifier},{clip},frase" for identifier, clip in zip(ids, clips, strict=True)]
    (folder / name).write_text("\n".join(["id,path,sentence", *rows]))


def outcome(source: Path, out: Path) -> tuple[list[str], list[str]]:
    """The ids that are kept, and the sources of those that are rejected as repeated."""
    run(options_for(source, out))
    kept = [name for file in sorted(out.glob("*/*/*.parquet")) for name in pq.read_table(file)["id"].to_pylist()]
    rejected = pq.read_table(out / "rejected.parquet").to_pylist()
    assert {row["reason"] for row in rejected} <= {"repeated_id", "repeated_audio"}
    return kept, [row["source"].rpartition("/")[2] for row in rejected]


def test_ids_that_start_again_in_each_table_are_made_unique(tmp_path: Path, write_audio: WriteAudio) -> None:
    for language in ("es", "gl"):
        for split in ("dev", "train"):
            clips = [f"{split}-{i}.wav" for i in range(2)]
            with_ids(tmp_path / "set" / language, f"{split}.csv", "xy", clips, write_audio)
    kept, repeated = outcome(tmp_path / "set", tmp_path / "out")
    assert repeated == []
    others = [f"set/{table}.csv/{i}" for table in ("es/train", "gl/dev", "gl/train") for i in "xy"]
    assert sorted(kept) == sorted(["x", "y", *others])
    assert kept == outcome(tmp_path / "set", tmp_path / "again")[0]


def test_an_id_is_repeated_within_a_table_though_another_has_it(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "gl"
    with_ids(folder, "dev.csv", "x", ["a.wav"], write_audio)
    with_ids(folder, "train.csv", "xyx", ["b.wav", "c.wav", "d.wav"], write_audio)
    kept, repeated = outcome(folder, tmp_path / "out")
    assert kept == ["x", "gl/train.csv/x", "y"]
    assert repeated == ["train.csv:4"]


def test_one_recording_in_two_tables_is_repeated(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "gl"
    with_ids(folder, "dev.csv", "x", ["a.wav"], write_audio)
    with_ids(folder, "train.csv", "xy", ["a.wav", "b.wav"], write_audio)
    assert outcome(folder, tmp_path / "out") == (["x", "y"], ["train.csv:2"])


def test_a_clip_of_two_common_voice_releases_is_repeated(tmp_path: Path, write_audio: WriteAudio) -> None:
    for release, split in (("cv-1", "dev"), ("cv-2", "train")):
        write_audio(tmp_path / "cv" / release / "gl" / "clips" / "common_voice_gl_1.mp3", rate=32_000)
        row = "client_id\tpath\tsentence\tup_votes\nx\tcommon_voice_gl_1.mp3\tola\t2\n"
        (tmp_path / "cv" / release / "gl" / f"{split}.tsv").write_text(row)
    assert outcome(tmp_path / "cv", tmp_path / "out") == (["common_voice_gl_1"], ["train.tsv:2"])


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    write_audiofolder(tmp_path / "set" / "gl" / "train", ["un"])
    folder = (tmp_path / "set").rename(tmp_path / os.fsdecode(b"ma\xf1\xe1"))
    run(options_for(folder, tmp_path / "out"))
    (row,) = pq.read_table(tmp_path / "out/train/gl/00000.parquet").to_pylist()
    assert row["id"] == "ma??/gl/train/clip_0"


def test_the_label_limit_is_that_of_the_labels_trained_on(tmp_path: Path, write_audio: WriteAudio) -> None:
    """One token a byte: 444 bytes with the space in front, and 4 tokens around them, are 448."""
    folder = tmp_path / "gl" / "train"
    for name in "ab":
        write_audio(folder / f"{name}.wav")
    (folder / "metadata.csv").write_text(f"file_name,text\na.wav,{'a' * 443}\nb.wav,{'b' * 444}\n")
    run(options_for(folder, tmp_path / "out", tokenizer=str(write_tiny_whisper(tmp_path / "w"))))
    assert pq.read_table(tmp_path / "out/rejected.parquet")["detail"].to_pylist() == ["449 labels, limit 448"]


def test_datasets_opens_it_and_the_schema_is_kept(corpus: Path, tmp_path: Path) -> None:
    prepared = run(options_for(corpus, tmp_path / "out"))
    files = str(tmp_path / "out/train/*/*.parquet")
    loaded = datasets.load_dataset("parquet", data_files={"train": files}, cache_dir=str(tmp_path / "cache"))["train"]
    train = [group for group in prepared.groups if group.split == "train"]
    assert len(loaded) == sum(group.utterances for group in train) == 4 + 13 + 12
    assert loaded.features["audio"] == datasets.Audio(sampling_rate=16_000, decode=False)
    samples = [len(decode(row["audio"]["bytes"], 30).samples) for row in loaded]
    assert samples == [round(row["duration"] * 16_000) for row in loaded]
    assert sum(samples) / 16_000 / 3600 == pytest.approx(sum(group.hours for group in train))
    file = pq.ParquetFile(tmp_path / "out/train/gl/00000.parquet")
    assert file.schema_arrow.equals(UTTERANCES, check_metadata=True)
    assert len(file.metadata.metadata[CONTENT_KEY]) == 64


def test_counts_and_overlap(corpus: Path, tmp_path: Path) -> None:
    prepared = run(options_for(corpus, tmp_path / "out"))
    assert json.loads((tmp_path / "out/prepared.json").read_text()) == json.loads(json.dumps(asdict(prepared)))
    es = next(group for group in prepared.groups if (group.split, group.language) == ("train", "es"))
    assert es.rejected == {"empty_transcript": 4, "missing_file": 3}
    assert (es.rows, es.utterances, es.speakers) == (20, 13, 3)
    overlap = next(overlap for overlap in prepared.overlap if overlap.language == "es")
    assert overlap.speakers == {"train+dev": 3, "train+test": 0, "dev+test": 0}
    assert overlap.sentences == {"train+dev": 0, "train+test": 0, "dev+test": 0}


def test_sentences_in_two_splits_are_counted(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    write_audiofolder(tmp_path / "gl/train", ["Un día", "dous"])
    write_audiofolder(tmp_path / "gl/test", ["UN  día", "tres"])
    (overlap,) = run(options_for(tmp_path / "gl", tmp_path / "out")).overlap
    assert overlap.sentences["train+test"] == 1


def test_recordings_in_two_splits_are_counted_whatever_their_tables_call_them(tmp_path: Path) -> None:
    clips = [encode_flac(np.random.default_rng(seed).normal(0, 0.1, 8000).astype(np.float32)) for seed in range(4)]
    for split, its in {"train": clips[:3], "test": clips[2:], "dev": clips[:1]}.items():
        audio = [{"bytes": clip, "path": f"{split}{number}.flac"} for number, clip in enumerate(its)]
        (tmp_path / "speech/gl").mkdir(parents=True, exist_ok=True)
        table = pa.table({"audio": audio, "text": [f"{split} {number}" for number in range(len(its))]})
        pq.write_table(table, tmp_path / f"speech/gl/{split}.parquet")
    expected = {"train+dev": 1, "train+test": 1, "dev+test": 0}
    for _ in range(2):  # the second time, what the first one wrote is found
        (overlap,) = run(options_for(tmp_path / "speech", tmp_path / "out")).overlap
        assert overlap.recordings == expected
        assert not any([*overlap.speakers.values(), *overlap.sentences.values()])


@pytest.mark.parametrize("cap", [{"cap_to": "gl"}, {"cap": 4}])
def test_a_cap_is_met_exactly(corpus: Path, tmp_path: Path, cap: dict[str, Any]) -> None:
    prepared = run(options_for(corpus, tmp_path / "out", **cap))
    train = {group.language: group for group in prepared.groups if group.split == "train"}
    assert {language: group.utterances for language, group in train.items()} == {"gl": 4, "es": 4, "pt": 4}
    assert train["pt"].capped == 8
    assert all(group.rows == group.utterances + group.capped + sum(group.rejected.values()) for group in train.values())
    dev = {group.language: group.utterances for group in prepared.groups if group.split == "dev"}
    assert dev == {"gl": 4, "es": 16, "pt": 12}


def test_a_cap_draws_by_the_seed(corpus: Path, tmp_path: Path) -> None:
    def drawn(seed: int, name: str) -> list[str]:
        run(options_for(corpus, tmp_path / name, cap=4, seed=seed))
        files = sorted((tmp_path / name / "train/pt").glob("*.parquet"))
        return [identifier for file in files for identifier in pq.read_table(file)["id"].to_pylist()]

    assert drawn(0, "a") == drawn(0, "b")
    assert len({tuple(drawn(seed, f"s{seed}")) for seed in range(4)}) > 1


def test_same_bytes_for_any_number_of_jobs(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROWS", 3)
    one = run(options_for(corpus, tmp_path / "one", cap=5))
    two = run(options_for(corpus, tmp_path / "two", cap=5, jobs=2))
    assert one == two
    assert len(digests(tmp_path / "one")) > 10
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_an_interrupted_run_goes_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROWS", 3)
    whole = run(options_for(corpus, tmp_path / "whole"))
    decoded: list[int] = []

    def interrupt(*arguments: Any) -> Any:
        decoded.append(1)
        if len(decoded) == 20:
            raise KeyboardInterrupt
        return decode(*arguments)

    monkeypatch.setattr(shards, "decode", interrupt)
    options = options_for(corpus, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run(options)
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert not (tmp_path / "out/prepared.json").exists()
    (unfinished,) = check_prepared(tmp_path / "out", "train", []).found
    assert "was interrupted" in unfinished.rule
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*/*.parquet")}
    assert len(finished) >= 4
    assert run(options).groups == whole.groups
    assert not check_prepared(tmp_path / "out", "train", []).found
    assert len(decoded) < 20 + whole.utterances
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    settled = {name: value for name, value in digests(tmp_path / "out").items() if name != "prepared.json"}
    assert settled.items() <= digests(tmp_path / "whole").items()


@pytest.mark.slow
def test_ctrl_c_with_workers_leaves_no_half_files(tmp_path: Path, write_audio: WriteAudio) -> None:
    clip = write_audio(tmp_path / "clip.flac", 3.0)
    (tmp_path / "gl").mkdir()
    lines = [f'{{"audio_filepath": "{clip}", "text": "ola", "id": "{i}"}}' for i in range(1200)]
    (tmp_path / "gl" / "train.jsonl").write_text("\n".join(lines))
    code = f"from raywce.cli import main; import sys; sys.argv[1:] = {['prepare', str(tmp_path / 'gl')]}"
    script = tmp_path / "command.py"
    arguments = ["--out", str(tmp_path / "out"), "--jobs", "2"]
    script.write_text(f"{code} + {arguments}\nif __name__ == '__main__':\n    main()\n")
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 240  # on a busy machine the imports alone take a minute
    while not list((tmp_path / "out").rglob("*.partial")):
        assert time.monotonic() < deadline, "nothing was begun"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr
    said = process.stderr.read()
    assert process.wait(60) == 130
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.partial"))
    for file in (tmp_path / "out").glob("*/*/*.parquet"):
        assert pq.read_metadata(file).metadata[CONTENT_KEY]
    (tmp_path / "gl" / "train.jsonl").write_text("\n".join(lines[:256]))
    assert run(options_for(tmp_path / "gl", tmp_path / "out")).utterances == 256


def test_half_files_of_a_killed_run_are_removed(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(options_for(corpus, out))
    whole = digests(out)
    left = [out / "train/es/.00000.parquet.partial", out / ".prepare/train/es/.00009.json.partial"]
    for file in left:
        file.write_bytes(b"half")
    run(options_for(corpus, out))
    assert digests(out) == whole


def test_a_repaired_file_is_read_again(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    folder = write_audiofolder(tmp_path / "gl" / "train", ["un", "dous"])
    whole = (folder / "clip_0.flac").read_bytes()
    (folder / "clip_0.flac").write_bytes(whole[:1000])
    options = options_for(folder, tmp_path / "out")
    assert run(options).utterances == 1
    (folder / "clip_0.flac").write_bytes(whole)
    assert run(options).utterances == 2


def test_rows_that_are_gone_leave_nothing_behind(
    tmp_path: Path, write_audiofolder: WriteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROWS", 2)
    for language in ("gl", "es"):
        write_audiofolder(tmp_path / "speech" / language / "train", ["un"] * 5)
    options = options_for(tmp_path / "speech", tmp_path / "out")
    assert run(options).utterances == 10
    (tmp_path / "speech/es/train/metadata.csv").unlink()
    (tmp_path / "speech/gl/train/metadata.csv").write_text("file_name,sentence\nclip_0.flac,un\n")
    assert run(options).utterances == 1
    found = [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").glob("*/*/*.parquet")]
    assert found == ["train/gl/00000.parquet"]
    assert not (tmp_path / "out/train/es").exists()


def test_what_is_read_is_never_written_over(corpus: Path, tmp_path: Path) -> None:
    options = options_for(corpus, tmp_path / "out")
    run(options)
    before = sorted(options.out.rglob("*.parquet"))
    for source in (options.out, options.out / "train"):
        again = replace(options, sources=(str(source),), cap=1, overwrite=True)
        with pytest.raises(InputError, match="SOURCE: must not be in the folder of --out"):
            run(again)
    assert sorted(options.out.rglob("*.parquet")) == before


def test_a_split_that_is_none_is_said(tmp_path: Path, write_audio: WriteAudio) -> None:
    folder = tmp_path / "gl_train"
    write_audio(folder / "a.wav")
    write_audio(folder / "b.wav")
    (folder / "metadata.csv").write_text("file_name,text,split\na.wav,ola,exclude\nb.wav,adeus,train\n")
    assert run(PrepareOptions((str(folder),), tmp_path / "out")).unread_splits == {"exclude": 1}


def test_other_settings_need_overwrite(corpus: Path, tmp_path: Path) -> None:
    options = options_for(corpus, tmp_path / "out")
    run(options)
    with pytest.raises(InputError, match=r"other cap, seed in .*--overwrite"):
        run(replace(options, cap=2, seed=1))
    assert (
        run(replace(options, cap=2, seed=1, overwrite=True)).utterances
        < run(options_for(corpus, tmp_path / "o")).utterances
    )


def test_a_folder_with_other_things_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="must be new, empty or written by prepare"):
        run(options_for(corpus, tmp_path, overwrite=True))
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cap": 0}, "--cap: must be at least 1"),
        ({"cap": 3, "cap_to": "gl"}, "--cap: can't go with --cap-to"),
        ({"cap_to": "nonsense"}, "--cap-to: must be a language code or name, but got nonsense"),
        ({"cap_to": "ja"}, "--cap-to: must be a language with train rows, but got ja. There are: es, gl, pt."),
        ({"max_seconds": 40}, "--max-seconds: must be above 0 and at most 30"),
        ({"jobs": 0}, "--jobs: must be at least 1"),
        ({"rows": RowOptions(language="who knows")}, "--language: must be a language"),
        ({"rows": RowOptions(split="some")}, "--split: must be one of train, dev, test"),
        ({"rows": RowOptions(clean_ups=("scrub",))}, "--clean-up: must be one of punctuation-spaces, nfc"),
        ({"tokenizer": "/not/there"}, "--tokenizer: must be a Whisper folder"),
    ],
)
def test_bad_options(corpus: Path, tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        run(options_for(corpus, tmp_path / "out", **wrong))
    assert said in str(error.value)


def test_all_bad_options_at_once(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        run(options_for(corpus, tmp_path / "out", cap=0, jobs=0, max_seconds=0.0))
    assert len(error.value.problems) == 3


def test_nothing_kept_is_bad_input_and_says_why(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    folder = write_audiofolder(tmp_path / "set", ["un", "dous"])
    with pytest.raises(InputError, match="2 unknown_language") as error:
        run(options_for(folder, tmp_path / "out"))
    assert f"{folder / 'metadata.csv'}:2: no name or folder says it: use --language" in str(error.value)
    rows = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert Counter(row["reason"] for row in rows) == {"unknown_language": 2}


def test_options_tell_what_the_source_does_not(tmp_path: Path, write_audiofolder: WriteFolder) -> None:
    folder = write_audiofolder(tmp_path / "set", ["un , dous"])
    rows = RowOptions(language="Galician", split="valid", clean_ups=("punctuation-spaces",))
    run(options_for(folder, tmp_path / "out", rows=rows))
    (row,) = pq.read_table(tmp_path / "out/dev/gl/00000.parquet").to_pylist()
    assert (row["text"], row["language"], row["speaker"]) == ("un, dous", "gl", None)


def test_real_speech(tmp_path: Path) -> None:
    folder = os.environ.get("RAYWCE_SPEECH")
    if not folder:
        pytest.skip("RAYWCE_SPEECH is not set")
    prepared = run(options_for(Path(folder), tmp_path / "out", jobs=2))
    listed = {path.parent: len(path.read_text().splitlines()) - 1 for path in Path(folder).glob("*/*/metadata.csv")}
    counts = {(group.language, group.split): group.utterances for group in prepared.groups}
    assert counts == {(path.parent.name, path.name): count for path, count in listed.items()}
    assert prepared.rejected == 0


def test_silent_and_clipped_clips_are_counted_and_rejected_only_when_asked(
    tmp_path: Path, write_audiofolder: WriteFolder
) -> None:
    source = tmp_path / "gl" / "train"
    write_audiofolder(source, ["fine", "silent", "clipped", "beyond full scale"])
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 110 * time) * np.sin(np.pi * time)
    for index, samples in enumerate((0 * tone, np.clip(9 * tone, -1, 1)), start=1):
        soundfile.write(source / f"clip_{index}.flac", samples, 16_000)
    soundfile.write(source / "clip_3.flac", 9 * tone, 16_000, format="WAV", subtype="FLOAT")

    counted = run(options_for(tmp_path / "gl", tmp_path / "out"))
    (group,) = counted.groups
    assert (group.utterances, group.rejected) == (4, {})
    assert group.remarks == {"silent": 1, "clipped": 1, "rescaled": 1}
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["groups"][0]["remarks"] == group.remarks
    assert run(options_for(tmp_path / "gl", tmp_path / "out")) == counted  # from the records of its shards

    asked = run(options_for(tmp_path / "gl", tmp_path / "asked", reject_silent=True, jobs=2))
    (group,) = asked.groups
    assert (group.utterances, group.rejected, group.remarks) == (2, {"silent": 1, "clipped": 1}, {"rescaled": 1})


def test_damaged_files_of_an_earlier_run_are_made_again_or_named(
    tmp_path: Path, write_audiofolder: WriteFolder
) -> None:
    write_audiofolder(tmp_path / "gl" / "train", ["un", "dous"])
    options = options_for(tmp_path / "gl", tmp_path / "out")
    first, before = run(options), digests(tmp_path / "out")
    work = tmp_path / "out" / ".prepare"
    (record,) = (work / "train").rglob("*.json")
    record.write_text(record.read_text()[:20])
    assert run(options) == first
    assert digests(tmp_path / "out") == before

    (work / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json: must be as prepare wrote it.*--overwrite"):
        run(options)
    assert run(replace(options, overwrite=True)) == first
