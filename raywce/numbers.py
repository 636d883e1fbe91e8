"""Numbers as text, the same on the screen, in a report and in a model card.

Rates and other shares are fractions, shown in %; differences of rates are shown in points (hundredths). The unit itself
is left to the text around. What is not known, None or NaN, is an empty text.
"""

from __future__ import annotations

import math
import re
from typing import Protocol, TypeGuard

_MINUS = re.compile(r"(?<!\w)-(?=\d)")


class _Interval(Protocol):
    """A figure and its interval, as fractions."""

    @property
    def value(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction in %: 0.1234 is `12.34`."""
    return f"{100 * fraction:.{digits}f}" if _is_known(fraction) else ""


def change(fraction: float | None) -> str:
    """Return a difference of fractions in points, with its sign: -0.0123 is `-1.23`."""
    return points(100 * fraction) if _is_known(fraction) else ""


def points(value: float | None) -> str:
    """Return points, with their sign: 0.5 is `+0.50`."""
    return f"{value:+.2f}" if _is_known(value) else ""


def distance(value: float | None) -> str:
    """Return points without a sign, where the words around say the direction: 0.5 is `0.50`."""
    return f"{abs(value):.2f}" if _is_known(value) else ""


def percent_interval(interval: _Interval) -> str:
    """Return a fraction and its interval in %: `12.34 [11.00, 13.00]`."""
    low, high = percent(interval.low), percent(interval.high)
    return f"{percent(interval.value)} {f'[{low}, {high}]' if low and high else ''}".strip()


def change_interval(interval: _Interval) -> str:
    """Return a difference of fractions and its interval in points: `-1.23 [-2.00, +0.10]`."""
    return f"{change(interval.value)} {change_bounds(interval.low, interval.high)}".strip()


def change_bounds(low: float | None, high: float | None) -> str:
    """Return an interval of a difference of fractions alone, in points: `[-2.00, +0.10]`."""
    return f"[{change(low)}, {change(high)}]" if _is_known(low) and _is_known(high) else ""


def with_deviation(fraction: float | None, deviation: float | None) -> str:
    """Return a mean and its standard deviation in %: `51.00 ± 1.41`; the mean alone where there is no deviation."""
    return f"{percent(fraction)} ± {percent(deviation)}" if _is_known(deviation) else percent(fraction)


def confidence(fraction: float) -> str:
    """Return a level of confidence in %, with as many digits as it has: 0.95 is `95`, 0.999 is `99.9`."""
    return f"{100 * fraction:.6g}"


def hours(value: float) -> str:
    """Return hours of speech or of processors: `1.25`."""
    return f"{value:.2f}"


def duration(seconds: float) -> str:
    """Return a time in words: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def hyperparameter(value: object) -> str:
    """Return the value of a hyperparameter, floats with four digits: 0.00001 is `1e-05`."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def with_minus(text: str) -> str:
    """Return a text whose negative numbers have a minus sign (U+2212) in place of a hyphen, for print."""
    return _MINUS.sub("−", text)


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)
