"""The base of every section of the experiment file, and the types of its values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Language = Annotated[str, Field(min_length=2, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$")]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, values are not coerced, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
