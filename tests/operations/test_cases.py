"""Cases: the same work has the same key, whatever its trace calls its sizes; JSON brings it
back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner.operations.cases import as_dict, case, case_of, from_dict
from planner.operations.registry import cost, features_of, terms


def described(one):
    done = cost(one.signature, one.dims)
    return terms(one.call, done.flops, done.read_bytes + done.write_bytes, one.precision)


def product(m=8, k=16, n=32, dtype="bfloat16", right="t", **more):
    return case(
        "aten.mm.default", [((m, k), dtype), ((k, n), dtype, right)], [((m, n), dtype)], **more
    )


def test_a_product_is_one_term_with_its_sizes():
    (term,) = described(product())
    assert term.family == "matmul.nt.bfloat16"
    assert tuple(float(x) for x in term.features) == (1, 8, 32, 16)
    assert features_of(term.family) == ("batch", "m", "n", "k")
    assert term.flops == 2 * 8 * 16 * 32 and term.bytes == 2 * (8 * 16 + 16 * 32 + 8 * 32)


def test_tf32_is_a_family_of_its_own_for_float32_only():
    assert described(product(dtype="float32", precision="tf32"))[0].family == "matmul.nt.tf32"
    assert described(product(dtype="bfloat16", precision="tf32"))[0].family == "matmul.nt.bfloat16"


def test_a_backward_convolution_is_a_term_for_each_gradient():
    shapes = [((2, 8, 4, 4), "float32"), ((2, 6, 4, 4), "float32"), ((8, 6, 3, 3), "float32")]
    both = case(
        "aten.convolution_backward.default",
        shapes,
        [s for s in shapes[1:]],
        stride=(1, 1),
        padding=(1, 1),
        dilation=(1, 1),
        transposed=False,
        output_padding=(0, 0),
        groups=1,
        output_mask=(True, True, False),
        bias_sizes=(0,),
    )
    found = described(both)
    assert [t.family for t in found] == [
        "convolution.grad_input.dense.c.float32",
        "convolution.grad_weight.dense.c.float32",
    ]
    assert [tuple(map(float, t.features)) for t in found] == [(1, 32, 6, 72), (1, 8, 54, 32)]
    assert sum(float(t.flops) for t in found) == pytest.approx(
        float(cost(both.signature, both.dims).flops)
    )


def test_json_brings_a_case_back():
    one = case(
        "aten.sum.dim_IntList",
        [((4, 6), "float32", "s", 2)],
        [((1, 6), "float32")],
        dim=(0,),
        keepdim=True,
    )
    again = from_dict(json.loads(json.dumps(as_dict(one))))
    assert again == one and again.key == one.key


def test_the_key_is_that_of_the_work():
    one = product()
    renamed = case_of(one.signature, np.array(one.sizes), "bf16")
    assert renamed.key == one.key
    assert product(m=9).key != one.key and product(right="c").key != one.key
    assert product(dtype="float32").key != product(dtype="float32", precision="tf32").key
    assert one.bytes == 2 * (8 * 16 + 16 * 32 + 8 * 32)
