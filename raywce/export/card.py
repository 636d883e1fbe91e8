"""The model card: what the model is, how well it does, how it was made, and what is not claimed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined
from pyarrow import fs

from raywce.data.prepare.output import RESULT
from raywce.data.schema import SPLITS
from raywce.evaluation.normalizer import versioned_name
from raywce.experiment import text
from raywce.experiment.schema import Experiment
from raywce.experiment.surroundings import is_hub_id
from raywce.export.figures import Figures, claims, figures
from raywce.export.source import Source
from raywce.remote import is_uri
from raywce.run_folder import VERSIONS

_TEMPLATE = "card.md.jinja"
_TASK = "automatic-speech-recognition"
_HOW = {
    "confirmed": "the winner of a search, trained again over new seeds; this folder is the first of them, whatever"
    " its own figures",
    "best": "the best feasible trial of a search",
    "asked for": "a trial of a search, taken by its id",
    "trained": "a single training",
}


def model_card(source: Source, max_new_tokens: int, quantization: str | None = None) -> str:
    """The card as Markdown with a YAML head, as the Hub reads it.

    Args:
        source: what is exported.
        max_new_tokens: that the decoder has positions for, after the prompt.
        quantization: of CTranslate2's form beside it; None: there is none.
    """
    tables = figures(source)
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string(files("raywce.export").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    experiment = source.experiment
    return template.render(
        head=_head(source, tables).to_yaml(),
        name=experiment.name,
        base=_base(experiment),
        languages=experiment.languages,
        language=experiment.languages.token_of(experiment.languages.low_resource[0]),
        how=_HOW[source.kind],
        trial_id=source.trial_id,
        step=source.last["step"],
        tables=tables,
        metric="normalised" if experiment.evaluation.metric == "wer_normalized" else "raw",
        normalizer=versioned_name(experiment.evaluation.normalizer),
        sampler=(source.outcome or {}).get("choice", ""),
        settings=_settings(experiment),
        speech=_name(experiment.data.folder),
        data=_data(source),
        claims=claims(source),
        is_confirmed=source.kind == "confirmed",
        max_new_tokens=max_new_tokens,
        quantization=quantization,
        versions=json.loads(source.folder.read_text(VERSIONS)),
    )


def _head(source: Source, tables: Sequence[Figures]) -> ModelCardData:
    experiment = source.experiment
    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=_name(experiment.data.extra_test.get(table.name, experiment.data.folder)),
            dataset_name=f"{table.name}, {language}",
            dataset_config=language,
            dataset_split="dev" if table.name == "dev" else "test",
            metric_type="wer",
            metric_value=round(100 * wer, 2),
            metric_name=f"WER in %, {experiment.evaluation.metric}",
        )
        for table in tables
        for language, wer in table.own.items()
    ]
    checkpoint = experiment.model.checkpoint
    return ModelCardData(
        language=experiment.languages.all,
        base_model=checkpoint if is_hub_id(checkpoint) else None,
        library_name="transformers",
        pipeline_tag=_TASK,
        metrics=["wer", "cer"],
        tags=["whisper", "raywce"],
        model_name=experiment.name,
        eval_results=results,
    )


def _base(experiment: Experiment) -> str:
    model = experiment.model
    if not is_hub_id(model.checkpoint):
        return f"the checkpoint `{_name(model.checkpoint)}`"
    revision = f" at revision `{model.revision}`" if model.revision else ""
    return f"[{model.checkpoint}](https://huggingface.co/{model.checkpoint}){revision}"


def _settings(experiment: Experiment) -> str:
    """What was trained how, as the experiment file has it; transforms that never act are left out."""
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
    return text.write({**sections, "augmentation": augmentation, "sampling": sampling, "resources": resources})


def _data(source: Source) -> list[list[str]]:
    """A row for each language: utterances and hours of each split where known, and utterances drawn in training."""
    prepared = _prepared(source.experiment.data.folder)
    rows = []
    for language in source.experiment.languages.all:
        cells = [prepared.get((split, language), "not known") for split in SPLITS]
        rows.append([language, *cells, str(source.drawn[language])])
    return rows


def _prepared(folder: str) -> dict[tuple[str, str], str]:
    """What `raywce prepare` counted, by split and language; nothing where that isn't there any more."""
    filesystem, path = fs.FileSystem.from_uri(folder) if is_uri(folder) else (fs.LocalFileSystem(), folder)
    try:
        with filesystem.open_input_stream(f"{path}/{RESULT}") as stream:
            groups = json.loads(bytes(stream.read()))["groups"]
    except OSError:
        return {}
    return {(of["split"], of["language"]): f"{of['utterances']} ({of['hours']:.2f} h)" for of in groups}


def _name(folder: str) -> str:
    """The last part of a path: where it is on the machine is nobody's business."""
    return Path(folder).name if not is_uri(folder) else PurePosixPath(folder).name
