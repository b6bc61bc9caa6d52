"""The optimizer's step over lists of tensors: foreach operations, one fused kernel, bitsandbytes'
blockwise steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from planner.operations import streams
from planner.operations.bench import Bench, CannotRun, Contents, Run, Substitute, bitsandbytes
from planner.operations.call import Call, Cost, Number
from planner.operations.cases import Case, Written, case
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term

#: How many lists of tensors a foreach operation reads; its in-place form writes one of them.
_LISTS_READ = {"lerp": 2, "addcmul": 3, "addcdiv": 3, "copy": 2, "zero": 1}
#: (tensors, elements of each): adapters, small models, large ones.
_SIZES = (
    (
        (1, 64),
        (1, 1 << 20),
        (4, 256),
        (8, 1 << 16),
        (40, 1 << 14),
        (60, 768),
        (148, 1 << 13),
        (16, 1 << 18),
        (200, 256),
    ),
    (
        (1, 4096),
        (1, 1 << 26),
        (4, 768),
        (16, 1 << 16),
        (60, 768 * 768),
        (120, 4096 * 16),
        (148, 1 << 18),
        (200, 1 << 20),
        (200, 768),
        (32, 1 << 24),
        (390, 1 << 18),
    ),
)
_FEW = 8  # tensors that a recorder counts one by one; more equal ones are counted together
_STATE_BLOCK = 256  # bitsandbytes' blocks of 8-bit states


# ---- formulas


def _lists(call: Call) -> Cost:
    """Element-wise over lists. ``aten._foreach_addcmul_.Scalar`` reads three lists and writes the
    first. Equal tensors of the lists are counted together in the trace, so one list is the sum
    divided by the number of lists."""
    _, name, overload = call.signature.op.split(".")[:3]
    base = name.removeprefix("_foreach_").rstrip("_")
    read = call.read_all
    if call.outputs:
        return Cost(call.elements, read, call.write_all)
    lists = _LISTS_READ.get(base, 2 if overload in ("List", "Tensor") else 1)
    written = read / lists
    if base == "zero":
        return Cost(0.0, 0.0, written)
    return Cost(call.elements, read - written if base == "copy" else read, written)


def _fused(call: Call) -> Cost:
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


def _unscale_work(call: Call) -> Cost:
    return Cost(call.elements, call.read_all, call.read_all)


# ---- family and price


def _terms(operation: Operation, _precision: str) -> list[Term]:
    call = operation.call
    name, operands = call.name, call.inputs or call.outputs
    if "fused" in name:
        form = "fused"
    elif "blockwise" in name:
        form = "blockwise"
    else:  # in fresh memory, or in place
        form = "foreach_new" if call.outputs else "foreach"
    return [
        Term(
            f"{operation.kind.name}.{form}.{operands[0].dtype if operands else 'float32'}",
            (operation.bytes, float(call.tensors)),
            operation.flops,
            operation.bytes,
        )
    ]


def _price(operation: Operation, device: Rates) -> Number:
    """Lists of tensors in as few launches as their elements and their number allow."""
    launches = np.maximum(
        np.ceil(operation.call.elements / device.parameter("optimizer", "kernel_elements")),
        np.ceil(operation.call.tensors / device.parameter("optimizer", "kernel_tensors")),
    )
    share = device.parameter("optimizer", "bandwidth_share")
    latency = device.parameter("optimizer", "latency_seconds")
    return device.memory_seconds(operation.bytes, share) + launches * latency


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Every operation of AdamW and of SGD with momentum; the fused AdamW; bitsandbytes' where it
    runs."""
    for dtype in device.plain_dtypes:
        for tensors, elements in device.sizes(*_SIZES):
            yield from _foreach_cases(tensors, elements, dtype)
            yield _fused_case(tensors, elements, dtype)
        for rows, width in device.sizes(*streams.WEIGHTS) if device.device_type == "cuda" else ():
            yield _blockwise_case(rows * width, dtype)


def _foreach_cases(tensors: int, elements: int, dtype: str) -> Iterator[Case]:
    def lists(count: int) -> list[Written]:
        return _listed(tensors * count, (elements,), dtype)

    yield case("aten._foreach_addcdiv_.ScalarList", lists(3))
    yield case("aten._foreach_mul_.Scalar", lists(1), scalar=0.9999999)
    yield case("aten._foreach_lerp_.Scalar", lists(2), weight=0.09999999999999998)
    yield case("aten._foreach_addcmul_.Scalar", lists(3), value=0.0010000000000000009)
    yield case("aten._foreach_sqrt.default", lists(1), lists(1))
    yield case("aten._foreach_div_.ScalarList", lists(1))
    yield case("aten._foreach_add_.Scalar", lists(1), scalar=1e-08)
    yield case("aten._foreach_add_.List", lists(2), alpha=-0.001)


def _fused_case(tensors: int, elements: int, dtype: str) -> Case:
    """Parameters, gradients and two states of each, and a count of steps."""
    operands = _listed(4 * tensors, (elements,), dtype) + _listed(tensors, (), "float32")
    if 5 * tensors <= _FEW:
        state = [((elements,), dtype), ((elements,), dtype), ((), "float32")]
        operands = [((elements,), dtype)] * (2 * tensors) + state * tensors
    return case("planner.fused_optimizer.default", operands, kind="adamw")


def _blockwise_case(elements: int, dtype: str) -> Case:
    """bitsandbytes' 8-bit AdamW on one tensor: parameter, gradient, two states in bytes and their
    scales."""
    flat, state, scales = (
        ((elements,), dtype),
        ((elements,), "uint8"),
        ((-(-elements // _STATE_BLOCK),), "float32"),
    )
    return case(
        "planner.blockwise_optimizer.default",
        [flat, flat, state, state, scales, scales],
        kind="adamw",
    )


def _listed(count: int, shape: tuple[int, ...], dtype: str) -> list[Written]:
    """Equal tensors of a list argument as the recorder writes them down."""
    return [(shape, dtype)] * count if count <= _FEW else [(shape, dtype, "c", count)]


# ---- substitutes


def _fused_optimizer(bench: Bench) -> Run:
    """torch's fused kernel over the lists; the scalar state of each parameter is its step count."""
    import torch

    signature, there = bench.case.signature, bench.slots
    algorithm = str(signature.attr("kind", "adamw"))
    if algorithm not in ("adam", "adamw"):
        raise CannotRun(f"torch's fused {algorithm} is not known here")
    if len(there) % 5:
        raise CannotRun(
            f"{signature.op}: {len(there)} tensors are not parameter, gradient, two "
            "states and a step each"
        )
    scalars, others = [s for s in there if not s.shape], [s for s in there if s.shape]
    count = len(there) // 5
    steps, others = scalars[:count], others + scalars[count:]
    lists = [
        [bench.make(s, Contents("positive", written=True)) for s in members]
        for members in bench.equal_lists(others, 4)
    ]
    counts = [torch.ones((), dtype=torch.float32, device=bench.device) for _ in steps]
    torch_kernels: Any = torch  # these are the optimizers' own, not part of the typed surface
    kernel = torch_kernels._fused_adam_ if algorithm == "adam" else torch_kernels._fused_adamw_
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


def _unscale(bench: Bench) -> Run:
    import torch

    grads = [bench.make(s, Contents(written=True)) for s in bench.slots]
    found, inverse = torch.zeros(1, device=bench.device), torch.ones(1, device=bench.device)
    torch_kernels: Any = torch
    return lambda: torch_kernels._amp_foreach_non_finite_check_and_unscale_(grads, found, inverse)


_BLOCKWISE = {
    ("adamw", True): "AdamW8bit",
    ("adamw", False): "AdamW32bit",
    ("lion", True): "Lion8bit",
    ("lion", False): "Lion32bit",
}


def _blockwise_optimizer(bench: Bench) -> Run:
    """One step of bitsandbytes' own optimizer over one tensor, its kernel and its code on the
    host."""
    import torch

    library, there = bitsandbytes(), bench.slots
    if bench.device.type != "cuda":
        raise CannotRun("bitsandbytes' optimizers run on CUDA alone")
    algorithm = str(bench.case.signature.attr("kind", "adamw"))
    name = _BLOCKWISE.get((algorithm, any(s.operand.dtype == "uint8" for s in there)))
    if name is None:
        raise CannotRun(f"bitsandbytes' {algorithm} is not known here")
    paged = len(there) > 1 and not any(s.shape == there[0].shape for s in there[2:])
    name = f"Paged{name}" if paged and algorithm == "adamw" else name
    parameter = torch.nn.Parameter(bench.make(there[0], Contents(written=True)))
    parameter.grad = bench.make(there[1], Contents(written=True))
    optimizer = getattr(library.optim, name)([parameter], lr=1e-5)
    optimizer.step()  # makes the state
    return optimizer.step


KIND = OperationKind(
    name="optimizer",
    place=130,
    formulas={
        "planner.unscale": _unscale_work,
        "planner.fused_optimizer": _fused,
        "planner.blockwise_optimizer": _fused,
    },
    prefixes={"_foreach_": _lists, "_fused_": _lists},
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("bytes", "tensors"),
    weights={"": 4.0, "foreach_new": 1.5, "blockwise": 1.0},
    substitutes={
        "planner.fused_optimizer": Substitute(_fused_optimizer),
        "planner.blockwise_optimizer": Substitute(_blockwise_optimizer),
        "planner.unscale": Substitute(_unscale),
    },
    never_cached=True,
)
