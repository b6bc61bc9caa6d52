"""Arguments of a recorded call as tensors on meta and plain values, for the overload that they fit.

A profile with ``record_shapes`` holds of each argument its type, and sizes and strides of tensors;
plain values as text (``torch/csrc/autograd/profiler_kineto.cpp``). Values of 0-dimensional tensors
are not recorded: they stand for numbers, as Python's are wrapped.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from planner.calibrate.importers.operation_cases import CannotMap

#: C++ names of element types, as profiles write them.
DTYPES = {
    "float": torch.float32,
    "double": torch.float64,
    "c10::BFloat16": torch.bfloat16,
    "c10::Half": torch.float16,
    "at::BFloat16": torch.bfloat16,
    "at::Half": torch.float16,
    "long int": torch.int64,
    "long": torch.int64,
    "int": torch.int32,
    "short int": torch.int16,
    "short": torch.int16,
    "signed char": torch.int8,
    "unsigned char": torch.uint8,
    "bool": torch.bool,
    "c10::Float8_e4m3fn": torch.float8_e4m3fn,
    "c10::Float8_e5m2": torch.float8_e5m2,
    "c10::complex<float>": torch.complex64,
    "c10::complex<double>": torch.complex128,
}
#: Of c10/core/ScalarType.h.
_NUMBERED = {
    0: torch.uint8,
    1: torch.int8,
    2: torch.int16,
    3: torch.int32,
    4: torch.int64,
    5: torch.float16,
    6: torch.float32,
    7: torch.float64,
    11: torch.bool,
    15: torch.bfloat16,
}
_FORMATS = {
    0: torch.contiguous_format,
    1: torch.preserve_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}
_LISTS, _ABSENT = ("TensorList", "OptionalTensorList"), ("", "None")
#: What a call on meta leaves out.
_PLACES = ("Device", "Layout", "Generator")
LARGEST, MOST_TENSORS, LONGEST_VALUE = 2**40, 100_000, 4000


@dataclass(frozen=True)
class Argument:
    """One recorded argument; ``element``: the type of a list's tensors, where it is known."""

    type: str
    dims: Any
    strides: Any
    value: str

    @property
    def is_tensor(self) -> bool:
        return self.type in DTYPES

    @property
    def is_list(self) -> bool:
        return self.type in _LISTS


def arguments_of(args: Mapping[str, Any]) -> list[Argument]:
    """Raises CannotMap where shapes were not recorded."""
    dims, types = args.get("Input Dims"), args.get("Input type")
    if not isinstance(dims, list) or not isinstance(types, list) or len(dims) != len(types):
        raise CannotMap("without recorded shapes")
    strides = _as_long(args.get("Input Strides"), len(dims))
    values = _as_long(args.get("Concrete Inputs"), len(dims))
    return [
        Argument(str(t), d, s, str(v or "")) for t, d, s, v in zip(types, dims, strides, values)
    ]


def _as_long(found: Any, count: int) -> Sequence[Any]:
    return found if isinstance(found, list) and len(found) == count else [None] * count


# ---- one argument


def tensor(argument: Argument) -> torch.Tensor:
    return _tensor(argument.dims, argument.strides, DTYPES[argument.type])


def _tensor(dims: Any, strides: Any, dtype: torch.dtype) -> torch.Tensor:
    shape = _sizes(dims)
    if isinstance(strides, list) and len(strides) == len(shape):
        return torch.empty_strided(shape, _sizes(strides), dtype=dtype, device="meta")
    return torch.empty(shape, dtype=dtype, device="meta")


def _sizes(found: Any) -> list[int]:
    fits = isinstance(found, list) and len(found) <= 64
    if not fits or not all(isinstance(n, int) and 0 <= n <= LARGEST for n in found):
        raise CannotMap("sizes that are no sizes")
    return found


def tensors(argument: Argument, element: torch.dtype) -> list[torch.Tensor]:
    """Of a list argument, whose types no profile records."""
    dims = argument.dims
    if not isinstance(dims, list) or not dims or len(dims) > MOST_TENSORS:
        raise CannotMap("lists of tensors without recorded shapes")
    strides = _as_long(argument.strides, len(dims))
    return [_tensor(d, s, element) for d, s in zip(dims, strides)]


def plain(text: str) -> Any:
    """A recorded value: a number, a flag, a list of them; None for what is not there."""
    if text in _ABSENT or len(text) > LONGEST_VALUE:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    words = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
    return words.get(text.strip().lower(), text)


# ---- a call


def overloads(name: str) -> Iterator[Any]:
    """Of a name as profiles write it: ``aten::addmm``. Raises CannotMap for an unknown one."""
    space, _, rest = name.partition("::")
    packet = getattr(getattr(torch.ops, space, None), rest, None) if rest.isidentifier() else None
    if packet is None:
        raise CannotMap("of operations that this torch does not know")
    for overload in packet.overloads():
        if "out" not in overload and not overload.endswith("_mode"):
            yield getattr(packet, overload)


def called(
    overload: Any, found: Sequence[Argument], element: torch.dtype
) -> tuple[list[Any], dict[str, Any]]:
    """(positional, by name) for one overload. Raises CannotMap where the recorded arguments do not
    fit it."""
    schema = overload._schema.arguments
    if len(found) > len(schema):
        raise CannotMap("arguments that fit no overload")
    places: list[Any] = []
    names: dict[str, Any] = {}
    for place, wanted in enumerate(schema):
        if place >= len(found):
            if not wanted.has_default_value():
                raise CannotMap("arguments that fit no overload")
            continue
        if any(word in str(wanted.real_type) for word in _PLACES):
            continue
        value = _fitted(str(wanted.real_type), found[place], element)
        if wanted.kwarg_only:
            names[wanted.name] = value
        else:
            places.append(value)
    if not any(argument.is_tensor or argument.is_list for argument in found):
        # what makes a tensor of nothing makes it there
        names |= {"device": "meta"} if any(w.name == "device" for w in schema) else {}
    return places, names


def _fitted(wanted: str, argument: Argument, element: torch.dtype) -> Any:
    optional = wanted.startswith("Optional[")
    kind = wanted.removeprefix("Optional[").removesuffix("]") if optional else wanted
    if argument.is_list or "Tensor]" in kind or kind.startswith("List[") and "Tensor" in kind:
        if not argument.is_list or "Tensor" not in kind or "List" not in kind:
            raise CannotMap("arguments that fit no overload")
        return tensors(argument, element)
    if argument.is_tensor:
        return _of_tensor(kind, argument)
    if kind == "Tensor":
        if optional and argument.type in _ABSENT:
            return None
        raise CannotMap("arguments that fit no overload")
    return _of_plain(kind, plain(argument.value), optional)


def _of_tensor(kind: str, argument: Argument) -> Any:
    """A number stands where a 0-dimensional tensor was recorded and a number is asked."""
    if kind == "Tensor":
        return tensor(argument)
    if kind == "number" and argument.dims == []:
        return 0.5 if DTYPES[argument.type].is_floating_point else 1
    raise CannotMap("arguments that fit no overload")


def _of_plain(kind: str, value: Any, optional: bool) -> Any:
    if value is None:
        if optional or kind in ("bool", "number", "str"):
            return None if optional else {"bool": False, "number": 1, "str": "none"}[kind]
        raise CannotMap("arguments that fit no overload")
    if "ScalarType" in kind:
        return _NUMBERED.get(value) if isinstance(value, int) else None
    if "MemoryFormat" in kind:
        return _FORMATS.get(value) if isinstance(value, int) else None
    if kind.startswith("List["):
        if not isinstance(value, (list, tuple)):
            raise CannotMap("arguments that fit no overload")
        return list(value)
    if kind in ("int", "SymInt") and isinstance(value, float) and not value.is_integer():
        raise CannotMap("arguments that fit no overload")
    return int(value) if kind in ("int", "SymInt") and isinstance(value, float) else value
