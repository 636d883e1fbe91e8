from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch

from raywce.profile.memory import Memory

CPU = torch.device("cpu")
GB = 1e9 / 8  # float64 in one


def test_the_peak_is_of_the_time_since_the_reset() -> None:
    memory = Memory(CPU)
    memory.reset()
    before = memory.peak()
    if before is None:
        pytest.skip("this system does not tell a process' peak")
    np.ones(int(0.4 * GB))
    high = memory.peak()
    memory.reset()
    np.ones(int(0.1 * GB))
    low = memory.peak()
    assert high is not None
    assert low is not None
    assert 0.3 < high - before < 0.5
    assert 0.05 < low - before < 0.2


def test_the_room_of_neighbours_is_what_is_free_by_their_number() -> None:
    alone, both = Memory(CPU).room(1), Memory(CPU).room(2)
    own = psutil.Process().memory_info().rss / 1e9
    assert both - own == pytest.approx((alone - own) / 2, rel=0.1)
    assert alone < psutil.virtual_memory().total / 1e9
