from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from raywce import assets
from raywce.assets import SIX_LANGUAGES
from raywce.demo.generate import provide_speech

GENERATOR = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import raywce.demo.corpus
from raywce.assets import SIX_LANGUAGES, speech_path
from raywce.demo.generate import provide_speech

cache, killed = Path(sys.argv[1]), sys.argv[2] == "killed"

def generate(folder, **options):
    with (cache / "calls").open("a") as calls:
        calls.write("once\\n")
    folder.mkdir()
    (folder / "first").touch()
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    (folder / "last").touch()
    return SimpleNamespace(utterances=2)

raywce.demo.corpus.prepare_corpus = generate
provide_speech(Path(speech_path(SIX_LANGUAGES, cache)))
"""


class Generator:
    """Stands in for the real one: two files, with a pause between them."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.calls: list[dict[str, object]] = []

    def __call__(self, folder: Path, **options: object) -> SimpleNamespace:
        self.calls.append(options)
        folder.mkdir()
        (folder / "first").touch()
        time.sleep(0.1)
        if self.fails:
            raise OSError("no space left")
        (folder / "last").touch()
        return SimpleNamespace(utterances=2)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Generator:
    fake = Generator()
    monkeypatch.setattr("raywce.demo.corpus.prepare_corpus", fake)
    return fake


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return Path(assets.speech_path(SIX_LANGUAGES, tmp_path))


def start(cache: Path, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", GENERATOR, str(cache), how], stderr=subprocess.DEVNULL)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_corpus_is_generated_once_and_said_to_be(
    generator: Generator, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loky.cpu_count", lambda: 3)
    assert assets.is_pending(corpus)
    provide_speech(corpus)
    assert names(corpus) == {"first", "last"}
    assert not assets.is_pending(corpus)
    printed = capsys.readouterr()
    first, last = printed.err.splitlines()
    assert "generating the demo corpus" in first
    assert "2 utterances" in last
    assert str(corpus) in last
    assert printed.out == ""
    provide_speech(corpus)
    assert generator.calls == [{"seed": 0, "max_seconds": 3.0, "jobs": 3}]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["speech", "demo/six-languages-0123456789ab", "demo/speech"])
def test_other_folders_are_left_alone(folder: str, generator: Generator, tmp_path: Path) -> None:
    assert not assets.is_pending(tmp_path / folder)
    provide_speech(tmp_path / folder)
    assert not list(tmp_path.iterdir())
    assert generator.calls == []


def test_a_failed_generation_leaves_nothing_to_be_taken_for_whole(generator: Generator, corpus: Path) -> None:
    generator.fails = True
    with pytest.raises(OSError, match="no space left"):
        provide_speech(corpus)
    assert names(corpus.parent) <= {"lock"}
    generator.fails = False
    provide_speech(corpus)
    assert names(corpus) == {"first", "last"}


def test_a_killed_generation_is_repeated_and_its_leftovers_removed(
    generator: Generator, corpus: Path, tmp_path: Path
) -> None:
    assert start(tmp_path, "killed").wait() != 0
    assert not corpus.exists()
    assert list(corpus.parent.rglob("first")), "the killed process had begun to write"
    provide_speech(corpus)
    assert names(corpus) == {"first", "last"}
    assert names(corpus.parent) <= {"lock", corpus.name}


def test_threads_at_once_generate_once(generator: Generator, corpus: Path) -> None:
    threads = [threading.Thread(target=provide_speech, args=(corpus,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(generator.calls) == 1
    assert names(corpus) == {"first", "last"}


def test_processes_at_once_generate_once(corpus: Path, tmp_path: Path) -> None:
    processes = [start(tmp_path, "whole") for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "calls").read_text() == "once\n"
    assert names(corpus) == {"first", "last"}


@pytest.mark.slow
def test_a_small_corpus_is_really_spoken(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    from raywce.demo import corpus as demo
    from raywce.demo.sentences import LANGUAGES

    small = partial(demo.prepare_corpus, size=demo.CorpusSize(3, 2, 2, 1, 1, 2))
    monkeypatch.setattr(demo, "prepare_corpus", small)
    provide_speech(corpus)
    rows = {
        f"{split}/{language}": pq.read_table(corpus / split / language).num_rows
        for split in ("train", "dev", "test")
        for language in LANGUAGES
    }
    low = {"train/gl": 2, "dev/gl": 1, "test/gl": 2}
    high = {f"{s}/{x}": n for s, n in (("train", 3), ("dev", 2), ("test", 1)) for x in LANGUAGES if x != "gl"}
    assert rows == low | high
