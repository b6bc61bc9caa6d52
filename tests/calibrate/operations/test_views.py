"""Arguments of views that lead from the shape before to the shape after."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate.operations.views import contiguous_strides, view_arguments

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def leads(op, source, target):
    """Whether the arguments that are found do lead there."""
    space, name, overload = op.split(".")
    arguments = view_arguments(op, source.shape, [tuple(target.shape)], {})
    result = getattr(getattr(torch.ops.aten, name), overload)(source, *arguments)
    return result.shape == target.shape


@given(SHAPES, st.data())
def test_views_of_one_tensor(shape, data):
    source = torch.empty(shape)
    rank = len(shape)
    a, b = (data.draw(st.integers(0, rank - 1)) for _ in "ab")
    assert leads("aten.transpose.int", source, source.transpose(a, b))
    assert leads(
        "aten.permute.default", source, source.permute(data.draw(st.permutations(range(rank))))
    )
    assert leads(
        "aten.unsqueeze.default", source, source.unsqueeze(data.draw(st.integers(0, rank)))
    )
    assert leads("aten.squeeze.dim", source, source.squeeze(a))
    assert leads("aten.select.int", source, source.select(a, 0))
    assert leads(
        "aten.slice.Tensor", source, source.narrow(a, 0, data.draw(st.integers(1, shape[a])))
    )
    assert leads("aten.view.default", source, source.view(-1))
    assert leads("aten.expand.default", source, source.expand(3, *shape))
    assert leads("aten.as_strided.default", source, source.view(math.prod(shape), 1))


@given(SHAPES.filter(lambda s: len(s) > 1), st.data())
def test_pieces(shape, data):
    dim = data.draw(st.integers(0, len(shape) - 1))
    source = torch.empty([2 * n if i == dim else n for i, n in enumerate(shape)])
    for op, pieces in (
        ("aten.split.Tensor", source.split(shape[dim], dim)),
        ("aten.unbind.int", source.unbind(dim)),
    ):
        shapes = [tuple(p.shape) for p in pieces]
        arguments = view_arguments(op, tuple(source.shape), shapes, {})
        result = getattr(getattr(torch.ops.aten, op.split(".")[1]), op.split(".")[2])(
            source, *arguments
        )
        assert [tuple(r.shape) for r in result] == shapes


def test_strides_and_what_is_no_view():
    assert contiguous_strides((2, 3, 4)) == list(torch.empty(2, 3, 4).stride())
    assert view_arguments("aten.transpose.int", (2, 3), [(4, 5)], {}) is None
    assert view_arguments("aten.select.int", (2, 3), [(2, 3)], {}) is None
