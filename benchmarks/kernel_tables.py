"""Tables of kernels that others timed on data-centre GPUs as cases of the planner: products of XLA
and vidur, eager operations of Liger-Kernel's benchmarks. Not shipped.

DIR holds ``xla_matmul.csv.gz``, ``vidur_operations_a100.csv.gz``, ``vidur_operations_h100.csv.gz``
and ``liger_operations.csv.gz``. Only what runs in eager PyTorch is read: fused kernels of vLLM or
Liger are other kernels than a training step's.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.operation_tables import datasheet_seconds, spec_of
from planner.operations.cases import Case, case

#: Below it vidur's resolution of a microsecond is over a twentieth of a time.
LEAST_SECONDS = 2e-5
XLA, VIDUR, LIGER = "xla_matmul.csv.gz", "vidur_operations_{}.csv.gz", "liger_operations.csv.gz"
DEVICES = {
    "NVIDIA B200": "b200",
    "NVIDIA H100 (sm_90, model not stated)": "h100-sxm",  # its collectives show an SXM machine
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA A100-SXM4-80GB": "a100-sxm-80",
    "NVIDIA GeForce RTX 3090": "rtx-3090",
}
_FLOAT8 = {"float8_e4m3": "float8_e4m3fn", "float8_e5m2": "float8_e5m2"}


@dataclass(frozen=True)
class Kernels:
    """Operations that were timed together, one after the other, and their seconds. ``source``: the
    table; ``kind``: what is compared."""

    source: str
    kind: str
    cases: tuple[Case, ...]
    seconds: float


def kernels(folder: Path, sample: int, seed: int = 0) -> dict[str, list[Kernels]]:
    """By device key: at most ``sample`` rows of each kind and source, drawn with ``seed``. Raises
    OSError where a table is missing."""
    groups: dict[tuple[str, str, str], list[Kernels]] = defaultdict(list)
    for key, one in (*_xla(folder), *_vidur(folder), *_liger(folder)):
        groups[key, one.source, one.kind].append(one)
    generator, found = np.random.default_rng(seed), defaultdict(list)
    for (key, _, _), rows in sorted(groups.items()):
        chosen = generator.permutation(len(rows))[:sample]
        found[key] += [rows[i] for i in sorted(chosen)]
    return dict(found)


def prices(key: str, rows: Sequence[Kernels]) -> np.ndarray:
    """What the datasheet basis makes of each row: float64 [n_rows]."""
    out = np.zeros(len(rows))
    for precision in {one.precision for row in rows for one in row.cases}:
        places = [
            (i, one)
            for i, row in enumerate(rows)
            for one in row.cases
            if one.precision == precision
        ]
        seconds = datasheet_seconds([one for _, one in places], spec_of(key))
        np.add.at(out, [i for i, _ in places], seconds)
    return out


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as handle:
        yield from csv.DictReader(handle)


# ---- products


def product(batch: int, m: int, n: int, k: int, dtype: str) -> Case:
    """[batch, m, k] × [batch, k, n]; float32 as TF32."""
    precision = "tf32" if dtype == "float32" else "fp32"
    if batch == 1:
        shapes, op = ((m, k), (k, n), (m, n)), "aten.mm.default"
    else:
        shapes, op = ((batch, m, k), (batch, k, n), (batch, m, n)), "aten.bmm.default"
    left, right, out = shapes
    result = "bfloat16" if dtype.startswith("float8") else dtype
    return case(op, [(left, dtype), (right, dtype)], [(out, result)], precision=precision)


def _xla(folder: Path) -> Iterator[tuple[str, Kernels]]:
    for row in _rows(folder / XLA):
        dtype = _FLOAT8.get(row["dtype"], row["dtype"])
        if " x " in dtype:
            continue  # operands of two types: told apart by nobody here
        batch, m, n, k = (int(row[name]) for name in ("batch", "m", "n", "k"))
        one = product(batch, m, n, k, dtype)
        kind = f"matmul {'tf32' if dtype == 'float32' else dtype}"
        yield DEVICES[row["device"]], Kernels("xla", kind, (one,), float(row["seconds"]))


def _vidur(folder: Path) -> Iterator[tuple[str, Kernels]]:
    """Products, one a shape: rows recur under several models, and their median stands."""
    for name, key in (("a100", "a100-sxm-80"), ("h100", "h100-sxm")):
        shapes: dict[tuple[int, int, int], list[float]] = defaultdict(list)
        for row in _rows(folder / VIDUR.format(name)):
            if row["kind"] == "matmul":
                shape = (int(row["tokens"]), int(row["n"]), int(row["k"]))
                shapes[shape].append(float(row["seconds"]))
        for (m, n, k), times in sorted(shapes.items()):
            seconds = float(np.median(times))
            if seconds >= LEAST_SECONDS:
                one = product(1, m, n, k, "float16")
                yield key, Kernels("vidur", "matmul float16", (one,), seconds)


# ---- eager operations


def _liger(folder: Path) -> Iterator[tuple[str, Kernels]]:
    for row in _rows(folder / LIGER):
        made = _LIGER.get(row["kernel"])
        forward = row["mode"] == "forward" and row["metric"] == "seconds"
        eager = row["provider"] in ("huggingface", "torch")
        if made is None or not (forward and eager and row["p50"] and row["dtype"]):
            continue
        sizes = json.loads(row["shape"]) | {row["x_name"]: row["x_value"]}
        cases = made(sizes, row["dtype"])
        if cases:
            yield (
                DEVICES[row["device"]],
                Kernels("liger", row["kernel"], tuple(cases), float(row["p50"])),
            )


def _plane(sizes: dict) -> tuple[int, int] | None:
    """(rows, width) of a benchmark's input, by whichever names it has."""
    rows = sizes.get("BT") or sizes.get("M") or sizes.get("T")
    width = sizes.get("N") or sizes.get("H") or sizes.get("hidden_size")
    if rows is None or width is None:
        return None
    try:
        return int(float(rows)), int(float(width))
    except ValueError:  # a sweep over models by name
        return None


def _norm(rows: int, width: int, dtype: str) -> Iterator[Case]:
    """RMSNorm as transformers writes it: the statistics in float32."""
    x, wide = ((rows, width), dtype), ((rows, width), "float32")
    row, weight = ((rows, 1), "float32"), ((width,), dtype)
    if dtype != "float32":
        yield case("aten._to_copy.default", [x], [wide], dtype="float32")
    yield case("aten.pow.Tensor_Scalar", [wide], [wide], exponent=2)
    yield case("aten.mean.dim", [wide], [row], dim=(-1,), keepdim=True)
    yield case("aten.add.Tensor", [row], [row], other=1e-6)
    yield case("aten.rsqrt.default", [row], [row])
    yield case("aten.mul.Tensor", [wide, row], [wide])
    if dtype != "float32":
        yield case("aten._to_copy.default", [wide], [x], dtype=dtype)
    yield case("aten.mul.Tensor", [weight, x], [x])


def _rms_norm(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    return list(_norm(*plane, dtype)) if plane else []


def _added_rms_norm(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    if plane is None:
        return []
    x = (plane, dtype)
    return [case("aten.add.Tensor", [x, x], [x]), *_norm(*plane, dtype)]


def _layer_norm(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    if plane is None:
        return []
    x, row, weight = (plane, dtype), ((plane[0], 1), "float32"), ((plane[1],), dtype)
    return [
        case(
            "aten.native_layer_norm.default",
            [x, weight, weight],
            [x, row, row],
            normalized_shape=(plane[1],),
            eps=1e-6,
        )
    ]


def _softmax(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    if plane is None:
        return []
    x = (plane, dtype)
    return [case("aten._softmax.default", [x], [x], dim=-1, half_to_float=False)]


def _squared(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    if plane is None:
        return []
    x = (plane, dtype)
    relu = case("aten.relu.default", [x], [x])
    return [relu, case("aten.pow.Tensor_Scalar", [x], [x], exponent=2)]


def _dynamic_tanh(sizes: dict, dtype: str) -> list[Case]:
    plane = _plane(sizes)
    if plane is None:
        return []
    x, scalar, weight = (plane, dtype), ((1,), dtype), ((plane[1],), dtype)
    made = [
        case("aten.mul.Tensor", [scalar, x], [x]),
        case("aten.tanh.default", [x], [x]),
        case("aten.mul.Tensor", [x, weight], [x]),
    ]
    return [*made, case("aten.add.Tensor", [x, weight], [x])] if sizes.get("beta") else made


def _gated(sizes: dict, dtype: str) -> list[Case]:
    """A gated feed-forward layer: three products, an activation, a product of elements."""
    tokens = int(float(sizes["T"])) * int(sizes.get("B") or sizes.get("bsz") or 1)
    inside, wide = int(sizes["hidden_size"]), int(sizes["intermediate_size"])
    gate = "silu" if sizes.get("hidden_act") == "silu" else "gelu"
    h = ((tokens, wide), dtype)
    return [
        product(1, tokens, wide, inside, dtype),
        product(1, tokens, wide, inside, dtype),
        case(f"aten.{gate}.default", [h], [h]),
        case("aten.mul.Tensor", [h, h], [h]),
        product(1, tokens, inside, wide, dtype),
    ]


def _rotary(sizes: dict, dtype: str) -> list[Case]:
    """Rotary embeddings of transformers: x·cos + (−x₂, x₁)·sin, of queries and keys, whose heads
    and positions are exchanged."""
    width = int(float(sizes.get("hidden_size") or sizes.get("H") or 0))
    length = int(float((sizes.get("seq_len") if "H" in sizes else sizes.get("T")) or 0))
    queries = int(sizes.get("num_q_heads") or sizes.get("num_attention_heads") or 0)
    keys = int(sizes.get("num_kv_heads") or sizes.get("num_key_value_heads") or 0)
    if not (width and length and queries and keys):
        return []
    each, made = width // queries, []
    for heads in (queries, keys):
        seen, angles = ((1, heads, length, each), dtype, "s"), ((1, 1, length, each), dtype)
        half, lies = ((1, heads, length, each // 2), dtype, "s"), ((1, heads, length, each), dtype)
        made += [
            case("aten.mul.Tensor", [seen, angles], [seen]),
            case("aten.neg.default", [half], [half]),
            case("aten.cat.default", [half, half], [lies], dim=-1),
            case("aten.mul.Tensor", [lies, angles], [lies]),
            case("aten.add.Tensor", [seen, lies], [seen]),
        ]
    return made


_LIGER: dict[str, Callable[[dict, str], list[Case]]] = {
    "rms_norm": _rms_norm,
    "fused_add_rms_norm": _added_rms_norm,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
    "relu_squared": _squared,
    "dyt": _dynamic_tanh,
    "swiglu": _gated,
    "geglu": _gated,
    "rope": _rotary,
}
