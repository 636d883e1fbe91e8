"""The experiment files that are shipped hold, and say how they are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from raywce.data.sampler import language_shares
from raywce.experiment import text
from raywce.experiment.augmentation_schema import Augmentation
from raywce.experiment.editor_schema import as_text, experiment_schema
from raywce.experiment.load import load
from raywce.training.draws import draws
from raywce.weighting import AlphaSchedule

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_they_are_there() -> None:
    shipped = {
        "ablation",
        "ablation_demo",
        "catalan",
        "catalan_augmentation",
        "catalan_lora",
        "catalan_weightings",
        "exposure",
        "galician",
        "own_speech",
        "paper",
        "paper_demo",
        "quickstart_augmentation",
        "small_cpu",
    }
    assert {file.stem for file in FILES} >= shipped


def test_the_schema_is_current() -> None:
    assert (FOLDER / "experiment.schema.json").read_text() == as_text(), "raywce schema --out writes it"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_holds(file: Path) -> None:
    loaded = load(file, check_files=False)
    loaded.require_space()
    published = {"family": 3, "constant": 1}
    assert len(loaded.published_points()) == published.get(str(loaded.experiment.weighting.kind), 0)
    assert not loaded.notes
    assert loaded.experiment.name == file.stem
    Draft202012Validator(experiment_schema()).validate(text.read(file))


def test_galician_starts_from_the_papers_augmentation() -> None:
    augmentation = load(FOLDER / "galician.yaml", check_files=False).experiment.augmentation
    assert augmentation.model_copy(update={"strength": 1.0}) == Augmentation(preset="paper")


@pytest.mark.parametrize("name", ["galician", "own_speech", "quickstart_augmentation"])
def test_augmentation_that_is_searched_changes_no_language_s_share_of_the_draws(name: str) -> None:
    loaded = load(FOLDER / f"{name}.yaml", check_files=False)
    assert any(path.startswith("augmentation.") for path in loaded.leaves)
    counts = {language: 1000 * number for number, language in enumerate(loaded.experiment.languages.all, 1)}
    augmented = [loaded.at(values) for values in loaded.published_points()]
    assert all(one.augmentation.active for one in augmented)
    assert [draws(one, counts) for one in augmented] == [draws(loaded.baseline(), counts)] * len(augmented)


@pytest.mark.parametrize("name", ["paper", "paper_demo"])
def test_the_papers_comparison(name: str) -> None:
    loaded = load(FOLDER / f"{name}.yaml", check_files=False)
    made = {tuple(values.values()): loaded.at(values) for values in loaded.settings()}
    plain, progressive, dynamic = AlphaSchedule(), AlphaSchedule(2, 5, 0.5, 1), AlphaSchedule(1.5, 1.5, adaptive=True)
    assert {key: (one.schedules()["gl"], one.augmentation.active) for key, one in made.items()} == {
        ("plain", "augmented"): (plain, True),
        ("LP", "as recorded"): (progressive, False),
        ("LP", "augmented"): (progressive, True),
        ("DA", "as recorded"): (dynamic, False),
        ("DA", "augmented"): (dynamic, True),
    }
    assert made["LP", "augmented"].augmentation == Augmentation(preset="paper")
    assert [list(values.values()) for values in loaded.stood_for()] == [["plain", "as recorded"]]


def test_the_exposure_grid_gives_weight_and_draws_the_same_part_in_the_loss() -> None:
    loaded = load(FOLDER / "exposure.yaml", check_files=False)
    made = {tuple(values.values()): loaded.at(values) for values in loaded.settings()}
    assert {key: (one.data.sampling.temperature, one.schedules()["gl"]) for key, one in made.items()} == {
        ("as it is", "weighted"): (1, AlphaSchedule(3, 3)),
        ("oversampled", "plain"): (2, AlphaSchedule()),
        ("oversampled", "weighted"): (2, AlphaSchedule(3, 3)),
    }
    counts = {"gl": 120, **dict.fromkeys(loaded.experiment.languages.high_resource, 1200)}
    shares = [language_shares(counts, temperature)["gl"] for temperature in (1, 2)]
    assert shares[1] / shares[0] == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("name", ["ablation", "ablation_demo"])
def test_the_ablation_turns_on_one_augmentation_at_a_time_and_holds_the_shares_fixed(name: str) -> None:
    loaded = load(FOLDER / f"{name}.yaml", check_files=False)
    assert loaded.experiment.data.sampling.shares
    for values in loaded.settings():
        transforms = loaded.at(values).augmentation.transforms.values()
        assert sum(transform.probability > 0 for transform in transforms) == (values["augmentation"] != "none")
    assert len(loaded.settings()) == 11


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_opens_with_the_commands_that_run_it(file: Path) -> None:
    schema, *lines = file.read_text().splitlines()
    assert schema == "# yaml-language-server: $schema=experiment.schema.json"
    head = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])
    for command in ("validate", "search", "train"):
        assert f"raywce {command} search_spaces/{file.name}" in head
    assert f"raywce validate search_spaces/{file.name} --resolved" in head
