import csv
from itertools import cycle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from raywce.data.schema import SAMPLE_RATE
from raywce.demo.corpus import CorpusSize, finish, prepare_corpus, write_corpus
from raywce.demo.sentences import sentences
from raywce.demo.speakers import speakers
from raywce.errors import InputError

pytest.importorskip("espeakng_loader")

SIZE = CorpusSize(train=5, low_resource_train=3, dev=22, low_resource_dev=2, test=2, low_resource_test=1)
LANGUAGES = ("es", "gl")
MARGIN = SAMPLE_RATE // 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "speech"
    write_corpus(folder, SIZE, languages=LANGUAGES)
    return folder


def rows_of(group: Path) -> list[dict[str, str]]:
    with (group / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def texts_of(group: Path) -> list[str]:
    return [row["text"] for row in rows_of(group)]


def seconds_of(group: Path) -> list[float]:
    return [soundfile.info(group / row["file_name"]).duration for row in rows_of(group)]


def test_each_language_and_split_has_its_number() -> None:
    size = CorpusSize()
    assert (size.of("es", "train"), size.of("gl", "train")) == (1200, 120)
    assert (size.of("es", "dev"), size.of("gl", "dev")) == (160, 240)
    assert (size.of("es", "test"), size.of("gl", "test")) == (100, 250)


def test_an_audiofolder_is_written(corpus: Path) -> None:
    for language in LANGUAGES:
        for split in ("train", "dev", "test"):
            group = corpus / language / split
            rows = rows_of(group)
            assert list(rows[0]) == ["file_name", "text", "language", "speaker"]
            assert len(rows) == SIZE.of(language, split)
            assert {file.name for file in group.iterdir()} == {"metadata.csv", *(row["file_name"] for row in rows)}
            assert {row["language"] for row in rows} == {language}
            for row in rows:
                info = soundfile.info(group / row["file_name"])
                assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", SAMPLE_RATE, 1)


def test_sentences_come_in_order_and_speakers_take_turns(corpus: Path) -> None:
    group = corpus / "es" / "dev"
    source = sentences("es", "dev", 0)
    assert all(text in source for text in texts_of(group))  # `in` goes on where it has come to
    turns = zip(rows_of(group), cycle(speakers("es", "dev")), strict=False)
    assert all(row["speaker"] == speaker.id for row, speaker in turns)


def test_each_speaker_has_a_level_and_silence_is_trimmed(corpus: Path) -> None:
    peaks = {speaker.id: speaker.peak for speaker in speakers("es", "dev")}
    for row in rows_of(corpus / "es" / "dev"):
        samples, _ = soundfile.read(corpus / "es" / "dev" / row["file_name"])
        level = np.abs(samples)
        assert 20 * np.log10(level.max()) == pytest.approx(peaks[row["speaker"]], abs=0.02)
        for end in (level, level[::-1]):
            assert end[:MARGIN].max() < 0.01 * level.max()
            assert end[: MARGIN + 400].max() > 0.005 * level.max()


def test_longer_utterances_are_left_out_and_the_speaker_says_the_next_sentence(corpus: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "short", SIZE, languages=["es"], splits=["dev"], max_seconds=1.6)
    group = tmp_path / "short" / "es" / "dev"
    assert max(seconds_of(corpus / "es" / "dev")) > 1.6
    assert max(seconds_of(group)) <= 1.6
    assert [row["speaker"] for row in rows_of(group)] == [row["speaker"] for row in rows_of(corpus / "es" / "dev")]
    assert texts_of(group) != texts_of(corpus / "es" / "dev")


def test_bytes_are_the_same_for_any_number_of_jobs_and_any_other_groups(corpus: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "again", SIZE, languages=["gl", "es"], splits=["dev", "train"], jobs=2)
    again = files_of(tmp_path / "again")
    assert again == {name: data for name, data in files_of(corpus).items() if "/test/" not in name}


def test_a_smaller_group_is_the_beginning_of_a_larger_one(corpus: Path, tmp_path: Path) -> None:
    size = CorpusSize(dev=4)
    write_corpus(tmp_path / "small", size, languages=["es"], splits=["dev"])
    small, large = files_of(tmp_path / "small" / "es" / "dev"), files_of(corpus / "es" / "dev")
    assert large.pop("metadata.csv").startswith(small.pop("metadata.csv"))
    assert len(small) == 4
    assert small.items() <= large.items()


def test_another_seed_takes_other_sentences_from_the_same_speakers(corpus: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "other", SIZE, languages=["es"], splits=["train"], seed=1)
    before, after = rows_of(corpus / "es" / "train"), rows_of(tmp_path / "other" / "es" / "train")
    assert {row["text"] for row in before} != {row["text"] for row in after}
    assert [row["speaker"] for row in before] == [row["speaker"] for row in after]


def test_the_prepared_corpus_holds_the_same_speech(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare_corpus(tmp_path / "out", SIZE, languages=LANGUAGES)
    assert (prepared.rows, prepared.utterances, prepared.rejected) == (35, 35, 0)
    assert all(not any([*overlap.speakers.values(), *overlap.sentences.values()]) for overlap in prepared.overlap)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    for language in LANGUAGES:
        group = corpus / language / "dev"
        table = pq.read_table(tmp_path / "out" / "dev" / language / "00000.parquet").to_pylist()
        assert [row["audio"]["bytes"] for row in table] == [
            (group / r["file_name"]).read_bytes() for r in rows_of(group)
        ]
        assert [(row["text"], row["speaker"]) for row in table] == [(r["text"], r["speaker"]) for r in rows_of(group)]
        assert [row["id"] for row in table] == [f"demo/{language}/dev/{number:05d}" for number in range(len(table))]


def test_all_that_is_wrong_is_said_before_a_word_is_spoken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (write_corpus, prepare_corpus):
        with pytest.raises(InputError) as error:
            write(tmp_path, SIZE, languages=["es", "ca"], splits=["eval"], max_seconds=31, jobs=0)
        assert [problem.path for problem in error.value.problems] == [
            "folder",
            "language",
            "split",
            "max_seconds",
            "jobs",
        ]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_fewer_short_sentences_than_wanted_is_an_error_and_leaves_nothing_beside(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"es/dev: must have 22 sentences of at most 0\.3 s, but got 0"):
        prepare_corpus(tmp_path / "out", SIZE, languages=["es"], splits=["dev"], max_seconds=0.3)
    assert not list(tmp_path.iterdir())


def test_finish_keeps_the_tone_trims_and_scales() -> None:
    rate, seconds = 22_050, 0.5
    tone = np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    spoken = np.concatenate([np.zeros(rate), 3000 * tone, np.zeros(rate // 50)]).astype(np.int16)
    samples = finish(spoken, rate, peak=-6.0)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx((seconds + 0.2) * SAMPLE_RATE, abs=32)
    assert np.abs(samples).max() == pytest.approx(10 ** (-6 / 20), rel=1e-5)
    assert np.abs(samples[: MARGIN - 32]).max() < 0.01
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * SAMPLE_RATE / len(samples) == pytest.approx(440, abs=2)
