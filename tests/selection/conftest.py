from __future__ import annotations

from tests.experiment.conftest import alone, example

__all__ = ["alone", "example"]
