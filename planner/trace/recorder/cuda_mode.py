"""Makes a forward and backward pass on the meta device do what CUDA would do.

Fused attention instead of its decomposition, dropout with a one-byte mask, ``torch.autocast`` by
CUDA's lists (on meta it does nothing), and an answer for the questions that a model asks of its
data (``if mask.all():``), which meta tensors cannot answer: masks are full, nothing is infinite.
What was answered is kept for the assumptions.
"""

from __future__ import annotations

import contextlib
import types

import torch
from torch import _VF
from torch.overrides import TorchFunctionMode

from planner.trace.recorder import (
    cuda_attention,
    cuda_ops,  # noqa: F401  (cuda_ops declares torch.ops.planner)
)
from planner.trace.recorder.kernels import (
    ctc_loss,  # noqa: F401  (CTC's loss on meta)
    grouped_products,  # noqa: F401  (grouped products in every type)
    recurrent,
    selective_scan,
)
from planner.trace.recorder.kernels.flex_attention import flex_attention
from planner.trace.recorder.on_data.data_questions import DataQuestions

# CUDA's autocast lists: AT_FORALL_LOWER_PRECISION_FP, AT_FORALL_FP32, AT_FORALL_FP32_SET_OPT_DTYPE
# and AT_FORALL_PROMOTE of ATen/autocast_mode.h in torch 2.13, by the names that Python calls. What
# is not there runs in its inputs' widest type.
LOWER_PRECISION = frozenset(
    "__matmul__ __rmatmul__ addbmm addmm addmv addr baddbmm bmm chain_matmul conv1d conv2d "
    "conv3d conv_tbc conv_transpose1d conv_transpose2d "
    "conv_transpose3d convolution einsum gru_cell linear lstm_cell matmul mm multi_dot mv "
    "prelu rnn_relu_cell rnn_tanh_cell "
    "scaled_dot_product_attention vecdot looped_linear lstm gru rnn_tanh rnn_relu".split()
)  # looped_linear: a product an expert, of planner/models/building/experts.py
FLOAT32 = frozenset(
    "__pow__ __rdiv__ __rpow__ __rtruediv__ acos asin binary_cross_entropy_with_logits cdist "
    "cosh cosine_embedding_loss cosine_similarity "
    "dist erfinv exp expm1 group_norm hinge_embedding_loss huber_loss kl_div l1_loss "
    "layer_norm log log10 log1p log2 logsumexp "
    "margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss "
    "native_layer_norm pdist poisson_nll_loss pow reciprocal renorm "
    "rms_norm rsqrt sinh smooth_l1_loss soft_margin_loss softplus tan triplet_margin_loss "
    "upsample_bicubic2d upsample_bilinear2d upsample_linear1d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d "
    "_upsample_bicubic2d_aa _upsample_bilinear2d_aa".split()
)
#: These compute in float32 by their argument ``dtype``, without a copy of their input, unless the
#: caller gave one.
FLOAT32_BY_ARGUMENT = frozenset(
    "cumprod cumsum log_softmax norm prod softmax sum linalg_vector_norm vector_norm".split()
)
WIDEST = frozenset(
    "addcdiv addcmul atan2 bilinear cross dot grid_sample grid_sampler index_put scatter_add "
    "tensordot vdot".split()
)

_PYTHON_WRAPPERS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


class CudaLike(DataQuestions, TorchFunctionMode):
    """``autocast``: the lower precision of mixed precision, or None. ``casting()`` says whether a
    cast is due now, ``inside()`` whether a block of the training loop's own is open. ``numbers``:
    what ``item()`` gives; None refuses, since a model's forward pass must not depend on it.
    ``align_masks``: attention masks have a size of the model's own, not the batch's.
    ``flex``: attention is the kernel that torch.compile writes."""

    def __init__(
        self,
        autocast: torch.dtype | None = None,
        casting=lambda: True,
        inside=lambda: True,
        numbers: float | None = None,
        align_masks: bool = False,
        flex: bool = False,
    ):
        super().__init__()
        self.flex = flex
        self.numbers, self.align_masks = numbers, align_masks
        self.rows = {}
        self.autocast, self._casting, self.inside = autocast, casting, inside
        self.answers: set[str] = set()
        self.on_answer = lambda: None  # told of each one: the host waits for the device there
        # the model's own ``torch.autocast`` blocks, innermost last
        self.contexts: list[tuple[bool, torch.dtype | None]] = []
        self._cast_weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._copies: dict = {}
        self.is_apart = False

    @property
    def autocasting(self) -> bool:
        if self.contexts:
            return self.contexts[-1][0] and self.lower is not None
        return self.autocast is not None and self._casting()

    @property
    def lower(self) -> torch.dtype | None:
        """The type that products are cast to: the innermost block's, else the recipe's."""
        return next(
            (kind for _, kind in reversed(self.contexts) if kind is not None), self.autocast
        )

    @contextlib.contextmanager
    def apart(self):
        """For what is traced beside the step: its casts are its own, and nobody waits for it."""
        casts, told = self._cast_weights, self.on_answer
        self._cast_weights, self.on_answer, self.is_apart = {}, lambda: None, True
        try:
            yield
        finally:
            self._cast_weights, self.on_answer, self.is_apart = casts, told, False

    def clear_cache(self) -> None:
        self._cast_weights.clear()

    def __torch_function__(self, func, types_, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__" or name == "size" or name == "dim":
            return func(*args, **kwargs)
        special = getattr(self, f"_on_{name}", None)
        if self.autocasting:
            args, kwargs = self._autocast_arguments(name, args, kwargs)
        if special is not None:
            return special(func, *args, **kwargs)
        if isinstance(func, types.FunctionType) and func.__module__ in (
            "torch.nn.functional",
            "torch.autograd",
        ):
            # a dispatcher such as max_pool2d, whose branches would ask the mode again
            if func.__globals__.get("__name__") != func.__module__:
                return func(*args, **kwargs)
            return self._call_inside(func, args, kwargs)
        return func(*args, **kwargs)

    # ---- python functions of torch.nn.functional: run a copy that does not ask the mode again,
    # with the mode on inside

    def _call_inside(self, func, args, kwargs):
        copy = self._copies.get(func)
        if copy is None:
            scope = dict(func.__globals__, **{name: _never for name in _PYTHON_WRAPPERS})
            copy = types.FunctionType(
                func.__code__, scope, func.__name__, func.__defaults__, func.__closure__
            )
            copy.__kwdefaults__ = func.__kwdefaults__
            self._copies[func] = copy
        with self:
            return copy(*args, **kwargs)

    # ---- fused kernels

    def _on_scaled_dot_product_attention(
        self,
        func,
        query,
        key,
        value,
        attn_mask=None,
        dropout_p=0.0,
        is_causal=False,
        scale=None,
        enable_gqa=False,
    ):
        if self.flex:
            return flex_attention(query, key, value, float(dropout_p), causal=bool(is_causal))
        mask, dropout = cuda_attention.additive(attn_mask, query.dtype), float(dropout_p)
        kind = cuda_attention.backend(query, key, value, mask, enable_gqa)
        if kind == cuda_attention.MATH:
            return cuda_attention.mathematics(
                query, key, value, mask, dropout, bool(is_causal), scale, enable_gqa
            )
        return cuda_attention.fused(
            query, key, value, mask, dropout, bool(is_causal), kind, self.align_masks
        )

    def _on_linear(self, func, input, weight, bias=None):  # noqa: A002
        selective_scan.check_unpacked(weight)
        return func(input, weight, bias)

    def _on_rms_norm(self, func, input, normalized_shape, weight=None, eps=None):  # noqa: A002
        if weight is not None and weight.dtype != input.dtype or not input.is_meta:
            # CUDA has no fused kernel for two types
            return func(input, normalized_shape, weight, eps)
        return torch.ops.planner.rms_norm(input, list(normalized_shape), weight)[0]

    def _on__grouped_mm(self, func, rows, weights, *args, **kwargs):
        if self.autocasting and weights.dtype == torch.float32:
            self.answers.add(
                "the experts' products run in float32 under autocast: grouped_mm is in none of "
                "torch's autocast lists and takes the weights' type"
            )
        return func(rows, weights, *args, **kwargs)

    def _on_cross_entropy_loss(
        self,
        func,
        input,
        target,
        weight=None,
        reduction=1,
        ignore_index=-100,
        label_smoothing=0.0,  # noqa: A002
    ):
        """The compiler's tracer finds no gradient of meta's own kernel of the whole."""
        if not self.is_apart or label_smoothing or input.dim() != 2 or target.dim() != 1:
            return func(input, target, weight, reduction, ignore_index, label_smoothing)
        logs = torch.ops.aten._log_softmax(input, 1, False)
        return torch.ops.aten.nll_loss_forward(logs, target, weight, reduction, ignore_index)[0]

    def _on_lstm(self, func, *args):
        return self._recurrent("lstm", func, args)

    def _on_gru(self, func, *args):
        return self._recurrent("gru", func, args)

    def _on_rnn_tanh(self, func, *args):
        return self._recurrent("rnn_tanh", func, args)

    def _on_rnn_relu(self, func, *args):
        return self._recurrent("rnn_relu", func, args)

    def _recurrent(self, mode, func, args):
        found = recurrent.run(mode, args)
        if found is None:
            return func(*args)
        self.answers.add(recurrent.SAID)
        return found

    def _on_softmax(self, func, *args, **kwargs):
        return self._softmax(func, _VF._softmax, *args, **kwargs)

    def _on_log_softmax(self, func, *args, **kwargs):
        return self._softmax(func, _VF._log_softmax, *args, **kwargs)

    def _softmax(self, func, fused, *args, **kwargs):
        """CUDA reads fp16 and writes float32 in one kernel; bf16 is copied to float32 first
        (``SoftMax.cpp``)."""
        # torch.nn.functional's: it calls the tensor's method
        if isinstance(func, types.FunctionType):
            return self._call_inside(func, args, kwargs)
        tensor = args[0] if args else kwargs.get("input")
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if (
            isinstance(tensor, torch.Tensor)
            and kwargs.get("dtype") == torch.float32
            and tensor.is_meta
            and tensor.dtype == torch.float16
        ):
            return fused(tensor, dim, True)
        return func(*args, **kwargs)

    def _on_dropout(self, func, input, p=0.5, training=True, inplace=False, train=None):
        training = training if train is None else train
        if not training or p == 0.0:
            return input
        if p == 1.0 or input.numel() == 0:
            return func(input, p, training)
        if inplace:  # CUDA's in-place form has no fused kernel: its mask has the input's type
            return func(input, p, training, True)
        return torch.native_dropout(input, p, True)[0]

    # ---- autocast

    def _autocast_arguments(self, name, args, kwargs):
        if name in LOWER_PRECISION:
            return self._cast(args, kwargs, self.lower)
        if name in FLOAT32:
            return self._cast(args, kwargs, torch.float32)
        if name in FLOAT32_BY_ARGUMENT:
            return args, self._float32_by_argument(args, kwargs)
        if name in WIDEST:
            tensors = [
                t for t in _tensors(args) + _tensors(kwargs.values()) if t.is_floating_point()
            ]
            if any(t.dtype == torch.float32 for t in tensors) and any(
                t.dtype == self.lower for t in tensors
            ):
                return self._cast(args, kwargs, torch.float32)
        return args, kwargs

    def _float32_by_argument(self, args, kwargs):
        tensor = args[0] if args and isinstance(args[0], torch.Tensor) else kwargs.get("input")
        given = kwargs.get("dtype") is not None or any(isinstance(a, torch.dtype) for a in args)
        lower = (
            isinstance(tensor, torch.Tensor)
            and tensor.is_meta
            and tensor.dtype in (torch.float16, torch.bfloat16)
        )
        return kwargs if given or not lower else kwargs | {"dtype": torch.float32}

    def _cast(self, args, kwargs, dtype):
        return tuple(self._cast_one(a, dtype) for a in args), {
            k: self._cast_one(v, dtype) for k, v in kwargs.items()
        }

    def _cast_one(self, value, dtype):
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
            return type(value)(self._cast_one(v, dtype) for v in value)
        if not isinstance(value, torch.Tensor) or not value.is_meta or value.dtype == dtype:
            return value
        if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return value
        if (
            dtype != torch.float32
            and value.dtype == torch.float32
            and value.requires_grad
            and value.is_leaf
        ):
            # CUDA keeps one lower-precision copy of a weight until the outermost autocast ends.
            kept = self._cast_weights.get(id(value))
            if kept is None:
                kept = self._cast_weights[id(value)] = (value, value.to(dtype))
            return kept[1]
        return value.to(dtype)


def _never(*_args) -> bool:
    return False


def _tensors(values) -> list[torch.Tensor]:
    out = []
    for value in values:
        if isinstance(value, torch.Tensor):
            out.append(value)
        elif isinstance(value, (list, tuple)):
            out += [v for v in value if isinstance(v, torch.Tensor)]
    return out
