"""The model card: the model, its figures, how it was trained, and its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from raywce import numbers
from raywce.data.schema import SPLITS
from raywce.evaluation.normalizer import versioned_name
from raywce.experiment import text
from raywce.experiment.environment import is_hub_id
from raywce.experiment.schema import Experiment
from raywce.export.figures import Figures, figures
from raywce.export.record import Average
from raywce.export.source import Kind, Source
from raywce.runs.folder import VERSIONS
from raywce.selection.languages import labelled
from raywce.selection.settings import about_baseline
from raywce.storage.files import is_uri, read_text
from raywce.storage.prepared_folder import PREPARED

_TEMPLATES = Environment(
    loader=PackageLoader("raywce", "export"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TASK = "automatic-speech-recognition"
_HOW: Mapping[Kind, str] = {
    "average": "the average of the weights of several trainings with the setting that won a search, over new seeds",
    "confirmed": "the winner of a search, trained again with new seeds; this is the model of the first seed,"
    " regardless of its own figures",
    "best": "the best feasible trial of a search",
    "by id": "a trial of a search, selected by its id",
    "trained": "a single training",
}
_CLAIMS: Mapping[Kind, str] = {
    "best": "This is the best feasible trial by the dev figures shown here, which are therefore optimistic. It is not"
    " confirmed that it is better than the baseline or keeps the limits of the other languages.",
    "by id": "The trial was selected by its id: it may not be the best one, and may break limits of other languages.",
    "trained": "This is one training with given settings: nothing was searched or compared.",
}


def model_card(
    source: Source,
    max_new_tokens: int,
    quantization: str | None = None,
    *,
    ggml: bool = False,
    adapter: bool = False,
) -> str:
    """Return the card as Markdown with a YAML head, as the Hub reads it.

    Args:
        source: what is exported.
        max_new_tokens: as many as the decoder has positions for, after the prompt.
        quantization: of CTranslate2's format beside it; None without it.
        ggml: whether whisper.cpp's format is beside it.
        adapter: the folder holds an adapter.
    """
    tables = figures(source)
    experiment = source.experiment
    return _TEMPLATES.get_template("card.md.jinja").render(
        head=_head(source, tables, adapter).to_yaml(),
        adapter=_checkpoint(experiment) if adapter else "",
        revision=experiment.model.revision,
        name=experiment.name,
        base=_base(experiment),
        languages=experiment.languages,
        language=experiment.languages.token_of(experiment.languages.low_resource[0]),
        new_tokens=list(experiment.languages.new_tokens),
        how=_HOW[source.kind],
        trial_id="" if source.averaged else source.trial_id,
        step=source.last["step"],
        tables=tables,
        baseline=about_baseline(experiment.search.baseline) if source.outcome else "",
        metrics=experiment.metrics,
        stop_loops=experiment.evaluation.stop_loops,
        normalizer=versioned_name(experiment.evaluation.normalizer),
        sampler=source.outcome.choice if source.outcome else "",
        settings=_settings(experiment),
        seeds=source.seeds,
        speech=_name(experiment.data.folder),
        data=_data(source),
        claim=_claim(source),
        robustness=_robustness(source),
        not_evaluated=_not_evaluated(source),
        is_confirmed=source.confirmation is not None,
        max_new_tokens=max_new_tokens,
        quantization=quantization,
        ggml=ggml,
        versions=json.loads(source.folder.read_text(VERSIONS)),
    )


def average_card(average: Average, max_new_tokens: int, quantization: str | None = None, *, ggml: bool = False) -> str:
    """Return the card of an averaged model, likewise."""
    head = ModelCardData(
        library_name="transformers", pipeline_tag=_TASK, tags=["whisper", "raywce"], model_name=average.name
    )
    return _TEMPLATES.get_template("average.md.jinja").render(
        head=head.to_yaml(),
        name=average.name,
        adapter="",
        rows=[(of.model, numbers.percent(of.share)) for of in average.models],
        language="LANGUAGE",
        new_tokens=[],
        max_new_tokens=max_new_tokens,
        quantization=quantization,
        ggml=ggml,
        versions=average.versions,
    )


def _head(source: Source, tables: Sequence[Figures], adapter: bool) -> ModelCardData:
    experiment, metrics = source.experiment, source.experiment.metrics
    bound = ", a lower bound, as loops were stopped" if experiment.evaluation.stop_loops else ""
    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=_name(experiment.data.extra_test.get(table.name, experiment.data.folder)),
            dataset_name=f"{table.name}, {language}",
            dataset_config=language,
            dataset_split="dev" if table.name == "dev" else "test",
            metric_type=metrics.of(language).unit,
            metric_value=round(100 * wer, 2),
            metric_name=f"{metrics.of(language).kind} in %, {metrics.of(language).name}{bound}",
        )
        for table in tables
        for language, wer in table.plain.items()  # the Hub compares it with those of other models
    ]
    checkpoint = experiment.model.checkpoint
    return ModelCardData(
        language=experiment.languages.all,
        base_model=checkpoint if is_hub_id(checkpoint) else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=_TASK,
        metrics=["wer", "cer"],
        tags=["whisper", "raywce"],
        model_name=experiment.name,
        eval_results=results,
    )


def _checkpoint(experiment: Experiment) -> str:
    checkpoint = experiment.model.checkpoint
    return checkpoint if is_hub_id(checkpoint) else _name(checkpoint)


def _base(experiment: Experiment) -> str:
    model = experiment.model
    if not is_hub_id(model.checkpoint):
        return f"the checkpoint `{_checkpoint(experiment)}`"
    revision = f" at revision `{model.revision}`" if model.revision else ""
    return f"[{model.checkpoint}](https://huggingface.co/{model.checkpoint}){revision}"


def _settings(experiment: Experiment) -> str:
    """Return the settings of the training as YAML, without transforms that are never applied."""
    sections = experiment.model_dump(include={"weighting", "training"})
    augmentation: dict[str, Any] | str = "none"
    if experiment.augmentation.active:
        acting = {key for key, one in experiment.augmentation.transforms.items() if one.probability > 0}
        shown = experiment.augmentation.model_dump(
            include={"languages", "copies", "strength", *acting}, exclude={key: {"folder"} for key in acting}
        )
        augmentation = {**shown, "languages": experiment.augmented_languages}
    sampling = experiment.data.sampling.model_dump()
    resources = experiment.resources.model_dump(include={"workers"})
    if experiment.model.lora.rank:
        sections = {"lora": experiment.model.lora.model_dump(), **sections}
    return text.write({**sections, "augmentation": augmentation, "sampling": sampling, "resources": resources})


def _claim(source: Source) -> str:
    """Return what the run does and does not show about the model, and which limits of robustness it breaks."""
    return " ".join(filter(None, [_of_rates(source), source.robustness.verdict if source.robustness else ""]))


def _of_rates(source: Source) -> str:
    if source.confirmation is None:
        nothing = source.kind == "best" and source.outcome and source.outcome.confirmation
        return f"{_CLAIMS[source.kind]}{' A confirm phase was run, and confirmed nothing.' if nothing else ''}"
    if source.averaged:
        confidence = numbers.confidence(source.confirmation.dev.confidence)
        return (
            f"This model keeps every language's limit and is better than the same average of the baseline's trainings,"
            f" with {confidence} % confidence, by speech that the search did not see."
        )
    choice, confidence = source.confirmation.choice, numbers.confidence(source.confirmation.dev.confidence)
    claim = choice.claims[choice.winner or ""]
    way = (
        "This is confirmed by speech that the search did not see, alone"
        if claim.held_out
        else "This is confirmed by speech that the search did not see and the search's model of its trials together; by"
        " the former alone it is not shown"
    )
    claimed = (
        f"The setting keeps every language's limit and is better than the baseline, with {confidence} % confidence"
    )
    return f"{claimed}. {way}. It is a claim about trainings with this setting, of which this model is one."


def _robustness(source: Source) -> list[list[str]]:
    """Return a row for each measure and language, of original, baseline and this model; none without them."""
    rows = source.robustness.rows if source.robustness else []
    return [[title, language, *map(numbers.percent, values)] for title, language, values in rows]


def _not_evaluated(source: Source) -> str:
    found = source.robustness
    own = list(found.models[found.taken].values()) if found else []
    left = {"timestamps": "time stamps", "long_form": "speech longer than the model's window"}
    others = [words for key, words in left.items() if all(getattr(one, key) is None for one in own)]
    *first, last = ["Other speech", "other languages of Whisper", "translation", *others]
    return f"{', '.join(first)} and {last}"


def _data(source: Source) -> list[list[str]]:
    """Return a row for each language: utterances and hours of each split where known, utterances drawn in training."""
    prepared, languages = _prepared(source.experiment.data.folder), source.experiment.languages
    rows = []
    for language in languages.decoded:
        cells = {split: prepared.get((split, language), "unknown") for split in SPLITS}
        cells |= {"train": "not used"} if language in languages.watched else {}
        rows.append([labelled(language, languages.watched), *cells.values(), str(source.drawn.get(language, 0))])
    return rows


def _prepared(folder: str) -> dict[tuple[str, str], str]:
    """Return the counts of `raywce prepare` by split and language; none where they are no longer there."""
    try:
        groups = json.loads(read_text(f"{folder}/{PREPARED}"))["groups"]
    except OSError:
        return {}
    return {(of["split"], of["language"]): f"{of['utterances']} ({numbers.hours(of['hours'])} h)" for of in groups}


def _name(folder: str) -> str:
    """Return the last part of a path: the rest is private to this machine."""
    return Path(folder).name if not is_uri(folder) else PurePosixPath(folder).name
