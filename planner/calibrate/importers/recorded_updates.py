"""Updates that run tensor by tensor, as on a processor, as the operations over lists that traces
hold: the same work, its times added up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch

from planner.calibrate.kineto.reading import Span
from planner.calibrate.kineto.units import UPDATE, Unit

#: A list of fewer is left as it is.
LEAST = 2
Placed = tuple[int, Unit]


def with_lists(units: Iterable[Placed]) -> Iterator[Placed]:
    """(step, operation): those of an update that go over single tensors joined, all others as they
    are."""
    single: dict[tuple[int, str], list[Unit]] = defaultdict(list)
    for step, unit in units:
        if unit.phase == UPDATE and _is_single(unit):
            single[step, unit.name].append(unit)
        else:
            yield step, unit
    for (step, name), found in single.items():
        if len(found) < LEAST:
            yield from ((step, unit) for unit in found)
        else:
            yield step, _joined(name, found)


def _is_single(unit: Unit) -> bool:
    """Over a tensor that is no count of steps, and that torch has over lists too."""
    space, _, name = unit.name.partition("::")
    dims = unit.span.args.get("Input Dims")
    has_sizes = isinstance(dims, list) and bool(dims) and isinstance(dims[0], list) and dims[0]
    listed = space == "aten" and hasattr(torch.ops.aten, f"_foreach_{name}")
    return bool(has_sizes) and listed and not name.startswith("_foreach_")


def _joined(name: str, found: list[Unit]) -> Unit:
    first = found[0].span
    recorded = first.args.get("Input type")
    types = recorded if isinstance(recorded, list) else []
    args = {
        "Input type": [
            "TensorList" if _is_tensor(first, place) else kind for place, kind in enumerate(types)
        ],
        "Input Dims": [_column("Input Dims", found, place) for place in range(len(types))],
        "Input Strides": [_column("Input Strides", found, place) for place in range(len(types))],
        "Concrete Inputs": first.args.get("Concrete Inputs"),
    }
    rest = name.partition("::")[2]
    span = Span(
        f"aten::_foreach_{rest}", first.category, first.thread, first.start, first.end, args, first
    )
    kernels = [kernel for unit in found for kernel in unit.kernels]
    each = [seconds for unit in found for seconds in unit.kernel_seconds]
    return Unit(span.name, UPDATE, UPDATE, span, sum(u.seconds for u in found), kernels, each)


def _is_tensor(span: Span, place: int) -> bool:
    dims = span.args.get("Input Dims")
    return isinstance(dims, list) and place < len(dims) and bool(dims[place])


def _column(what: str, found: list[Unit], place: int) -> object:
    """Of one argument: the list over all tensors, or the plain argument's own."""
    first = found[0].span.args.get(what)
    if not isinstance(first, list) or place >= len(first):
        return None
    if not _is_tensor(found[0].span, place):
        return first[place]
    return [unit.span.args[what][place] for unit in found if _has(unit.span, what, place)]


def _has(span: Span, what: str, place: int) -> bool:
    row = span.args.get(what)
    return isinstance(row, list) and place < len(row)
