"""From a case back to a call: operands and plain arguments bound to the operator's schema.

The recorder (``planner/trace/recorder/dispatch_mode.py``) writes tensor operands in the order of
the call, long lists counted by equal tensors, and plain arguments by name; arguments that change
with the batch are not there and follow from the shapes. What cannot be told is refused, never
guessed. Import this module only where torch is wanted.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from planner.calibrate.operations.tensors import dtype_of
from planner.calibrate.operations.views import VIEWS, view_arguments
from planner.operations.bench import CannotRun, Slot
from planner.operations.cases import Case
from planner.operations.registry import kind_of
from planner.trace.table import ITEMSIZE

_MISSING = object()
#: Scalars whose value changes nothing about the time.
_ANY_VALUE = frozenset(
    "other value scalar scalars weight exponent alpha beta fill_value s eps min max lambd "
    "momentum p scale self threshold".split()
)
_LAYOUTS = {"c": torch.contiguous_format, "cl": torch.channels_last}


class Bound:
    """``overload(*args, **kwargs)`` with ``Slot`` where a tensor belongs."""

    def __init__(self, overload, args: list, kwargs: dict[str, Any]):
        self.overload, self.args, self.kwargs = overload, args, kwargs

    @property
    def named(self) -> dict[str, Any]:
        """Every argument by its name in the schema."""
        return {a.name: v for a, v in zip(self.overload._schema.arguments, self.args)} | self.kwargs


def overload_of(op: str):
    """The operator of a name such as ``aten.mm.default``. Raises CannotRun where this torch has
    none."""
    space, _, rest = op.partition(".")
    name, _, overload = rest.partition(".")
    try:
        return getattr(getattr(getattr(torch.ops, space), name), overload or "default")
    except (AttributeError, RuntimeError):
        raise CannotRun(f"torch {torch.__version__} has no operation {op}") from None


def bind(case: Case) -> Bound:
    """The call that the case stands for. Raises CannotRun."""
    overload = overload_of(case.signature.op)
    if overload._schema.name.partition("::")[2] in VIEWS:
        return Bound(overload, _view(case), {})
    given = dict(case.signature.attrs)
    arguments = overload._schema.arguments
    tensors = _tensors(
        case, overload, [a for a in arguments if _holds_tensors(a) and a.name not in given]
    )
    args, kwargs = [], {}
    for argument in arguments:
        value = (
            tensors[argument.name] if argument.name in tensors else _plain(case, argument, given)
        )
        if not argument.kwarg_only:
            args.append(value)
        elif value is not None:
            kwargs[argument.name] = value
    return Bound(overload, args, kwargs)


def slots(case: Case, name: str = "") -> list[Slot]:
    """Every input tensor of the case, those counted together one by one."""
    return [Slot(name, o, case.shape(o)) for o in case.signature.inputs for _ in range(o.count)]


def _view(case: Case) -> list:
    inputs, outputs = (
        slots(case, "self"),
        [case.shape(o) for o in case.signature.outputs for _ in range(o.count)],
    )
    if not inputs or not outputs:
        raise CannotRun(f"{case.signature.op} without operands")
    plain = view_arguments(case.signature.op, inputs[0].shape, outputs, dict(case.signature.attrs))
    if plain is None:
        raise CannotRun(
            f"{case.signature.op}: no arguments lead from {inputs[0].shape} to {outputs[0]}"
        )
    return [*inputs, *plain]


# ---- tensors


def _holds_tensors(argument) -> bool:
    return "Tensor" in str(argument.type)


def _is_list(argument) -> bool:
    return "List[" in str(argument.type)


def _is_optional(argument) -> bool:
    return str(argument.type).startswith("Optional[")


def _tensors(case: Case, overload, arguments: list) -> dict[str, Any]:
    """Slots for the arguments that take tensors, by name; None for those that were not given."""
    there = slots(case)
    if any(_is_list(a) for a in arguments):
        return _with_lists(case, overload, arguments, there)
    required = [a for a in arguments if not _is_optional(a)]
    spare = len(there) - len(required)
    if spare > len(arguments) - len(required):
        raise CannotRun(
            f"{case.signature.op} has {len(there)} tensors, its schema takes {len(arguments)}"
        )
    chosen = set(
        _optional_order(case, [a.name for a in arguments if _is_optional(a)])[: max(0, spare)]
    )
    out, rest = {}, iter(there)
    for argument in arguments:
        wanted = not _is_optional(argument) or argument.name in chosen
        slot = next(rest, None) if wanted else None
        # a number that torch wrapped, or a scalar tensor that lives on the host
        if wanted and slot is None:
            out[argument.name] = _any_scalar(case, argument)
        else:
            out[argument.name] = slot and Slot(argument.name, slot.operand, slot.shape)
    return out


def _optional_order(case: Case, names: list[str]) -> list[str]:
    """Which optional tensors are there first. A batch norm that is evaluated always has its running
    statistics."""
    attrs = dict(case.signature.attrs)
    if "running_mean" in names and attrs.get("training", attrs.get("train")) is False:
        return sorted(names, key=lambda n: not n.startswith("running_"))
    return names


def _with_lists(case: Case, overload, arguments: list, there: list[Slot]) -> dict[str, Any]:
    """Lists of tensors, with single tensors before and after them."""
    lists = [i for i, a in enumerate(arguments) if _is_list(a)]
    before, after = (
        arguments[: lists[0]],
        [a for a in arguments[lists[-1] + 1 :] if not _is_optional(a)],
    )
    out: dict[str, Any] = {a.name: None for a in arguments}
    for argument in before:
        out[argument.name] = _renamed(there.pop(0), argument.name)
    for argument in reversed(after):
        single = (
            there
            and (len(there) > 1)
            and (overload._schema.name.startswith("aten::index") or not there[-1].shape)
        )
        out[argument.name] = (
            _renamed(there.pop(), argument.name) if single else _any_scalar(case, argument)
        )
    names = [arguments[i].name for i in lists]
    if "index" in overload._schema.name:
        out[names[0]] = _index_places(case, out, [_renamed(s, names[0]) for s in there])
    else:
        for name, members in zip(names, equal_lists(there, len(names), case.signature.op)):
            out[name] = [_renamed(s, name) for s in members]
    return out


def _renamed(slot: Slot, name: str) -> Slot:
    return Slot(name, slot.operand, slot.shape)


def equal_lists(there: Sequence[Slot], count: int, op: str) -> list[list[Slot]]:
    """Tensors that were counted together, dealt to ``count`` lists of the same shapes in the same
    order. Raises CannotRun."""
    by_shape: dict[tuple, list[Slot]] = {}
    for slot in there:
        by_shape.setdefault(slot.shape, []).append(slot)
    if any(len(members) % count for members in by_shape.values()):
        raise CannotRun(f"{op}: its tensors do not make {count} equal lists")
    return [
        [
            slot
            for members in by_shape.values()
            for slot in members[i * len(members) // count : (i + 1) * len(members) // count]
        ]
        for i in range(count)
    ]


def _index_places(case: Case, out: dict, indices: list[Slot]) -> list:
    """Where the index tensors stand among the dimensions: the first place that gives the recorded
    shape."""
    self = out["self"]
    values = out.get("values")
    want = values.shape if values is not None else case.shape(case.signature.outputs[0])
    for places in itertools.combinations(range(len(self.shape)), len(indices)):
        row: list = [None] * (places[-1] + 1)
        for place, slot in zip(places, indices):
            row[place] = slot
        shape = torch.empty(self.shape, device="meta")[
            tuple(slice(None) if s is None else _meta_index(s) for s in row)
        ].shape
        if tuple(shape) == want or (values is not None and _broadcasts(want, tuple(shape))):
            return row
    raise CannotRun(f"{case.signature.op}: no dimensions to index give {want}")


def _meta_index(slot: Slot) -> torch.Tensor:
    if slot.operand.dtype == "bool":
        raise CannotRun("an index of booleans has a result that depends on its values")
    return torch.empty(slot.shape, dtype=dtype_of(slot.operand.dtype), device="meta")


def _broadcasts(small: tuple, large: tuple) -> bool:
    return len(small) <= len(large) and all(
        a in (1, b) for a, b in zip(reversed(small), reversed(large))
    )


# ---- plain arguments


def _plain(case: Case, argument, given: dict) -> Any:
    if argument.name in given:
        return _converted(argument, given[argument.name])
    derived = _derived(case, argument, given)
    if derived is not _MISSING:
        return derived
    if argument.has_default_value():
        return argument.default_value
    if _is_optional(argument):
        return None
    return _any_scalar(case, argument)


def _converted(argument, value: Any) -> Any:
    if isinstance(value, str) and "str" not in str(argument.type):
        return dtype_of(value) if value in ITEMSIZE else float(value)
    return list(value) if isinstance(value, tuple) else value


def _any_scalar(case: Case, argument) -> Any:
    """A number in place of one that the trace does not hold, where its value is of no consequence
    for the time."""
    if argument.name not in _ANY_VALUE or "bool" in str(argument.type):
        raise CannotRun(
            f"{case.signature.op}: the trace does not hold the argument {argument.name!r}"
        )
    floats = any(
        "float" in o.dtype or "complex" in o.dtype
        for o in (*case.signature.inputs, *case.signature.outputs)
    )
    if _is_list(argument):
        return [1.0] * (len(slots(case)) // max(1, _list_count(case)))
    return 1.0 if floats else 1


def _list_count(case: Case) -> int:
    return sum(
        "List[Tensor]" in str(a.type) for a in overload_of(case.signature.op)._schema.arguments
    )


def _derived(case: Case, argument, given: dict) -> Any:
    """What follows from the shapes and types of the outputs."""
    name, outputs = argument.name, case.signature.outputs
    if name == "device" and not case.signature.inputs:
        return "here"  # the executor's device
    if not outputs:
        return _MISSING
    first = case.shape(outputs[0])
    if name == "memory_format":
        return _LAYOUTS.get(outputs[0].layout)
    if (
        name == "dtype"
        and argument.kwarg_only
        and (kind_of(case.signature.op).writes_only or not case.signature.inputs)
    ):
        return dtype_of(outputs[0].dtype)
    if name in ("size", "input_sizes"):
        return list(first)
    rule = _RULES.get(name)
    return rule(case, first, given) if rule else _MISSING


def _first_input(case: Case) -> tuple[int, ...]:
    return case.shape(case.signature.inputs[0]) if case.signature.inputs else ()


def _pad(case: Case, first: tuple, _given: dict) -> list[int]:
    return [
        n
        for inner, outer in zip(reversed(_first_input(case)), reversed(first))
        for n in (0, outer - inner)
    ]


def _repeats(case: Case, first: tuple, _given: dict) -> list[int]:
    source = _first_input(case)
    source = (1,) * (len(first) - len(source)) + source
    return [outer // max(1, inner) for inner, outer in zip(source, first)]


def _end(case: Case, first: tuple, given: dict) -> Any:
    """``arange``'s end, or that of the slice whose gradient is put back."""
    start, step = given.get("start", 0), given.get("step", 1)
    if "arange" in case.signature.op:
        return start + step * math.prod(first)
    return (
        start + step * _first_input(case)[given.get("dim", 0)]
        if case.signature.inputs
        else _MISSING
    )


def _image(index: int):
    def rule(case: Case, _first: tuple, _given: dict) -> Any:
        shape = _first_input(case)
        return (shape[0], shape[1], math.prod(shape[2:]))[index] if len(shape) > 1 else _MISSING

    return rule


def _lengths(case: Case, _first: tuple, _given: dict) -> Any:
    time, batch = _first_input(case)[:2]
    return [time] * batch


_RULES = {
    "pad": _pad,
    "repeats": _repeats,
    "end": _end,
    "start": lambda case, first, given: 0,
    "step": lambda case, first, given: 1,
    "index": lambda case, first, given: 0,
    "num_weights": lambda case, first, given: first[0],
    "output_size": lambda case, first, given: list(first[2:]),
    "input_size": lambda case, first, given: list(first),
    "N": _image(0),
    "C": _image(1),
    "HxW": _image(2),
    "input_lengths": _lengths,
    "dim": lambda case, first, given: (
        [] if "IntList" in case.signature.op or case.signature.op.endswith(".dim") else _MISSING
    ),
}
