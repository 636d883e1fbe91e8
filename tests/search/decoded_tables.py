"""Tables of decoded utterances with wanted error rates, as trials write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raywce.evaluation.utterances import COUNT_GROUPS, SCHEMA
from raywce.experiment.schema import Experiment
from raywce.trial_report import Report
from tests.search import surrogate

if TYPE_CHECKING:  # torch would slow down each trial's start
    from raywce.evaluation.evaluate import Evaluation

UTTERANCES, WORDS, SPEAKERS = 60, 10, 30


def decoded(rates: Mapping[str, float], seed: int = 0, speakers: int = SPEAKERS) -> pa.Table:
    """For each language, utterances of ten words with so many substitutions; WERs are the rates to within 0.2 points.

    Which words are wrong depends on the seed: a rate's whole errors are spread again. CERs are the same: words have one
    character.
    """
    rows = []
    for language, rate in rates.items():
        wrong = np.zeros(UTTERANCES * WORDS, int)
        wrong[: round(rate * len(wrong))] = 1
        np.random.default_rng([seed, len(language), *language.encode()]).shuffle(wrong)
        for index, errors in enumerate(wrong.reshape(UTTERANCES, WORDS).sum(1).tolist()):
            rows.append(_row(language, index, errors, speakers))
    return pa.Table.from_pylist(rows, SCHEMA)


def _row(language: str, index: int, errors: int, speakers: int) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: "" if field.type == pa.string() else 0 for field in SCHEMA if not field.nullable}
    row |= {"id": f"{language}-{index:03d}", "language": language, "speaker": f"{language}-{index % speakers}"}
    row |= {"language_token": language, "detected_language": language, "truncated": False, "stopped": False}
    for group in COUNT_GROUPS:
        row |= {f"{group}_substitutions": errors, f"{group}_hits": WORDS - errors}
    return row


def trial(experiment: Experiment, folder: str, name: str, on_report: Callable[[Report], None] | None = None) -> None:
    """As the surrogate's, and decodes whole tables; its file `parts` says which part of dev it was given."""
    assert on_report is not None
    steps = experiment.training.steps
    with (Path(folder).parent / "parts").open("a") as stream:
        stream.write(f"{name} {experiment.evaluation.part}\n")

    def evaluate(step: int, rates: dict[str, float]) -> None:
        path = Path(folder) / name / f"utterances-{step}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(decoded(rates, experiment.training.seed), path)
        on_report(surrogate.report(experiment, step, rates, utterances=str(path)))

    if experiment.training.evaluate_at_start:
        evaluate(0, surrogate.ORIGINAL)
    evaluate(steps, surrogate.wers(experiment))


def decode(
    evaluations: Sequence[Evaluation], experiment: Experiment, on_table: Callable[[int, pa.Table], None]
) -> None:
    """Stands in for decoding test splits and, by averages, dev: the former two points worse, an extra one by ten."""
    for index, evaluation in enumerate(evaluations):
        checkpoint = Path(evaluation.model)
        dev = pq.read_table(next(checkpoint.parent.glob("utterances-20.parquet"))) if checkpoint.is_absolute() else None
        more = 0.0 if evaluation.split == "dev" else 0.02 if "speech" in str(evaluation.data) else 0.10
        rates = surrogate.ORIGINAL if dev is None else _rates(dev)
        on_table(index, decoded({language: rates[language] + more for language in evaluation.languages}))


def _rates(table: pa.Table) -> dict[str, float]:
    rows = table.to_pylist()
    return {
        language: sum(row["words_raw_substitutions"] for row in rows if row["language"] == language)
        / (UTTERANCES * WORDS)
        for language in surrogate.ORIGINAL
    }
