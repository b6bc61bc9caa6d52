"""Matrix products: of layers, of attention without a fused kernel, of adapters and vocabularies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.operations.call import Call, Cost, Number, names
from planner.operations.cases import Case, case, precision_of, tensor_type
from planner.operations.kind import Operation, OperationKind, Rates, SuiteDevice, Term
from planner.operations.shapes import LOSS_PRODUCTS, multiplied_type, product_of
from planner.trace.table import ITEMSIZE, Operand

#: Rows are the tokens or positions of a batch: powers of two, and the odd counts that images and
#: audio give (197, 50, 1500).
_ROWS = (
    (8, 64, 197, 512, 1024, 2048, 4096),
    (64, 256, 1024, 1576, 2048, 4096, 6304, 8192, 12000, 16384, 32768),
)
#: Layers as (outputs, inputs).
_LAYERS = (
    (
        (64, 64),
        (128, 128),
        (256, 256),
        (768, 192),
        (192, 768),
        (512, 512),
        (1536, 512),
        (768, 768),
        (3072, 768),
        (768, 3072),
        (1024, 256),
        (2, 768),
        (1000, 512),
    ),
    (
        (384, 384),
        (768, 768),
        (3072, 768),
        (768, 3072),
        (1024, 1024),
        (2048, 2048),
        (1024, 4096),
        (4096, 4096),
        (11008, 4096),
        (4096, 14336),
        (8192, 8192),
        (28672, 8192),
        (5120, 1280),
        (1000, 2048),
    ),
)
#: LoRA's two layers at a width: down to the rank and up from it.
_ADAPTERS = (
    ((8, 256), (256, 8), (16, 768), (768, 16), (64, 512), (512, 64)),
    (
        (8, 2048),
        (2048, 8),
        (16, 4096),
        (4096, 16),
        (64, 4096),
        (4096, 64),
        (16, 768),
        (768, 16),
        (16, 14336),
    ),
)
_HEADS = (
    ((1000, 64), (8000, 256), (30522, 128), (50257, 64)),
    ((30522, 768), (32000, 2048), (50257, 768), (128256, 4096), (151936, 896)),
)
_HEAD_ROWS = ((16, 128, 512), (512, 2048, 4096, 8192))
#: Attention as batched products: (samples × heads, length, width of a head).
_BATCHED = (
    ((4, 64, 16), (16, 128, 32), (24, 197, 64), (48, 64, 64), (8, 512, 64)),
    (
        (96, 128, 64),
        (192, 512, 64),
        (384, 197, 64),
        (64, 1024, 128),
        (32, 2048, 128),
        (256, 50, 64),
        (16, 4096, 128),
        (768, 77, 64),
    ),
)
_WITH_BIAS = 3  # every third shape has a bias, added by the same kernel


# ---- formulas


def _product(call: Call, left: Operand, right: Operand) -> Cost:
    """(…, M, K) × (…, K, N): 2·…·M·K·N."""
    columns = call.shape(right)[-1] if len(right.shape) > 1 else 1.0
    return Cost(2 * call.numel(left) * columns, call.read_all, call.write_all)


def _plain(call: Call) -> Cost:
    return _product(call, call.inputs[0], call.inputs[1])


def _with_addend(call: Call) -> Cost:
    return _product(call, call.inputs[1], call.inputs[2])


def _linear(call: Call) -> Cost:
    return Cost(
        2 * call.numel(call.inputs[0]) * call.shape(call.inputs[1])[0],
        call.read_all,
        call.write_all,
    )


def _of_loss(call: Call) -> Cost:
    """A fused loss's: the logits that one chunk after another writes or reads pass by."""
    hidden, weight = call.inputs[:2]
    product = product_of(call)
    vocabulary = call.shape(weight)[0]
    tokens = call.numel(hidden) / np.maximum(call.shape(hidden)[-1], 1)
    logits = tokens * vocabulary * ITEMSIZE[hidden.dtype]
    flops = 2 * product.m * product.n * product.k
    if call.name == "loss_logits":
        return Cost(flops, call.read_all, logits)
    return Cost(flops, call.read_all + logits, call.write_all)


# ---- family and price


def _terms(operation: Operation, precision: str) -> list[Term]:
    """Told apart by how either operand lies."""
    call = operation.call
    left, right, batch, m, n, k = product_of(call)
    second = "t" if call.name == "linear" else _orientation(right)
    dtype = multiplied_type(left.dtype, precision)
    return [
        Term(
            f"{operation.kind.name}.{_orientation(left)}{second}.{dtype}",
            (batch, m, n, k),
            operation.flops,
            operation.bytes,
        )
    ]


def _orientation(operand: Operand) -> str:
    return "t" if operand.layout == "t" else "n"


def _price(operation: Operation, device: Rates) -> Number:
    left, right, batch, m, n, k = product_of(operation.call)
    peak = device.peak(left.dtype)
    flops_per_s = peak.flops_per_s
    if peak.tensor and _is_unaligned(operation.call, (left, right)):
        flops_per_s *= device.parameter("product_tensor", "unaligned_share")
    if peak.tensor and left.dtype == "float32":
        flops_per_s *= device.parameter("product_tensor", "tf32_share")
    if left.dtype.startswith("float8"):
        flops_per_s *= device.parameter("product_tensor", "float8_share")
    return device.product_seconds(
        (batch, m, n, k),
        moved_bytes=operation.bytes,
        flops_per_s=flops_per_s,
        unit=device.unit(peak.tensor),
    )


def _is_unaligned(call: Call, operands: tuple[Operand, ...]) -> bool:
    """Widths that no batch or length changes and that are no multiple of 8 slow tensor kernels
    down."""
    fixed = call.lengths.fixed
    if fixed is None:
        return False
    widths = [form for o in operands for form in o.shape[-2:] if fixed[form]]
    return any(
        int(first) % 8 and first > 1
        for first in (call.lengths.values[form].flat[0] for form in widths)
    )


# ---- suite


def _suite(device: SuiteDevice) -> Iterator[Case]:
    """Cases of every type in three layouts each."""
    rows, head_rows, layers, heads, adapters = (
        device.sizes(small, large)
        for small, large in (_ROWS, _HEAD_ROWS, _LAYERS, _HEADS, _ADAPTERS)
    )
    shapes = [(m, n, k) for n, k in [*layers, *adapters] for m in rows] + [
        (m, n, k) for n, k in heads for m in head_rows
    ]
    for dtype in device.dtypes:
        for index, (m, n, k) in enumerate(shapes):
            yield from _layer(m, n, k, dtype)
            if index % _WITH_BIAS == 0:
                yield from _biased(m, n, k, dtype)
        for batch, length, width in device.sizes(*_BATCHED):
            yield from _batched(batch, length, width, dtype)


def _layer(rows: int, outputs: int, inputs: int, dtype: str) -> Iterator[Case]:
    """The three products of a linear layer's training step."""
    element, precision = tensor_type(dtype), precision_of(dtype)
    x, weight, grad = (rows, inputs), (outputs, inputs), (rows, outputs)
    yield case(
        "aten.mm.default",
        [(x, element), ((inputs, outputs), element, "t")],
        [(grad, element)],
        precision=precision,
    )
    yield case(
        "aten.mm.default", [(grad, element), (weight, element)], [(x, element)], precision=precision
    )
    yield case(
        "aten.mm.default",
        [((outputs, rows), element, "t"), (x, element)],
        [(weight, element)],
        precision=precision,
    )


def _biased(rows: int, outputs: int, inputs: int, dtype: str) -> Iterator[Case]:
    """With a bias: a linear layer's weight lies transposed, GPT-2's as it is multiplied."""
    element, precision = tensor_type(dtype), precision_of(dtype)
    for layout in ("t", "c"):
        yield case(
            "aten.addmm.default",
            [
                ((outputs,), element),
                ((rows, inputs), element),
                ((inputs, outputs), element, layout),
            ],
            [((rows, outputs), element)],
            precision=precision,
        )


def _batched(batch: int, length: int, width: int, dtype: str) -> Iterator[Case]:
    """Scores q·kᵀ, the sum p·v, and their gradients with respect to k and v."""
    element, precision = tensor_type(dtype), precision_of(dtype)
    q, scores = (batch, length, width), (batch, length, length)
    yield case(
        "aten.bmm.default",
        [(q, element), ((batch, width, length), element, "t")],
        [(scores, element)],
        precision=precision,
    )
    yield case(
        "aten.bmm.default", [(scores, element), (q, element)], [(q, element)], precision=precision
    )
    yield case(
        "aten.bmm.default",
        [(scores, element, "t"), (q, element)],
        [(q, element)],
        precision=precision,
    )


KIND = OperationKind(
    name="matmul",
    place=10,
    formulas={
        **dict.fromkeys(names("mm bmm matmul mv dot _scaled_mm _int_mm _grouped_mm"), _plain),
        **dict.fromkeys(names("scaled_mm", "planner"), _plain),
        **dict.fromkeys(names("addmm baddbmm addmv addbmm _addmm_activation"), _with_addend),
        "aten.linear": _linear,
        **dict.fromkeys(names(" ".join(LOSS_PRODUCTS), "planner"), _of_loss),
    },
    price=_price,
    terms=_terms,
    suite=_suite,
    features=("batch", "m", "n", "k"),
    weights={"": 30.0},
    model_work=True,
    tiled=True,
    library_workspace=True,
    shows="peak",
)
