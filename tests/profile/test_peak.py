from __future__ import annotations

import torch

from raywce.profile.peak import matrix_peak, operations


def test_products_are_counted_forward_and_backward() -> None:
    weights, rows = torch.nn.Linear(30, 20, bias=False), torch.randn(10, 30)
    assert operations(lambda: weights(rows)) == 2 * 10 * 30 * 20
    assert operations(lambda: weights(rows).sum().backward()) == 2 * 2 * 10 * 30 * 20  # rows have no gradient


def test_a_peak_is_what_a_product_of_that_size_takes() -> None:
    peak = matrix_peak(torch.device("cpu"), "fp32")
    assert 1e8 < peak < 1e15
