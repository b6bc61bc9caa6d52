"""The header of a safetensors file: exact parameters and dtype of a checkpoint, without reading a
weight.

Format: 8 bytes little-endian header length, then JSON of tensor name → dtype, shape, offsets
(https://github.com/huggingface/safetensors#format). Pickled checkpoints (``*.bin``, ``*.pt``) are
never opened.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import ModelError
from planner.files import loads, open_regular, read_text

#: The format allows 100 MB; the largest checkpoints' headers have a tenth of this, and a list of
#: empty lists becomes 25 times its text in memory.
MAX_HEADER_BYTES = 25 * 10**6
MAX_INDEX_BYTES = 25 * 10**6
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
    "C64": "complex64",
}
#: Bits of an element that are not in its type's name.
BITS = {"BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
#: Tensors of weights packed several to an integer (GPTQ, AWQ, bitsandbytes, compressed-tensors,
#: MXFP4, AQLM): their element count is not the parameter count. By what a name begins with.
PACKED = (
    *("qweight", "qzeros", "g_idx", "quant_state", "absmax", "weight_packed"),
    *("qscales", "codebooks", "codes", "SCB"),
)
#: By what a name ends in: MXFP4's experts.
PACKED_ENDS = ("_blocks", "_packed")
#: Scales beside 8-bit weights, which are no parameters.
SCALES = ("weight_scale", "weight_scale_inv", "input_scale", "weight_zero_point")
#: Types of 8 bits: what such weights compute in is told by the others.
EIGHT_BITS = ("float8_e4m3fn", "float8_e5m2", "int8")


@dataclass(frozen=True)
class Checkpoint:
    """``parameters`` is None where weights are packed (quantised), as the count cannot be told from
    the shapes."""

    parameters: int | None
    dtype: str | None  # the dtype of 16 or more bits that holds most of the parameters
    files: tuple[Path, ...]
    quantised: bool = False  # it holds packed or 8-bit weights


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint beside a config.json, None where there is no safetensors file. Raises
    ModelError for a damaged one."""
    files = _files(folder)
    if not files:
        return None
    counts: Counter[str] = Counter()
    packed, seen = False, set()
    for file in files:
        for name, (dtype, elements) in read_header(file).items():
            last = name.rpartition(".")[2]
            packed = packed or last.startswith(PACKED) or last.endswith(PACKED_ENDS)
            if name not in seen and _counts(last, dtype):
                counts[dtype] += elements
            seen.add(name)
    wide = Counter({dtype: n for dtype, n in counts.items() if dtype not in EIGHT_BITS})
    return Checkpoint(
        None if packed or not counts else sum(counts.values()),
        wide.most_common(1)[0][0] if wide else None,
        files,
        packed or wide != counts,
    )


def _counts(last: str, dtype: str) -> bool:
    """Whether a tensor of this name and type holds parameters: floats, and weights in int8."""
    if last in SCALES:
        return False
    return dtype.startswith(("float", "bfloat")) or dtype == "int8" and last == "weight"


def read_header(file: Path) -> dict[str, tuple[str, int]]:
    """Tensor name → (dtype, elements). Raises ModelError when the header is not one."""
    try:
        with open_regular(file) as handle:
            length = int.from_bytes(handle.read(8), "little")
            data_bytes = file.stat().st_size - 8 - length
            if not 2 <= length <= MAX_HEADER_BYTES or data_bytes < 0:
                raise ModelError(
                    "not a safetensors file: its header's length is impossible", where=str(file)
                )
            header = json.loads(handle.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the safetensors header cannot be read: {error}", where=str(file)
        ) from error
    if not isinstance(header, dict):
        raise ModelError("the safetensors header is not a JSON object", where=str(file))
    return {
        name: _tensor(name, entry, data_bytes, file)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _tensor(name: str, entry: Any, data_bytes: int, file: Path) -> tuple[str, int]:
    """(type, elements) of a tensor that lies within the file's data. Raises ModelError."""
    shape = entry.get("shape") if isinstance(entry, dict) else None
    sane = (
        isinstance(shape, list)
        and len(shape) <= 16
        and all(type(n) is int and 0 <= n <= 2**40 for n in shape)
    )
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    if shape is None or not sane or not isinstance(dtype, str):
        raise ModelError(
            f"tensor {name[:60]!r} of the safetensors header has no sane dtype and shape",
            where=str(file),
        )
    elements = math.prod(shape)
    _check_place(name, entry.get("data_offsets"), dtype, elements, data_bytes, file)
    return DTYPES.get(dtype, dtype.lower()), elements


def _check_place(
    name: str, offsets: Any, dtype: str, elements: int, data_bytes: int, file: Path
) -> None:
    """Raises ModelError where a tensor's bytes are not those of its shape, or are not there."""
    numbers = isinstance(offsets, list) and [type(n) for n in offsets] == [int, int]
    if not numbers or not 0 <= offsets[0] <= offsets[1]:
        problem = f"tensor {name[:60]!r} of the safetensors header has no sane place"
        raise ModelError(problem, where=str(file))
    held, bits = offsets[1] - offsets[0], _bits(dtype)
    if bits is not None and held * 8 != elements * bits:
        raise ModelError(
            f"tensor {name[:60]!r} has {elements:,} elements of {dtype} in {held:,} bytes",
            where=str(file),
            mend="The file is damaged: fetch it again",
        )
    if offsets[1] > data_bytes:
        raise ModelError(
            f"the header claims {offsets[1]:,} bytes of data, and the file holds {data_bytes:,}",
            where=str(file),
            mend="It is not wholly there: fetch it again",
        )


def _bits(dtype: str) -> int | None:
    """Bits of an element; None for a type that is not known."""
    digits = re.fullmatch(r"(?:BF|F|I|U|C)(\d+)", dtype)
    return BITS.get(dtype, int(digits[1]) if digits else None)


def _files(folder: Path) -> tuple[Path, ...]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return _sharded(folder, index)
    single = folder / "model.safetensors"
    return (single,) if single.is_file() else ()


def _sharded(folder: Path, index: Path) -> tuple[Path, ...]:
    """The shards that an index names, () when some are not downloaded: a part of a checkpoint has
    no parameter count."""
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise ModelError("the checkpoint's index is implausibly large", where=str(index))
        names = sorted(set(loads(read_text(index, MAX_INDEX_BYTES))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"the checkpoint's index cannot be read: {type(error).__name__}", where=str(index)
        ) from error
    if any(
        not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors")
        for name in names
    ):
        raise ModelError("the checkpoint's index names files outside its folder", where=str(index))
    files = tuple(folder / name for name in names)
    return files if all(file.is_file() for file in files) else ()
