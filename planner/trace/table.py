"""StepTrace: every operation and every storage of one real training step, as integers fitted in the
batch's symbols.

Every dimension is an exact integer combination of monomials: ``a + b·B + c·S + d·B·S`` (and ``e·T +
f·B·T`` where an encoder-decoder has a target length T of its own; ``g·C`` of a classifier's number
of classes C, which ``bind.py`` settles before a trace is used). A trace is therefore evaluated at
any batch and any length by arithmetic on arrays, without torch. Numpy and the standard library
only: this module is on the path of the fast answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from planner.errors import QuestionError
from planner.models.images.largest import Crowd
from planner.trace.memo import Memo, Parts

#: Which part of the step an operation belongs to. ``teacher`` is the forward pass of a
#: distillation's teacher, ``recompute`` what gradient checkpointing runs again inside the backward
#: pass.
PHASES = ("forward", "teacher", "recompute", "backward", "optimizer")

#: What a storage is. ``activations`` are alive when the forward pass ends (saved for the backward
#: pass, or the batch itself), ``temporary`` everything else, cuBLAS's workspaces included.
CATEGORIES = ("weights", "gradients", "optimizer", "activations", "temporary")

#: Bytes per element of torch's dtypes, by their short names.
ITEMSIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}


def value_of(monomial: str, point: Mapping[str, Any]) -> Any:
    """A monomial's value, whole numbers or arrays of them: ``BS`` is B·S, ``C*768/16384`` is
    768·C/16384, rounded up, ``BS^32`` is B·S/32 rounded up to a power of two."""
    symbols, _, parts = monomial.partition("^")
    if parts:
        return _power_of_two(-(-value_of(symbols, point) // int(parts)))
    symbols, _, share = monomial.partition("*")
    value = 1
    for symbol in symbols.replace("1", ""):
        value = value * point[symbol]
    if not share:
        return value
    times, over = (int(number) for number in share.split("/"))
    return -(-value * times // over)


def _power_of_two(number: Any) -> Any:
    """The smallest one that is not below, of whole numbers or arrays of them."""
    # frexp gives as exponent the bits of a whole number
    return np.int64(1) << np.frexp(np.asarray(number, dtype=np.float64) - 1)[1].astype(np.int64)


#: The symbol that a crowd settles: of an image's objects, where a trace has them.
OBJECTS = "T"
#: Begins the name of an attribute that says what one class adds to the one named behind it.
PER_CLASS = "per_class:"

#: The shortest sequence that is recorded: at one token torch drops copies and dimensions, which no
#: training does.
SHORTEST = 2


def traced_length(tokens: float | None) -> int | None:
    """The length at which a sequence of so many tokens is traced and priced: whole, and never
    shorter than the shortest that is recorded."""
    return None if tokens is None else max(SHORTEST, round(tokens))


#: Points of a grid whose arrays may lie beside others of the same trace.
SMALL = 64
#: Tables of dimensions, or devices at them, for which results of signatures are kept.
KEPT_TABLES = 64


def _fixed(values: np.ndarray) -> np.ndarray:
    """What is kept for the next one is not changed by this one."""
    values.flags.writeable = False
    return values


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor that an operation reads or writes.

    ``shape`` holds indices into the trace's table of dimension forms. ``layout`` is ``c``
    (contiguous), ``t`` (last two dimensions transposed), ``cl`` (channels last), or ``s`` (any
    other strides). ``expanded`` lists the positions with stride 0, whose elements are not really
    there. ``count`` > 1 stands for that many equal tensors of a list argument.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: str = "c"
    expanded: tuple[int, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True)
class Signature:
    """What makes two operations the same work: name (``aten.mm.default``,
    ``planner.attention.default``), operands in the order of the call, and the plain arguments
    (strides, dims, flags) as sorted (name, JSON value) pairs."""

    op: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    attrs: tuple[tuple[str, Any], ...] = ()

    def attr(self, name: str, default: Any = None) -> Any:
        return dict(self.attrs).get(name, default)


@dataclass(frozen=True)
class StepTrace:
    """One steady-state training step (optimizer state already there). All arrays are read-only by
    convention.

    Operation i is ``signatures[op_signature[i]]``, in phase ``PHASES[op_phase[i]]``, run for
    ``modules[op_module[i]]``. Storage j is allocated by operation ``birth[j]`` (-1: before the
    step) and freed right after operation ``death[j]`` (``len(op_signature)``: outlives the step).
    birth == death: scratch space inside one operation. It holds ``ITEMSIZE × product`` of the forms
    ``sizes[size[j]]``. Optimizer state is born at -1 here; in the first step of a run it appears
    when the optimizer first runs. ``domain`` says where the fit holds: symbol → (lowest, highest or
    None).
    """

    forms: np.ndarray  # int64 [n_forms, n_monomials]
    # of "1", "B", "S", "BS", "T", "BT", these with a "C", and shares of C (``value_of``)
    monomials: tuple[str, ...]
    signatures: tuple[Signature, ...]
    op_signature: np.ndarray  # int32 [n_ops]
    op_phase: np.ndarray  # uint8 [n_ops]
    op_module: np.ndarray  # int32 [n_ops]
    sizes: tuple[tuple[tuple[int, ...], int], ...]  # (shape as form indices, bytes an element)
    size: np.ndarray  # int32 [n_storages], index into sizes
    birth: np.ndarray  # int32 [n_storages]
    death: np.ndarray  # int32 [n_storages]
    category: np.ndarray  # uint8 [n_storages], index into CATEGORIES
    storage_module: np.ndarray  # int32 [n_storages], index into modules
    modules: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    domain: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    #: What settles the number of objects, which is a symbol of a detector's largest batch.
    crowd: Crowd | None = None
    #: What was worked out of this trace: ``trace.memo.of("work", key, make)``.
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)
    #: What was worked out of single signatures. ``dataclasses.replace`` hands it on: a trace that
    #: is cut of this one, or has some operations more, holds the same signatures.
    lineage: Memo = field(default_factory=Memo, repr=False, compare=False)

    @property
    def op_count(self) -> int:
        return len(self.op_signature)

    @property
    def has_objective(self) -> bool:
        """Whether its step learns from preferences or rewards."""
        return bool(self.meta.get("recipe", {}).get("objective"))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols a point must give, in order: a subset of B, S, T, and C where no number of
        classes is bound; without the objects that a crowd settles."""
        settled = "" if self.crowd is None else OBJECTS
        return tuple(s for s in "BSTC" if s not in settled and any(s in m for m in self.monomials))

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each signature occurs, by phase: int64 [n_signatures, n_phases]."""
        table = np.zeros((len(self.signatures), len(PHASES)), dtype=np.int64)
        np.add.at(table, (self.op_signature, self.op_phase), 1)
        return table

    def dims(self, **point: Any) -> np.ndarray:
        """Every dimension form at a point or a grid of points: int64 [n_forms, *points].

        ``dims(B=4, S=2048)`` for one point; arrays broadcast against each other. A symbol that the
        trace does not have is ignored; one that it has must be given. Kept with the trace, and not
        to be written to. Raises QuestionError for a missing one.
        """
        missing = [s for s in self.symbols if point.get(s) is None]
        if missing:
            raise QuestionError(
                f"this trace needs {', '.join(missing)} (batch B, sequence length S, target "
                "length T, classes C)"
            )
        given = [np.asarray(point[s], dtype=np.int64) for s in self.symbols]
        # of a batch of one nothing varies: as many points as are asked, all alike
        there = [np.shape(value) for value in point.values() if value is not None]
        alike = () if given else np.broadcast_shapes(*there)
        key = (alike, *((value.shape, value.tobytes()) for value in given))
        size = max((value.size for value in given), default=1)
        return self.memo.of(
            "dims", key, lambda: self._dims(given, alike), most=64, alone=size > SMALL
        )

    def _dims(self, given: list[np.ndarray], alike: tuple[int, ...]) -> np.ndarray:
        values = np.broadcast_arrays(*given)
        by_symbol = dict(zip(self.symbols, values))
        if self.crowd is not None:
            by_symbol[OBJECTS] = self.crowd.objects(by_symbol.get("B", 1))
        shape = values[0].shape if values else alike
        basis = np.stack([np.broadcast_to(value_of(m, by_symbol), shape) for m in self.monomials])
        return _fixed(np.tensordot(self.forms, basis, axes=1))

    def by_signature(self, topic: str, dims: np.ndarray, *key: Hashable) -> Parts:
        """Results of the signatures at ``dims = trace.dims(…)``, which must follow from those two
        and the key alone. A large grid's are not kept."""
        if dims[:1].size > SMALL:
            return Parts()
        at = (dims.shape, dims.tobytes(), *key)
        return self.lineage.of(topic, at, Parts, most=KEPT_TABLES)

    def storage_bytes(self, dims: np.ndarray) -> np.ndarray:
        """Bytes of each distinct size, unrounded: int64 [n_sizes, *points]; a storage's bytes are
        ``[trace.size]``. Kept with the trace, and not to be written to."""
        key = dims.shape, dims.tobytes()
        alone = dims[:1].size > SMALL
        return self.memo.of("bytes", key, lambda: self._bytes(dims), most=64, alone=alone)

    def _bytes(self, dims: np.ndarray) -> np.ndarray:
        out = np.empty((len(self.sizes), *dims.shape[1:]), dtype=np.int64)
        for index, (shape, itemsize) in enumerate(self.sizes):
            out[index] = (
                itemsize * np.prod(dims[list(shape)], axis=0, dtype=np.int64) if shape else itemsize
            )
        return _fixed(out)

    def covers(self, **point: int | None) -> bool:
        """Whether the fit holds at a point; a symbol that is None or left out does not count."""
        return all(
            value is None or (low <= value and (high is None or value <= high))
            for value, low, high in ((point.get(s), *ends) for s, ends in self.domain.items())
        )


@dataclass(frozen=True)
class TraceFamily:
    """The traces of one model under one recipe: one for each regime of (B, S) in which the
    operations are the same."""

    traces: tuple[StepTrace, ...]

    def at(self, **point: int | None) -> StepTrace:
        """The trace whose domain covers the point. Raises QuestionError naming the limits when none
        does."""
        for trace in self.traces:
            if trace.covers(**point):
                return trace
        limits = "; ".join(str(dict(t.domain)) for t in self.traces)
        raise QuestionError(f"no trace covers {point}; traced: {limits}")

    @property
    def meta(self) -> Mapping[str, Any]:
        return self.traces[0].meta
