"""Which case a recorded operation timed: its call is made once more on meta tensors of the recorded
sizes and strides, under the recorder that traces are made with, so that operands, layouts and plain
arguments are those of a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from planner.calibrate.importers.operation_cases import CannotMap
from planner.calibrate.importers.recorded_arguments import (
    DTYPES,
    Argument,
    arguments_of,
    called,
    overloads,
    plain,
    tensor,
    tensors,
)
from planner.calibrate.kineto.naming import base_name
from planner.calibrate.kineto.units import Unit
from planner.operations.cases import Case, from_dict, precision_of
from planner.operations.registry import kind_of
from planner.trace.recorder import cuda_ops  # noqa: F401 (declares planner.attention and others)
from planner.trace.recorder.dispatch_mode import Recorder, quiet

#: Parts of the names of kernels that multiply float32 as TF32 (cuBLAS, CUTLASS, cuDNN).
_TF32 = ("tf32", "s1688", "tensorop_s16816gemm_f32")
_IN_KERNELS = {"BFloat16": torch.bfloat16, "Half": torch.float16, "double": torch.float64}
_FUSED_OPTIMIZERS = {"_fused_adamw_": "adamw", "_fused_adam_": "adam", "_fused_sgd_": "sgd"}


def cases_of(unit: Unit) -> list[Case]:
    """What a recorded operation ran of what takes a device's time, in its order. Raises
    CannotMap."""
    args = unit.span.args
    asked = [args.get(k) for k in ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")]
    return _cases(unit.name, json.dumps(asked), _element(unit), _is_tf32(unit.kernels))


def _is_tf32(kernels: Sequence[str]) -> bool:
    return any(part in kernel for kernel in kernels for part in _TF32)


def _element(unit: Unit) -> torch.dtype:
    """The type of a list's tensors: that of the first tensor of what encloses it, else as the
    kernel's name says."""
    for span in unit.span.enclosing[::-1]:
        types = span.args.get("Input type")
        for name in types if isinstance(types, list) else ():
            if isinstance(name, str) and name in DTYPES:
                return DTYPES[name]
    named = (t for k in unit.kernels for word, t in _IN_KERNELS.items() if word in k)
    return next(named, torch.float32)


@lru_cache(maxsize=65536)
def _cases(name: str, asked: str, element: torch.dtype, tf32: bool) -> list[Case]:
    dims, types, strides, values = json.loads(asked)
    found = arguments_of(
        {
            "Input Dims": dims,
            "Input type": types,
            "Input Strides": strides,
            "Concrete Inputs": values,
        }
    )
    made = list(_recorded(_way(name), name, found, element))
    if not made:
        raise CannotMap("that run nothing the planner prices")
    return [_case(raw, tf32) for raw in made]


def _case(raw: tuple[Any, ...], tf32: bool) -> Case:
    op, inputs, outputs, attrs = raw
    dtype = next((o[1] for o in (*inputs, *outputs)), "float32")
    return from_dict(
        {
            "op": op,
            "inputs": inputs,
            "outputs": outputs,
            "attrs": attrs,
            "precision": "tf32" if tf32 and dtype == "float32" else precision_of(dtype),
        }
    )


# ---- the call on meta

#: Makes the call under a recorder.
Made = Callable[[Recorder], None]
Way = Callable[[str, Sequence[Argument], torch.dtype], Made]
_FITS_NONE = "arguments that fit no overload"


def _recorded(
    way: Way, name: str, found: Sequence[Argument], element: torch.dtype
) -> Iterator[tuple[Any, ...]]:
    """Raw signatures of what the call runs. Raises CannotMap where it cannot be made on meta."""
    recorder = Recorder(torch.nn.Module())
    try:
        with quiet(), torch.no_grad():
            way(name, found, element)(recorder)
    except CannotMap:
        raise
    except Exception as error:  # torch refuses sizes and types in many ways of its own
        raise CannotMap("that this torch refuses on meta") from error
    for signature, _, _ in recorder.raw.operations:
        raw = recorder.raw.signatures[signature]
        if kind_of(raw[0]).runs_kernel:
            yield raw


def _way(name: str) -> Way:
    base = base_name(name)
    if base.startswith("planner.attention"):
        return _attention
    if base.startswith("planner.rms_norm"):
        return _rms_norm
    if base == "aten.native_batch_norm" and not name.endswith("native_batch_norm"):
        return _batch_norm
    if base == "aten.native_batch_norm_backward" and not name.endswith("::" + base[5:]):
        return _batch_norm_backward
    if name.partition("::")[2] in _FUSED_OPTIMIZERS:
        return _fused_optimizer
    return _as_it_is


def _as_it_is(name: str, found: Sequence[Argument], element: torch.dtype) -> Made:
    """The first overload that takes the arguments; without the last where that is a result that was
    given to be written."""
    ways = [found, found[:-1]] if len(found) > 1 and found[-1].is_tensor else [found]
    refused: CannotMap | None = None
    for given in ways:
        for overload in overloads(name):
            try:
                places, names = called(overload, given, element)
                _tried(overload, places, names)
            except CannotMap as error:
                refused = error if refused is None or _FITS_NONE in str(refused) else refused
                continue
            return partial(_under, call=partial(overload, *places, **names))
    raise refused or CannotMap(_FITS_NONE)


def _tried(overload: Any, places: list[Any], names: dict[str, Any]) -> None:
    """Called once outside the recorder. Raises CannotMap where torch refuses."""
    try:
        overload(*places, **names)
    except Exception as error:
        raise CannotMap("that this torch refuses on meta") from error


def _under(recorder: Recorder, call: Callable[[], Any]) -> None:
    with recorder:
        call()


def _kernel(run: Any, *arguments: Any) -> Made:
    return partial(_under, call=partial(run, *arguments))


def _named(name: str, found: Sequence[Argument]) -> Mapping[str, Argument]:
    """Recorded arguments by the names of the operation's own schema."""
    for overload in overloads(name):
        return {a.name: value for a, value in zip(overload._schema.arguments, found)}
    raise CannotMap("of operations that this torch does not know")


def _given(arguments: Mapping[str, Argument], *names: str) -> torch.Tensor | None:
    for name in names:
        if name in arguments and arguments[name].is_tensor:
            return tensor(arguments[name])
    return None


def _needed(arguments: Mapping[str, Argument], *names: str) -> torch.Tensor:
    found = _given(arguments, *names)
    if found is None:
        raise CannotMap(_FITS_NONE)
    return found


def _attention(name: str, found: Sequence[Argument], _element: torch.dtype) -> Made:
    given = _named(name, found)
    q, k, v = (_needed(given, part) for part in ("query", "key", "value"))
    mask = _given(given, "attn_bias", "attn_mask")
    dropout = plain(given["dropout_p"].value) if "dropout_p" in given else 0.0
    causal = bool(plain(given["is_causal"].value)) if "is_causal" in given else False
    shared = (float(dropout or 0.0), causal)
    kernels: Any = torch.ops.planner
    if not name.endswith("_backward"):
        return _kernel(kernels.attention, q, k, v, mask, *shared)
    grad, out, sums = (_needed(given, n) for n in ("grad_out", "out", "logsumexp"))
    return _kernel(kernels.attention_backward, grad, q, k, v, mask, out, sums, *shared, False)


def _rms_norm(name: str, found: Sequence[Argument], _element: torch.dtype) -> Made:
    given = _named(name, found)
    x, weight = _needed(given, "input"), _given(given, "weight")
    shape = plain(given["normalized_shape"].value)
    kernels: Any = torch.ops.planner
    if not name.endswith("_backward"):
        return _kernel(kernels.rms_norm, x, shape, weight)
    grad, rows = _needed(given, "grad_out"), _needed(given, "rstd")
    wanted = plain(given["output_mask"].value) or [True, weight is not None]
    return _kernel(kernels.rms_norm_backward, grad, x, rows, weight, wanted)


def _batch_norm(name: str, found: Sequence[Argument], _element: torch.dtype) -> Made:
    given = _named(name, found)
    parts = ("weight", "bias", "running_mean", "running_var")
    tensors_of = [_needed(given, "input"), *(_given(given, part) for part in parts)]
    training = bool(plain(given["training"].value))
    run: Any = torch.ops.aten.native_batch_norm
    return _kernel(run, *tensors_of, training, 0.1, 1e-5)


def _batch_norm_backward(name: str, found: Sequence[Argument], _element: torch.dtype) -> Made:
    """The library's keep the mean and the inverse deviation under names of their own."""
    given = _named(name, found)
    x, grad, weight = (_needed(given, part) for part in ("input", "grad_output", "weight"))
    kept = [_given(given, part) for part in ("running_mean", "running_var")]
    saved = [_needed(given, "save_mean"), _needed(given, "save_var")]
    run: Any = torch.ops.aten.native_batch_norm_backward
    return _kernel(run, grad, x, weight, *kept, *saved, True, 1e-5, [True, True, True])


def _fused_optimizer(name: str, found: Sequence[Argument], element: torch.dtype) -> Made:
    """Parameters, gradients, states: the lists in their order, with a count of steps each."""
    lists = [tensors(a, element) for a in found if a.is_list and a.dims]
    if len(lists) < 2:
        raise CannotMap("lists of tensors without recorded shapes")
    params, grads, *states = lists
    kind = _FUSED_OPTIMIZERS[name.partition("::")[2]]
    from planner.training.optimizers import kernels as declared  # noqa: F401 (declares it)

    run: Any = torch.ops.planner.fused_optimizer
    flat = [t for parts in zip(*states) for t in parts] if states else []
    return _kernel(run, params, grads, flat, kind)
