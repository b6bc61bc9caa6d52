"""Prices of single operations on datasheets: what tells one shape, type or order from another."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.operation_tables import datasheet_seconds
from planner.devices.lookup import find_device
from planner.operations import streams
from planner.operations.cases import case

RTX_3090, H100, A100 = (find_device(key) for key in ("rtx-3090", "h100-sxm", "a100-sxm-80"))
HALF, FULL = "float16", "float32"


def price(spec, *cases):
    return datasheet_seconds(list(cases), spec)


def convolution(layout, *, outputs=64, groups=1, kernel=3, backward=False):
    image, weight = (64, 64, 56, 56), (outputs, 64 // groups, kernel, kernel)
    result = (64, outputs, 56, 56)
    attributes = {
        "stride": (1, 1),
        "padding": (kernel // 2,) * 2,
        "dilation": (1, 1),
        "transposed": False,
        "output_padding": (0, 0),
        "groups": groups,
    }
    x, w, y = ((image, HALF, layout), (weight, HALF, layout), (result, HALF, layout))
    if not backward:
        return case("aten.convolution.default", [x, w], [y], **attributes)
    mask = (True, True, False)
    return case(
        "aten.convolution_backward.default",
        [y, x, w],
        [x, w],
        output_mask=mask,
        bias_sizes=(0,),
        **attributes,
    )


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("groups", [1, 64])
def test_images_out_of_channels_last_order_are_copied_or_read_worse(groups, backward):
    shapes = (convolution(order, groups=groups, backward=backward) for order in ("cl", "c"))
    last, plain = price(RTX_3090, *shapes)
    assert 0 < last < plain


def test_layers_of_few_channels_have_narrow_tiles():
    narrow, wide = price(RTX_3090, convolution("cl", outputs=32), convolution("cl", outputs=256))
    assert narrow < wide < 10 * narrow


def test_kernels_that_cannot_be_vectorised_are_told_apart():
    x, row, wide = ((4096, 4096), HALF), ((4096,), HALF), ((4096, 4096), FULL)
    plain = case("aten.add.Tensor", [x, x], [x])
    broadcast = case("aten.add.Tensor", [x, row], [x])
    cast = case("aten._to_copy.default", [x], [wide], dtype=FULL)
    turned = case("aten.neg.default", [((4096, 4096), HALF, "t")], [x])
    number = case("aten.mul.Tensor", [x], [x], other=2.0)
    assert [streams.is_awkward(one.call) for one in (plain, broadcast, cast, turned, number)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_what_is_issued_binds_where_a_multiprocessor_has_much_bandwidth():
    x, row = ((16384, 4096), HALF), ((4096,), HALF)
    shapes = case("aten.add.Tensor", [x, x], [x]), case("aten.add.Tensor", [x, row], [x])
    plain, broadcast = price(H100, *shapes)
    assert broadcast > plain  # although it moves a third less
    plain, broadcast = price(RTX_3090, *shapes)
    assert broadcast < plain


def attention(width, heads):
    q = ((8, heads, 2048, width), HALF)
    lse = ((8, heads, 2048), FULL)
    return case("planner.attention.default", [q, q, q], [q, lse], causal=False)


@pytest.mark.parametrize("spec", [A100, H100])
def test_narrow_heads_pay_more_for_their_exponentials(spec):
    narrow, wide = price(spec, attention(64, 32), attention(128, 16))
    assert narrow > 1.05 * wide  # the same products, twice the scores


def test_prices_grow_with_the_batch():
    shapes = [case("aten.mm.default", [((m, 512), HALF), ((512, 512), HALF)], [((m, 512), HALF)])
              for m in (64, 512, 4096, 32768)]  # fmt: skip
    assert np.all(np.diff(price(A100, *shapes)) >= 0)
