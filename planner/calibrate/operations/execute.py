"""Run a case for real: tensors of its shapes and layouts on the device, and the operator that a
training step would call.

Import this module only where torch is wanted.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from planner.calibrate.operations.backends import Backend
from planner.calibrate.operations.bench import substitute_call
from planner.calibrate.operations.binding import Bound, bind
from planner.calibrate.operations.tensors import make
from planner.calibrate.operations.views import VIEWS
from planner.errors import MachineError
from planner.operations.bench import CannotRun, Contents, Slot
from planner.operations.cases import Case
from planner.operations.registry import kind_of

__all__ = ["CannotRun", "calls", "copies_for", "precision"]

#: At most this many buffers a case, and for operands this small or this many tensors fewer: their
#: making would cost more than the measurement, and what is launched costs more than what is moved.
_MOST_COPIES, _MOST_SMALL_COPIES, _SMALL_BYTES, _MOST_TENSORS = 128, 16, 1 << 16, 4096
_BUILD_SECONDS = 0.2
#: Share of the free memory that a case may take.
_MEMORY_SHARE = 0.7
_POSITIVE = frozenset("sqrt rsqrt log log2 log10 log1p pow xlogy reciprocal".split())
_POSITIVE_ARGUMENTS = frozenset(("running_var", "save_invstd", "rstd", "invstd"))


def calls(case: Case, backend: Backend, copies: int | None = None) -> list[Callable[[], Any]]:
    """Ready calls of the case, each over its own buffers, together larger than the device's
    last-level cache unless ``copies`` says how many or their making (the forward pass before a
    backward) takes too long. Each keeps its last result, so that results rotate through memory as
    well.

    Whether float32 products may run in TF32 is set for the process as the case asks, until the next
    ``calls``. Raises CannotRun (one line) where this device or this torch cannot run it,
    MachineError where the device died.
    """
    count = copies_for(case, backend) if copies is None else copies
    set_precision(case.precision)
    with guarded(backend):
        one = _builder(case, backend)
        first = one()
        first()
        backend.synchronise()
        made, started = [first], time.perf_counter()
        while len(made) < count and (
            copies is not None or len(made) < 2 or time.perf_counter() - started < _BUILD_SECONDS
        ):
            made.append(one())
        return made


#: What is never cached (an update goes through every weight and state once a step) is in no
#: processor's cache, whatever a virtual machine says of its size.
_STREAMED_BYTES = 256 * 2**20


def copies_for(case: Case, backend: Backend) -> int:
    """How many buffers together exceed the cache. Raises CannotRun where not even one fits."""
    size = max(1, case.bytes)
    free = backend.free_bytes()
    if size > _MEMORY_SHARE * free:
        raise CannotRun(
            f"out of memory: needs {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
        )
    tensors = sum(o.count for o in case.signature.inputs)
    most = min(
        _MOST_SMALL_COPIES if size < _SMALL_BYTES else _MOST_COPIES,
        max(2, _MOST_TENSORS // max(1, tensors)),
    )
    cache = (
        max(backend.cache_bytes, _STREAMED_BYTES)
        if kind_of(case.signature.op).never_cached and backend.kind == "cpu"
        else backend.cache_bytes
    )
    wanted = 1 + math.ceil(1.25 * cache / size)
    return max(1, min(wanted, most, int(_MEMORY_SHARE * free / size)))


def set_precision(precision: str) -> None:
    """Allow TF32 for the process's float32 products, or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch prefers another spelling of the same switch
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """TF32 allowed or not within, as before after."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    set_precision(name)
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def guarded(backend: Backend) -> Iterator[None]:
    """What torch raises for a call that cannot run becomes CannotRun; a device that does not answer
    any more, MachineError."""
    try:
        yield
    except CannotRun:
        raise
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        AssertionError,
    ) as error:
        text = _one_line(error)
        if _is_out_of_memory(error, text):
            backend.release()
            raise CannotRun("out of memory") from None
        if not backend.alive():
            raise MachineError(
                f"the device failed: {text}",
                where=backend.name,
                mend="What was measured is kept; start anew, and where it fails again look at "
                "the driver's log",
            ) from error
        raise CannotRun(text) from None


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
        or "not enough memory" in text
    )


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:200]


# ---- one call


def _builder(case: Case, backend: Backend) -> Callable[[], Callable[[], Any]]:
    """Makes one call of the case, over tensors of its own, each time it is called."""
    build = substitute_call(case, backend.device)
    if build is not None:
        return lambda: _keeping(build())
    bound = bind(case)
    return lambda: _keeping(_operator(bound, case, backend))


def _keeping(call: Callable[[], Any]) -> Callable[[], Any]:
    kept = None

    def keep():
        nonlocal kept
        kept = call()
        return kept

    return keep


def _operator(bound: Bound, case: Case, backend: Backend) -> Callable[[], Any]:
    """The operator itself over tensors of its own."""
    named, written = bound.named, _written(bound)

    def made(value: Any, place: int = 0) -> Any:
        if isinstance(value, Slot):
            return make(
                value,
                replace(_contents(value, case, named, place), written=value.name in written),
                backend.device,
            )
        if isinstance(value, list):
            return [made(v, i) for i, v in enumerate(value)]
        return backend.device if value == "here" else value

    args, kwargs = [made(v) for v in bound.args], {k: made(v) for k, v in bound.kwargs.items()}
    if case.signature.op.split(".")[1] in VIEWS:
        args = _viewable(bound, args, backend)
    overload = bound.overload
    return lambda: overload(*args, **kwargs)


def _written(bound: Bound) -> set[str]:
    """Arguments that the operator changes."""
    return {
        a.name
        for a in bound.overload._schema.arguments
        if a.alias_info is not None and a.alias_info.is_write
    }


def _viewable(bound: Bound, args: list, backend: Backend) -> list:
    """A view that this layout does not allow is taken of a dense tensor: it runs no kernel in
    either."""
    try:
        bound.overload(*args)
        return args
    except RuntimeError:
        slot = bound.args[0]
        return [torch.empty(slot.shape, dtype=args[0].dtype, device=backend.device), *args[1:]]


# ---- what the tensors hold


def _contents(slot: Slot, case: Case, named: dict, place: int) -> Contents:
    name = case.signature.op.split(".")[1]
    if slot.operand.dtype in ("int64", "int32", "int16") and (
        high := _limit(slot, name, named, place)
    ):
        return high
    if slot.operand.dtype in ("int64", "int32", "int16", "uint8", "int8", "bool"):
        return Contents("normal")
    in_place = name.endswith("_")
    if (
        name.startswith("_foreach_")
        or slot.name in _POSITIVE_ARGUMENTS
        or name.rstrip("_") in _POSITIVE
    ):
        return Contents("positive")
    if in_place:  # the same buffer again and again: values must neither fade nor explode
        return Contents("large" if slot.name == "self" else "ones")
    return Contents("normal")


def _limit(slot: Slot, name: str, named: dict, place: int) -> Contents | None:
    """Indices below the length of what they index."""
    base = name.rstrip("_")
    if base == "embedding":
        return Contents("integers", named["weight"].shape[0])
    if base == "embedding_dense_backward":
        return Contents("integers", int(named["num_weights"]))
    if slot.name == "target" and base.startswith("nll_loss"):
        scores = named["self"].shape
        return Contents("integers", scores[1] if len(scores) > 1 else scores[0])
    if slot.name in ("index", "indices") and "self" in named:
        return Contents("integers", _indexed(named, place, base))
    if slot.name in ("input_lengths", "target_lengths"):
        return Contents(
            "constant",
            named["log_probs"].shape[0]
            if slot.name == "input_lengths"
            else named["targets"].shape[-1],
        )
    return None


def _indexed(named: dict, place: int, base: str) -> int:
    shape = named["self"].shape
    if base == "take":
        return math.prod(shape)
    dim = (
        named.get("dim", place) if base not in ("index", "index_put", "_index_put_impl") else place
    )
    return shape[dim] if shape else 1
