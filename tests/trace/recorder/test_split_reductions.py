"""Reductions that are cut over many blocks end their kernel."""

from __future__ import annotations

import importlib.util

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch
from torch._inductor.decomposition import select_decomp_table
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from planner.trace.recorder.compiled.kernels import Kernels

ROWS, WIDTH = 24, 16


def launches(function, *given: torch.Tensor) -> list[tuple[int, int]]:
    """(tensors read, tensors written) of each kernel."""
    graph = make_fx(function, decomposition_table=select_decomp_table())(*given)
    found = [step.group for step in Kernels(graph).steps if step.group is not None]
    return [(len(group.read()), len(group.written)) for group in found if group.written]


def by_all(x):
    return x * (448 / x.abs().max())


def by_rows(x):
    return x * (448 / x.abs().amax(-1, keepdim=True))


def by_columns(x):
    return x * (448 / x.abs().amax(0, keepdim=True))


@pytest.mark.parametrize(
    ("function", "kernels"),
    [(by_all, [(1, 1), (2, 1)]), (by_rows, [(1, 1)]), (by_columns, [(1, 1), (2, 1)])],
)
def test_who_reads_beside_what_was_reduced_reads_it_again(function, kernels):
    x = torch.randn(ROWS, WIDTH)
    assert launches(function, x) == kernels


def test_the_rows_of_a_transposed_matrix_are_where_its_elements_lie():
    x = torch.randn(WIDTH, ROWS).t()
    assert launches(by_rows, x) == [(1, 1), (2, 1)]
    assert launches(by_columns, x) == [(1, 1)]


def test_what_is_made_of_a_reduction_alone_stays_in_its_kernel():
    def scale(x):
        return (448 / x.abs().max().clamp(min=1e-12)).exp2()

    assert launches(scale, torch.randn(ROWS, WIDTH)) == [(1, 1)]


class Fused(TorchDispatchMode):
    """How many kernels were launched."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.planner.fused.default
        return func(*args, **(kwargs or {}))


def test_what_each_of_its_readers_computes_is_no_kernel():
    def two(x, y, scale):
        inverse = scale.reciprocal()
        return (x @ y) * inverse, (y @ y) * inverse

    given = torch.randn(ROWS, WIDTH), torch.randn(WIDTH, WIDTH), torch.rand(WIDTH) + 1
    kernels = Kernels(make_fx(two, decomposition_table=select_decomp_table())(*given))
    with Fused() as launched:
        found = kernels(list(given))
    assert launched.count == 2
    for one, other in zip(found, two(*given), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
