"""How the test splits are decoded: as dev, with the experiment's own resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raywce.experiment.load import ExperimentFile, load
from raywce.experiment.schema import Resources
from raywce.runs.folder import RunFolder
from raywce.runs.tables import Trial, TrialTable
from raywce.screen import throttle
from raywce.search.held_out import DecodedSoFar, averages_of, decode_averages, decode_tests, files_of
from raywce.selection.trials import BASELINE, COMPLETE, CONFIRM, ORIGINAL
from raywce.trial_report import Report
from tests.fake_time import FakeTime
from tests.search import surrogate

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
    languages = ["languages.language_tokens={gl: pt}", "languages.watched=[it, nl]"]
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

    def decode(evaluations: Sequence[Any], resources: Resources, on_table: Callable[[int, pa.Table], None]) -> None:
        seen.append((evaluations, resources))
        for index in range(len(evaluations)):
            on_table(index, pa.table({"id": [str(index)]}))

    decode_tests(folder, files, experiment, decode)
    ((evaluations, resources),) = seen
    assert resources == experiment.resources
    assert [(file.name, file.model) for file in files] == [
        (name, model)
        for name in ("test", "broadcast")
        for model in (ORIGINAL, f"confirm-{BASELINE}-1", f"confirm-{WINNER}-1")
    ]
    assert len(evaluations) == len(files)
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

    def decode(evaluations: Sequence[Any], resources: Resources, on_table: Callable[[int, pa.Table], None]) -> None:
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

    def decode(evaluations: Sequence[Any], resources: Resources, on_table: Callable[[int, pa.Table], None]) -> None:
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
