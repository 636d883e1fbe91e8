"""The Markdown files name what is there: files, sections of files, options, and keys of the experiment file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from raywce.cli import app
from raywce.experiment.load import load
from raywce.experiment.reference import tables
from raywce.runs.folder import RunFolder
from raywce.runs.json_files import read_outcome
from raywce.screen.outcome import show_outcome
from raywce.screen.summary import plain_words
from tests.screen.readable import printed

ROOT = Path(__file__).parents[1]
FOLDERS = ("cluster", "notebooks", "raywce", "search_spaces", "tests")
FILES = sorted([*ROOT.glob("*.md"), *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md"))])
TEXTS = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in FILES}
COMMANDS: dict[str, set[str]] = {
    name: {"--help", *(option for parameter in command.params for option in parameter.opts)}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
# Options of other programs that stand alone in a text.
OTHERS = {"--resources", "--submission-id", "--working-dir"}
SECTIONS = [table.path for table in tables()]
KEYS = {key.path: key for table in tables() for key in table.keys}
EVERY = pytest.mark.parametrize("name", TEXTS)

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


# What a text names.


def prose(text: str) -> str:
    """The text without its code blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of the links, but those to the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _SPAN.sub("", prose(text)))
    return [target for target in targets if "://" not in target]


def anchors(text: str) -> set[str]:
    """What GitHub calls the sections: lower case, blanks as hyphens, without punctuation; numbered where repeated."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """Each `raywce COMMAND` of a piece of shell, with its arguments."""
    joined = re.sub(r"\\\n\s*", " ", code)
    for line in joined.splitlines():
        for name, rest in re.findall(r"(?<![\w./-])(?:\.venv/bin/)?raywce ([a-z][\w-]*)([^;|&\n]*)", line):
            try:
                yield name, shlex.split(rest, comments=True)
            except ValueError:  # a text with an apostrophe, no shell
                yield name, rest.split()


def all_commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of the code blocks of shell, and of the code in the prose."""
    blocks = [code for language, code in _FENCE.findall(text) if language in ("bash", "sh")]
    return [command for code in [*blocks, *_SPAN.findall(prose(text))] for command in commands(code)]


def table(text: str, head: str) -> list[list[str]]:
    """The rows of the table that starts with `head`, without the line below it."""
    rows = text[text.index(head) :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if "---" not in row]


def paragraphs(text: str) -> list[str]:
    """Paragraphs, items of lists and rows of tables."""
    return re.split(r"\n\s*\n|\n(?= *(?:[-*]|\d+\.) |\|)", prose(text))


def key_paths(text: str) -> Iterator[str]:
    """The dotted keys of the prose, and those that commands override."""
    sections = "|".join(sorted({section.partition(".")[0] for section in SECTIONS if section}))
    for span in _SPAN.findall(prose(text)):
        found = re.match(rf"((?:{sections})(?:\.[\w<>]+)+)(?=$|[=:\s])", span)
        if found and not found[1].endswith((".md", ".py")):
            yield found[1]
    for name, arguments in all_commands(text):
        if name in ("validate", "profile", "train", "search"):
            yield from (argument.partition("=")[0] for argument in arguments if re.match(r"[a-z][\w.]*=", argument))


def is_key(path: str) -> bool:
    """Whether the file may have it: a section, a key, or a name inside a mapping."""
    shapes = (re.sub(r"<\w+>", "[^.]+", known) for known in KEYS)
    names = (known for known, key in KEYS.items() if "mapping of names" in key.values)
    return (
        path in SECTIONS
        or any(re.fullmatch(shape, path) for shape in shapes)
        or any(path.startswith(f"{known}.") for known in names)
    )


# The rules.


def test_they_are_found() -> None:
    assert {"README.md", "cluster/README.md", "search_spaces/README.md", "raywce/search/README.md"} <= TEXTS.keys()


@EVERY
def test_its_links_lead_to_files_and_sections_that_are_there(name: str) -> None:
    broken = []
    for target in links(TEXTS[name]):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


@EVERY
def test_the_commands_that_it_names_have_the_options_that_it_gives_them(name: str) -> None:
    unknown = []
    for command, arguments in all_commands(TEXTS[name]):
        options = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
        unknown += [f"{command} {option}" for option in options if option not in COMMANDS.get(command, ())]
        unknown += [command] if command not in COMMANDS else []
    assert not unknown


@EVERY
def test_an_option_that_stands_alone_is_one_of_the_commands_beside_it(name: str) -> None:
    unknown = []
    for paragraph in paragraphs(TEXTS[name]):
        spans = _SPAN.findall(paragraph)
        named = {command for span in spans for command, _ in commands(span)} & COMMANDS.keys()
        possible = set().union(*(COMMANDS[command] for command in named or COMMANDS))
        options = [span.split()[0].partition("=")[0] for span in spans if span.startswith("--")]
        unknown += [option for option in options if option not in possible | OTHERS]
    assert not unknown


@EVERY
def test_the_keys_that_it_names_are_those_of_the_experiment_file(name: str) -> None:
    assert not [path for path in key_paths(TEXTS[name]) if not is_key(path)]


def test_the_readme_is_short() -> None:
    lines = TEXTS["README.md"].splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > 120]


def test_the_readmes_experiment_file_and_its_overrides_hold(tmp_path: Path) -> None:
    text = TEXTS["README.md"]
    (yaml,) = (code for language, code in _FENCE.findall(text) if language == "yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(yaml)
    runs = [arguments for name, arguments in all_commands(text) if name == "search" and arguments[0] == file.name]
    assert len(runs) == 2
    for _, *overrides in runs:
        loaded = load(file, overrides, check_files=False)
        loaded.require_space()
        assert not loaded.notes


def test_what_the_quickstart_found_is_what_its_outcome_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/quickstart/outcome.json` is the outcome of the run that the texts show."""
    found = read_outcome(RunFolder.at(str(ROOT / "tests" / "quickstart")))
    assert found
    lines = printed(monkeypatch, lambda: show_outcome(found))
    (quoted,) = re.findall(r"(?:^> .*\n)+", TEXTS["README.md"], re.MULTILINE)
    assert " ".join(quoted.replace("\n> ", " ").removeprefix("> ").split()) == plain_words(found)
    (shown,) = (code for code in _FENCE.findall(TEXTS["search_spaces/README.md"]) if plain_words(found) in code[1])
    tables = shown[1][shown[1].index(plain_words(found)) : shown[1].rindex("…")]
    assert [line for line in tables.splitlines() if line not in {one.rstrip() for one in lines}] == []


def test_what_the_study_found_is_what_its_outcome_says() -> None:
    """`notebooks/study_tables/catalan/` has the tables of the run that README.md shows."""
    found = json.loads((ROOT / "notebooks" / "study_tables" / "catalan" / "outcome.json").read_text())
    test, languages = found["confirmation"]["tests"]["test"], ["ca", "en", "de", "nl", "it"]
    winner = test["candidates"]["candidate-1"]
    head, *rows = table(TEXTS["README.md"], "| | ca |")
    assert head[1:] == languages
    for (_, *cells), model in zip(rows, (test["original"], test["baseline"], winner), strict=False):
        assert cells == [f"{100 * model['wer'][of]['value']:.1f}" for of in languages]
    changes = [winner["against_baseline"][of] for of in languages]
    said = [f"{100 * one['value']:+.1f} ± {50 * (one['high'] - one['low']):.1f}" for one in changes]
    assert rows[3][1:] == [one.replace("-", "−") for one in said]


# A wrong text is caught.


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("search.trials", True),
        ("search.confirm", True),
        ("data.sampling.shares.gl", True),
        ("search.constraints.languages.es.absolute_floor", True),
        ("weighting.languages.gl.alpha", True),
        ("search.alternatives.weighting", True),
        ("search.trails", False),
        ("search.trials.gl", False),
        ("search.constraints.languages.es.floor", False),
        ("training.context", False),
    ],
)
def test_what_is_a_key(path: str, known: bool) -> None:
    assert is_key(path) is known


def test_what_is_read_from_a_text() -> None:
    text = """# Title, `code` (two)

[a](other.md#part), [web](https://example.org/a), `[no](link.md)`; `search.trials: 3`, `training.steps`, `data.md`.

    indented

```bash
.venv/bin/raywce search a.yaml \\
  training.seed=1 --json b && raywce report runs/a  # --out
```
"""
    assert links(text) == ["other.md#part"]
    assert anchors(text) == {"title-code-two"}
    assert all_commands(text) == [("search", ["a.yaml", "training.seed=1", "--json", "b"]), ("report", ["runs/a"])]
    assert list(key_paths(text)) == ["search.trials", "training.steps", "training.seed"]
