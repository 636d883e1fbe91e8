"""How the test splits are decoded: as dev, with the experiment's own resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.evaluation.robustness import NOTHING, SENTENCE, TRANSFORMERS, named
from raywce.evaluation.utterances import to_table
from raywce.experiment.load import ExperimentFile, load
from raywce.experiment.schema import Experiment, RobustnessLimits
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.screen import throttle
from raywce.search.held_out import (
    DecodedSoFar,
    averages_of,
    decode_averages,
    decode_tests,
    files_of,
    robustness_of,
)
from raywce.selection.robustness import Measures
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, ORIGINAL
from raywce.storage.files import write_table
from raywce.trial_report import Report
from tests.evaluation.test_robustness import row as scored
from tests.fake_time import FakeTime
from tests.search import surrogate
from tests.search.decoded_tables import decoded

WINNER = "search-000"
DECODING = (
    "evaluation={precision: bf16, encoder_context: batch, context_margin: 2.5, identify_language: true, "
    "batch_size: 3, normalizer: whisper_basic}"
)


@pytest.fixture
def file(tmp_path: Path) -> ExperimentFile:
    for part in ("speech/test/gl", "speech/test/it", "broadcast/test/gl", "speech/dev/gl"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "0.parquet").touch()
    speech = f"data={{folder: {tmp_path / 'speech'}, extra_test: {{broadcast: {tmp_path / 'broadcast'}}}}}"
    resources = "resources={workers: 4, cpus_per_worker: 0.5, gpus_per_worker: 1}"
    path = surrogate.write_file(tmp_path, confirm={"candidates": 1})
    languages = ["languages.language_tokens={gl: pt, it: {new_like: es}}", "languages.watched=[it, nl]"]
    languages += ["model.revision=v1"]
    return load(path, [speech, resources, DECODING, *languages], check_files=False)


def test_decoding_says_every_half_minute_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    time = FakeTime()
    monkeypatch.setattr(throttle, "time", time)
    on_batch = DecodedSoFar()
    for _ in range(8):
        time.sleep(10.0)
        on_batch(4)
    said = ["12 utterances decoded.", "24 utterances decoded."]
    assert capsys.readouterr().out.splitlines() == said


@pytest.fixture
def table(file: ExperimentFile) -> TrialTable:
    table = TrialTable(file.space, file.experiment.languages)
    for candidate in (BASELINE, WINNER):
        trial = Trial(CONFIRM, f"confirm-{candidate}-1", 1, {}, candidate)
        table.record(trial, Report.of({"step": 20, "final": True}))
        table.finish(trial, COMPLETE)
    return table


def test_every_model_and_test_set_is_decoded_as_dev_is(file: ExperimentFile, table: TrialTable, tmp_path: Path) -> None:
    experiment, seen = file.experiment, []
    folder = RunFolder.of(str(tmp_path / "runs"), "toy")
    files = files_of(folder, table, experiment, WINNER)

    def decode(evaluations: Sequence[Any], experiment: Experiment, on_table: Callable[[int, pa.Table], None]) -> None:
        seen.append((evaluations, experiment))
        for index in range(len(evaluations)):
            on_table(index, pa.table({"id": [str(index)]}))

    decode_tests(folder, files, experiment, decode)
    ((evaluations, of_decoding),) = seen
    assert of_decoding is experiment
    assert [(file.name, file.model) for file in files] == [
        (name, model)
        for name in ("test", "broadcast")
        for model in (ORIGINAL, f"confirm-{BASELINE}-1", f"confirm-{WINNER}-1")
    ]
    assert len(evaluations) == len(files)
    step = f"step-{experiment.training.steps:08d}"
    checkpoints = [
        experiment.model.checkpoint if model == ORIGINAL else folder.path("trials", model, step)
        for model in (ORIGINAL, f"confirm-{BASELINE}-1", f"confirm-{WINNER}-1")
    ]
    assert [one.model for one in evaluations] == checkpoints * 2
    assert [one.revision for one in evaluations] == [experiment.model.revision, None, None] * 2
    assert experiment.model.revision is not None
    assert [one.data for one in evaluations] == [str(tmp_path / name) for name in ["speech"] * 3 + ["broadcast"] * 3]
    assert {(one.split, one.part) for one in evaluations} == {("test", "all")}
    assert [one.new_tokens for one in evaluations] == [experiment.languages.new_tokens] * 6
    for file_, evaluation in zip(files, evaluations, strict=True):
        assert evaluation.settings == experiment.decode_settings
        assert evaluation.languages == (("gl", "it") if file_.name == "test" else ("gl",))
    settings = experiment.decode_settings
    assert (settings.precision, settings.encoder_context, settings.context_margin) == ("bf16", "batch", 2.5)
    assert (settings.identify_language, settings.batch_size, settings.normalizer) == (True, 3, "whisper_basic")
    assert settings.language_tokens == {"gl": "pt"}
    decode_tests(folder, files, experiment, decode)
    assert len(seen) == 1, "what is there is not decoded again"


@pytest.fixture
def of_seeds(file: ExperimentFile, tmp_path: Path) -> TrialTable:
    """Three seeds of the baseline, two of the winner, with what they decoded of dev."""
    table = TrialTable(file.space, file.experiment.languages)
    for candidate, seeds in ((BASELINE, (4, 5, 6)), (WINNER, (4, 5))):
        for seed in seeds:
            trial = Trial(CONFIRM, f"confirm-{candidate}-{seed}", seed, {}, candidate)
            for step in (0, 20) if (candidate, seed) == (BASELINE, 4) else (20,):
                uri = str(tmp_path / f"{trial.trial_id}-{step}.parquet")
                pq.write_table(pa.table({"id": [f"{trial.trial_id} {step}"]}), uri)
                table.record(trial, Report.of({"step": step, "final": step == 20, "utterances": uri}))
            table.finish(trial, COMPLETE)
    return table


def test_averages_are_of_the_same_number_of_trainings_and_of_all_but_one(
    file: ExperimentFile, of_seeds: TrialTable, tmp_path: Path
) -> None:
    folder, seen = RunFolder.of(str(tmp_path / "runs"), "toy"), []

    def decode(evaluations: Sequence[Any], experiment: Experiment, on_table: Callable[[int, pa.Table], None]) -> None:
        seen.append(evaluations)
        for index, evaluation in enumerate(evaluations):
            on_table(index, pa.table({"id": [members(evaluation)]}))

    def members(evaluation: Any) -> str:
        return " ".join(Path(one).parent.name for one in (evaluation.model, *evaluation.others))

    tables = decode_averages(folder, of_seeds, file.experiment, WINNER, decode)
    baseline, winner = (
        [f"confirm-{BASELINE}-{seed}" for seed in (4, 5)],
        [f"confirm-{WINNER}-{seed}" for seed in (4, 5)],
    )
    assert [[table["id"][0].as_py() for table in of] for of in tables.averages] == [
        [" ".join(names), names[1], names[0]] for names in (baseline, winner)
    ]
    assert [table["id"][0].as_py() for table in tables.trainings] == [f"{name} 20" for name in baseline]
    assert tables.original["id"][0].as_py() == f"{baseline[0]} 0"
    (evaluations,) = seen
    assert {(one.split, one.part, one.dev_share) for one in evaluations} == {("dev", "confirm", 0.5)}
    assert decode_averages(folder, of_seeds, file.experiment, WINNER, decode).averages == tables.averages
    assert len(seen) == 1, "what is there is not decoded again"


def test_averages_are_decoded_on_the_test_splits_too(
    file: ExperimentFile, of_seeds: TrialTable, tmp_path: Path
) -> None:
    folder, averages = RunFolder.of(str(tmp_path / "runs"), "toy"), averages_of(of_seeds, WINNER)
    files = files_of(folder, of_seeds, file.experiment, WINNER, averages)
    seen = {}

    def decode(evaluations: Sequence[Any], experiment: Experiment, on_table: Callable[[int, pa.Table], None]) -> None:
        for index, evaluation in enumerate(evaluations):
            seen[files[index].name, files[index].model] = 1 + len(evaluation.others)
            on_table(index, pa.table({"id": ["0"]}))

    decode_tests(folder, files, file.experiment, decode, averages)
    assert {model: seen["test", model] for _, model in seen} == {
        ORIGINAL: 1,
        **{f"confirm-{BASELINE}-{seed}": 1 for seed in (4, 5, 6)},
        **{f"confirm-{WINNER}-{seed}": 1 for seed in (4, 5)},
        f"average-{BASELINE}": 2,
        f"average-{WINNER}": 2,
    }


def hard_cases(talking: int, long_form_errors: int) -> pa.Table:
    """Of two clips of nothing per language, and a piece of ten words."""
    silence = scored("gl", "silence", "", "grazas"), scored("gl", "noise", "", "grazas" if talking > 1 else "")
    words = " ".join(f"w{number}" for number in range(10))
    long = scored("gl", "gl 0", words, " ".join(words.split()[long_form_errors:]))
    rows = [*named(NOTHING, silence), *named(SENTENCE, [scored("gl", "a", words, words)]), *named(TRANSFORMERS, [long])]
    return to_table(rows)


@pytest.mark.parametrize("averaged", [False, True])
def test_hard_cases_are_decoded_by_the_models_that_are_compared(
    file: ExperimentFile, of_seeds: TrialTable, tmp_path: Path, averaged: bool
) -> None:
    limits = RobustnessLimits(nothing=10, long_form=50)
    constraints = file.experiment.search.constraints.model_copy(update={"robustness": limits})
    search = file.experiment.search.model_copy(update={"constraints": constraints})
    evaluation = file.experiment.evaluation.model_copy(update={"robustness": True})
    experiment = file.experiment.model_copy(update={"search": search, "evaluation": evaluation})
    folder, seen = RunFolder.of(str(tmp_path / "runs"), "toy"), []
    averages = averages_of(of_seeds, WINNER)
    files = files_of(folder, of_seeds, experiment, WINNER, averages)
    for one in files:
        write_table(one.uri, decoded({"gl": 0.3}))

    def decode(evaluations: Sequence[Any], experiment: Experiment, on_table: Callable[[int, pa.Table], None]) -> None:
        seen.append(evaluations)
        for index in range(len(evaluations)):
            on_table(index, hard_cases(1 + index // 2, index))

    found = SimpleNamespace(choice=SimpleNamespace(winner=WINNER), taken=object() if averaged else None)
    for _ in range(2):
        figures = robustness_of(folder, files, of_seeds, experiment, found, decode)  # type: ignore[arg-type]
    (evaluations,) = seen  # what is there is not decoded again
    names = list(averages) if averaged else [f"confirm-{BASELINE}-4", f"confirm-{WINNER}-4"]
    assert list(figures.models) == [ORIGINAL, *names]
    assert figures.taken == names[-1]
    assert all(one.hard_cases and one.split == "test" for one in evaluations)
    step, folders = f"step-{experiment.training.steps:08d}", [f"confirm-{model}-4" for model in (BASELINE, WINNER)]
    trained = [folder.path("trials", name, step) for name in folders]
    assert [one.model for one in evaluations] == [experiment.model.checkpoint, *trained]
    assert {one.data for one in evaluations} == {experiment.data.folder}
    assert [len(one.others) for one in evaluations] == ([0, 1, 1] if averaged else [0, 0, 0])
    of = [of_model["gl"] for of_model in figures.models.values()]
    assert [one.nothing for one in of] == [0.5, 0.5, 1.0]
    assert [one.long_form for one in of] == [0.0, pytest.approx(0.1), pytest.approx(0.2)]
    assert [one.sentences for one in of] == [0.0] * 3
    assert list(figures.broken) == [
        "gl: clips of silence or noise with text 50.00 → 100.00 %, by 50.0 points worse where 10 are allowed"
    ]


def test_without_hard_cases_the_measures_are_those_of_the_test_split(
    file: ExperimentFile, of_seeds: TrialTable, tmp_path: Path
) -> None:
    folder = RunFolder.of(str(tmp_path / "runs"), "toy")
    files = files_of(folder, of_seeds, file.experiment, WINNER, averages_of(of_seeds, WINNER))
    for one in files:
        write_table(one.uri, decoded({"gl": 0.3}))
    found = SimpleNamespace(choice=SimpleNamespace(winner=WINNER), taken=None)

    def never(*_: Any) -> None:
        pytest.fail("nothing is left to be decoded")

    figures = robustness_of(folder, files, of_seeds, file.experiment, found, never)  # type: ignore[arg-type]
    own = figures.models[f"confirm-{WINNER}-4"]["gl"]
    assert own == Measures(None, None, None, loops=0.0, language_identification=1.0, timestamps=None)
    assert [title for title, *_ in figures.rows] == ["utterances in a loop", "utterances whose language is recognised"]


def test_time_stamps_are_decoded_on_test_alone(file: ExperimentFile, table: TrialTable, tmp_path: Path) -> None:
    evaluation = file.experiment.evaluation.model_copy(update={"timestamps": True})
    experiment, seen = file.experiment.model_copy(update={"evaluation": evaluation}), []
    folder = RunFolder.of(str(tmp_path / "runs"), "toy")

    def decode(evaluations: Sequence[Any], experiment: Experiment, on_table: Callable[[int, pa.Table], None]) -> None:
        seen.extend(evaluations)
        for index in range(len(evaluations)):
            on_table(index, pa.table({"id": [str(index)]}))

    decode_tests(folder, files_of(folder, table, experiment, WINNER), experiment, decode)
    assert [one.settings.timestamps for one in seen] == [True] * 6
    assert not experiment.decode_settings.timestamps
