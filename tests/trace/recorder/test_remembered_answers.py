"""What meta answers is remembered, and is what it would have answered."""

from __future__ import annotations

import importlib.util

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch

from planner.trace.recorder.kernels.remembered import Remembered

aten = torch.ops.aten


class Counted:
    """An operation that says how often it was run."""

    def __init__(self, func):
        self.func, self._schema, self.runs = func, func._schema, 0

    def __call__(self, *args, **kwargs):
        self.runs += 1
        return self.func(*args, **kwargs)


def meta(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="meta")


def same(one, other):
    said = [(t.shape, t.stride(), t.dtype, t.untyped_storage().nbytes()) for t in (one, other)]
    return said[0] == said[1]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.add.Tensor, (meta(4, 6), meta(6, dtype=torch.bfloat16))),
        (aten.add.Tensor, (meta(4, 6, dtype=torch.int64), 1.5)),
        (aten.mm.default, (meta(3, 5), meta(7, 5).t())),
        (aten.cat.default, ([meta(2, 3), meta(4, 3)], 0)),
        (aten.mul.Tensor, (meta(2, 3, 4, 5).permute(0, 3, 1, 2), 2.0)),
        (aten.sum.dim_IntList, (meta(2, 3), [1], True)),
    ],
)
def test_the_second_answer_is_the_first_one_again_without_asking(func, args):
    counted, memory = Counted(func), Remembered()
    first, second = memory.run(counted, args, {}), memory.run(counted, args, {})
    assert counted.runs == 1
    assert same(first, second) and same(second, func(*args))
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


def test_several_outputs_and_those_that_are_none_are_remembered():
    func = aten.convolution_backward.default
    tensors = (meta(2, 4, 8, 8), meta(2, 3, 8, 8), meta(4, 3, 3, 3))
    args = (*tensors, [4], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False])
    counted, memory = Counted(func), Remembered()
    first, second = memory.run(counted, args, {}), memory.run(counted, args, {})
    assert counted.runs == 1
    assert [part is None for part in second] == [True, False, True]
    assert same(first[1], second[1])


def test_numbers_that_are_equal_but_promote_otherwise_are_told_apart():
    memory, whole = Remembered(), meta(3, dtype=torch.int64)
    kinds = [memory.run(aten.mul.Tensor, (whole, n), {}).dtype for n in (1, 1.0, True)]
    assert kinds == [torch.int64, torch.float32, torch.int64]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.view.default, (meta(4, 6), [24])),
        (aten.add_.Tensor, (meta(4), 1)),
        (aten._unsafe_view.default, (meta(4, 6), [24])),
    ],
)
def test_what_shares_its_storage_is_asked_each_time(func, args):
    counted, memory = Counted(func), Remembered()
    for _ in range(3):
        out = memory.run(counted, args, {})
        assert out.untyped_storage()._cdata == args[0].untyped_storage()._cdata
    assert counted.runs == 3


def test_real_values_are_never_replaced_by_sizes():
    memory, one = Remembered(), torch.ones(3)
    assert memory.run(aten.add.Tensor, (one, one), {}).tolist() == [2, 2, 2]
    assert memory.run(aten.add.Tensor, (one, one + 1), {}).tolist() == [3, 3, 3]
