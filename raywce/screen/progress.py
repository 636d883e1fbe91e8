"""Progress of a phase: trials done and running, the best so far compared with the baseline, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from raywce import numbers
from raywce.experiment.schema import Experiment
from raywce.selection.limits import mean_wers
from raywce.selection.objective import Objective
from raywce.selection.trials import BASELINE, COMPLETE, FAIL, RUNNING, Row, Trials
from raywce.trial_report import Report


@dataclass(frozen=True)
class TimeLimit:
    """Time limit of a phase.

    Attributes:
        left_s: returns the seconds until it is reached.
        stops: whether running trials are stopped then; else they are finished.
    """

    left_s: Callable[[], float]
    stops: bool


@dataclass
class Progress:
    """Progress of one phase, kept up to date by `see`.

    Attributes:
        total: how many trials the phase has.
        at_once: returns how many can run at the same time.
        label: of what is minimised, such as `low-resource capped WER`.
        baseline: objective of the baseline, a fraction; None until it is known.
        limit: of the phase's time; None without one.
    """

    phase: str
    total: int
    at_once: Callable[[], int]
    label: str
    baseline: float | None = None
    limit: TimeLimit | None = None
    states: dict[str, str] = field(default_factory=dict)
    best: tuple[str, float] | None = None
    _started: dict[str, float] = field(default_factory=dict)
    _took: list[float] = field(default_factory=list)

    def see(self, rows: Sequence[Row]) -> None:
        """Take in the change of a trial; `rows` are all of its rows, by step."""
        last = rows[-1]
        trial_id, now = last["trial_id"], time.monotonic()
        before, self.states[trial_id] = self.states.get(trial_id), last["state"]
        if last["state"] == RUNNING:
            self._started.setdefault(trial_id, now)
        elif before in (None, RUNNING):
            # Of a trial of an earlier run, the table has the time of the training alone.
            started = self._started.pop(trial_id, None)
            took = last.get("time_s") if started is None else now - started
            if took is not None and last["state"] != FAIL:
                self._took.append(took)
        if last["state"] == COMPLETE and last.get("feasible") and (not self.best or last["objective"] < self.best[1]):
            self.best = trial_id, last["objective"]

    @property
    def running(self) -> int:
        """The number of trials that are running."""
        return len(self._started)

    @property
    def done(self) -> int:
        """The number of trials that have ended: completed, failed or stopped."""
        return sum(state != RUNNING for state in self.states.values())

    def seconds_left(self) -> float | None:
        """Return the estimated time left, from the trials so far; None before one has ended."""
        if not self._took:
            return None
        each, now = sum(self._took) / len(self._took), time.monotonic()
        rest = [max(0.0, each - (now - started)) for started in self._started.values()]
        waiting = max(0, self.total - self.done - self.running)
        left = max([*rest, (sum(rest) + waiting * each) / max(1, self.at_once()), each if waiting else 0.0])
        if self.limit:
            left = min(left, max(0.0, self.limit.left_s()) + (0.0 if self.limit.stops else each))
        return left

    def line(self) -> str:
        """Return the progress in one line."""
        parts = [f"{self.phase}: {self.done} of {self.total} done, {self.running} running"]
        if self.best:
            best, rate = self.best
            parts.append(f"best feasible so far {best}: {self.label} {self._beside_baseline(rate)}")
        elif self.baseline is not None:
            parts.append(f"the baseline's {self.label} is {numbers.percent(self.baseline)} %")
        left = self.seconds_left()
        if self.done < self.total:
            parts.append("time left unknown" if left is None else f"about {numbers.duration(left)} left")
        return "; ".join(parts)

    def _beside_baseline(self, objective: float) -> str:
        own, baseline = f"{numbers.percent(objective)} %", self.baseline
        if baseline is None:
            return own
        return f"{own}, {numbers.change(objective - baseline)} points from the baseline's {numbers.percent(baseline)} %"


def baseline_of(table: Trials, experiment: Experiment) -> float | None:
    """Return the objective of the mean rates over the baseline's runs; None where none is complete."""
    last = map(Report.of, table.last_rows(BASELINE))
    found = [experiment.metrics.deciding(report.rates) for report in last if report.final]
    mean = mean_wers(found) if found else {}
    return Objective.of(experiment, mean).value(mean) if found else None
