"""Operations that a trace names otherwise than the device runs them: fused attention, norms,
dropout, optimizers, 4-bit weights.

Each builder makes one call of a case over buffers of its own, through the public function that a
training program calls, so that torch picks the kernel it would pick there. A backward pass is timed
alone: the forward pass runs while building, and its autograd node is called. Import this module
only where torch is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from planner.calibrate.operations.binding import CannotRun, bind, equal_lists, slots
from planner.calibrate.operations.tensors import Contents, Slot, dtype_of, make
from planner.devices.cases import Case

Call = Callable[[], Any]
Builder = Callable[[Case, torch.device], Call]
#: bitsandbytes' block sizes, as ``planner/training/nf4.py``.
_NESTED_BLOCK, _BLOCK = 256, 64


def substitute(case: Case, device: torch.device) -> Builder | None:
    """The builder of this operation on this device, or None where the operator itself is what
    runs."""
    space, _, rest = case.signature.op.partition(".")
    name = f"{space}.{rest.partition('.')[0]}"
    if name in _ON_HOST_ONLY and device.type != "cpu":
        return None
    return _BUILDERS.get(name)


def _named(
    case: Case, names: str, device: torch.device, **contents: Contents
) -> dict[str, torch.Tensor]:
    """The case's input tensors under these names, in order."""
    there = slots(case)
    if len(there) < len(names.split()):
        raise CannotRun(f"{case.signature.op} has {len(there)} tensors, not {names}")
    return {
        n: make(Slot(n, s.operand, s.shape), contents.get(n, Contents()), device)
        for n, s in zip(names.split(), there)
    }


def backward_call(out: torch.Tensor, wanted: list[torch.Tensor], grad: torch.Tensor) -> Call:
    """Calls the backward pass that made ``out``, and nothing else: its node, or where it is
    several, autograd over them."""
    node = out.grad_fn
    if node is None or not wanted:
        raise CannotRun("nothing here has a gradient")
    leaves = all(n is None or type(n).__name__ == "AccumulateGrad" for n, _ in node.next_functions)
    if leaves and len(getattr(node, "_input_metadata", (grad,))) == 1:

        def call():
            with torch.no_grad():
                return node(grad)

        return call
    return lambda: torch.autograd.grad(out, wanted, grad, retain_graph=True)


# ---- attention


def _attention(case: Case, device: torch.device) -> Call:
    masked = len(case.signature.inputs) > 3
    q, k, v, *mask = _named(case, "q k v mask" if masked else "q k v", device).values()
    for t in (q, k, v):
        t.requires_grad_()  # kernels keep the row sums for the backward pass
    return lambda: _attend(case, q, k, v, mask[0] if mask else None)


def _attend(case: Case, q, k, v, mask) -> torch.Tensor:
    with torch.enable_grad():
        return functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=float(case.signature.attr("dropout", 0.0)),
            is_causal=bool(case.signature.attr("causal", False)),
            enable_gqa=q.shape[-3] != k.shape[-3],
        )


def _attention_backward(case: Case, device: torch.device) -> Call:
    masked = len(case.signature.inputs) > 6
    tensors = _named(case, "grad q k v mask" if masked else "grad q k v", device)
    wanted = [tensors[n] for n in "qkv"] + (
        [tensors["mask"]] if masked and case.signature.attr("mask_grad") else []
    )
    for t in wanted:
        t.requires_grad_()
    out = _attend(case, tensors["q"], tensors["k"], tensors["v"], tensors.get("mask"))
    return backward_call(out, wanted, tensors["grad"])


# ---- norms and dropout


def _rms_norm(case: Case, device: torch.device) -> Call:
    weighted = len(case.signature.inputs) > 1
    tensors = _named(case, "x weight" if weighted else "x", device)
    shape = list(case.signature.attr("shape") or tensors["x"].shape[-1:])
    return lambda: functional.rms_norm(tensors["x"], shape, tensors.get("weight"))


def _rms_norm_backward(case: Case, device: torch.device) -> Call:
    weighted = len(case.signature.inputs) > 3
    grad, x, _, *weight = _named(
        case, "grad x rstd weight" if weighted else "grad x rstd", device
    ).values()
    gradients = tuple(case.signature.attr("wanted", (True, weighted)))
    wanted = [t.requires_grad_() for t, wish in zip((x, *weight), gradients) if wish]
    shape = list(weight[0].shape) if weight else list(x.shape[-1:])
    return backward_call(functional.rms_norm(x, shape, weight[0] if weight else None), wanted, grad)


def _batch_norm_tensors(
    case: Case, device: torch.device
) -> tuple[dict[str, torch.Tensor | None], dict[str, Any]]:
    named = bind(case).named
    positive = ("running_var", "save_invstd")
    tensors = {
        n: make(
            v,
            Contents("positive" if n in positive else "normal", written=n.startswith("running_")),
            device,
        )
        if isinstance(v, Slot)
        else None
        for n, v in named.items()
        if isinstance(v, Slot) or v is None
    }
    return tensors, named


def _normalise(tensors: dict, named: dict, training: bool) -> torch.Tensor:
    return torch.batch_norm(
        tensors["input"],
        tensors.get("weight"),
        tensors.get("bias"),
        tensors.get("running_mean"),
        tensors.get("running_var"),
        training,
        float(named.get("momentum") or 0.1),
        float(named["eps"]),
        torch.backends.cudnn.enabled,
    )


def _batch_norm(case: Case, device: torch.device) -> Call:
    """Through ``torch.batch_norm``, which picks cuDNN's kernel where it would in training."""
    tensors, named = _batch_norm_tensors(case, device)
    return lambda: _normalise(tensors, named, bool(named["training"]))


def _batch_norm_backward(case: Case, device: torch.device) -> Call:
    tensors, named = _batch_norm_tensors(case, device)
    mask = list(named["output_mask"])
    tensors["bias"] = (
        torch.zeros_like(tensors["weight"]) if tensors.get("weight") is not None else None
    )
    with torch.enable_grad():
        wanted = [
            tensors[n].requires_grad_()
            for n, wish in zip(("input", "weight", "bias"), mask)
            if wish and tensors.get(n) is not None
        ]
        out = _normalise(tensors, named, bool(named["train"]))
    return backward_call(out, wanted, tensors["grad_out"])


def _layer_norm_backward(case: Case, device: torch.device) -> Call:
    """The processor keeps the statistics in the input's type, CUDA in float32: here they come from
    the forward pass."""
    bound = bind(case)
    named = {
        n: make(v, Contents(), device) if isinstance(v, Slot) else v for n, v in bound.named.items()
    }
    shape = list(named["normalized_shape"])
    _, named["mean"], named["rstd"] = torch.native_layer_norm(
        named["input"], shape, named["weight"], named["bias"], 1e-5
    )
    return lambda: bound.overload(*named.values())


def _dropout(case: Case, device: torch.device) -> Call:
    """Off CUDA dropout is no single kernel: random numbers and two products."""
    x, p = _named(case, "x", device)["x"], float(case.signature.attr("p", 0.1))
    return lambda: torch.dropout(x, p, True)


def _dropout_backward(case: Case, device: torch.device) -> Call:
    """Off CUDA the mask is kept in the input's type and multiplied."""
    grad = _named(case, "grad", device)["grad"]
    noise = make(slots(case, "noise")[0], Contents("positive"), device)
    return lambda: torch.mul(grad, noise)


def _max_pool_backward(case: Case, device: torch.device) -> Call:
    """With the places of the maxima that the forward pass finds."""
    named = bind(case).named
    grad, image = (make(named[n], Contents(), device) for n in ("grad_output", "self"))
    window = [list(named[n]) for n in ("kernel_size", "stride", "padding", "dilation")] + [
        bool(named["ceil_mode"])
    ]
    _, places = torch.ops.aten.max_pool2d_with_indices.default(image, *window)
    return lambda: torch.ops.aten.max_pool2d_with_indices_backward.default(
        grad, image, *window, places
    )


def _scalar(case: Case, device: torch.device) -> Call:
    value = torch.ones((), device=device)
    return value.item


# ---- optimizers


def _fused_optimizer(case: Case, device: torch.device) -> Call:
    """torch's fused kernel over the lists; the scalar state of each parameter is its step count."""
    kind = str(case.signature.attr("kind", "adamw"))
    if kind not in ("adam", "adamw"):
        raise CannotRun(f"torch's fused {kind} is not known here")
    there = slots(case)
    if len(there) % 5:
        raise CannotRun(
            f"{case.signature.op}: {len(there)} tensors are not parameter, gradient, two "
            "states and a step each"
        )
    scalars, others = [s for s in there if not s.shape], [s for s in there if s.shape]
    count = len(there) // 5
    steps, others = scalars[:count], others + scalars[count:]
    lists = [
        [make(s, Contents("positive", written=True), device) for s in members]
        for members in equal_lists(others, 4, case.signature.op)
    ]
    counts = [torch.ones((), dtype=torch.float32, device=device) for _ in steps]
    kernel = torch._fused_adam_ if kind == "adam" else torch._fused_adamw_
    return lambda: kernel(
        *lists,
        [],
        counts,
        lr=1e-5,
        beta1=0.9,
        beta2=0.999,
        weight_decay=0.01,
        eps=1e-8,
        amsgrad=False,
        maximize=False,
    )


def _unscale(case: Case, device: torch.device) -> Call:
    grads = [make(s, Contents(written=True), device) for s in slots(case)]
    found, inverse = torch.zeros(1, device=device), torch.ones(1, device=device)
    return lambda: torch._amp_foreach_non_finite_check_and_unscale_(grads, found, inverse)


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
        import bitsandbytes.functional  # noqa: F401
        import bitsandbytes.optim  # noqa: F401
    except Exception as error:  # its import probes drivers and fails in many ways
        raise CannotRun(
            "bitsandbytes is not installed"
            if isinstance(error, ImportError)
            else f"bitsandbytes does not load: {error}"
        ) from None
    return bitsandbytes


_BLOCKWISE = {
    ("adamw", True): "AdamW8bit",
    ("adamw", False): "AdamW32bit",
    ("lion", True): "Lion8bit",
    ("lion", False): "Lion32bit",
}


def _blockwise_optimizer(case: Case, device: torch.device) -> Call:
    """One step of bitsandbytes' own optimizer over one tensor, its kernel and its code on the
    host."""
    library, there = _bitsandbytes(), slots(case)
    if device.type != "cuda":
        raise CannotRun("bitsandbytes' optimizers run on CUDA alone")
    kind = str(case.signature.attr("kind", "adamw"))
    name = _BLOCKWISE.get((kind, any(s.operand.dtype == "uint8" for s in there)))
    if name is None:
        raise CannotRun(f"bitsandbytes' {kind} is not known here")
    paged = len(there) > 1 and not any(s.shape == there[0].shape for s in there[2:])
    name = f"Paged{name}" if paged and kind == "adamw" else name
    parameter = torch.nn.Parameter(make(there[0], Contents(written=True), device))
    parameter.grad = make(there[1], Contents(written=True), device)
    optimizer = getattr(library.optim, name)([parameter], lr=1e-5)
    optimizer.step()  # makes the state
    return optimizer.step


def _dequantize_4bit(case: Case, device: torch.device) -> Call:
    library = _bitsandbytes()
    weight = torch.randn(
        list(case.signature.attr("shape")),
        dtype=dtype_of(case.signature.attr("dtype")),
        device=device,
    )
    packed, state = library.functional.quantize_4bit(weight, blocksize=_BLOCK, quant_type="nf4")
    return lambda: library.functional.dequantize_4bit(packed, state)


def _dequantize_blockwise(case: Case, device: torch.device) -> Call:
    library = _bitsandbytes()
    scales = torch.rand(slots(case)[0].shape, device=device)
    packed, state = library.functional.quantize_blockwise(scales, blocksize=_NESTED_BLOCK)
    return lambda: library.functional.dequantize_blockwise(packed, state)


_ON_HOST_ONLY = (
    "aten.native_dropout",
    "aten.native_dropout_backward",
    "aten.native_layer_norm_backward",
)
_BUILDERS: dict[str, Builder] = {
    "planner.attention": _attention,
    "planner.attention_backward": _attention_backward,
    "planner.rms_norm": _rms_norm,
    "planner.rms_norm_backward": _rms_norm_backward,
    "planner.fused_optimizer": _fused_optimizer,
    "planner.blockwise_optimizer": _blockwise_optimizer,
    "planner.unscale": _unscale,
    "planner.dequantize_4bit": _dequantize_4bit,
    "planner.dequantize_blockwise": _dequantize_blockwise,
    "aten.native_batch_norm": _batch_norm,
    "aten.native_batch_norm_backward": _batch_norm_backward,
    "aten.native_dropout": _dropout,
    "aten.native_dropout_backward": _dropout_backward,
    "aten.native_layer_norm_backward": _layer_norm_backward,
    "aten.max_pool2d_with_indices_backward": _max_pool_backward,
    "aten._local_scalar_dense": _scalar,
}
