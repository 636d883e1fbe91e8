from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from raywce.experiment.schema import Precision
from raywce.precision import PRECISIONS, computing, products, resolved, shortcoming

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def tf32() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_the_file_has_the_same_precisions() -> None:
    assert get_args(Precision) == PRECISIONS


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_products_are_rounded_for_tf32_alone_and_the_switches_return(precision: str) -> None:
    before = tf32()
    with products(precision):
        assert tf32() == (precision == "tf32",) * 2
        with products("fp32"):
            assert tf32() == (False, False)
        assert tf32() == (precision == "tf32",) * 2
    with pytest.raises(KeyError), products("tf32"):
        raise KeyError
    assert tf32() == before


def test_mixed_precisions_multiply_in_their_own_dtype() -> None:
    matrix = torch.ones(2, 2)
    dtypes = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for precision, dtype in dtypes.items():
        with computing(precision, CPU):
            assert (matrix @ matrix).dtype == dtype
            with computing("fp32", CPU):
                assert (matrix @ matrix).dtype == torch.float32


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: request.param)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Tesla T4")


@pytest.mark.parametrize(("card", "auto"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")], indirect=["card"])
@pytest.mark.usefixtures("card")
def test_auto_is_what_the_card_has(auto: str) -> None:
    assert resolved("auto", CUDA) == auto
    assert [resolved(precision, CUDA) for precision in PRECISIONS[1:]] == list(PRECISIONS[1:])


@pytest.mark.parametrize(
    ("processor", "auto"), [("flags : fpu avx512_bf16 sse", "bf16"), ("flags : fpu avx512f", "fp32")]
)
def test_auto_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch, processor: str, auto: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: processor)
    assert resolved("auto", CPU) == auto


@pytest.mark.parametrize("card", [(7, 5)], indirect=True)
@pytest.mark.usefixtures("card")
def test_what_an_older_card_lacks_is_said_with_what_to_take() -> None:
    found = shortcoming("bf16", CUDA)
    assert found == "Tesla T4 (compute capability 7.5) only emulates bf16, slowly: take fp16 or fp32"
    assert "tf32 is fp32 there" in str(shortcoming("tf32", CUDA))
    assert shortcoming("fp16", CUDA) is shortcoming("fp32", CUDA) is shortcoming("bf16", CPU) is None


@pytest.mark.parametrize("card", [(8, 6)], indirect=True)
@pytest.mark.usefixtures("card")
def test_a_newer_card_lacks_nothing() -> None:
    assert [shortcoming(precision, CUDA) for precision in PRECISIONS] == [None] * len(PRECISIONS)
