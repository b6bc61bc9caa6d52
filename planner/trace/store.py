"""Trace families on disk: one compressed file of plain arrays and JSON, a few tens of kB for a
large model.

Layout: xz over a NumPy ``.npz`` of integer arrays and one UTF-8 JSON header; never pickled. Layers
repeat, so births, lifetimes and modules are stored as differences, which xz folds. Reading refuses
anything that is not exactly this.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from planner.errors import MachineError, ProfileError
from planner.trace.table import Operand, Signature, StepTrace, TraceFamily

#: The layout of a file.
FORMAT = 2
#: Raised when the recorder records something else for the same step: cached traces of before are
#: then recorded anew (and the shipped ones want ``benchmarks/ship_traces.py --again``).
RECORDING = 3
_ARRAYS = (
    "forms",
    "op_signature",
    "op_phase",
    "op_module",
    "size",
    "birth",
    "death",
    "category",
    "storage_module",
)
_MAX_BYTES = 256 * 2**20


def save(family: TraceFamily, file: Path) -> None:
    """Write atomically. Raises MachineError when the disk refuses."""
    payload = dumps(family)
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as handle:
            temporary = handle.name
            handle.write(payload)
        os.replace(temporary, file)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise MachineError(f"cannot keep the trace: {error.strerror}", where=str(file)) from error


def load(file: Path) -> TraceFamily:
    """Raises ProfileError for a damaged or foreign file, FileNotFoundError where there is none."""
    return loads(file.read_bytes(), str(file))


def dumps(family: TraceFamily) -> bytes:
    header = {"format": FORMAT, "traces": [_header(t) for t in family.traces]}
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header, separators=(",", ":")).encode(), dtype=np.uint8)
    }
    for index, trace in enumerate(family.traces):
        for name in _ARRAYS:
            arrays[f"{index}.{name}"] = _smallest(_pack(trace, name))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return lzma.compress(buffer.getvalue(), preset=6)


def loads(payload: bytes, where: str = "trace") -> TraceFamily:
    try:
        decompressor = lzma.LZMADecompressor(memlimit=512 * 2**20)
        raw = decompressor.decompress(payload, max_length=_MAX_BYTES)
        if not decompressor.eof:
            raise ValueError("too large or cut off")
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            header = json.loads(bytes(arrays["header"]).decode())
            if header.get("format") != FORMAT:
                raise ValueError(f"format {header.get('format')}, this planner reads {FORMAT}")
            return TraceFamily(
                tuple(
                    _restore(h, {n: arrays[f"{i}.{n}"] for n in _ARRAYS})
                    for i, h in enumerate(header["traces"])
                )
            )
    except (
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        lzma.LZMAError,
        OSError,
        IndexError,
    ) as error:
        raise ProfileError(
            f"not a trace: {error}", where=where, mend="Delete it; it is recorded again when needed"
        ) from error


def _header(trace: StepTrace) -> dict:
    return {
        "monomials": list(trace.monomials),
        "signatures": [_short(s) for s in trace.signatures],
        "sizes": [[list(shape), itemsize] for shape, itemsize in trace.sizes],
        "modules": list(trace.modules),
        "meta": dict(trace.meta),
        "domain": {k: list(v) for k, v in trace.domain.items()},
    }


def _short(signature: Signature) -> list:
    return [
        signature.op,
        [list(asdict(o).values()) for o in signature.inputs],
        [list(asdict(o).values()) for o in signature.outputs],
        [list(pair) for pair in signature.attrs],
    ]


def _restore(header: dict, arrays: dict[str, np.ndarray]) -> StepTrace:
    trace = StepTrace(
        forms=arrays["forms"].astype(np.int64),
        monomials=tuple(header["monomials"]),
        signatures=tuple(_long(s) for s in header["signatures"]),
        op_signature=arrays["op_signature"].astype(np.int32),
        op_phase=arrays["op_phase"].astype(np.uint8),
        op_module=_summed(arrays["op_module"]),
        sizes=tuple((tuple(shape), int(size)) for shape, size in header["sizes"]),
        size=arrays["size"].astype(np.int32),
        birth=_summed(arrays["birth"]),
        death=np.empty(0, np.int32),
        category=arrays["category"].astype(np.uint8),
        storage_module=np.empty(0, np.int32),
        modules=tuple(header["modules"]),
        meta=header["meta"],
        domain={k: (v[0], v[1]) for k, v in header["domain"].items()},
    )
    object.__setattr__(trace, "death", trace.birth + arrays["death"].astype(np.int32))
    _check(trace)
    modules = _of_storages(trace, arrays["storage_module"].astype(np.int64))
    if len(modules) and (modules.min() < 0 or modules.max() >= len(trace.modules)):
        raise ValueError("a storage belongs to no module")
    object.__setattr__(trace, "storage_module", modules)
    return trace


def _summed(steps: np.ndarray) -> np.ndarray:
    return np.cumsum(steps.astype(np.int64)).astype(np.int32)


def _of_storages(trace: StepTrace, stored: np.ndarray) -> np.ndarray:
    """The modules of storages: what was there before the step by differences, the rest from the
    module of the operation that made it."""
    before = trace.birth < 0
    modules = np.empty(len(stored), dtype=np.int32)
    modules[before] = _summed(stored[before])
    modules[~before] = stored[~before] + trace.op_module[trace.birth[~before]]
    return modules


def _check(trace: StepTrace) -> None:
    """Indices in range: a damaged file must not become a wrong answer."""
    limits = (
        (trace.op_signature, len(trace.signatures)),
        (trace.op_module, len(trace.modules)),
        (trace.size, len(trace.sizes)),
        (trace.death, trace.op_count + 1),
        (trace.birth + 1, trace.op_count + 1),
    )
    for values, limit in limits:
        if len(values) and (values.min() < 0 or values.max() >= limit):
            raise ValueError("an index points outside its table")
    used = [form for shape, _ in trace.sizes for form in shape] + [
        f for s in trace.signatures for o in s.inputs + s.outputs for f in o.shape
    ]
    if (
        used
        and not 0 <= min(used) <= max(used) < len(trace.forms)
        or trace.forms.shape[1:] != (len(trace.monomials),)
    ):
        raise ValueError("a dimension points outside its table")


def _long(short: list) -> Signature:
    def operands(rows):
        return tuple(
            Operand(tuple(shape), dtype, layout, tuple(expanded), count)
            for shape, dtype, layout, expanded, count in rows
        )

    return Signature(
        short[0],
        operands(short[1]),
        operands(short[2]),
        tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in short[3]),
    )


def _pack(trace: StepTrace, name: str) -> np.ndarray:
    if name in ("birth", "op_module"):
        return np.diff(getattr(trace, name), prepend=0)
    if name == "death":
        return trace.death - trace.birth
    if name == "storage_module":
        return _storages_told(trace)
    return getattr(trace, name)


def _storages_told(trace: StepTrace) -> np.ndarray:
    """See ``_of_storages``."""
    before = trace.birth < 0
    told = np.empty(len(before), dtype=np.int64)
    told[before] = np.diff(trace.storage_module[before], prepend=0)
    told[~before] = trace.storage_module[~before] - trace.op_module[trace.birth[~before]]
    return told


def _smallest(values: np.ndarray) -> np.ndarray:
    """The narrowest integer type that holds the values."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values.astype(np.int64)
