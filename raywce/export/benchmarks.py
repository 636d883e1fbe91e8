"""Results on benchmarks of the Hugging Face Hub, as its leaderboards read them (https://hf.co/docs/hub/eval-results)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from raywce.errors import Problems
from raywce.experiment import text
from raywce.export.figures import figures
from raywce.export.record import Average
from raywce.export.source import Source

FILE = ".eval_results/raywce.yaml"

_OPTION = "--benchmark"
_FORM = re.compile(r"(?P<split>[^/=]+)/(?P<language>[^/=]+)=(?P<dataset>[^:=]+/[^:=]+):(?P<task>[^:=]+)")


def entries(benchmarks: Sequence[str], source: Source | Average) -> list[EvalResultEntry]:
    """Return the plain rate in %, not capped, of each split and language that is a benchmark of the Hub.

    Only the user knows whether prepared utterances are all of a benchmark's, so each one is named.

    Args:
        benchmarks: each as SPLIT/LANGUAGE=DATASET:TASK; the split is `test` or one of `data.extra_test`.
        source: what is exported.

    Raises:
        InputError: one has another form, or the model has no such figure.
    """
    problems = Problems()
    found = []
    tables = {} if isinstance(source, Average) else {table.name: table for table in figures(source)}
    known = [f"{name}/{language}" for name, table in tables.items() if name != "dev" for language in table.plain]
    for one in benchmarks:
        match = _FORM.fullmatch(one)
        if match is None:
            problems.add(_OPTION, "must be SPLIT/LANGUAGE=DATASET:TASK", one, "Such as test/gl=google/fleurs:gl_es")
            continue
        split, language, dataset, task = match.groups()
        if f"{split}/{language}" not in known:
            do = f"Known: {', '.join(known)}" if known else "Search with a confirm phase: the others open no test split"
            problems.add(_OPTION, "must name a test split and language of this model's card", f"{split}/{language}", do)
            continue
        assert isinstance(source, Source)
        if source.experiment.evaluation.stop_loops:
            do = "Leave it out: as loops were stopped (evaluation.stop_loops), the plain rate is a lower bound"
            problems.add(_OPTION, "must be of a plain rate that was measured to the end", one, do)
            continue
        metric = source.experiment.metrics.of(language)
        notes = f"{metric.kind} in %, {metric.name}, greedy decoding"
        value = round(100 * tables[split].plain[language], 2)
        found.append(EvalResultEntry(dataset_id=dataset, task_id=task, value=value, notes=notes))
    problems.raise_any()
    return found


def write(results: Sequence[EvalResultEntry], folder: Path) -> None:
    """Write the results where the Hub looks for them in a model's folder."""
    file = folder / FILE
    file.parent.mkdir()
    file.write_text(text.write(eval_result_entries_to_yaml([*results])), encoding="utf-8")
