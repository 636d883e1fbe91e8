"""Search spaces as cubes: settings as rows of numbers that a Gaussian process can compare."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Value = bool | int | float | str | None


@dataclass(frozen=True)
class Axis:
    """One searched leaf: numbers between two bounds, both included, or a choice.

    Attributes:
        low: the lowest number.
        high: the highest number, above `low`.
        log: whether ratios matter, not differences.
        step: between the numbers, from `low` on; None: any number.
        choices: what is chosen from; None: numbers.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] | None = None

    def coordinate(self, value: Value) -> float:
        """Return a value's place: from 0 to 1, beyond them outside the bounds; of a choice, its number.

        NaN has what is none of the choices, or 0 where ratios matter.
        """
        if self.choices is not None:
            places = [place for place, choice in enumerate(self.choices) if _same(value, choice)]
            return float(places[0]) if places else math.nan
        if not isinstance(value, (int, float)):
            raise TypeError(f"a number is wanted, not {value!r}")
        if self.log and value <= 0:
            return math.nan
        low, high = self._ends
        return (self._scaled(value) - low) / (high - low)

    def value(self, coordinate: float) -> Value:
        """Return the value at a coordinate; of numbers with a step, the nearest."""
        if self.choices is not None:
            return self.choices[int(coordinate)]
        low, high = self._ends
        number = low + coordinate * (high - low)
        number = math.exp(number) if self.log else number
        if self.step is not None:
            number = self.low + self.step * round((number - self.low) / self.step)
        return min(max(number, self.low), self.high)

    @property
    def _ends(self) -> tuple[float, float]:
        # Half a step more on either side: the ends are drawn as often as what is between them.
        more = (self.step or 0.0) / 2
        low = self.low - more
        return self._scaled(low if low > 0 or not self.log else self.low), self._scaled(self.high + more)

    def _scaled(self, number: float) -> float:
        return math.log(number) if self.log else float(number)


@dataclass(frozen=True)
class Cube:
    """The axes of a search space by key path; a setting is a row of their coordinates."""

    axes: Mapping[str, Axis]

    @cached_property
    def choices(self) -> NDArray[np.int64]:
        """How many choices each axis has (axes,); 0 of numbers."""
        return np.array([len(axis.choices or ()) for axis in self.axes.values()], dtype=np.int64)

    def row(self, values: Mapping[str, Value]) -> Array:
        """Return a setting's coordinates (axes,)."""
        return np.array([axis.coordinate(values[path]) for path, axis in self.axes.items()])

    def values(self, row: Sequence[float] | Array) -> dict[str, Value]:
        """Return the setting at a row; a whole number is an int where bounds and step are."""
        return {path: axis.value(float(at)) for (path, axis), at in zip(self.axes.items(), row, strict=True)}

    def snapped(self, rows: Array) -> Array:
        """Return the rows (n, axes) of settings nearest to rows of a cube with sides of 1."""
        out = np.clip(rows, 0.0, 1.0)
        for column, axis in enumerate(self.axes.values()):
            if axis.choices is not None:
                out[:, column] = np.minimum(np.floor(out[:, column] * len(axis.choices)), len(axis.choices) - 1)
            elif axis.step is not None:
                numbers = [axis.value(at) for at in out[:, column]]
                out[:, column] = [axis.coordinate(number) for number in numbers]
        return out

    def drawn(self, count: int, random: np.random.Generator) -> Array:
        """Return random settings (count, axes)."""
        return self.snapped(random.random((count, len(self.axes))))

    def even(self, count: int, random: np.random.Generator) -> Array:
        """Return settings (count, axes) that fill the space evenly: a Latin hypercube."""
        shape = (count, len(self.axes))
        order = np.argsort(random.random(shape), axis=0)
        return self.snapped((order + random.random(shape)) / count)

    def moved(self, rows: Array, random: np.random.Generator, width: float, flips: float = 0.1) -> Array:
        """Return rows (n, axes) near the given ones: numbers by `width`, some choices drawn again."""
        unit = rows.copy()
        is_choice = self.choices > 0
        unit[:, ~is_choice] += width * random.standard_normal((len(rows), int((~is_choice).sum())))
        for column in np.flatnonzero(is_choice):
            count = self.choices[column]
            drawn = random.integers(count, size=len(rows))
            again = random.random(len(rows)) < flips
            unit[:, column] = (np.where(again, drawn, unit[:, column]) + 0.5) / count
        return self.snapped(unit)


def _same(a: Value, b: Value) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)
