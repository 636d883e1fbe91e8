from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from raywce.demo import assets
from raywce.demo.assets import MICRO_WHISPER, SIX_LANGUAGES
from raywce.errors import InputError

GENERATOR = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import raywce.demo.corpus
from raywce.demo.assets import SIX_LANGUAGES, provide_speech, speech_path

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


def test_demo_names_become_folders(tmp_path: Path) -> None:
    checkpoint = Path(assets.checkpoint_path(MICRO_WHISPER))
    assert checkpoint == Path(assets.__file__).parent / "micro_whisper"
    speech = Path(assets.speech_path(SIX_LANGUAGES, tmp_path))
    assert speech.parent == tmp_path / "demo"
    assert speech.name == f"six-languages-{assets.corpus_key()}"
    assert not list(tmp_path.iterdir()), "a name is resolved without anything being written"


@pytest.mark.parametrize("name", ["openai/whisper-tiny", "/a/folder", "./demo:six-languages", "demo", "s3://b/demo:x"])
def test_other_names_stay(name: str, tmp_path: Path) -> None:
    assert assets.checkpoint_path(name) == name
    assert assets.speech_path(name, tmp_path) == name


@pytest.mark.parametrize("name", ["demo:", "demo:micro", "demo:six-languages"])
def test_an_unknown_checkpoint_is_told_both_names(name: str) -> None:
    with pytest.raises(InputError, match=f"model.checkpoint: .*got {name}. .*{MICRO_WHISPER}.*{SIX_LANGUAGES}"):
        assets.checkpoint_path(name)


def test_unknown_speech_is_told_both_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--data: .*got {MICRO_WHISPER}. .*{MICRO_WHISPER}.*{SIX_LANGUAGES}"):
        assets.speech_path(MICRO_WHISPER, tmp_path, "--data")


@pytest.mark.parametrize("changed", ["sentences.py", "speakers.py", "espeak.py", "corpus.py", "grammars/gl.yaml"])
def test_another_generator_has_another_key(changed: str, tmp_path: Path) -> None:
    copy = shutil.copytree(Path(assets.__file__).parent, tmp_path / "demo", ignore=shutil.ignore_patterns("micro_*"))
    assert assets.corpus_key(copy) == assets.corpus_key()
    (copy / "assets.py").write_text("")
    assert assets.corpus_key(copy) == assets.corpus_key()
    with (copy / changed).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert assets.corpus_key(copy) != assets.corpus_key()


def test_another_synthesizer_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for version in ("0.2.3", "0.2.4"):
        monkeypatch.setattr("importlib.metadata.version", lambda name, version=version: version)
        keys.add(assets.corpus_key())
    assert len(keys) == 2


def test_the_corpus_is_generated_once_and_said_to_be(
    generator: Generator, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert assets.is_pending(corpus)
    assets.provide_speech(corpus)
    assert names(corpus) == {"first", "last"}
    assert not assets.is_pending(corpus)
    printed = capsys.readouterr()
    first, last = printed.err.splitlines()
    assert "generating the demo corpus" in first
    assert "2 utterances" in last
    assert str(corpus) in last
    assert printed.out == ""
    assets.provide_speech(corpus)
    assert generator.calls == [{"seed": 0, "max_seconds": 3.0, "jobs": 3}]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["speech", "demo/six-languages-0123456789ab", "demo/speech"])
def test_other_folders_are_left_alone(folder: str, generator: Generator, tmp_path: Path) -> None:
    assert not assets.is_pending(tmp_path / folder)
    assets.provide_speech(tmp_path / folder)
    assert not list(tmp_path.iterdir())
    assert generator.calls == []


def test_a_failed_generation_leaves_nothing_to_be_taken_for_whole(generator: Generator, corpus: Path) -> None:
    generator.fails = True
    with pytest.raises(OSError, match="no space left"):
        assets.provide_speech(corpus)
    assert names(corpus.parent) <= {"lock"}
    generator.fails = False
    assets.provide_speech(corpus)
    assert names(corpus) == {"first", "last"}


def test_a_killed_generation_is_repeated_and_its_leftovers_removed(
    generator: Generator, corpus: Path, tmp_path: Path
) -> None:
    assert start(tmp_path, "killed").wait() != 0
    assert not corpus.exists()
    assert list(corpus.parent.rglob("first")), "the killed process had begun to write"
    assets.provide_speech(corpus)
    assert names(corpus) == {"first", "last"}
    assert names(corpus.parent) <= {"lock", corpus.name}


def test_threads_at_once_generate_once(generator: Generator, corpus: Path) -> None:
    threads = [threading.Thread(target=assets.provide_speech, args=(corpus,)) for _ in range(4)]
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


def test_what_speaks_against_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "espeakng_loader" else object())
    synthesizer, language = assets.generation_problems(["gl", "it", "it"], "--data")
    assert str(synthesizer).startswith("--data: espeak-ng must be installed")
    assert synthesizer.do == "Run pip install 'raywce[demo]'"
    assert (language.path, language.got) == ("--data", "it")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert assets.generation_problems(["gl", "es"]) == []


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, raywce.demo.assets; print([n for n in ('torch', 'ray', 'espeakng_loader') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_small_corpus_is_really_spoken(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    from raywce.demo import corpus as demo
    from raywce.demo.sentences import LANGUAGES

    small = partial(demo.prepare_corpus, size=demo.CorpusSize(3, 2, 2, 1, 1, 2))
    monkeypatch.setattr(demo, "prepare_corpus", small)
    assets.provide_speech(corpus)
    rows = {
        f"{split}/{language}": pq.read_table(corpus / split / language).num_rows
        for split in ("train", "dev", "test")
        for language in LANGUAGES
    }
    low = {"train/gl": 2, "dev/gl": 1, "test/gl": 2}
    high = {f"{s}/{x}": n for s, n in (("train", 3), ("dev", 2), ("test", 1)) for x in LANGUAGES if x != "gl"}
    assert rows == low | high
