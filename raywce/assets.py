"""Assets that have the names demo:… in an experiment file: the micro Whisper of this package and the demo corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

from raywce.errors import Absent, Problem, fail

MICRO_WHISPER = "demo:micro-whisper"
SIX_LANGUAGES = "demo:six-languages"

_PREFIX = "demo:"
_PACKAGE = Path(__file__).parent / "demo"
_MICRO_WHISPER_FOLDER = "micro_whisper"
SEED, MAX_SECONDS = 0, 3.0  # of the demo corpus
_GENERATOR = ("sentences.py", "speakers.py", "espeak.py", "corpus.py")


def checkpoint_path(name: str, path: str = "model.checkpoint") -> str:
    """Return the micro Whisper's folder for its demo name; any other folder or Hub id as it is.

    Args:
        name: as the user wrote it.
        path: what a message calls it.

    Raises:
        InputError: another name that begins with demo:.
    """
    return str(_PACKAGE / _MICRO_WHISPER_FOLDER) if _is(name, MICRO_WHISPER, path) else name


def is_micro_whisper(folder: Path) -> bool:
    """Return whether it is the micro Whisper's folder, of this installation of the package or of another."""
    return folder.parts[-3:] == (*_PACKAGE.parts[-2:], _MICRO_WHISPER_FOLDER)


def speech_path(name: str, cache: Path, path: str = "data.folder") -> str:
    """Return the demo corpus' folder in the cache for its demo name, there or not; any other folder as it is.

    Raises:
        InputError: another name that begins with demo:.
    """
    return str(cache / "demo" / _folder_name()) if _is(name, SIX_LANGUAGES, path) else name


def is_pending(folder: Path) -> bool:
    """Return whether it is where the demo corpus belongs, and has not been generated yet."""
    return not folder.exists() and folder.parent.name == "demo" and folder.name == _folder_name()


def generation_problems(languages: Sequence[str], path: str = "data.folder") -> list[Problem]:
    """Return why a pending corpus can't be used: no synthesizer here, or languages that it will not hold."""
    has = sorted(grammar.stem for grammar in (_PACKAGE / "grammars").glob("*.yaml"))
    problems: list[Problem] = []
    if util.find_spec("espeakng_loader") is None:
        rule = "espeak-ng must be installed to speak the demo corpus"
        problems.append(Absent(path, rule, "no espeakng_loader", "Run pip install 'raywce[demo]'"))
    for language in dict.fromkeys(languages):
        if language not in has:
            rule = f"must hold the languages named; the demo corpus has {', '.join(has)}"
            problems.append(Problem(path, rule, language, "Take it out of the languages"))
    return problems


def corpus_key(generator: Path = _PACKAGE) -> str:
    """Return twelve hexadecimal digits that change with what the corpus is made from: its code, grammars, synthesizer.

    Args:
        generator: the folder with the modules and grammars.
    """
    digest = hashlib.sha256(repr((SEED, MAX_SECONDS, _synthesizer())).encode())
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
    """Return the version of the wheel that has espeak-ng in it; empty where there is none."""
    try:
        return metadata.version("espeakng-loader")
    except metadata.PackageNotFoundError:
        return ""
