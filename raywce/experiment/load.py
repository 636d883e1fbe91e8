"""Read an experiment file, find everything that is wrong with it, and give the experiment of each of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raywce import assets
from raywce.errors import Absent, InputError, Problem, Problems, fail
from raywce.experiment import alternatives, budget, checks, environment, text, validation
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.overrides import put_in as put_overrides_in
from raywce.experiment.points import FirstPoints, in_draws, published
from raywce.experiment.schema import Data, Experiment, Model, Search, Sections
from raywce.experiment.space import Distribution, Scalar, Space, take_out
from raywce.experiment.text import Tree
from raywce.storage.files import is_uri

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class ExperimentFile:
    """A file that holds: every value, and every draw of its distributions, can be run.

    Attributes:
        experiment: with a value in every leaf; a searched one has its distribution's first value.
        space: what is searched: the distributions, by dotted key path, in the file's order, then the alternatives, a
            choice of its levels for each factor.
        notes: what is worth knowing, though not wrong.
        not_here: what it needs and this machine does not have, where `load` was to let that pass.
    """

    experiment: Experiment
    space: dict[str, Distribution]
    notes: list[str]
    _points: list[dict[str, Scalar]]
    not_here: list[Problem] = field(default_factory=list)

    def at(self, values: Mapping[str, Scalar]) -> Experiment:
        """Return the experiment with a value for each searched leaf.

        Raises:
            InputError: values are lacking, unknown, or none that their distribution could draw.
        """
        problems = Problems()
        for path in values.keys() ^ self.space.keys():
            problems.add(path, "must be given" if path in self.space else "must be a searched key")
        problems.found.extend(checks.outside("", values, self.space))
        problems.raise_any()
        return self.beyond(in_draws(values, self.space))

    def beyond(self, values: Mapping[str, Scalar]) -> Experiment:
        """Return the experiment as `at` does, with values that its distributions need not hold."""
        drawn = {path: value for path, value in values.items() if path in self.leaves}
        return _with(self.experiment, drawn | alternatives.changes(self.experiment.search.alternatives, values))

    @property
    def leaves(self) -> dict[str, Distribution]:
        """The searched leaves: the space without the alternatives."""
        factors = self.experiment.search.alternatives
        return {path: distribution for path, distribution in self.space.items() if path not in factors}

    @property
    def optuna_space(self) -> dict[str, BaseDistribution]:
        """The space as a study has it."""
        return {path: distribution.to_optuna() for path, distribution in self.space.items()}

    def settings(self) -> list[dict[str, Scalar]]:
        """Return a grid's settings in its order, without those that are the baseline, whose runs stand for them."""
        return [values for values in self._grid() if not self.is_baseline(self.at(values))]

    def stood_for(self) -> list[dict[str, Scalar]]:
        """Return a grid's settings that the baseline's runs stand for."""
        return [values for values in self._grid() if self.is_baseline(self.at(values))]

    @property
    def trials(self) -> int:
        """The number of trials of the search: a grid's settings over its seeds, or `search.trials`."""
        search = self.experiment.search
        return len(self.settings()) * search.seeds if search.trials is None else search.trials

    def concrete(self) -> Experiment:
        """Return the experiment of a file without distributions; what alternatives change is as the file has it.

        Raises:
            InputError: names each leaf that still has one.
        """
        problems = Problems()
        for path, distribution in self.leaves.items():
            problems.add(path, "must have a value to train with", distribution, f"Give it one: {path}=VALUE")
        problems.raise_any()
        return self.experiment

    def require_space(self) -> None:
        """Raise an `InputError` where there is nothing to search."""
        if not self.space:
            do = "For instance alpha: {uniform: [1, 6]}"
            fail("weighting", "a search must have a distribution in some leaf", do=do)

    def published_points(self) -> list[dict[str, Scalar]]:
        """Return the settings to try first: the published ones or the points listed, a value for each searched leaf."""
        return [dict(point) for point in self._points]

    def baseline(self) -> Experiment:
        """Return plain fine-tuning on the same data, at `search.baseline`'s values of optimizer, sampling and LoRA."""
        values = {path: value for path, value in self.experiment.search.baseline.items() if path in self.leaves}
        return _with(self.experiment, values | {"weighting": {"kind": "none"}, "augmentation": {}})

    def resolved_yaml(self) -> str:
        """Return the whole file: defaults filled in, paths absolute, distributions kept. Loading it gives the same."""
        tree = self.experiment.model_dump()
        searched = {path: distribution.as_yaml() for path, distribution in self.leaves.items()}
        return text.write(validation.put(tree, searched))

    def _grid(self) -> Iterator[dict[str, Scalar]]:
        return alternatives.combinations({path: values.listed() for path, values in self.space.items()})

    def is_baseline(self, experiment: Experiment) -> bool:
        """Return whether a setting trains as the baseline does: weights of 1, no augmentation, all else the same."""
        baseline = self.baseline()
        weighted = any(
            schedule.adaptive or (schedule.alpha_initial, schedule.alpha_final) != (1.0, 1.0)
            for schedule in experiment.schedules().values()
        )
        sections = ("model", "training", "data")
        as_there = all(getattr(experiment, name) == getattr(baseline, name) for name in sections)
        return as_there and not weighted and not experiment.augmentation.active


def load(
    path: Path, overrides: Sequence[str] = (), check_files: bool = True, allow_absent: bool = False
) -> ExperimentFile:
    """Read `path`, put `key=value` overrides in, and check all of it.

    Args:
        path: a YAML file.
        overrides: `weighting.alpha=2`; the value is YAML, that of a text leaf the text itself.
        check_files: also check what the file names outside itself: data, checkpoint, this machine.
        allow_absent: what this machine does not have is no error: a cluster's file, read on another machine.

    Raises:
        InputError: with every problem that was found.
    """
    problems = Problems()
    written = put_overrides_in(text.read(path), overrides, problems)
    tree, leaves, broken = take_out(written, problems)
    problems.found += [problem for problem in validation.errors_in(tree, leaves) if problem.path not in broken]
    sections = _absolute(validation.valid_sections(tree), problems)
    factors = sections["search"].alternatives if "search" in sections else {}
    space = leaves | alternatives.dimensions(factors)
    problems.found += alternatives.problems(tree, factors, leaves, partial(_found_in, leaves, check_files))
    first = _first_points(sections, space)
    problems.found += checks.combinations(sections, space) + first.problems
    problems.found += _baseline_problems(tree, sections, space)
    if check_files:
        problems.found += environment.missing(sections, space)
    found = list(dict.fromkeys(problems.found))
    errors = [problem for problem in found if not (allow_absent and isinstance(problem, Absent))]
    if errors:
        raise InputError(errors)
    notes = first.notes + checks.notes(sections) + (environment.notes(sections) if check_files else [])
    experiment = with_both_kinds(Experiment(**sections), leaves)
    loaded = ExperimentFile(experiment, space, notes, first.points, found)
    if space and experiment.search.sampler == "grid" and not loaded.settings():
        fail("search.sampler", "a grid must have a setting that is not the baseline", "none")
    return loaded


def _found_in(leaves: Space, check_files: bool, tree: Tree) -> list[Problem]:
    """Return what is wrong with a tree, as far as a level of an alternative can change it."""
    sections = validation.valid_sections(tree)
    found = validation.errors_in(tree, leaves) + checks.combinations(sections, leaves)
    changeable = {name: sections[name] for name in ("augmentation",) if name in sections}
    if check_files and "model" in sections:
        found += environment.lora_problems(sections["model"], leaves)
    return found + (environment.missing(changeable, leaves) if check_files else [])


def _absolute(sections: Sections, problems: Problems) -> Sections:
    """Make local paths absolute, since workers run elsewhere; leave out sections that can't be resolved."""
    out = dict(sections)
    resolvers: dict[str, Callable[[Any], Any]] = {
        "data": _data,
        "model": _model,
        "augmentation": _augmentation,
        "search": _search,
        "storage": _path,
    }
    for name, resolved in resolvers.items():
        if name in out:
            try:
                out[name] = resolved(out[name])
            except InputError as error:
                problems.found += error.problems
                del out[name]
    return out


def _data(data: Data) -> Data:
    cache = _path(data.cache)
    folder = assets.speech_path(data.folder, Path(cache))
    extra = {name: _path(written) for name, written in data.extra_test.items()}
    return data.model_copy(update={"folder": _path(folder), "cache": cache, "extra_test": extra})


def _model(model: Model) -> Model:
    checkpoint = assets.checkpoint_path(model.checkpoint)
    if environment.is_hub_id(checkpoint):
        return model
    return model.model_copy(update={"checkpoint": _path(checkpoint)})


def _augmentation(augmentation: Augmentation) -> Augmentation:
    resolved = {
        key: getattr(augmentation, key).model_copy(update={"folder": _path(folder)})
        for key, folder in augmentation.folders.items()
        if folder is not None
    }
    return augmentation.model_copy(update=resolved)


def _search(search: Search) -> Search:
    shared = budget.shared_out(search)
    return shared.model_copy(update={"alternatives": alternatives.with_folders(search.alternatives, _path)})


def _path(written: str) -> str:
    return written.rstrip("/") if is_uri(written) else str(Path(written).expanduser().absolute())


def _first_points(sections: Sections, space: Space) -> FirstPoints:
    nothing = FirstPoints([], [], [])
    if not space or "search" not in sections or "weighting" not in sections:
        return nothing
    search = sections["search"]
    if search.points == "published" and search.alternatives:
        note = "no published setting is among the first points, as they have no level of search.alternatives"
        return FirstPoints([], [note], [])
    if search.points == "published":
        return published(sections["weighting"], space, search.baseline)
    return nothing if search.points == "none" else FirstPoints([in_draws(p, space) for p in search.points], [], [])


def _baseline_problems(tree: Tree, sections: Sections, space: Space) -> list[Problem]:
    if "search" not in sections:
        return []
    values = {path: value for path, value in sections["search"].baseline.items() if path in space}
    wrong = validation.errors_in(validation.put(tree, values), {})
    return [replace(problem, path=f"search.baseline.{problem.path}") for problem in wrong if problem.path in values]


def with_both_kinds(experiment: Experiment, space: Space) -> Experiment:
    """Decide `auto` once for the file, so that the baseline and every trial see the same data."""
    if experiment.data.sampling.both_kinds != "auto":
        return experiment
    factors = experiment.search.alternatives
    made = [_with(experiment, alternatives.changes(factors, levels)) for levels in alternatives.combinations(factors)]
    both = any(checks.can_adapt(one.weighting, space) for one in made)
    return _with(experiment, {"data.sampling.both_kinds": both})


def _with(experiment: Experiment, values: Mapping[str, object]) -> Experiment:
    return Experiment.model_validate(validation.put(experiment.model_dump(), values))
