"""How a checkpoint's weights are stored: which tensors stand for a linear layer. No torch.

Each method keeps a layer of N outputs and K inputs as other tensors. Their shapes are those that
the loaders of transformers 5.23 make (``transformers/quantizers``, one file a method) and the
libraries behind them: GPTQ and AutoRound (gptqmodel: int32 words, scales and zeros a group, an
index an input), AWQ (the same without an index), bitsandbytes 0.45 (``Params4bit``,
``Int8Params``), fine-grained fp8 (a float32 scale a block), MXFP4 and NVFP4 (OCP Microscaling 1.0:
a one-byte scale a block of 32; NVIDIA's: a block of 16), compressed-tensors, HQQ, EETQ, quanto,
torchao, AQLM (codes and codebooks), BitNet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: dtype → bytes, of the tensors that are stored.
ITEM_BYTES = {
    "uint8": 1,
    "int8": 1,
    "float8": 1,
    "int16": 2,
    "float16": 2,
    "int32": 4,
    "float32": 4,
}
#: bitsandbytes' blocks of 4-bit weights and of their scales, its code books.
NF4_BLOCK, NF4_NESTED_BLOCK, NF4_CODES, NESTED_CODES = 64, 256, 16, 256
WORD_BITS = 32
#: Of the modules of a group those that are named in a sentence.
SHOWN = 3
Stored = tuple[str, tuple[int, ...], str]  # name, shape, a dtype of ITEM_BYTES


@dataclass(frozen=True)
class Quantization:
    """``bits`` a weight; ``group`` inputs that share a scale (0: one scale an output), ``block`` a
    two-dimensional one (outputs, inputs). ``method`` is the config's name of it, ``words`` what
    people call it. ``spared``: names, beginnings or expressions of modules that are not converted,
    None where the library chooses them; ``only``: the endings of those that are, where the config
    lists them; ``targets``: names, expressions (``re:…``) or classes of modules that are stored so
    (empty: every linear layer), and ``groups`` others that are stored otherwise, both as
    compressed-tensors has them. ``upcast``: PEFT's ``prepare_model_for_kbit_training`` makes
    everything else float32. ``known`` is false for a method whose tensors are not known here.
    """

    method: str
    bits: float
    words: str
    group: int = 0
    block: tuple[int, int] | None = None
    double: bool = False
    spared: tuple[str, ...] | None = None
    only: tuple[str, ...] = ()
    upcast: bool = True
    known: bool = True
    dequantise_first: bool = False  # transformers 5.23: ``HfQuantizer.is_trainable`` is false
    codebooks: int = 1
    codebook_bits: int = 16
    targets: tuple[str, ...] = field(default=(), repr=False)
    groups: tuple[Quantization, ...] = field(default=(), repr=False)
    linears: bool = True  # linear layers are stored so
    experts: bool = True  # three-dimensional weights of experts are stored so too

    def stored(self, outputs: int, inputs: int) -> list[Stored]:
        """The tensors of one layer. Raises KeyError for a method that is not known."""
        return _LAYOUTS[self.method](self, outputs, inputs)

    def of(self, name: str, classes: Sequence[str]) -> Quantization | None:
        """How the module of a name is stored, None for one that is not. ``classes``: its own and
        those that it is derived from. As compressed-tensors' ``match_targets``: an exact name goes
        before an expression, and that before a class."""
        parts = (self, *self.groups)
        if not any(part.targets for part in parts):
            return self
        owners = {target: part for part in parts for target in part.targets}
        ordered = sorted(owners, key=lambda target: ("re:" in target, target))
        found = [t for t in ordered if _is_named(name, t)] or [t for t in ordered if t in classes]
        return owners[found[0]] if found else None

    def stored_bytes(self, outputs: int, inputs: int) -> int:
        return sum(
            math.prod(shape) * ITEM_BYTES[dtype] for _, shape, dtype in self.stored(outputs, inputs)
        )

    @property
    def rest_dtype(self) -> str:
        """What is not quantised is loaded as, where no config states it (transformers 5.23,
        ``quantizers``: bfloat16 beside 8-bit floats and MXFP4, else float16)."""
        return "bfloat16" if self.method in ("fp8", "microscaled") else "float16"

    @property
    def detail(self) -> str:
        """``4 bits, groups of 128``; of several groups, which modules each is of."""
        return "; ".join(f"{part.inner}{part._of()}" for part in (self, *self.groups))

    def _of(self) -> str:
        if not self.targets:
            return ""
        more = len(self.targets) - SHOWN
        return f" for {', '.join(self.targets[:SHOWN])}" + (f" and {more} more" * (more > 0))

    @property
    def layers(self) -> str:
        """Every group with all that it is of, as a key."""
        return repr([(part.inner, part.targets) for part in (self, *self.groups)])

    @property
    def inner(self) -> str:
        """``4 bits, groups of 128``."""
        parts = [f"{self.bits:g} bits"]
        if self.block:
            parts.append(f"blocks of {self.block[0]} x {self.block[1]}")
        elif self.group:
            parts.append(f"groups of {self.group}")
        if self.double:
            parts.append("double quantisation")
        return ", ".join(parts)


def _is_named(name: str, target: str) -> bool:
    if not target.startswith("re:"):
        return name == target
    return re.match(target.removeprefix("re:"), name) is not None


#: bitsandbytes' NF4 and FP4, as a config has its method's name.
FOUR_BITS = "bitsandbytes_4bit"
#: What ``--load-in`` makes of a 16-bit checkpoint, with QLoRA's settings (arXiv 2305.14314).
LOADED = {
    "4bit": Quantization(FOUR_BITS, 4, "NF4", group=NF4_BLOCK, double=True, experts=False),
    "8bit": Quantization("bitsandbytes_8bit", 8, "LLM.int8()", experts=False),
}


# ---- the tensors of a layer of ``n`` outputs and ``k`` inputs


def _groups(q: Quantization, k: int) -> int:
    return math.ceil(k / q.group) if q.group else 1


def _words(elements: int, bits: float) -> int:
    return math.ceil(elements * bits / WORD_BITS)


def _nf4_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    blocks = math.ceil(n * k / NF4_BLOCK)
    packed: list[Stored] = [("weight", (math.ceil(n * k / 2), 1), "uint8")]
    codes: Stored = ("codes", (NF4_CODES,), "float32")
    if not q.double:
        return [*packed, ("absmax", (blocks,), "float32"), codes]
    return [
        *packed,
        ("absmax", (blocks,), "uint8"),
        ("nested_absmax", (math.ceil(blocks / NF4_NESTED_BLOCK),), "float32"),
        codes,
        ("nested_codes", (NESTED_CODES,), "float32"),
        ("offset", (1,), "float32"),
    ]


def _int8_layout(_q: Quantization, n: int, k: int) -> list[Stored]:
    return [("weight", (n, k), "int8"), ("SCB", (n,), "float32")]


def _gptq_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    groups = _groups(q, k)
    return [
        ("qweight", (_words(k, q.bits), n), "int32"),
        ("scales", (groups, n), "float16"),
        ("qzeros", (groups, _words(n, q.bits)), "int32"),
        ("g_idx", (k,), "int32"),
    ]


def _awq_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    groups = _groups(q, k)
    return [
        ("qweight", (k, _words(n, q.bits)), "int32"),
        ("scales", (groups, n), "float16"),
        ("qzeros", (groups, _words(n, q.bits)), "int32"),
    ]


def _fp8_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    scales = (math.ceil(n / q.block[0]), math.ceil(k / q.block[1])) if q.block else (n, 1)
    return [("weight", (n, k), "float8"), ("weight_scale_inv", scales, "float32")]


def _microscaled_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    return [
        ("blocks", (n, math.ceil(k * q.bits / 8)), "uint8"),
        ("scales", (n, _groups(q, k)), "uint8"),
    ]


def _compressed_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    scales = (
        (math.ceil(n / q.block[0]), math.ceil(k / q.block[1])) if q.block else (n, _groups(q, k))
    )
    if q.bits >= 8:
        return [("weight", (n, k), "int8"), ("weight_scale", scales, "float16")]
    packed = (n, _words(k, q.bits))
    return [("weight_packed", packed, "int32"), ("weight_scale", scales, "float16")]


def _grouped_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    scales = (n * _groups(q, k), 1)
    return [
        ("weight", (math.ceil(n * k * q.bits / 8),), "uint8"),
        ("scale", scales, "float16"),
        ("zero", scales, "float16"),
    ]


def _rows_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    return [
        ("weight", (math.ceil(n * k * q.bits / 8),), "uint8"),
        ("weight_scales", (n,), "float16"),
    ]


def _aqlm_layout(q: Quantization, n: int, k: int) -> list[Stored]:
    code = "int16" if q.codebook_bits > 8 else "int8"
    return [
        ("codes", (n, math.ceil(k / q.group), q.codebooks), code),
        ("codebooks", (q.codebooks, 2**q.codebook_bits, 1, q.group), "float16"),
        ("scales", (n, 1, 1, 1), "float16"),
    ]


_LAYOUTS: dict[str, Callable[[Quantization, int, int], list[Stored]]] = {
    "bitsandbytes_4bit": _nf4_layout,
    "bitsandbytes_8bit": _int8_layout,
    "gptq": _gptq_layout,
    "awq": _awq_layout,
    "fp8": _fp8_layout,
    "microscaled": _microscaled_layout,
    "compressed": _compressed_layout,
    "grouped": _grouped_layout,
    "rows": _rows_layout,
    "aqlm": _aqlm_layout,
}
