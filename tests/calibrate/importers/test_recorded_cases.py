"""Recorded operations become the cases that traces hold; what does not fit says why."""

import pytest

torch = pytest.importorskip("torch")

from planner.calibrate.importers.operation_cases import CannotMap  # noqa: E402
from planner.calibrate.importers.recorded_cases import cases_of  # noqa: E402
from planner.calibrate.importers.recorded_passes import passes_of, share_of_input  # noqa: E402
from planner.calibrate.importers.recorded_updates import with_lists  # noqa: E402
from planner.calibrate.kineto.reading import Span  # noqa: E402
from planner.calibrate.kineto.units import Unit  # noqa: E402
from planner.operations.cases import case  # noqa: E402
from planner.operations.registry import cost, kind_of, terms  # noqa: E402

BF16 = "c10::BFloat16"


def unit(name, *arguments, phase="forward", kernels=(), seconds=1e-6):
    """``arguments``: (type, dims, strides, value)."""
    columns = zip(*arguments) if arguments else [(), (), (), ()]
    types, dims, strides, values = (list(column) for column in columns)
    args = {
        "Input type": types, "Input Dims": dims, "Input Strides": strides, "Concrete Inputs": values
    }  # fmt: skip
    span = Span(name, "cpu_op", ("1", "1"), 0.0, seconds, args)
    return Unit(name, kind_of(name.replace("::", ".")).name, phase, span, seconds, list(kernels))


def tensor(dtype, *dims, strides=None):
    if strides is None:
        strides = [1] * len(dims)
        for place in range(len(dims) - 2, -1, -1):
            strides[place] = strides[place + 1] * dims[place + 1]
    return dtype, list(dims), list(strides), ""


def scalar(value):
    return "Scalar", [], [], str(value)


def absent():
    return "", [], [], ""


def families(found):
    done = cost(found.signature, found.dims)
    moved = done.read_bytes + done.write_bytes
    return [t.family for t in terms(found.call, done.flops, moved, found.precision)]


def test_a_layer_is_the_case_that_the_suites_write_by_hand():
    weight = tensor(BF16, 768, 3072, strides=(1, 768))
    (found,) = cases_of(unit("aten::mm", tensor(BF16, 64, 768), weight))
    assert found.key == case(
        "aten.mm.default",
        [((64, 768), "bfloat16"), ((768, 3072), "bfloat16", "t")],
        [((64, 3072), "bfloat16")],
        precision="bf16",
    ).key  # fmt: skip


def test_what_a_linear_layer_calls_is_found_where_only_it_was_recorded():
    arguments = tensor("float", 4, 64, 256), tensor("float", 768, 256), tensor("float", 768)
    (found,) = cases_of(unit("aten::linear", *arguments))
    assert found.signature.op == "aten.addmm.default" and families(found) == ["matmul.nt.float32"]


def test_tf32_is_told_by_the_kernel():
    arguments = tensor("float", 64, 64), tensor("float", 64, 64)
    (plain,) = cases_of(unit("aten::mm", *arguments, kernels=["ampere_sgemm_32x128_nn"]))
    kernels = ["cutlass::Kernel<cutlass_80_tensorop_s1688gemm_64x64_16x6_nn_align4>"]
    (rounded,) = cases_of(unit("aten::mm", *arguments, kernels=kernels))
    assert families(plain) == ["matmul.nn.float32"] and families(rounded) == ["matmul.nn.tf32"]


@pytest.mark.parametrize(
    "name, more",
    [
        (
            "_scaled_dot_product_flash_attention",
            [scalar(0.0), scalar(True), scalar(False), absent()],
        ),
        ("_scaled_dot_product_flash_attention_for_cpu", [scalar(0.0), scalar(True), absent()]),
        (
            "_scaled_dot_product_efficient_attention",
            [absent(), scalar(True), scalar(0.0), scalar(True), absent()],
        ),
    ],
)
def test_every_fused_attention_is_the_traces_attention(name, more):
    heads = tensor(BF16, 2, 8, 128, 64)
    (found,) = cases_of(unit(f"aten::{name}", heads, heads, heads, *more))
    assert found.signature.op == "planner.attention.default"
    assert found.signature.attr("causal") is True and found.signature.attr("dropout") == 0.0


def test_the_backward_pass_of_attention_and_of_batch_norm_of_a_library():
    heads, sums = tensor(BF16, 2, 8, 128, 64), tensor("float", 2, 8, 128)
    empty = tensor("long int", 0)
    more = [heads, sums, absent(), absent(), scalar(128), scalar(128), scalar(0.0), scalar(False)]
    name = "aten::_scaled_dot_product_flash_attention_backward"
    (found,) = cases_of(unit(name, heads, heads, heads, heads, *more, empty, empty, absent()))
    assert found.signature.op == "planner.attention_backward.default"
    image, each = tensor("float", 8, 64, 28, 28), tensor("float", 64)
    arguments = [
        image,
        image,
        each,
        each,
        each,
        each,
        each,
        scalar(1e-5),
        tensor("unsigned char", 0),
    ]
    (found,) = cases_of(unit("aten::cudnn_batch_norm_backward", *arguments))
    assert found.signature.op == "aten.native_batch_norm_backward.default"


def test_lists_take_their_type_from_what_encloses_them():
    dims = [[4, 64], [4, 32]]
    parts = ("TensorList", dims, [[64, 1], [32, 1]], "")
    inner = unit("aten::cat", parts, scalar(1))
    inner.span.parent = unit("CatBackward0", tensor(BF16, 4, 96)).span
    (found,) = cases_of(inner)
    assert {o.dtype for o in found.signature.inputs} == {"bfloat16"}


def test_what_makes_a_tensor_of_nothing_and_what_writes_into_one():
    (made,) = cases_of(
        unit("aten::full", ("ScalarList", [], [], "[64, 64]"), scalar(0.5), absent(), absent(),
             absent(), scalar(False))
    )  # fmt: skip
    assert made.bytes == 64 * 64 * 4
    into = tensor(BF16, 512, 512)
    (found,) = cases_of(unit("aten::mul", into, ("double", [], [], ""), into))
    assert kind_of(found.signature.op).name == "elementwise"


@pytest.mark.parametrize(
    "found, why",
    [
        (unit("aten::mm"), "fit no overload"),
        (unit("aten::no_such_operation", tensor("float", 4)), "does not know"),
        (unit("mine::kernel", tensor("float", 4)), "does not know"),
        (unit("aten::mm", tensor("float", 4, 5), tensor("float", 4, 5)), "refuses"),
        (unit("aten::mm", ("float", [4, -1], [1, 1], ""), tensor("float", 4, 5)), "no sizes"),
        (unit("aten::mm", ("float", [2**60, 2], [2, 1], ""), tensor("float", 2, 5)), "no sizes"),
        (unit("aten::mm", ("float", "4x5", None, ""), tensor("float", 4, 5)), "no sizes"),
        (unit("aten::cat", ("TensorList", [], [], ""), scalar(0)), "lists of tensors without"),
        (unit("aten::view", tensor("float", 4), ("ScalarList", [], [], "[2, 2]")), "runs? nothing"),
    ],
)
def test_what_cannot_be_a_case_says_why(found, why):
    with pytest.raises(CannotMap, match=why):
        cases_of(found)


def test_without_recorded_shapes_nothing_is_guessed():
    bare = Span("aten::mm", "cpu_op", ("1", "1"), 0.0, 1e-6, {})
    with pytest.raises(CannotMap, match="without recorded shapes"):
        cases_of(Unit("aten::mm", "matmul", "forward", bare, 1e-6))


# ---- updates tensor by tensor


def test_an_update_of_single_tensors_is_the_one_over_lists():
    sizes = [(64, 64), (64,), (128, 64)]
    single = [
        unit("aten::addcmul_", *[tensor("float", *size)] * 3, scalar(0.001), phase="optimizer",
             seconds=2e-6)
        for size in sizes
    ]  # fmt: skip
    step_count = unit("aten::add_", tensor("float"), scalar(1), phase="optimizer")
    other = unit("aten::add_", tensor("float", 8), scalar(1))
    found = list(with_lists([(0, u) for u in (*single, step_count, other)]))
    assert [u.name for _, u in found] == ["aten::add_", "aten::add_", "aten::_foreach_addcmul_"]
    joined = found[-1][1]
    assert joined.seconds == pytest.approx(6e-6)
    (listed,) = cases_of(joined)
    assert listed.signature.op == "aten._foreach_addcmul_.Scalar"
    assert families(listed) == ["optimizer.foreach.float32"]
    elements = sum(torch.empty(size).numel() for size in sizes)
    assert listed.bytes == 3 * 4 * elements


def test_steps_are_not_mixed_and_a_lone_tensor_stays():
    one = unit("aten::mul_", tensor("float", 4), scalar(0.5), phase="optimizer")
    two = unit("aten::mul_", tensor("float", 4), scalar(0.5), phase="optimizer")
    assert [u.name for _, u in with_lists([(0, one), (1, two)])] == ["aten::mul_", "aten::mul_"]


# ---- the two passes of a convolution's backward


def backward(mask):
    image, weight = tensor("float", 8, 64, 28, 28), tensor("float", 128, 64, 3, 3)
    two = ("ScalarList", [], [], "[1, 1]")
    plain_ones = [two, two, two, scalar(False), ("ScalarList", [], [], "[0, 0]"), scalar(1)]
    more = [("ScalarList", [], [], "[128]"), *plain_ones, ("ScalarList", [], [], str(mask))]
    result = tensor("float", 8, 128, 28, 28)
    (found,) = cases_of(unit("aten::convolution_backward", result, image, weight, *more))
    return found


def test_a_backward_pass_is_each_gradient_as_if_it_were_alone():
    both = backward([True, True, False])
    assert len(families(both)) == 2
    image, weight = passes_of(both)
    alone = [backward([True, False, False]), backward([False, True, False])]
    assert [families(p) for p in (image, weight)] == [families(p) for p in alone]
    assert [[f] for f in families(both)] == [families(image), families(weight)]
    assert passes_of(alone[0]) == [] == passes_of(backward([False, True, True]))


@pytest.mark.parametrize(
    "kernels, share",
    [
        ([("sgemm", 3.0), ("sgemm", 1.0)], 0.5),
        ([], 0.5),
        ([("dgrad_engine", 3.0), ("wgrad_alg0", 1.0)], 0.75),
        ([("dgrad_engine", 3.0), ("wgrad_alg0", 1.0), ("nchwToNhwc", 4.0)], 0.75),
        ([("igemm_bwd_gtcx3", 3.0), ("igemm_wrw_gtcx3", 1.0)], 0.75),
        ([("wgrad_alg0", 1.0), ("volta_sgemm", 3.0)], 0.75),
        ([("cudnn_infer_volta_scudnn", 1.0), ("volta_sgemm", 3.0)], 0.25),
        ([("wgrad_alg0", 4.0)], 0.5),
    ],
)
def test_names_of_kernels_tell_which_gradient_took_what(kernels, share):
    names, seconds = zip(*kernels) if kernels else ((), ())
    assert share_of_input(names, seconds) == pytest.approx(share)
