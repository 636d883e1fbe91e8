"""How far a phase is: trials done and running, the best so far beside the baseline, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raywce.search.outcome import objective
from raywce.search.tables import BASELINE, COMPLETE, FAIL, RUNNING, TrialTable

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TimeLimit:
    """Of a phase's trials.

    Attributes:
        left_s: gives the seconds until it is reached.
        stops: whether trials are stopped then; else those that run are finished.
    """

    left_s: Callable[[], float]
    stops: bool


@dataclass
class Progress:
    """What one phase has come to, kept up to date by `see`.

    Attributes:
        total: how many trials the phase has.
        at_once: gives how many can run at the same time.
        baseline: the mean low-resource WER of the baseline, a fraction; None where it is not known yet.
        limit: None: the trials may take any time.
    """

    phase: str
    total: int
    at_once: Callable[[], int]
    baseline: float | None = None
    limit: TimeLimit | None = None
    states: dict[str, str] = field(default_factory=dict)
    best: tuple[str, float] | None = None
    _began: dict[str, float] = field(default_factory=dict)
    _took: list[float] = field(default_factory=list)

    def see(self, rows: Sequence[Row]) -> None:
        """Something changed in a trial; `rows` are all of its rows, by step."""
        last = rows[-1]
        trial_id, now = last["trial_id"], time.monotonic()
        before, self.states[trial_id] = self.states.get(trial_id), last["state"]
        if last["state"] == RUNNING:
            self._began.setdefault(trial_id, now)
        elif before in (None, RUNNING):
            # Of a trial of an earlier run, the table has the time of the training alone.
            began = self._began.pop(trial_id, None)
            took = last.get("time_s") if began is None else now - began
            if took is not None and last["state"] != FAIL:
                self._took.append(took)
        if last["state"] == COMPLETE and last.get("feasible") and (not self.best or last["objective"] < self.best[1]):
            self.best = trial_id, last["objective"]

    @property
    def running(self) -> int:
        """Trials that run."""
        return len(self._began)

    @property
    def done(self) -> int:
        """Trials that have ended, in whatever way."""
        return sum(state != RUNNING for state in self.states.values())

    def seconds_left(self) -> float | None:
        """By what the trials took until now; None before one has ended."""
        if not self._took:
            return None
        each, now = sum(self._took) / len(self._took), time.monotonic()
        rest = [max(0.0, each - (now - began)) for began in self._began.values()]
        waiting = max(0, self.total - self.done - self.running)
        left = max([*rest, (sum(rest) + waiting * each) / max(1, self.at_once()), each if waiting else 0.0])
        if self.limit:
            left = min(left, max(0.0, self.limit.left_s()) + (0.0 if self.limit.stops else each))
        return left

    def line(self) -> str:
        """All of it in a line."""
        parts = [f"{self.phase}: {self.done} of {self.total} done, {self.running} running"]
        if self.best:
            parts.append(f"best feasible so far {self.best[0]}: low-resource WER {self._beside_baseline(self.best[1])}")
        elif self.baseline is not None:
            parts.append(f"the baseline's low-resource WER is {_percent(self.baseline)}")
        left = self.seconds_left()
        if self.done < self.total:
            parts.append("time left not known yet" if left is None else f"about {span(left)} left")
        return "; ".join(parts)

    def _beside_baseline(self, wer: float) -> str:
        if self.baseline is None:
            return _percent(wer)
        return (
            f"{_percent(wer)}, {100 * (wer - self.baseline):+.2f} points from the baseline's {_percent(self.baseline)}"
        )


def baseline_of(table: TrialTable, low_resource: Sequence[str]) -> float | None:
    """The mean low-resource WER over the baseline's runs; None where none is complete."""
    last = [table.of(trial_id)[-1] for trial_id in table.trial_ids(BASELINE)]
    found = [objective({of: row[f"wer/{of}"] for of in low_resource}, low_resource) for row in last if row.get("final")]
    return sum(found) / len(found) if found else None


def span(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _percent(wer: float) -> str:
    return f"{100 * wer:.2f} %"
