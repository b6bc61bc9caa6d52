"""What kinds share that take the time of moving their bytes: formula, family, price, and the sizes
worth timing."""

from __future__ import annotations

import numpy as np

from planner.operations.call import Call, Cost, Number
from planner.operations.kind import Operation, Rates, Term
from planner.trace.table import Operand

_FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
#: Rows and width of the element-wise operands; the first are single numbers and rows, the last fill
#: memory.
PLANES = (
    ((1, 1), (1, 768), (64, 64), (128, 256), (512, 768), (1576, 768), (2048, 1024), (4096, 1536)),
    (
        (1, 1),
        (1, 4096),
        (64, 768),
        (512, 768),
        (4096, 768),
        (6304, 768),
        (4096, 4096),
        (8192, 4096),
        (8192, 14336),
        (16384, 16384),
    ),
)
#: Heads as (samples, length, heads, width), seen with the length and the heads exchanged: what
#: attention's neighbours work on.
HEADS = (
    ((1, 16, 4, 16), (2, 64, 4, 32), (4, 197, 3, 64), (4, 256, 8, 64), (8, 512, 12, 64)),
    (
        (1, 64, 4, 64),
        (2, 256, 14, 64),
        (8, 512, 12, 64),
        (4, 1024, 32, 128),
        (4, 4096, 32, 128),
        (16, 2048, 16, 128),
    ),
)
#: Token ids, masks and positions: (samples, length).
IDS = (
    ((1, 16), (2, 64), (8, 128), (4, 512), (64, 512)),
    ((1, 64), (8, 512), (8, 2048), (64, 512), (32, 4096)),
)
#: Attention masks as they are put together from positions: booleans of length × length.
MASKS = (((1, 64), (1, 128), (2, 256), (4, 512)), ((1, 512), (2, 1024), (4, 2048), (1, 4096)))
#: Channels-last images: (samples, channels, side).
IMAGES = (
    ((4, 16, 32), (4, 64, 28), (2, 32, 112), (8, 320, 7)),
    ((64, 64, 112), (64, 256, 56), (64, 512, 28), (64, 1280, 7), (16, 128, 28)),
)
#: Weight matrices: (rows, width).
WEIGHTS = (
    ((256, 256), (1024, 256), (768, 768), (2048, 512)),
    ((768, 768), (2048, 2048), (4096, 4096), (14336, 4096), (8192, 8192)),
)


# ---- formulas


def touched_once(call: Call) -> Cost:
    """Every element once, every byte once."""
    return Cost(call.elements, call.read_all, call.write_all)


def moved(call: Call) -> Cost:
    """Every byte of the result is read once and written once."""
    return Cost(0.0, call.read_all, call.write_all)


# ---- families


def term(operation: Operation, *parts: str) -> list[Term]:
    """One term, whose family is told by ``parts`` and the type; its bytes are its size."""
    family = ".".join([operation.kind.name, *parts, widest(operation.call)])
    return [Term(family, (operation.bytes,), operation.flops, operation.bytes)]


def plain_terms(operation: Operation, _precision: str) -> list[Term]:
    """Nothing but the type tells such operations apart."""
    return term(operation)


def named_terms(operation: Operation, _precision: str) -> list[Term]:
    """Each operation is a family of its own."""
    return term(operation, operation.call.name.rstrip("_"))


def is_strided(call: Call) -> bool:
    """Whether an operand's neighbours in memory are not its neighbours in the work."""
    return any(o.layout in ("s", "t") and not o.expanded for o in call.operands)


def contiguity(call: Call) -> str:
    return "strided" if is_strided(call) else "dense"


def direction(call: Call) -> str:
    return "backward" if call.is_backward else "forward"


def largest(call: Call) -> Operand:
    """The operand with the most dimensions, a floating one first."""
    return max((*call.outputs[:1], *call.inputs), key=lambda o: (len(o.shape), o.dtype in _FLOATS))


def widest(call: Call) -> str:
    """The type of the operand with the most dimensions, a floating one first: what the kernel is
    made for."""
    operands = call.operands
    return (
        max(operands, key=lambda o: (o.dtype in _FLOATS, len(o.shape))).dtype
        if operands
        else "float32"
    )


# ---- price


def price(
    operation: Operation, device: Rates, share: Number | None = None, issued: Number = 0.0
) -> Number:
    """Bytes at a share of the bandwidth (the kind's row, or ``share``), never faster than the
    arithmetic on the ordinary cores nor than those issue what a kernel does beside it (``issued``,
    in FLOP; of element-wise kernels known here), and the launches of its kernels."""
    kind, signature = operation.kind.name, operation.call.signature
    share = device.parameter(kind, "bandwidth_share") if share is None else share
    if is_strided(operation.call):
        share = share * device.parameter(kind, "strided_share")
    latency, traffic = device.latency_seconds(kind, signature), operation.bytes
    if device.compiled and operation.kind.fusable:
        traffic = traffic * device.parameter("compile", "pointwise_bytes_share")
        latency *= device.parameter("compile", "host_share")
    work = np.maximum(operation.flops, issued)
    if operation.kind.shows == "bandwidth" and not device.compiled:
        work = np.maximum(work, _issued(operation.call, device))
    return (
        np.maximum(device.memory_seconds(traffic, share), device.arithmetic_seconds(work)) + latency
    )


def _issued(call: Call, device: Rates) -> Number:
    """What loads, stores and addresses of an element-wise kernel cost, in arithmetic on the
    ordinary cores: little in vectors of 16 bytes, much where every element's place or type is
    worked out on its own (broadcast, transposed or cast operands:
    ``unrolled_elementwise_kernel``). It binds where a multiprocessor has much bandwidth."""
    way = "awkward" if is_awkward(call) else "vector"
    elements = max((call.numel(o) for o in call.outputs), key=np.max, default=0.0)
    return elements * device.parameter("any", f"{way}_effort")


def is_awkward(call: Call) -> bool:
    """Whether a kernel cannot take its operands in vectors: one is transposed, broadcast, or of
    another type."""
    full = [o for o in call.operands if o.shape]
    outputs = [o for o in call.outputs if o.shape]
    if not outputs or is_strided(call):
        return bool(outputs)
    shape = outputs[0].shape
    mixed = len({o.dtype for o in full if o.shape == shape and o.dtype in _FLOATS}) > 1
    return mixed or any(o.shape != shape or o.expanded for o in call.inputs if o.shape)
