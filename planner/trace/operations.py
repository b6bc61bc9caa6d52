"""One registry of operations: name → kind and formula for FLOPs, bytes read and bytes written.

A formula is written for a base name (``aten.mm``) and holds for all overloads and for the in-place
form. An operation without a formula is kind ``unmodelled``: it is priced by the bytes of its
operands and its share is reported, never 0. Adding an operation is one name in a list below, or one
decorated function. FLOP counts a multiply-add as two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.trace.table import ITEMSIZE, Operand, Signature, StepTrace

#: What a kernel is like; efficiencies are learnt by kind. ``view`` runs no kernel, ``synchronise``
#: makes the host wait.
KINDS = (
    "matmul",
    "attention",
    "convolution",
    "normalization",
    "softmax",
    "loss",
    "embedding",
    "elementwise",
    "reduction",
    "copy",
    "gather",
    "random",
    "optimizer",
    "dequantize",
    "fill",
    "view",
    "synchronise",
    "unmodelled",
)

#: The kinds whose FLOPs count as the model's work.
MODEL_KINDS = ("matmul", "convolution", "attention")


class Cost(NamedTuple):
    """FLOPs, bytes read and bytes written of one call: numbers or arrays [*points]."""

    flops: np.ndarray | float
    read_bytes: np.ndarray | float
    write_bytes: np.ndarray | float


Formula = Callable[["Call"], Cost]


@dataclass(frozen=True)
class Work:
    """Of each signature: its kind, and arrays [n_signatures, *points] of FLOPs, bytes read and
    bytes written by one call."""

    kinds: tuple[str, ...]
    flops: np.ndarray
    read_bytes: np.ndarray
    write_bytes: np.ndarray

    @property
    def bytes(self) -> np.ndarray:
        return self.read_bytes + self.write_bytes


class Lengths:
    """The dimensions of a trace at its points as floats (products of five lengths overflow 64-bit
    integers), with the products that have been asked for: most operations of a model have the same
    few shapes."""

    def __init__(self, dims: np.ndarray):
        self.values = dims.astype(np.float64)
        self.points = dims.shape[1:]
        self._products: dict[tuple[int, ...], np.ndarray] = {(): np.ones(self.points)}

    def product(self, shape: tuple[int, ...]) -> np.ndarray:
        """Product of the dimensions with these indices: [*points], not to be written to."""
        found = self._products.get(shape)
        if found is None:
            found = self._products[shape] = self.product(shape[:-1]) * self.values[shape[-1]]
        return found


class Call:
    """A signature at the values of its dimensions: what a formula sees."""

    def __init__(self, signature: Signature, lengths: Lengths):
        self.signature, self.lengths = signature, lengths
        self.inputs, self.outputs = signature.inputs, signature.outputs

    @property
    def zero(self) -> np.ndarray:
        return np.zeros(self.lengths.points)

    def shape(self, operand: Operand) -> list[np.ndarray]:
        """Dimensions, each an array [*points]."""
        return [self.lengths.values[form] for form in operand.shape]

    def numel(self, operand: Operand) -> np.ndarray:
        """Elements, counting stride-0 dimensions in full, of one tensor of the list."""
        return self.lengths.product(operand.shape)

    def bytes(self, operand: Operand) -> np.ndarray:
        """Bytes that are really there (stride-0 dimensions once), over all tensors of a list
        argument."""
        there = (
            operand.shape
            if not operand.expanded
            else tuple(f for i, f in enumerate(operand.shape) if i not in operand.expanded)
        )
        return self.lengths.product(there) * float(ITEMSIZE[operand.dtype] * operand.count)

    def read(self, *operands: Operand) -> np.ndarray:
        return sum((self.bytes(o) for o in operands), self.zero)

    @property
    def read_all(self) -> np.ndarray:
        return self.read(*self.inputs)

    @property
    def write_all(self) -> np.ndarray:
        return self.read(*self.outputs)

    @property
    def elements(self) -> np.ndarray:
        """Elements of the largest operand, lists in full: the work of an operation that touches
        each once."""
        sizes = [self.numel(o) * o.count for o in (*self.outputs, *self.inputs)]
        return functools.reduce(np.maximum, sizes) if sizes else self.zero


_REGISTRY: dict[str, tuple[str, Formula]] = {}


def formula(*names: str, kind: str):
    """Register a function for base names without overload. Raises ValueError for a second formula
    of one name."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}")

    def register(function: Formula) -> Formula:
        for name in names:
            if name in _REGISTRY:
                raise ValueError(f"two formulas for {name}")
            _REGISTRY[name] = (kind, function)
        return function

    return register


@functools.lru_cache(maxsize=4096)
def _entry(op: str) -> tuple[str, Formula]:
    namespace, _, rest = op.partition(".")
    name = rest.partition(".")[0]
    for candidate in (name, name.rstrip("_")):
        if f"{namespace}.{candidate}" in _REGISTRY:
            return _REGISTRY[f"{namespace}.{candidate}"]
    if name.startswith(("_foreach_", "_fused_")):
        return "optimizer", _lists
    return "unmodelled", _streamed


def kind_of(op: str) -> str:
    """The kind of an operation's full name: ``kind_of("aten.mm.default") == "matmul"``."""
    return _entry(op)[0]


def work(trace: StepTrace, dims: np.ndarray) -> Work:
    """What every signature of a trace does at ``dims = trace.dims(...)`` [n_forms, *points]."""
    shape = (len(trace.signatures), *dims.shape[1:])
    flops, read, write = (np.zeros(shape) for _ in range(3))
    lengths = Lengths(dims)
    for index, signature in enumerate(trace.signatures):
        flops[index], read[index], write[index] = _entry(signature.op)[1](Call(signature, lengths))
    return Work(tuple(kind_of(s.op) for s in trace.signatures), flops, read, write)


def cost(signature: Signature, dims: np.ndarray) -> Cost:
    """What one call of a signature does at the values of its dimensions."""
    return _entry(signature.op)[1](Call(signature, Lengths(dims)))


# ---- operations that touch each element once


def _streamed(call: Call) -> Cost:
    return Cost(call.elements, call.read_all, call.write_all)


def _named(names: str, namespace: str = "aten") -> list[str]:
    return [f"{namespace}.{name}" for name in names.split()]


formula(
    *_named(
        "abs acos add addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or "
        "bitwise_xor ceil celu clamp clamp_max clamp_min cos cosh div elu "
        "elu_backward eq erf erfc erfinv exp expm1 floor floor_divide fmod ge gelu "
        "gelu_backward glu glu_backward gt hardshrink hardsigmoid "
        "hardsigmoid_backward hardswish hardswish_backward hardtanh hardtanh_backward isfinite "
        "isinf isnan isneginf isposinf le leaky_relu "
        "leaky_relu_backward lerp log log10 log1p log2 logical_and logical_not logical_or "
        "logical_xor log_sigmoid_forward log_sigmoid_backward "
        "logaddexp lt masked_fill maximum minimum mish mish_backward mul nan_to_num "
        "native_dropout_backward ne neg pow prelu _prelu_kernel "
        "_prelu_kernel_backward reciprocal relu relu6 remainder round rsqrt rsub selu sgn "
        "sigmoid sigmoid_backward sign silu silu_backward sin sinh "
        "softplus softplus_backward sqrt square sub tan tanh tanh_backward threshold "
        "threshold_backward tril triu trunc where xlogy fmax fmin "
        "__and__ __or__ __lshift__ __rshift__ bitwise_left_shift bitwise_right_shift bucketize "
        "searchsorted complex polar"
    ),
    kind="elementwise",
)(_streamed)

formula(
    *_named(
        "all any amax amin argmax argmin cumsum cumprod linalg_vector_norm logsumexp max mean "
        "median min norm prod std std_mean sum var var_mean "
        "nansum histc bincount count_nonzero topk sort argsort kthvalue mode cummax cummin "
        "_foreach_norm avg_pool1d avg_pool2d avg_pool2d_backward avg_pool3d "
        "avg_pool3d_backward max_pool2d_with_indices max_pool2d_with_indices_backward "
        "max_pool3d_with_indices max_pool3d_with_indices_backward "
        "adaptive_max_pool2d adaptive_max_pool2d_backward _adaptive_avg_pool2d "
        "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d "
        "_adaptive_avg_pool3d_backward"
    ),
    kind="reduction",
)(_streamed)
formula("planner.unscale", kind="optimizer")(
    lambda call: Cost(call.elements, call.read_all, call.read_all)
)

formula(
    *_named(
        "native_layer_norm native_layer_norm_backward native_group_norm "
        "native_group_norm_backward _fused_rms_norm _fused_rms_norm_backward rms_norm "
        "cudnn_batch_norm cudnn_batch_norm_backward _weight_norm_interface "
        "_weight_norm_interface_backward"
    ),
    *_named("rms_norm rms_norm_backward", "planner"),
    kind="normalization",
)(lambda call: _streamed(call)._replace(flops=8 * call.elements))
# cuDNN's persistent kernels keep the image on chip between the statistics and their use: it is read
# once.
formula(
    *_named(
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional "
        "_native_batch_norm_legit_no_training "
        "_batch_norm_with_update _batch_norm_no_update _batch_norm_with_update_functional "
        "native_batch_norm_backward batch_norm_backward"
    ),
    kind="normalization",
)(lambda call: _streamed(call)._replace(flops=8 * call.elements))

formula(
    *_named("_softmax _softmax_backward_data _log_softmax _log_softmax_backward_data"),
    kind="softmax",
)(lambda call: _streamed(call)._replace(flops=5 * call.elements))


@formula("aten._safe_softmax", kind="softmax")
def _safe_softmax(call: Call) -> Cost:
    """A softmax, a comparison, a reduction of its booleans, and a selection: four kernels on
    CUDA."""
    booleans = call.numel(call.outputs[0])
    return Cost(
        8 * call.elements,
        2 * call.read_all + call.write_all + booleans,
        2 * call.write_all + booleans,
    )


formula(
    *_named(
        "binary_cross_entropy binary_cross_entropy_backward binary_cross_entropy_with_logits "
        "mse_loss mse_loss_backward smooth_l1_loss "
        "smooth_l1_loss_backward huber_loss huber_loss_backward kl_div soft_margin_loss "
        "_ctc_loss _ctc_loss_backward "
        "_use_cudnn_ctc_loss _cudnn_ctc_loss"
    ),
    kind="loss",
)(_streamed)


@formula(*_named("nll_loss_forward nll_loss2d_forward"), kind="loss")
def _nll(call: Call) -> Cost:
    """Reads one log-probability for each target, not the table of them."""
    target = call.inputs[1]
    return Cost(call.numel(target), 2 * call.read(target), call.write_all)


@formula(*_named("nll_loss_backward nll_loss2d_backward"), kind="loss")
def _nll_backward(call: Call) -> Cost:
    """Fills the gradient with zeros, then writes one element for each target."""
    return Cost(call.numel(call.inputs[2]), 2 * call.read(call.inputs[2]), call.write_all)


# ---- movement


def _moved(call: Call) -> Cost:
    """Every byte of the result is read once and written once."""
    return Cost(0.0, call.read_all, call.write_all)


formula(
    *_named(
        "_to_copy clone contiguous cat stack repeat roll flip pixel_shuffle pixel_unshuffle "
        "repeat_interleave _cat im2col col2im "
        "upsample_nearest2d upsample_nearest1d unfold_backward reflection_pad1d "
        "reflection_pad2d replication_pad2d "
        "lift_fresh_copy tril_indices resolve_conj as_strided_copy channel_shuffle"
    ),
    kind="copy",
)(_moved)
formula(
    *_named(
        "slice_backward select_backward constant_pad_nd diagonal_backward new_zeros_and_copy "
        "slice_scatter select_scatter as_strided_scatter"
    ),
    kind="copy",
)(lambda call: Cost(0.0, call.read_all, call.write_all + call.read_all))


@formula("aten.copy", kind="copy")
def _copy(call: Call) -> Cost:
    """``copy_(self, source)``: the destination is an operand but is not read."""
    return Cost(0.0, call.read(*call.inputs[-1:]), call.write_all)


@formula(
    *_named(
        "index index_select gather take take_along_dim masked_select upsample_bilinear2d "
        "upsample_bicubic2d grid_sampler_2d nonzero "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa one_hot"
    ),
    kind="gather",
)
def _gather(call: Call) -> Cost:
    """Reads the indices and as many bytes of the table as come out."""
    return Cost(0.0, call.write_all + call.read(*call.inputs[1:]), call.write_all)


@formula(
    *_named(
        "index_put _index_put_impl index_add index_copy index_fill scatter scatter_add "
        "scatter_reduce masked_scatter "
        "upsample_bilinear2d_backward upsample_bicubic2d_backward upsample_nearest2d_backward "
        "grid_sampler_2d_backward"
    ),
    kind="gather",
)
def _scatter(call: Call) -> Cost:
    """Reads the indices and the values; reads and writes as many places. The out-of-place form
    copies the table first."""
    moved = call.read(*call.inputs[1:])
    in_place = call.signature.op.split(".")[1].endswith("_")
    table = 0.0 if in_place else call.write_all
    return Cost(0.0, moved + table, moved + table)


@formula("aten.embedding", kind="embedding")
def _embedding(call: Call) -> Cost:
    return Cost(0.0, call.write_all + call.read(*call.inputs[1:]), call.write_all)


@formula("aten.embedding_dense_backward", kind="embedding")
def _embedding_backward(call: Call) -> Cost:
    """Fills the table's gradient with zeros and adds the rows of the batch to it (the indices are
    sorted first)."""
    rows = call.read(*call.inputs[:1])
    return Cost(
        call.numel(call.inputs[0]),
        2 * rows + 4 * call.read(*call.inputs[1:]),
        call.write_all + rows,
    )


formula(
    *_named(
        "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full fill zero "
        "arange eye linspace scalar_tensor"
    ),
    kind="fill",
)(lambda call: Cost(0.0, 0.0, call.write_all))
formula(
    *_named(
        "native_dropout bernoulli rand randn randint rand_like randn_like randperm normal "
        "uniform exponential multinomial dropout"
    ),
    kind="random",
)(lambda call: Cost(4 * call.elements, call.read_all, call.write_all))

formula(
    *_named(
        "view _unsafe_view reshape _reshape_alias expand slice select permute transpose t "
        "unsqueeze squeeze alias detach split split_with_sizes unsafe_split "
        "chunk unbind narrow as_strided view_as diagonal unfold empty empty_like empty_strided "
        "new_empty new_empty_strided lift_fresh view_as_real "
        "view_as_complex resize resize_as set set_data movedim _conj real imag expand_as "
        "sym_size is_same_size empty_permuted _nested_tensor_size "
        "_has_compatible_shallow_copy_type result_type size stride storage_offset "
        "_assert_async _assert_tensor_metadata"
    ),
    kind="view",
)(lambda call: Cost(0.0, 0.0, 0.0))
formula(*_named("_local_scalar_dense item is_nonzero equal"), kind="synchronise")(
    lambda call: Cost(0.0, 0.0, 0.0)
)


# ---- matrix products


def _product(call: Call, left: Operand, right: Operand) -> Cost:
    """(…, M, K) × (…, K, N): 2·…·M·K·N."""
    columns = call.shape(right)[-1] if len(right.shape) > 1 else 1.0
    return Cost(2 * call.numel(left) * columns, call.read_all, call.write_all)


formula(*_named("mm bmm matmul mv dot _scaled_mm _int_mm _grouped_mm"), kind="matmul")(
    lambda call: _product(call, call.inputs[0], call.inputs[1])
)
formula(*_named("addmm baddbmm addmv addbmm _addmm_activation"), kind="matmul")(
    lambda call: _product(call, call.inputs[1], call.inputs[2])
)


@formula("aten.linear", kind="matmul")
def _linear(call: Call) -> Cost:
    return Cost(
        2 * call.numel(call.inputs[0]) * call.shape(call.inputs[1])[0],
        call.read_all,
        call.write_all,
    )


# ---- convolutions


def _convolution_flops(call: Call, image: Operand, weight: Operand, out: Operand) -> np.ndarray:
    """2 × weight elements of one output channel × output elements; a transposed one is its mirror
    image."""
    anchor = image if call.signature.attr("transposed", False) else out
    return 2 * call.numel(anchor) * call.numel(weight) / call.shape(weight)[0]


@formula(
    *_named(
        "convolution _convolution cudnn_convolution conv2d conv1d conv3d "
        "convolution_overrideable miopen_convolution _slow_conv2d_forward"
    ),
    kind="convolution",
)
def _convolution(call: Call) -> Cost:
    return Cost(
        _convolution_flops(call, call.inputs[0], call.inputs[1], call.outputs[0]),
        call.read_all,
        call.write_all,
    )


@formula("aten.convolution_backward", kind="convolution")
def _convolution_backward(call: Call) -> Cost:
    """One pass as costly as the forward for each of the gradients of image and weight that
    ``output_mask`` asks for, and a sum over the output's gradient for the bias. Each pass reads its
    two operands."""
    grad, image, weight = call.inputs[:3]
    mask = tuple(call.signature.attr("output_mask", (True, True, False))) + (False,) * 3
    once = _convolution_flops(call, image, weight, grad)
    read = (
        mask[0] * call.read(grad, weight)
        + mask[1] * call.read(grad, image)
        + mask[2] * call.read(grad)
    ) + call.zero
    return Cost(once * (mask[0] + mask[1]) + mask[2] * call.numel(grad), read, call.write_all)


# ---- fused attention


def _attention_flops(call: Call, q: Operand, k: Operand, v: Operand) -> np.ndarray:
    """Two products, 2·B·H·Sq·Sk·(D + Dv); causal kernels skip the half above the diagonal."""
    length = call.shape(k)[-2]
    total = 2 * call.numel(q) * length * (1 + call.shape(v)[-1] / call.shape(q)[-1])
    return total / 2 if call.signature.attr("causal", False) else total


#: The backward pass recomputes the scores and makes four more products where the forward pass makes
#: two (arXiv 2307.08691, 4.1).
BACKWARD_OF_ATTENTION = 2.5


@formula(
    "planner.attention",
    *_named(
        "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
        "_scaled_dot_product_cudnn_attention "
        "_flash_attention_forward _efficient_attention_forward"
    ),
    kind="attention",
)
def _attention(call: Call) -> Cost:
    return Cost(_attention_flops(call, *call.inputs[:3]), call.read_all, call.write_all)


@formula(
    "planner.attention_backward",
    *_named(
        "_scaled_dot_product_flash_attention_backward "
        "_scaled_dot_product_efficient_attention_backward "
        "_scaled_dot_product_cudnn_attention_backward _flash_attention_backward"
    ),
    kind="attention",
)
def _attention_backward(call: Call) -> Cost:
    """The gradient of q is gathered in a float32 buffer, written and read once more
    (``mha_bwd``)."""
    q = call.inputs[1]
    gathered = 4 * call.numel(q)
    return Cost(
        BACKWARD_OF_ATTENTION * _attention_flops(call, *call.inputs[1:4]),
        call.read_all + gathered,
        call.write_all + 2 * gathered,
    )


# ---- quantised weights and optimizers

formula(*_named("dequantize_4bit dequantize_blockwise", "planner"), kind="dequantize")(_streamed)

#: How many lists of tensors a foreach operation reads; its in-place form writes one of them.
_LISTS = {"lerp": 2, "addcmul": 3, "addcdiv": 3, "copy": 2, "zero": 1}


def _lists(call: Call) -> Cost:
    """Element-wise over lists. ``aten._foreach_addcmul_.Scalar`` reads three lists and writes the
    first. Equal tensors of the lists are counted together in the trace, so one list is the sum
    divided by the number of lists."""
    _, name, overload = call.signature.op.split(".")[:3]
    base = name.removeprefix("_foreach_").rstrip("_")
    read = call.read_all
    if call.outputs:
        return Cost(call.elements, read, call.write_all)
    lists = _LISTS.get(base, 2 if overload in ("List", "Tensor") else 1)
    written = read / lists
    if base in ("zero",):
        return Cost(0.0, 0.0, written)
    return Cost(call.elements, read - written if base == "copy" else read, written)


@formula("planner.fused_optimizer", "planner.blockwise_optimizer", kind="optimizer")
def _fused_optimizer(call: Call) -> Cost:
    """One kernel reads parameters, gradients and states and writes all but the gradients. Where
    lists are counted together the gradients' share is that of one list in four; where they are
    apart the second operand is the gradient."""
    read = call.read_all
    gradients = (
        call.read(call.inputs[1])
        if call.signature.op.startswith("planner.blockwise") and len(call.inputs) > 1
        else read / 4
    )
    return Cost(12 * call.elements, read, read - gradients)
