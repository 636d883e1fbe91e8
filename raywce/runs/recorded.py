"""The experiment file that a run folder keeps, as today's schema reads it, compared with a file at hand.

A run folder outlives the version that began it: keys that came later have their defaults, keys that are gone or
have another name are listed, and what counts is the values, not the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raywce.assets import MICRO_WHISPER, is_micro_whisper
from raywce.errors import InputError, Problem, Problems, fail
from raywce.experiment import alternatives, text, validation
from raywce.experiment.load import ExperimentFile, with_both_kinds
from raywce.experiment.schema import Experiment
from raywce.experiment.space import Distribution, Scalar, take_out
from raywce.runs.folder import EXPERIMENT, RunFolder

# Keys that the schema had once, by dotted path, with the defaults that they had.
GONE: Mapping[str, Scalar] = {
    "training.context_bucket": 0.2,
    "training.context_jitter": 0.0,
    "training.full_context_share": 0.0,
    "evaluation.both_contexts": False,
    "evaluation.encoder_context_on_the_way": None,
    "search.constraints.margin": 0.0,
    "search.mlflow": None,
}
# Keys that have another name now.
RENAMED: Mapping[str, str] = {"evaluation.share_on_the_way": "evaluation.intermediate_share"}
# Keys that came later, with what runs before them did, where that is not today's default.
LATER: Mapping[str, Scalar] = {"evaluation.capped": False, "evaluation.intermediate_share": 1.0}
_NOTHING = object()


@dataclass(frozen=True)
class Recorded:
    """A run folder's file.

    Attributes:
        file: what today's schema knows of it; a value that it allows no more has its default.
        unknown: values of the keys that today's schema does not have, by dotted path.
        refused: what today's schema does not allow any more.
    """

    file: ExperimentFile
    unknown: Mapping[str, object]
    refused: list[Problem]


def recorded(folder: RunFolder) -> ExperimentFile:
    """Read the file that a run was made from; what it names elsewhere need not be at hand.

    Raises:
        InputError: there is none, or it is not as the run wrote it.
    """
    if not folder.has(EXPERIMENT):
        do = f"Name the folder that raywce search or raywce train wrote: it has an {EXPERIMENT}."
        fail("RUN", "must be a run folder", f"no {EXPERIMENT} in {folder.uri}", do)
    return _read(folder).file


def check_same(folder: RunFolder, file: ExperimentFile) -> None:
    """Check that the run folder is new, or was made from a file with the same values.

    Raises:
        InputError: with a problem for each key that differs.
    """
    if not folder.has(EXPERIMENT):
        return
    found = [*_differences(_read(folder), file, folder.uri)]
    if found:
        raise InputError(found)


def _read(folder: RunFolder) -> Recorded:
    try:
        return _parsed(folder.read_text(EXPERIMENT))
    except InputError as error:
        found = "; ".join(map(str, error.problems))
        do = "It was changed, or written by a version whose files can't be read any more."
        fail(folder.path(EXPERIMENT), "must be as the run wrote it", found, do)


def _parsed(written: str) -> Recorded:
    problems = Problems()
    tree, leaves, _ = take_out(text.parse(written, EXPERIMENT), problems)
    problems.raise_any()
    if not isinstance(tree, dict):
        fail(EXPERIMENT, "must hold keys and values", text.shown(tree))
    known, unknown = validation.without_unknown(tree)
    known = validation.put(known, {RENAMED[path]: unknown.pop(path) for path in RENAMED if path in unknown})
    written_keys = dict(_leaves(known))
    known = validation.put(known, {path: value for path, value in LATER.items() if path not in written_keys})
    leaves = {path: distribution for path, distribution in leaves.items() if path not in unknown}
    refused = validation.errors_in(known, leaves)
    sections = validation.valid_sections(known)
    if missing := [problem for problem in refused if problem.path.partition(".")[0] not in sections]:
        raise InputError(missing)
    experiment = with_both_kinds(Experiment(**sections), leaves)
    space = leaves | alternatives.dimensions(experiment.search.alternatives)
    return Recorded(ExperimentFile(experiment, space, [], []), unknown, refused)


def _differences(recorded: Recorded, file: ExperimentFile, run: str) -> Iterator[Problem]:
    do = "Change it back, or give this one another name or storage"
    for problem in recorded.refused:
        yield Problem(problem.path, problem.rule, f"{problem.got} in {run}", do)
    for path, value in recorded.unknown.items():
        if not (path in GONE and GONE[path] == value):
            do_else = "Resume it with the version that began it, or give this one another name or storage"
            yield Problem(path, "must be a key that this version has", f"{text.shown(value)} in {run}", do_else)
    before, now = _flat(recorded.file), _flat(file)
    for path in dict.fromkeys([*now, *before]):
        was, given = before.get(path, _NOTHING), now.get(path, _NOTHING)
        if was is _NOTHING:
            yield Problem(path, f"must not be there, as in {run}", _shown(given), do)
        elif given != was:
            got = "nothing" if given is _NOTHING else _shown(given)
            yield Problem(path, f"must be {_shown(was)}, as in {run}", got, do)


def _flat(file: ExperimentFile) -> dict[str, object]:
    """Return each leaf's value or distribution, by dotted path; not where things are, as a run may be moved."""
    tree = file.experiment.model_dump(exclude={"storage": True, "data": {"cache"}})
    if is_micro_whisper(Path(tree["model"]["checkpoint"])):  # wherever this package is installed
        tree["model"]["checkpoint"] = MICRO_WHISPER
    return {**dict(_leaves(tree)), **file.leaves}


def _leaves(node: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Distribution) else text.shown(value)
