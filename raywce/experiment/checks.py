"""Combinations of the file's values that cannot work, each found before anything is started."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter

from raywce.errors import Problem
from raywce.evaluation.writing import has_vowel_signs, separates_words
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.rungs import rungs, same_until
from raywce.experiment.schema import (
    Data,
    Evaluation,
    Languages,
    Model,
    Resources,
    Search,
    Sections,
    Training,
    Weighting,
    metrics_of,
)
from raywce.experiment.space import Scalar, Space, largest
from raywce.experiment.text import shown

OF_BASELINE = ("training.optimizer.", "data.sampling.", "model.lora.")  # leaves that the baseline has a value of too
NEW_LANGUAGE = re.compile("[a-z]{2,3}")  # the code of one that gets a token of its own (ISO 639)
_MEASURED_BY = {  # limits of robustness, by what has them measured
    "nothing": "robustness",
    "long_form": "robustness",
    "loops": "",
    "language_identification": "identify_language",
    "timestamps": "timestamps",
}
_OF_THE_EXPERIMENT = "must be for a language of the experiment"
_WHOLE_TRIALS = {
    "noise_aware": "learns nothing from a trial that was stopped",
    "gp": "learns nothing from a trial that was stopped",
    "grid": "compares whole trainings",
}
# The largest that these leaves may be: augmentation.strength is no way past it.
_STRONGEST = {"time_stretch.rate": 0.5, "pitch_shift.semitones": 12.0}


def combinations(sections: Sections, space: Space) -> list[Problem]:
    """Return a problem for every combination that cannot work, as far as the sections it concerns are there."""
    known = {**sections, "space": space}
    return [
        problem
        for check, needed in _CHECKS.items()
        if all(name in known for name in needed)
        for problem in check(*(known[name] for name in needed))
    ]


def can_adapt(weighting: Weighting, space: Space) -> bool:
    """Return whether some trial's weight is gated by the loss ratio, which needs both kinds of languages in a batch."""
    adaptive = space.get("weighting.adaptive")
    possible = adaptive.values if adaptive else [getattr(weighting, "adaptive", False)]
    return weighting.kind in ("dynamic", "progressive_dynamic") or True in possible


def can_act(augmentation: Augmentation, key: str, space: Space) -> bool:
    """Return whether the transform has, or can be drawn, a probability above 0."""
    return _largest(augmentation, f"{key}.probability", space) > 0


def _possible(augmentation: Augmentation, leaf: str, space: Space) -> tuple[Scalar, ...]:
    """Return the value of a leaf of the augmentation, or the bounds or choices that it is drawn from."""
    path = f"augmentation.{leaf}"
    return space[path].values if path in space else (attrgetter(leaf)(augmentation),)


def _largest(augmentation: Augmentation, leaf: str, space: Space) -> float:
    return largest(f"augmentation.{leaf}", attrgetter(leaf)(augmentation), space)


def _lists(languages: Languages) -> Iterator[Problem]:
    yield from _repeated("languages.low_resource", languages.low_resource)
    yield from _repeated("languages.high_resource", languages.high_resource)
    yield from _repeated("languages.watched", languages.watched)
    for language in sorted(set(languages.low_resource) & set(languages.high_resource)):
        rule = "must not name a low-resource language"
        yield Problem("languages.high_resource", rule, language, "Leave it in one of the two lists")
    for language in sorted(set(languages.watched) & set(languages.all)):
        rule = "must not name a language that is trained on"
        yield Problem("languages.watched", rule, language, "Leave it in one of the lists")


def _language_tokens(languages: Languages) -> Iterator[Problem]:
    return _others("languages.language_tokens", languages.language_tokens, languages.decoded, _OF_THE_EXPERIMENT)


def _new_tokens(languages: Languages, model: Model, space: Space) -> Iterator[Problem]:
    for language in languages.new_tokens:
        if not NEW_LANGUAGE.fullmatch(language):
            rule = "a language with a new token must have a code of two or three lower-case letters (ISO 639)"
            yield Problem(f"languages.language_tokens.{language}", rule, language)
    path = "model.lora.rank"
    if languages.new_tokens and (rank := largest(path, model.lora.rank, space)):
        rule = "must be 0 with a new token (languages.language_tokens), which an adapter would not train"
        yield Problem(path, rule, f"{rank:g}", "Set it to 0, or lend the token of another language")


def _high_resource_needed(languages: Languages, weighting: Weighting, data: Data, space: Space) -> Iterator[Problem]:
    if languages.high_resource:
        return
    do = "Name at least one under languages.high_resource, or take another weighting"
    if can_adapt(weighting, space):
        path = "weighting.adaptive" if hasattr(weighting, "adaptive") else "weighting.kind"
        got = space.get("weighting.adaptive", getattr(weighting, "adaptive", weighting.kind))
        yield Problem(path, "an adaptive weight must have high-resource languages to compare with", str(got), do)
    if data.sampling.both_kinds is True:
        path = "data.sampling.both_kinds"
        yield Problem(path, "batches of both kinds must have high-resource languages", "true", do)


def _own_alphas(languages: Languages, weighting: Weighting) -> Iterator[Problem]:
    own, low = getattr(weighting, "languages", {}), languages.low_resource
    return _others("weighting.languages", own, low, "must be for a low-resource language")


def _shares(languages: Languages, data: Data, space: Space) -> Iterator[Problem]:
    shares, path = data.sampling.shares, "data.sampling.temperature"
    if shares is None:
        return
    if path in space or data.sampling.temperature != 1.0:
        got = str(space.get(path, data.sampling.temperature))
        yield Problem(path, "must be left out where data.sampling.shares are given", got, "Keep one of the two")
    for language in [language for language in dict.fromkeys(languages.all) if language not in shares]:
        yield Problem("data.sampling.shares", "must have a share for each language", f"none for {language}")
    yield from _others("data.sampling.shares", shares, languages.all, f"{_OF_THE_EXPERIMENT} that is trained on")


def _extra_tests(data: Data) -> Iterator[Problem]:
    # Figures, files and rows of an extra test set go by its name, beside those of the splits.
    for name in sorted({"dev", "test"} & set(data.extra_test)):
        rule = f"must have a name other than {name}, which is the {name} split of data.folder"
        yield Problem(f"data.extra_test.{name}", rule, data.extra_test[name], "Rename it, for instance broadcast")


def _constrained(languages: Languages, search: Search) -> Iterator[Problem]:
    own, known = search.constraints.languages, [*languages.high_resource, *languages.watched]
    return _others("search.constraints.languages", own, known, "must be for a high-resource language or a watched one")


def _augmented_languages(languages: Languages, augmentation: Augmentation) -> Iterator[Problem]:
    listed, path = augmentation.languages or [], "augmentation.languages"
    yield from _repeated(path, listed)
    for language in sorted(set(listed) - set(languages.all)):
        yield Problem(
            path, "must name languages of the experiment that are trained on", language, _one_of(languages.all)
        )


def _white_noise(augmentation: Augmentation, space: Space) -> Iterator[Problem]:
    if not can_act(augmentation, "white_noise", space):
        return
    leaves = ("amplitude", "snr")
    possible = [_possible(augmentation, f"white_noise.{leaf}", space) for leaf in leaves]
    # A choice of null or a number is neither given nor left out, as each leaf is drawn by itself.
    given = [{value is not None for value in values} for values in possible]
    if given not in ([{True}, {False}], [{False}, {True}]):
        rule = "must have either an amplitude or an snr where its probability can be above 0"
        drawn = [space.get(f"augmentation.white_noise.{leaf}") for leaf in leaves]
        got = [f"{leaf} {at or shown(v[0])}" for leaf, at, v in zip(leaves, drawn, possible, strict=True)]
        yield Problem("augmentation.white_noise", rule, " and ".join(got), "Give one, and set the other to null")


def _recordings(augmentation: Augmentation, space: Space) -> Iterator[Problem]:
    for key, folder in augmentation.folders.items():
        if folder is None and can_act(augmentation, key, space):
            rule = "must name a folder of recordings where its probability can be above 0"
            yield Problem(f"augmentation.{key}.folder", rule, "null")


def _strongest(augmentation: Augmentation, space: Space) -> Iterator[Problem]:
    strength = _largest(augmentation, "strength", space)
    for leaf, limit in _STRONGEST.items():
        largest = _largest(augmentation, leaf, space)
        if strength * largest > limit and can_act(augmentation, leaf.split(".")[0], space):
            rule = f"must be at most {limit:g} when multiplied by augmentation.strength"
            got = f"{largest:g} x {strength:g} = {strength * largest:g}"
            yield Problem(f"augmentation.{leaf}", rule, got, "Lower one of the two")


def _batch(training: Training, resources: Resources) -> Iterator[Problem]:
    parts = resources.workers * training.accumulation_steps
    if training.batch_size % parts:
        split = f"{resources.workers} x {training.accumulation_steps} = {parts}"
        rule = f"must be divisible by resources.workers x training.accumulation_steps ({split})"
        near = max(parts, round(training.batch_size / parts) * parts)
        yield Problem("training.batch_size", rule, str(training.batch_size), f"The nearest is {near}")


def _both_kinds_fit(training: Training, data: Data, weighting: Weighting, space: Space) -> Iterator[Problem]:
    both = data.sampling.both_kinds
    if training.batch_size == 1 and (both is True or (both == "auto" and can_adapt(weighting, space))):
        yield Problem("training.batch_size", "must be at least 2 for a low- and a high-resource utterance", "1")


def _intervals(training: Training) -> Iterator[Problem]:
    for name in ("evaluate_every", "checkpoint_every"):
        every = getattr(training, name)
        if every is not None and every > training.steps:
            rule = f"must be at most training.steps ({training.steps})"
            yield Problem(f"training.{name}", rule, str(every), "null is once, at the end")


def _whole_resources(resources: Resources) -> Iterator[Problem]:
    for name in ("cpus_per_worker", "gpus_per_worker"):
        value = getattr(resources, name)
        if value > 1 and value != int(value):
            yield Problem(f"resources.{name}", "must be whole above 1 (Ray's rule)", f"{value:g}")


def _shared_gpu(resources: Resources) -> Iterator[Problem]:
    workers, share = resources.workers, resources.gpus_per_worker
    if workers > 1 and 0 < share < 1:
        rule = "must be 0 or at least 1 with several workers, as NCCL takes one worker a GPU"
        do = "Set resources.workers: 1, so that whole trials share a GPU, or a GPU for each worker"
        yield Problem("resources.gpus_per_worker", rule, f"{share:g} for each of {workers} workers", do)


def _baseline_values(search: Search, space: Space) -> Iterator[Problem]:
    if not space:  # a file for one training: nothing is searched, and its search section is not used
        return
    searched = [path for path in space if path.startswith(OF_BASELINE)]
    for path in searched:
        if path not in search.baseline:
            rule = f"must have the baseline's value of {path}, which is searched"
            yield Problem("search.baseline", rule, do=f"Put {path}: VALUE there; else only the trials would be tuned")
    for path in search.baseline:
        if path not in searched:
            do = f"; searched are {', '.join(searched)}" if searched else ", or give that leaf a distribution"
            rule = "must be a searched key of training.optimizer, data.sampling or model.lora"
            yield Problem(f"search.baseline.{path}", rule, "another", f"Remove it{do}")


def _early_stopping(search: Search, training: Training, weighting: Weighting, space: Space) -> Iterator[Problem]:
    # `auto` declines where these do not hold.
    if not space or not search.early_stopping or search.sampler == "auto":
        return
    path, or_not = "search.early_stopping", "search.early_stopping: false"
    if search.sampler in _WHOLE_TRIALS:
        rule = f"must be false with search.sampler: {search.sampler}, which {_WHOLE_TRIALS[search.sampler]}"
        yield Problem(path, rule, "true", "Take search.sampler: tpe or auto, or set it to false")
    elif training.evaluate_every in (None, training.steps):
        rule = f"must be below training.steps ({training.steps}) for trials to be stopped early"
        do = f"Set it to a step within the training, or {or_not}"
        yield Problem("training.evaluate_every", rule, shown(training.evaluate_every), do)
    elif not rungs(training, weighting, space, search.reduction_factor):
        same = same_until(training, weighting, space)
        rule = f"must have an evaluation before the last step ({training.steps}) at which trials can differ"
        got = f"trials that are the same until step {same:g}, evaluated every {training.evaluate_every} steps"
        do = f"Lower training.evaluate_every, weighting.ramp_start or training.optimizer.warmup_steps, or set {or_not}"
        yield Problem(path, rule, got, do)


def _part(evaluation: Evaluation, search: Search, space: Space) -> Iterator[Problem]:
    if space and search.confirm.candidates and evaluation.part != "all":
        do = "The search sets it phase by phase; set it for raywce train, or with search.confirm.candidates: 0"
        yield Problem("evaluation.part", "must be all in a search with a confirm phase", evaluation.part, do)


def _stop_loops(evaluation: Evaluation) -> Iterator[Problem]:
    if evaluation.stop_loops and not evaluation.capped:
        rule = "must be false with evaluation.capped: false: the plain rate of what is stopped is a lower bound"
        yield Problem("evaluation.stop_loops", rule, "true", "Set one of the two to its default")


def _robustness(evaluation: Evaluation, search: Search) -> Iterator[Problem]:
    limits, opened = search.constraints.robustness, bool(search.confirm.candidates) and search.confirm.test
    rule = "must be false without a confirm phase that opens the test split (search.confirm)"
    for key in ("timestamps", "robustness"):
        if getattr(evaluation, key) and not opened:
            do = f"For one model: raywce evaluate --{key}"
            yield Problem(f"evaluation.{key}", rule, "true", do)
    for key, measured in _MEASURED_BY.items():
        allowed, path = getattr(limits, key), f"search.constraints.robustness.{key}"
        if allowed is not None and not opened:
            yield Problem(path, "must be null without a confirm phase that opens the test split", f"{allowed:g}")
        elif allowed is not None and measured and not getattr(evaluation, measured):
            yield Problem(path, f"must be null without evaluation.{measured}: true", f"{allowed:g}")


def _time_limit(search: Search) -> Iterator[Problem]:
    if search.at_time_limit == "stop" and search.time_limit_s is None:
        do = "Set search.time_limit_s, or leave search.at_time_limit out"
        yield Problem("search.at_time_limit", "must be finish without a time limit", "stop", do)


def _grid(search: Search, space: Space) -> Iterator[Problem]:
    if not space:
        return
    if search.sampler != "grid":
        if search.seeds > 1:
            do = "Set it to 1, or take search.sampler: grid"
            yield Problem("search.seeds", f"must be 1 with search.sampler: {search.sampler}", str(search.seeds), do)
        return
    if search.trials is not None:
        yield Problem("search.trials", "must be null with search.sampler: grid: all settings", str(search.trials))
    if search.points != "none":
        rule = "must be none with search.sampler: grid, which tries every setting"
        yield Problem("search.points", rule, shown(search.points))
    if search.baseline_seeds != search.seeds:
        rule = f"must be search.seeds ({search.seeds}) with search.sampler: grid, as settings are compared with it"
        yield Problem("search.baseline_seeds", rule, str(search.baseline_seeds))
    for path, distribution in space.items():
        if distribution.kind in ("uniform", "loguniform"):
            do = "List its values: {choice: […]}"
            yield Problem(path, "must be choice or int with search.sampler: grid", str(distribution), do)


def _listed_points(search: Search, space: Space) -> Iterator[Problem]:
    if isinstance(search.points, str) or not space:
        return
    for index, point in enumerate(search.points):
        path = f"search.points[{index}]"
        for key in [key for key in space if key not in point]:
            yield Problem(path, f"must have a value for {key}, which is searched")
        for key in [key for key in point if key not in space]:
            yield Problem(f"{path}.{key}", "must be a searched key", do=_one_of(list(space)))
        yield from outside(path, point, space)


def outside(path: str, point: Mapping[str, Scalar], space: Space) -> Iterator[Problem]:
    """Yield a problem for each value of a first point that its distribution cannot draw."""
    for key, value in point.items():
        if key in space and not space[key].holds(value):
            do = f"Widen {key}, or change search.points"
            yield Problem(f"{path}.{key}".removeprefix("."), f"must be in {space[key]}", str(value), do)


def _repeated(path: str, listed: list[str]) -> Iterator[Problem]:
    for language in sorted({language for language in listed if listed.count(language) > 1}):
        yield Problem(path, "must name a language once", f"{language} twice")


def _others(section: str, languages: Iterable[str], known: list[str], rule: str) -> Iterator[Problem]:
    """Yield a problem for each key of a section that is none of the known languages."""
    for language in sorted(set(languages) - set(known)):
        yield Problem(f"{section}.{language}", rule, language, _one_of(known))


def _one_of(known: list[str]) -> str:
    return f"Known: {', '.join(known)}" if known else "There are none"


_CHECKS: dict[Callable[..., Iterator[Problem]], tuple[str, ...]] = {
    _lists: ("languages",),
    _language_tokens: ("languages",),
    _new_tokens: ("languages", "model", "space"),
    _high_resource_needed: ("languages", "weighting", "data", "space"),
    _own_alphas: ("languages", "weighting"),
    _shares: ("languages", "data", "space"),
    _extra_tests: ("data",),
    _constrained: ("languages", "search"),
    _augmented_languages: ("languages", "augmentation"),
    _white_noise: ("augmentation", "space"),
    _recordings: ("augmentation", "space"),
    _strongest: ("augmentation", "space"),
    _batch: ("training", "resources"),
    _both_kinds_fit: ("training", "data", "weighting", "space"),
    _intervals: ("training",),
    _whole_resources: ("resources",),
    _shared_gpu: ("resources",),
    _baseline_values: ("search", "space"),
    _early_stopping: ("search", "training", "weighting", "space"),
    _stop_loops: ("evaluation",),
    _robustness: ("evaluation", "search"),
    _part: ("evaluation", "search", "space"),
    _time_limit: ("search",),
    _grid: ("search", "space"),
    _listed_points: ("search", "space"),
}


def notes(sections: Sections) -> list[str]:
    """Return a note on what can be run, but is hardly what is meant."""
    return [
        *_short_context(sections["training"], sections["evaluation"]),
        *_phrases(sections),
        *_split_words(sections),
        *_slower_together(sections["resources"]),
    ]


def _short_context(training: Training, evaluation: Evaluation) -> Iterator[str]:
    if training.encoder_context == "full" and evaluation.encoder_context != "full":
        yield (
            "evaluations have a short encoder context (batch), which a model trained at the full one alone "
            "answers with endless repetitions now and then: training.encoder_context: batch trains for both"
        )


def _phrases(sections: Sections) -> Iterator[str]:
    metrics = metrics_of(sections["evaluation"], sections["languages"])
    languages = [one for one in metrics.languages if metrics.of(one).unit == "wer" and not separates_words(one)]
    if languages:
        yield (
            f"words of {', '.join(languages)} have no spaces between them, so that a WER counts whole phrases: "
            "evaluation.metric: auto has the CER of such languages"
        )


def _split_words(sections: Sections) -> Iterator[str]:
    metrics = metrics_of(sections["evaluation"], sections["languages"])
    languages = [one for one in metrics.languages if metrics.of(one).text != "raw" and has_vowel_signs(one)]
    if languages and sections["evaluation"].normalizer == "whisper_basic":
        yield (
            f"whisper_basic splits words of {', '.join(languages)} at their vowel signs and drops these: "
            "evaluation.normalizer: words keeps them"
        )


def _slower_together(resources: Resources) -> Iterator[str]:
    if 0 < resources.gpus_per_worker < 1:
        yield (
            f"each trial may take {resources.gpus_per_worker:g} of a GPU's memory, and trials on one GPU slow each "
            "other down: raywce profile measures one that is alone, so that its estimate of a search is a lower bound"
        )
