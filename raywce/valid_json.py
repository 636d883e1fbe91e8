"""Figures as JSON that every parser reads: JSON knows neither NaN nor infinity, so null stands in their place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""Type of a figure that is read back: null stands for NaN."""


def with_nulls(value: object) -> Any:
    """Return a copy of nested figures with null for each number that is not finite; tuples become lists."""
    if isinstance(value, Mapping):
        return {key: with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_nulls(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(figures: object) -> str:
    """Return nested figures as indented JSON text that ends with a line break."""
    return json.dumps(with_nulls(figures), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
