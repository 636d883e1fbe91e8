"""Problems of a user's input, collected, so that everything is reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn


@dataclass(frozen=True)
class Problem:
    """One rule that the input breaks.

    Attributes:
        path: where, as a dotted key path of the experiment file (`weighting.alpha`) or a file's path.
        rule: what must hold.
        got: what was found, as text; empty where nothing was.
        do: what to change, in one clause; empty where the rule says it.
    """

    path: str
    rule: str
    got: str = ""
    do: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.rule}" if self.path else self.rule
        if self.got:
            text += f", but got {self.got}"
        return f"{text}. {self.do}" if self.do else text


class Absent(Problem):
    """Something that the input names and this machine does not have; the input may be right on another one."""


class InputError(Exception):
    """Bad input: the command line prints its problems, one a line, and ends with exit code 2."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[list[Problem]]]:
        """Restore it from its problems: Ray pickles what a worker raises."""
        return type(self), (self.problems,)


def one_line(text: object) -> str:
    """Return a text with single spaces between its words."""
    return " ".join(str(text).split())


def fail(path: str, rule: str, got: object = "", do: str = "") -> NoReturn:
    """Raise an `InputError` with a single problem."""
    raise InputError([Problem(path, rule, str(got), do)])


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's message: those of torch and transformers continue with advice."""
    return first_line(error).partition(". ")[0].rstrip(".")


@dataclass
class Problems:
    """Collection of problems while checks continue; `raise_any` ends the checking."""

    found: list[Problem] = field(default_factory=list)

    def add(self, path: str, rule: str, got: object = "", do: str = "") -> None:
        """Record one broken rule."""
        self.found.append(Problem(path, rule, str(got), do))

    def raise_any(self) -> None:
        """Raise an `InputError` with everything found, or return where nothing was."""
        if self.found:
            raise InputError(list(self.found))


class RunFailed(Exception):
    """An expected failure of a run, its reason in one line: the command line prints it and ends with exit code 1."""
