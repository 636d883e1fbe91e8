"""What is decoded after the confirm phase: its dev by averages over seeds, and the test splits, once, by all models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from raywce.data.dev_split import Part
from raywce.data.store import language_files
from raywce.experiment.schema import Experiment
from raywce.runs.folder import RunFolder, checkpoint_name
from raywce.runs.tables import AVERAGES, ROBUSTNESS, TESTS, TestFile, TrialTable
from raywce.screen.console import show_line
from raywce.screen.throttle import ALIVE_S, Throttle
from raywce.search.confirm import candidate_rows
from raywce.selection.averages import Averaged, AverageTables, average_name, compared_averages
from raywce.selection.comparison import Comparison, Decoded
from raywce.selection.outcome import Confirmation
from raywce.selection.robustness import RobustnessFigures, measures
from raywce.selection.robustness import figures as robustness_figures
from raywce.selection.trials import BASELINE, ORIGINAL, TEST
from raywce.storage.files import delete_folder, exists, read_table, read_text, write_table, write_text
from raywce.storage.node_copy import on_node

if TYPE_CHECKING:  # torch and transformers are for the workers
    from raywce.evaluation.evaluate import Evaluation

Members = Mapping[str, Sequence[str]]
"""Trainings whose weights are averaged, by the average's name."""

NO_AVERAGES: Members = {}

# Evaluations, the experiment whose resources they have, and what is called with the number and the table of each that
# is complete.
Decode = Callable[[Sequence["Evaluation"], Experiment, Callable[[int, pa.Table], None]], None]


def decode_on_cluster(
    evaluations: Sequence[Evaluation], experiment: Experiment, on_table: Callable[[int, pa.Table], None]
) -> None:
    """`Decode` by Ray workers, as many as the search's trials had."""
    from raywce.cluster.decode import run_evaluations

    at_once = experiment.search.max_concurrent_trials
    run_evaluations(evaluations, experiment.resources, DecodedSoFar(), on_table, at_once)


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
                show_line(f"{self.utterances} utterances decoded.")


def files_of(
    folder: RunFolder, table: TrialTable, experiment: Experiment, winner: str, averages: Members = NO_AVERAGES
) -> list[TestFile]:
    """Return the files to be decoded, those of averages last."""
    models = [ORIGINAL, *_runs(table, BASELINE), *_runs(table, winner), *averages]
    sets = [TEST, *experiment.data.extra_test]
    return [TestFile(name, model, folder.path(TESTS, name, f"{model}.parquet")) for name in sets for model in models]


def decode_tests(
    folder: RunFolder,
    files: Sequence[TestFile],
    experiment: Experiment,
    decode: Decode,
    averages: Members = NO_AVERAGES,
) -> None:
    """Decode the files that do not exist yet; each is complete as soon as it has its name."""
    data = experiment.data

    def evaluation(file: TestFile) -> Evaluation:
        members = averages.get(file.model) or (() if file.model == ORIGINAL else (file.model,))
        source = data.folder if file.name == TEST else data.extra_test[file.name]
        return _evaluation(folder, members, source, TEST, experiment)

    _decode_missing([file.uri for file in files], [evaluation(file) for file in files], experiment, decode)


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


def averages_of(table: TrialTable, winner: str) -> dict[str, tuple[str, ...]]:
    """Return the trainings in each average by its name: all of the winner's, and as many of the baseline's."""
    of_winner = _runs(table, winner)
    of_baseline = _runs(table, BASELINE)[: len(of_winner)]
    return {average_name(BASELINE): tuple(of_baseline), average_name(winner): tuple(of_winner)}


def decode_averages(
    folder: RunFolder, table: TrialTable, experiment: Experiment, winner: str, decode: Decode
) -> AverageTables:
    """Decode the part of dev that the search did not see by the averages, and by those without one training each."""
    found: list[list[tuple[str, Sequence[str]]]] = []
    averages = averages_of(table, winner)
    _forget_others(folder, averages)
    for (name, members), model in zip(averages.items(), (BASELINE, winner), strict=True):
        fewer = [(average_name(model, without=one), _without(members, one)) for one in range(len(members))]
        found.append([(name, members), *fewer])
    uris = [[folder.path(AVERAGES, f"{name}.parquet") for name, _ in of] for of in found]
    source, split = experiment.data.folder, "dev"
    wanted = [_evaluation(folder, members, source, split, experiment, "confirm") for of in found for _, members in of]
    _decode_missing([uri for of in uris for uri in of], wanted, experiment, decode)
    of_baseline, of_winner = ([read_table(uri) for uri in of] for of in uris)
    rows = candidate_rows(table, BASELINE)
    original = next(row for row in table.of(rows[0]["trial_id"]) if row["step"] == 0)
    trainings = [read_table(row["utterances"]) for row in rows[: len(of_winner) - 1]]
    return AverageTables(read_table(original["utterances"]), (of_baseline, of_winner), trainings)


def _forget_others(folder: RunFolder, averages: Members) -> None:
    """Delete what averages of other trainings decoded: before a resumed search trained a failed run again."""
    record, members = folder.path(AVERAGES, "members.json"), json.dumps(averages, indent=2) + "\n"
    if exists(record) and read_text(record) != members:
        delete_folder(folder.path(AVERAGES))
    write_text(record, members)


def averaged_tests(files: Sequence[TestFile], averaged: Averaged, experiment: Experiment) -> dict[str, Comparison]:
    """Return the averages' figures on each test split."""
    tables = {(file.name, file.model): read_table(file.uri) for file in files}
    baseline = average_name(BASELINE)
    return {
        name: compared_averages(
            tables[name, ORIGINAL], tables[name, baseline], tables[name, averaged.name], averaged, experiment
        )
        for name in dict.fromkeys(file.name for file in files)
    }


def robustness_of(
    folder: RunFolder,
    files: Sequence[TestFile],
    table: TrialTable,
    experiment: Experiment,
    found: Confirmation,
    decode: Decode,
) -> RobustnessFigures:
    """Return the measures of original, baseline and the model to take, decoding the hard cases for them.

    Args:
        folder: of the run.
        files: of the test splits, decoded.
        table: of the run.
        experiment: the file's.
        found: with a winner.
        decode: evaluations.
    """
    winner = found.choice.winner
    assert winner is not None
    averages = averages_of(table, winner) if found.taken else {}
    names = list(averages) or [_runs(table, BASELINE)[0], _runs(table, winner)[0]]
    members = {ORIGINAL: (), **(averages or {name: (name,) for name in names})}
    uris = {name: folder.path(ROBUSTNESS, f"{name}.parquet") for name in members}
    if experiment.evaluation.robustness:
        source = experiment.data.folder
        wanted = [
            replace(_evaluation(folder, of, source, TEST, experiment), hard_cases=True) for of in members.values()
        ]
        _decode_missing(list(uris.values()), wanted, experiment, decode)
    tests = {file.model: file.uri for file in files if file.name == TEST}
    hard = {name: read_table(uri) if exists(uri) else None for name, uri in uris.items()}
    models = {name: measures(read_table(tests[name]), hard[name]) for name in members}
    limited = [*experiment.languages.low_resource, *experiment.limited_languages]
    return robustness_figures(models, experiment.search.constraints.robustness, limited)


def _decode_missing(
    uris: Sequence[str], evaluations: Sequence[Evaluation], experiment: Experiment, decode: Decode
) -> None:
    missing = [index for index, uri in enumerate(uris) if not exists(uri)]
    if missing:
        wanted = [evaluations[index] for index in missing]
        decode(wanted, experiment, lambda index, table: write_table(uris[missing[index]], table))


def _without(members: Sequence[str], index: int) -> tuple[str, ...]:
    return (*members[:index], *members[index + 1 :])


def _runs(table: TrialTable, candidate: str) -> list[str]:
    return [row["trial_id"] for row in candidate_rows(table, candidate)]


def _evaluation(
    folder: RunFolder, members: Sequence[str], source: str, split: str, experiment: Experiment, part: Part = "all"
) -> Evaluation:
    """Return the evaluation of the average of some trainings; of none, that of the original model."""
    from raywce.evaluation.evaluate import Evaluation

    model = experiment.model
    cache = Path(experiment.data.cache).expanduser()
    here = on_node(source, cache, [split])
    step = checkpoint_name(experiment.training.steps)
    checkpoint, *others = [folder.path("trials", one, step) for one in members] or [model.checkpoint]
    return Evaluation(
        model=checkpoint,
        revision=None if members else model.revision,
        data=source,
        split=split,
        languages=tuple(name for name in experiment.languages.decoded if language_files(here, split, name)),
        cache=cache,
        settings=replace(experiment.decode_settings, timestamps=split == TEST and experiment.evaluation.timestamps),
        others=tuple(others),
        part=part,
        dev_share=experiment.search.confirm.dev_share,
        new_tokens=experiment.languages.new_tokens,
    )
