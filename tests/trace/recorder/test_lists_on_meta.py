"""Operations over lists that are answered without torch's references give what torch gives."""

from __future__ import annotations

import importlib.util

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch

from planner.trace.recorder.lists_on_meta import answered

aten = torch.ops.aten


def tensors(*dtypes: torch.dtype) -> list[torch.Tensor]:
    shapes = ((3, 5), (7,), (), (2, 3, 4, 5))
    return [torch.empty(s, dtype=d, device="meta") for s in shapes for d in dtypes]


CASES = {
    "sqrt": (aten._foreach_sqrt.default, 1, ()),
    "mul": (aten._foreach_mul.Scalar, 1, (0.9,)),
    "add": (aten._foreach_add.List, 2, ()),
    "div": (aten._foreach_div.List, 2, ()),
    "sign": (aten._foreach_sign.default, 1, ()),
    "lerp": (aten._foreach_lerp.Scalar, 2, (0.1,)),
    "addcdiv": (aten._foreach_addcdiv.Scalar, 3, (1.0,)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_torchs_own(name, dtype):
    func, lists, more = CASES[name]
    args = (*(tensors(dtype) for _ in range(lists)), *more)
    done, out = answered(func, args)
    assert done
    real = func(*args)
    assert [(t.shape, t.stride(), t.dtype) for t in out] == [
        (t.shape, t.stride(), t.dtype) for t in real
    ]


def test_two_types_norms_and_tensors_elsewhere_are_left_to_torch():
    mixed = (tensors(torch.float32), tensors(torch.bfloat16))
    assert answered(aten._foreach_add.List, mixed) == (False, None)
    assert answered(aten._foreach_norm.Scalar, (tensors(torch.float32),)) == (False, None)
    here = ([torch.zeros(2)], [torch.zeros(2)])
    assert answered(aten._foreach_add.List, here) == (False, None)
    assert answered(aten.add.Tensor, (torch.empty(2, device="meta"),)) == (False, None)


def test_in_place_nothing_is_born():
    lists = (tensors(torch.float32), tensors(torch.float32))
    assert answered(aten._foreach_add_.List, lists) == (True, None)
