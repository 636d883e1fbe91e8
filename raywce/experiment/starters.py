"""Starter files: the experiment files that are shipped, written as files of one's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from raywce.errors import fail
from raywce.experiment.checks import NEW_LANGUAGE
from raywce.experiment.environment import token_languages
from raywce.experiment.text import shown
from raywce.storage.node_copy import has_parquet, read_columns

OWN_SPEECH = "own-speech"
_INSTALLED, _CHECKOUT = (Path(__file__).parents[up] / "search_spaces" for up in (1, 2))
_FOLDER = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
_WHISPER = "openai/whisper-small"


@dataclass(frozen=True)
class Speech:
    """Prepared speech, as an experiment file names it.

    Attributes:
        folder: as the user wrote it.
        hours: of train, by language; those without are there to be watched.
        dev: languages with dev.
        left_out: languages with train, but without dev.
        has_test: whether each language with train has a test split.
    """

    folder: str
    hours: dict[str, float]
    dev: list[str]
    left_out: list[str]
    has_test: bool

    @property
    def low_resource(self) -> str:
        """The language with the least speech to train on."""
        return min(self.hours, key=lambda language: (self.hours[language], language))


def names() -> dict[str, str]:
    """Return the starter files, each with what it is: the first sentence of its comment."""
    return {_name(file): _about(file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.yaml"))}


def starter(name: str, out: Path, speech: Speech | None = None) -> str:
    """Return the text of a starter file.

    Args:
        name: one of `names`.
        out: where it will be, for the commands in its comments.
        speech: what to fill in, with `OWN_SPEECH`.

    Raises:
        InputError: there is none of that name, or it takes no speech.
    """
    if name not in names():
        fail("NAME", "must be a starter file", name, f"Known: {', '.join(names())}")
    if speech and name != OWN_SPEECH:
        fail("--data", f"must come with {OWN_SPEECH}", name, "Write data.folder and languages into the file")
    file = _FOLDER / f"{name.replace('-', '_')}.yaml"
    _, text = file.read_text(encoding="utf-8").split("\n", 1)  # its schema's place, beside it
    text = text.replace(f"search_spaces/{file.name}", str(out))
    text = re.sub(r"search_spaces/(?=\w+\.yaml)", "", text)  # of others, which may be written beside it
    return _filled(text, speech) if speech else text


def find_speech(folder: Path) -> Speech:
    """Return the languages and splits of a folder that `raywce prepare` wrote.

    Raises:
        InputError: no language has both train and dev.
    """
    found = {split: _languages(folder, split) for split in ("train", "dev", "test")}
    trained = [language for language in found["train"] if language in found["dev"]]
    if not trained:
        got = {split: languages for split, languages in found.items() if languages} or "none of its folders"
        fail("--data", "must hold train/<language> and dev/<language>, as raywce prepare writes them", shown(got))
    hours = {language: _hours(folder, language) for language in trained}
    left_out = [language for language in found["train"] if language not in found["dev"]]
    has_test = all(language in found["test"] for language in trained)
    return Speech(str(folder), hours, found["dev"], left_out, has_test)


def _filled(text: str, speech: Speech) -> str:
    low = speech.low_resource
    high = sorted(speech.hours.keys() - {low}, key=lambda language: -speech.hours[language])
    watched = [language for language in speech.dev if language not in speech.hours]
    known = token_languages(_WHISPER)
    like = next((language for language in high if language in known), "en")
    without = [language for language in (low, *high, *watched) if language not in known]
    tokens = {language: {"new_like": like} if _can_be_new(language, speech) else like for language in without}
    about = ", ".join(f"{language} {speech.hours[language]:.1f}" for language in (low, *high))
    languages = [
        "languages:",
        f"  low_resource: [{low}]      # the one with the least speech; hours of train: {about}",
        f"  high_resource: [{', '.join(high)}]   # what must not get worse; each has a constraint",
        *(
            [f"  watched: [{', '.join(watched)}]   # measured, not trained on: they have no train split"]
            if watched
            else []
        ),
        *([f"  language_tokens: {json.dumps(tokens)}   # Whisper has no token for them"] if tokens else []),
    ]
    commands = text[text.index("#   raywce validate") :]
    text = f"# {low} beside {', '.join(high) or 'no other language'}.\n{commands}"
    text = text.replace("name=ast_medium", f"name={low}_medium").replace("--cap-to ast,", f"--cap-to {low},")
    folder = json.dumps(speech.folder, ensure_ascii=False)
    text = re.sub(r"(?m)^  folder: data/prepared.*$", lambda _: f"  folder: {folder}", text)
    text = re.sub(r"(?m)^    shares: null.*\n", "", text)
    text = re.sub(r"(?ms)^languages:\n.*?\n\n", "\n".join(languages) + "\n\n", text)
    text = re.sub(r"(?m)^    languages:.*\n      es: .*\n", "", text)
    if not high:
        text = re.sub(r"(?m)^  adaptive: .*\n", "", text)
    if not speech.has_test:
        text = re.sub(
            r"(?m)^(    candidates: .*)$", r"\1\n    test: false            # not every language has a test split", text
        )
    return text


def _can_be_new(language: str, speech: Speech) -> bool:
    """Return whether it can have a token of its own: it is trained on, and its code is one."""
    return language in speech.hours and NEW_LANGUAGE.fullmatch(language) is not None


def _languages(folder: Path, split: str) -> list[str]:
    inner = sorted(one.name for one in (folder / split).glob("*") if one.is_dir())
    return [language for language in inner if has_parquet(str(folder), f"{split}/{language}")]


def _hours(folder: Path, language: str) -> float:
    durations = read_columns(str(folder), [f"train/{language}"], ["duration"])["duration"]
    return float(durations.to_numpy().sum()) / 3600


def _name(file: Path) -> str:
    return file.stem.replace("_", "-")


def _about(text: str) -> str:
    lines = [line.lstrip("# ") for line in text.splitlines()[1:] if line.startswith("#")]
    return " ".join(lines).split(". ")[0].rstrip(".:") + "."
