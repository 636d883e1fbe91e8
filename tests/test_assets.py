from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raywce import assets
from raywce.assets import MICRO_WHISPER, SIX_LANGUAGES
from raywce.errors import InputError


def test_demo_names_become_folders(tmp_path: Path) -> None:
    checkpoint = Path(assets.checkpoint_path(MICRO_WHISPER))
    assert checkpoint == Path(assets.__file__).parent / "demo" / "micro_whisper"
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
    copy = shutil.copytree(
        Path(assets.__file__).parent / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("micro_*")
    )
    assert assets.corpus_key(copy) == assets.corpus_key()
    (copy / "generate.py").write_text("")
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


def test_what_speaks_against_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "espeakng_loader" else object())
    synthesizer, language = assets.generation_problems(["gl", "it", "it"], "--data")
    assert str(synthesizer).startswith("--data: espeak-ng must be installed")
    assert synthesizer.do == "Run pip install 'raywce[demo]'"
    assert (language.path, language.got) == ("--data", "it")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert assets.generation_problems(["gl", "es"]) == []


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, raywce.assets; print([n for n in ('torch', 'ray', 'espeakng_loader') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
