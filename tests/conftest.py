from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from raywce.cluster.connect import Cluster
from tests.demo_world import ONE_WORKER, Searched, World, open_world


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would what it starts: tests that press it need it heard."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for torch: so small a model only waits for more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A local cluster of two CPUs and one logical GPU, which this process is connected to; no test may kill it."""
    from raywce.cluster.connect import connect

    with connect(num_cpus=2, num_gpus=1) as started:
        yield started


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The demo world, small; its speech is only read."""
    with open_world(tmp_path_factory.mktemp("world")) as new:
        yield new


@pytest.fixture(scope="session")
def searched(world: World) -> Searched:
    """A search that nothing came in the way of."""
    arguments, figures = world.of(world.folder / "undisturbed", ONE_WORKER), world.folder / "searched.json"
    code = world.run("search", *arguments, "--json", figures, codes=(0, 3))
    run = world.folder / "undisturbed" / "demo"
    return Searched(run, arguments, code, json.loads(figures.read_text()))


@pytest.fixture(scope="session")
def undisturbed(searched: Searched) -> Path:
    """Its run folder, which those of disturbed searches must equal."""
    return searched.run
