from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyte
import pytest
from rich.console import Console

from raywce.experiment.schema import Evaluation, Languages, metrics_of
from raywce.runs.tables import Trial, TrialTable
from raywce.screen import throttle
from raywce.screen.live import PlainView, TerminalView, open_view, utterances_per_second
from raywce.screen.progress import Progress
from raywce.selection.trials import COMPLETE, FAIL, PRUNED, RUNNING, SEARCH
from raywce.trial_report import Report
from tests.fake_time import FakeTime
from tests.screen import readable
from tests.search import surrogate
from tests.search.fake_search import ALPHA, empty_table, report

COLUMNS, LINES = 100, 12


@pytest.fixture
def file(tmp_path: Path) -> Any:
    return surrogate.load_file(tmp_path)


@pytest.fixture
def table(file: Any) -> TrialTable:
    return empty_table(file)


@pytest.fixture
def progress() -> Progress:
    return Progress(SEARCH, total=4, at_once=lambda: 1, label="low-resource WER", baseline=0.47)


def lines_of(file: Any, progress: Progress, *changes: list[Any]) -> list[str]:
    stream = io.StringIO()
    view = PlainView(Console(file=stream, width=80), file.experiment, list(file.space), progress)
    for rows in changes:
        progress.see(rows)
        view.show(rows)
    return stream.getvalue().splitlines()


def test_plain_lines_come_once_for_each_event(file: Any, table: TrialTable, progress: Progress) -> None:
    begun = [dict(row) for row in report(table, 1)]
    evaluated = [dict(row) for row in report(table, 1, 0.4)]
    table.finish(Trial(SEARCH, "search-1", 0, {ALPHA: 2.0}), FAIL, "no memory")
    lines = lines_of(file, progress, begun, begun, evaluated, evaluated, table.of("search-1"))
    assert lines == [
        f"search-1: starts with {ALPHA} = 2, training.optimizer.learning_rate =",
        "search-1: step 20, capped WER in %: gl 40.00, es 20.00, pt 19.00; feasible.",
        "search-1: failed: no memory. search: 1 of 4 done, 0 running; the baseline's low-resource WER is 47.00 %; "
        "time left unknown.",
    ]


def test_a_file_has_lines_whatever_force_color_says(
    file: Any, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with (tmp_path / "log").open("w") as log:
        console = Console(file=log)
        assert console.is_terminal
        monkeypatch.setattr("rich.get_console", lambda: console)
        assert isinstance(open_view(file.experiment, list(file.space), progress), PlainView)


def test_what_a_card_lacks_is_said_once(file: Any, table: TrialTable, progress: Progress) -> None:
    lacking = [{**row, "warning": "no bf16"} for row in report(table, 1)]
    lines = lines_of(file, progress, lacking, lacking, [{**row, "trial_id": "search-2"} for row in lacking])
    assert [line for line in lines if "warning" in line] == ["search-1: warning: no bf16"]
    view = TerminalView(Console(file=io.StringIO(), width=80), file.experiment, list(file.space), progress)
    for rows in (lacking, [{**row, "trial_id": "search-2"} for row in lacking]):
        view.show(rows)
    drawn = Console(file=io.StringIO(), width=80, record=True)
    drawn.print(view.screen())
    view.close()
    assert drawn.export_text().count("warning: no bf16") == 1


def test_a_trial_that_was_stopped_early_is_shown_with_its_last_step(
    file: Any, table: TrialTable, progress: Progress
) -> None:
    last = lines_of(file, progress, report(table, 1, 0.4, PRUNED))[-1]
    assert last.startswith("search-1: stopped early at step 20. search: 1 of 4 done, 0 running;")


class Log:
    """A plain view whose clock the test moves."""

    def __init__(self, file: Any, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = FakeTime()
        monkeypatch.setattr(throttle, "time", self.time)
        self._stream = io.StringIO()
        self.view = PlainView(Console(file=self._stream, width=80), file.experiment, list(file.space), progress)

    def after(self, seconds: float) -> list[str]:
        """The lines that the passing of time brought."""
        before = len(self._stream.getvalue())
        self.time.sleep(seconds)
        self.view.tick()
        return self._stream.getvalue()[before:].splitlines()


def at(table: TrialTable, number: int, step: int, time_s: float, **more: Any) -> list[dict[str, Any]]:
    """All rows of a running trial, with one more report."""
    trial = Trial(SEARCH, f"search-{number}", 0, {ALPHA: 2.0})
    table.record(trial, Report.of({"step": step, "time_s": time_s, **more}))
    return table.of(trial.trial_id)


def test_a_log_says_every_half_minute_where_each_running_trial_is(
    file: Any, table: TrialTable, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(file, progress, monkeypatch)
    table.finish(Trial(SEARCH, "search-0", 0, {ALPHA: 2.0}), RUNNING)
    log.view.show(table.of("search-0"))
    assert log.after(29.0) == []
    assert log.after(1.0) == ["search-0: no step reported yet."]
    for step, time_s in ((5, 40.0), (10, 50.0)):
        log.view.show(at(table, 0, step, time_s))
    log.view.show(at(table, 1, 5, 12.0))
    assert log.after(10.0) == []
    # 5 steps of 16 utterances in 10 s; of the other, how long the first steps took with their start is no rate
    assert log.after(20.0) == ["search-0: step 10 of 20, 8.0 utterances/s.", "search-1: step 5 of 20."]
    assert len(log.after(30.0)) == 2, "nothing new is a word too"
    log.view.show(report(table, 1, 0.4, COMPLETE))
    assert [line.partition(":")[0] for line in log.after(30.0)] == ["search-0"]


def test_the_time_of_an_evaluation_does_not_slow_a_training_down(table: TrialTable) -> None:
    at(table, 0, 5, 10.0)
    at(table, 0, 10, 20.0)
    rows = at(table, 0, 15, 90.0, utterances="decoded.parquet", **{"wer/gl": 0.4})
    assert utterances_per_second(rows, 16) == 8.0
    assert utterances_per_second(rows[:1], 16) is None
    assert utterances_per_second([{"step": None}], 16) is None
    assert utterances_per_second(at(table, 0, 20, 95.0), 16) == 16.0


def screen_of(file: Any, progress: Progress, trials: list[list[Any]], width: int, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    view = TerminalView(console, file.experiment, list(file.space), progress)
    for rows in trials:
        progress.see(rows)
        view.show(rows)
    view.close()
    plain = Console(width=width, height=height, file=io.StringIO())
    plain.print(view.screen())
    return plain.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_the_live_table_has_a_row_a_trial(file: Any, table: TrialTable, progress: Progress) -> None:
    trials = [report(table, 0, 0.45, COMPLETE), report(table, 1, 0.4, violation=0.75, feasible=False)]
    lines = screen_of(file, progress, trials, 160)
    rows = [line.split() for line in lines if line.startswith("search-")]
    assert len(rows) == 2
    assert rows[0][-1] == "done"
    assert "+0.75" in rows[1]
    assert rows[1][-1] == "running"
    assert "best feasible so far search-0: low-resource WER 45.00 %, -2.00 points" in lines[-1]


def test_a_narrow_terminal_keeps_the_low_resource_wer(file: Any, table: TrialTable, progress: Progress) -> None:
    trials = [report(table, 0, 0.45, COMPLETE)]
    wide, middle, narrow = ("\n".join(screen_of(file, progress, trials, width)) for width in (80, 60, 40))
    assert ("learning_rate" in wide, " pt " in wide) == (True, True)
    assert ("learning_rate" in middle, " pt " in middle) == (False, True)
    assert (" pt " in narrow, " gl " in narrow, "45.00" in narrow) == (False, True, True)


def test_a_watched_language_has_a_mark_and_is_the_first_to_go(tmp_path: Path, progress: Progress) -> None:
    file = surrogate.load_file(tmp_path, "languages.watched=[it]")
    evaluated = report(TrialTable(file.space, file.experiment.languages), 0, 0.45, COMPLETE, **{"wer/it": 0.1})
    wide, narrow = ("\n".join(screen_of(file, progress, [evaluated], width)) for width in (80, 56))
    assert ("it*" in wide, "*: watched" in wide) == (True, True)
    assert ("it*" in narrow, "*: watched" in narrow, " pt " in narrow) == (False, False, True)
    (line, _) = lines_of(file, progress, evaluated)
    assert line == "search-0: step 20, capped WER in %: gl 45.00, es 20.00, pt 19.00, it (watched) 10.00; feasible."


def test_a_thousand_trials_fit_on_the_screen(file: Any, table: TrialTable, progress: Progress) -> None:
    trials = [report(table, number, 0.45 - (number == 500) * 0.1, COMPLETE) for number in range(1000)]
    trials.append(report(table, 1000))
    lines = screen_of(file, progress, trials, 100, height=20)
    assert len(lines) <= 20
    shown = [line.split()[0] for line in lines if line.startswith("search-")]
    assert shown[0] == "search-500", "the best"
    assert shown[-2:] == ["search-999", "search-1000"], "the last one, and the one that runs"
    assert any("and 990 trials that have ended" in line for line in lines)


def test_six_languages_can_be_read_at_80_columns(tmp_path: Path, progress: Progress) -> None:
    rows = [
        {"state": state, "violation": violation, "reason": "CUDA out of memory. " * 5 if state == FAIL else None}
        for state, violation in ((COMPLETE, -0.25), (PRUNED, 12.34), (FAIL, None), (RUNNING, 0.5))
    ]
    low, high = readable.LANGUAGES["low"], readable.LANGUAGES["high"]
    languages = Languages(low_resource=low, high_resource=high)
    evaluated = {f"wer/{language}": 1.2345 for language in [*low, *high]}
    trials = [
        [{"trial_id": f"search-{index:03}-fe223b", "phase": SEARCH, "step": 10_000, "restarts": 2, **evaluated, **row}]
        for index, row in enumerate(rows)
    ]
    file = SimpleNamespace(
        experiment=SimpleNamespace(languages=languages, metrics=metrics_of(Evaluation(), languages)),
        space={ALPHA: None},
    )
    lines = screen_of(file, progress, trials, 80)
    readable.check(
        [line for line in lines if "failed: " not in line],
        "trial step ast gl limits state",
        "search-000-fe223b 10000 123.45 123.45 -0.25 done, restarts: 2",
        "search-001-fe223b 10000 123.45 123.45 +12.34 stopped early",
        "search-002-fe223b 10000 123.45 123.45 failed",
        "search-003-fe223b 10000 123.45 123.45 +0.50 running, restarts: 2",
    )
    assert any(line.startswith("search-002-fe223b failed: CUDA out of memory.") for line in lines)


class Terminal:
    """A program on a terminal of its own, and what stands on its screen."""

    def __init__(self, *command: str) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO  # what is typed would move the cursor
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        self.program = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)

    def read_until(self, seen: Callable[[str], bool], timeout_s: float = 120) -> str:
        """The screen, once it is as wanted."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if seen(text := "\n".join(self.screen.display)):
                return text
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.stream.feed(os.read(self.master, 65536))
                except OSError:
                    break  # the program has ended
        text = "\n".join(self.screen.display)
        assert seen(text), text
        return text

    def press_enter(self) -> None:
        os.write(self.master, b"\n")


def test_on_a_terminal_of_a_hundred_columns(tmp_path: Path) -> None:
    terminal = Terminal(sys.executable, "-m", "tests.search.fake_search", str(tmp_path))
    try:
        screen = terminal.read_until(lambda text: "1 running" in text)
        assert "search: 0 of 7 done, 1 running; the baseline's low-resource WER is 47.00 %;" in screen
        assert "time left unknown" in " ".join(screen.split())
        for _ in range(4):
            terminal.press_enter()
        screen = terminal.read_until(lambda text: "2 of 7 done" in text)
        assert "best feasible so far search-1: low-resource WER 40.00 %" in " ".join(screen.split())
        assert " s left" in screen
        assert [line.split()[0] for line in screen.splitlines() if line.startswith("search-")] == [
            "search-0",
            "search-1",
            "search-2",
        ]
        for _ in range(7):
            terminal.press_enter()
        screen = terminal.read_until(lambda text: "over" in text)
        assert "search: 5 of 7 done, 1 running" in screen
        print(f"\n{screen}")
        assert terminal.program.wait(30) == 0
    finally:
        terminal.program.kill()
        os.close(terminal.master)


def test_each_language_has_its_own_rate_with_a_mark_where_there_are_two(tmp_path: Path) -> None:
    languages = "languages={low_resource: [gl, ja], high_resource: [es], language_tokens: {ja: gl}}"
    file = surrogate.load_file(tmp_path, languages, "evaluation.metric=auto")
    table, trial = TrialTable(file.space, file.experiment.languages), Trial(SEARCH, "search-0", 0, {ALPHA: 2.0})
    table.record(trial, surrogate.report(file.experiment, 20, {"gl": 0.4, "ja": 0.2, "es": 0.3}, objective=0.9))
    progress = Progress(SEARCH, 4, lambda: 1, file.experiment.metrics.objective_label, baseline=1.0)
    (line, *_) = [line for line in lines_of(file, progress, table.of("search-0")) if "step 20" in line]
    assert line == "search-0: step 20, capped WER or CER in %: gl (WER) 40.00, ja (CER) 10.00, es (WER) 30.00."
    screen = "\n".join(screen_of(file, progress, [table.of("search-0")], 100))
    assert "search: capped WER or CER in %" in screen
    assert " gl WER  ja CER  es WER " in screen
    assert "the baseline's relative low-resource error rate is 100.00 %" in screen
