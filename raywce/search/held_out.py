"""The test splits, decoded once: by the original model, and by baseline and winner of the confirm phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from raywce.data.store import language_files
from raywce.experiment.schema import Experiment, Resources
from raywce.runs.folder import RunFolder, checkpoint_name
from raywce.runs.tables import TESTS, TestFile, TrialTable
from raywce.screen.console import show_line
from raywce.screen.throttle import ALIVE_S, Throttle
from raywce.search.confirm import candidate_rows
from raywce.selection.comparison import Decoded
from raywce.selection.trials import BASELINE, ORIGINAL, TEST
from raywce.storage.files import exists, read_table, write_table
from raywce.storage.node_copy import on_node

if TYPE_CHECKING:  # torch and transformers are for the workers
    from raywce.evaluation.evaluate import Evaluation

# Evaluations, what their workers take, and what is called with the number and the table of each that is complete.
Decode = Callable[[Sequence["Evaluation"], Resources, Callable[[int, pa.Table], None]], None]


def decode_on_cluster(
    evaluations: Sequence[Evaluation], resources: Resources, on_table: Callable[[int, pa.Table], None]
) -> None:
    """`Decode` by Ray workers."""
    from raywce.cluster.decode import run_evaluations

    run_evaluations(evaluations, resources, DecodedSoFar(), on_table)


class DecodedSoFar:
    """Counts decoded utterances, and prints every half minute how many they are."""

    def __init__(self) -> None:
        self.utterances = 0
        self._throttle = Throttle(ALIVE_S, at_once=False)

    def __call__(self, done: int) -> None:
        """Count `done` more."""
        self.utterances += done
        if self._throttle.is_due():
            with self._throttle:
                show_line(f"test splits: {self.utterances} utterances decoded.")


def files_of(folder: RunFolder, table: TrialTable, experiment: Experiment, winner: str) -> list[TestFile]:
    """Return the files to be decoded."""
    models = [ORIGINAL, *_runs(table, BASELINE), *_runs(table, winner)]
    sets = [TEST, *experiment.data.extra_test]
    return [TestFile(name, model, folder.path(TESTS, name, f"{model}.parquet")) for name in sets for model in models]


def decode_tests(folder: RunFolder, files: Sequence[TestFile], experiment: Experiment, decode: Decode) -> None:
    """Decode the files that do not exist yet; each is complete as soon as it has its name."""
    missing = [file for file in files if not exists(file.uri)]
    if missing:
        evaluations = [_evaluation(folder, file, experiment) for file in missing]
        decode(evaluations, experiment.resources, lambda index, table: write_table(missing[index].uri, table))


def decoded_tests(files: Sequence[TestFile], table: TrialTable, winner: str) -> dict[str, Decoded]:
    """Return what was decoded, by test split."""
    tables = {(file.name, file.model): read_table(file.uri) for file in files}
    return {
        name: Decoded(
            original=tables[name, ORIGINAL],
            baseline=[tables[name, model] for model in _runs(table, BASELINE)],
            candidates={winner: [tables[name, model] for model in _runs(table, winner)]},
        )
        for name in dict.fromkeys(file.name for file in files)
    }


def _runs(table: TrialTable, candidate: str) -> list[str]:
    return [row["trial_id"] for row in candidate_rows(table, candidate)]


def _evaluation(folder: RunFolder, file: TestFile, experiment: Experiment) -> Evaluation:
    from raywce.evaluation.evaluate import Evaluation

    data, model = experiment.data, experiment.model
    source = data.folder if file.name == TEST else data.extra_test[file.name]
    cache = Path(data.cache).expanduser()
    here = on_node(source, cache, [TEST])
    is_original = file.model == ORIGINAL
    checkpoint = folder.path("trials", file.model, checkpoint_name(experiment.training.steps))
    return Evaluation(
        model=model.checkpoint if is_original else checkpoint,
        revision=model.revision if is_original else None,
        data=source,
        split=TEST,
        languages=tuple(name for name in experiment.languages.decoded if language_files(here, TEST, name)),
        cache=cache,
        settings=experiment.decode_settings,
    )
