from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo_world import ONE_WORKER, World, open_world


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would what it starts: tests that press it need it heard."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A local cluster of two CPUs and one logical GPU, which this process is connected to; no test may kill it."""
    from raywce.cluster import connect

    with connect(num_cpus=2, num_gpus=1):
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The demo world, small; its speech is only read."""
    with open_world(tmp_path_factory.mktemp("world")) as new:
        yield new


@pytest.fixture(scope="session")
def undisturbed(world: World) -> Path:
    """The run folder of a search that nothing came in the way of, which disturbed ones must equal."""
    storage = world.folder / "undisturbed"
    world.run("search", *world.of(storage, ONE_WORKER), codes=(0, 3))
    return storage / "quickstart"
