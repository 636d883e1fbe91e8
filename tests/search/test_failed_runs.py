"""A confirm phase in which a training fails once: when it is tried again, and when that would be a choice too late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raywce.runs.tables import TrialTable
from raywce.runs.test_openings import openings
from raywce.search import held_out, phases
from raywce.search.driver import Run
from raywce.selection.candidates import Candidate
from raywce.selection.trials import COMPLETE, FAIL
from tests.report.made_runs import STEPS, MadeRun, decode, write_file

SEEDS = 4
SAFE = {"weighting.alpha_initial": 3.0, "weighting.alpha_final": 4.0}


class Tune:
    """Stands in for the phases' Tune runs: trains what is asked for at once; the runs named fail."""

    def __init__(self, made: MadeRun) -> None:
        self.made, self.fails, self.trained = made, set[str](), list[list[str]]()

    def table(self) -> TrialTable:
        return TrialTable.open(self.made.folder, self.made.file.space, self.made.experiment.languages)

    def run(self, phase: str, driver: Any, searcher: Any, *_: Any) -> None:
        self.made.table, self.made.driver = self.table(), replace(driver, run_trial=lambda *_: None)
        self.trained.append([])
        while isinstance(suggested := searcher.suggest(f"{len(self.trained[-1])}"), dict):
            run = Run.of(suggested)
            self.trained[-1].append(run.trial_id)
            self.made._train(phase, run, FAIL if run.trial_id in self.fails else COMPLETE)
            self.fails.discard(run.trial_id)
        self.made._write()


class Room:
    def wanted(self, trials: int) -> nullcontext[None]:
        return nullcontext()


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    confirm = {"candidates": 3, "seeds": SEEDS, "resamples": 300}
    made = MadeRun(write_file(tmp_path, confirm=confirm, constraints={"absolute_floor": 12.0}))
    made.baseline()
    made.search()
    return made


@pytest.fixture
def tune(made: MadeRun, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Two candidates, a safe and a bold one, whose first training will fail."""
    proposed = phases.candidates

    def two(file: Any, table: TrialTable) -> list[Candidate]:
        one = proposed(file, table)[0]
        safe = replace(one, name="candidate-1", values=one.values | SAFE)
        return [safe, replace(one, name="candidate-2")]

    monkeypatch.setattr(phases, "candidates", two)
    monkeypatch.setattr(
        held_out, "_evaluation", lambda folder, members, source, split, experiment, part="all": (members, split)
    )
    tune = Tune(made)
    chosen = two(made.file, made.table)
    tune.fails.add(
        next(run.trial_id for run in phases.runs(chosen, made.file, range(2)) if run.candidate == chosen[1].name)
    )
    return tune


def decoder(made: MadeRun, killed_at_test: bool = False) -> Callable[..., None]:
    def decoding(wanted: Sequence[Any], resources: Any, on_table: Callable[[int, Any], None]) -> None:
        for index, (members, split) in enumerate(wanted):
            if killed_at_test and split == "test" and index:
                raise KeyboardInterrupt
            row = made.table.of(members[0])[-1] if members else None
            rates = made.original if row is None else made._rates(made._run_of(row), STEPS)
            on_table(index, decode(rates, f"{split} {members}"))

    return decoding


def test_a_failed_run_is_not_trained_again_with_the_second_half(made: MadeRun, tune: Tune) -> None:
    (failing,) = tune.fails
    phase = phases._Phases(made.file, made.folder, Room(), tune, None)
    found = phase.confirm(decoder(made), False)
    assert list(found.failed) == ["candidate-2"]
    assert list(found.choice.claims) == ["candidate-1"]
    first, second = tune.trained
    assert failing in first
    assert failing not in second


def test_once_the_test_split_was_seen_no_other_winner_can_come_up(made: MadeRun, tune: Tune) -> None:
    phase = phases._Phases(made.file, made.folder, Room(), tune, None)
    with pytest.raises(KeyboardInterrupt):
        phase.confirm(decoder(made, killed_at_test=True), False)
    tune.trained.clear()
    found = phase.confirm(decoder(made), False)
    assert tune.trained == []
    assert found.choice.winner == "candidate-1"
    assert len(openings(made.folder)) == 1
    assert "average-candidate-1" in openings(made.folder)[0]["models"]


def test_averages_of_other_trainings_are_decoded_again(made: MadeRun, tune: Tune) -> None:
    phase, folder = phases._Phases(made.file, made.folder, Room(), tune, None), Path(made.folder.path("averages"))
    found = phase.confirm(decoder(made), False)
    members = folder / "members.json"
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert "candidate-1" in members.read_text()
    phase.confirm(decoder(made), True)
    assert before == {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    members.write_text(members.read_text().replace("confirm-baseline", "confirm-others", 1))
    phase.confirm(decoder(made), True)
    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert after.keys() == before.keys()
    assert all(after[name] > before[name] for name in before)
    assert found.choice.winner == "candidate-1"
