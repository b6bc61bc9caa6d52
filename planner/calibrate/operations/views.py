"""The arguments of views, of which a trace keeps the shapes alone: any that lead from one shape to
the other will do, since a view runs no kernel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]
#: Views that the recorder writes without arguments (``planner/trace/recorder/dispatch_mode.py``).
VIEWS = frozenset(
    "view _unsafe_view reshape expand slice select permute transpose t unsqueeze squeeze alias "
    "detach split split_with_sizes "
    "chunk unbind narrow as_strided as_strided_ view_as diagonal unfold".split()
)
_WITHOUT_ARGUMENTS = ("t", "alias", "detach")


def view_arguments(
    op: str, source: Shape, targets: Sequence[Shape], given: dict[str, Any]
) -> list | None:
    """The arguments after ``self``, or None where none fit."""
    _, name, overload = (op.split(".") + ["default"])[:3]
    target = targets[0]
    if name in _WITHOUT_ARGUMENTS:
        return []
    if name in ("view", "_unsafe_view", "reshape", "expand"):
        return [list(target)]
    if name in ("as_strided", "as_strided_"):
        return [list(target), list(given.get("stride") or contiguous_strides(target))]
    if name in ("split", "split_with_sizes", "chunk", "unbind"):
        return _pieces(name, overload, source, targets)
    if name == "squeeze" and overload == "default":
        return []
    rule = {
        "slice": _slice,
        "narrow": _narrow,
        "select": _select,
        "permute": _permute,
        "transpose": _transpose,
        "unsqueeze": _unsqueeze,
        "squeeze": _squeeze,
    }.get(name)
    return rule(source, target) if rule else None


def contiguous_strides(shape: Shape) -> list[int]:
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _changed(source: Shape, target: Shape) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(source, target)) if a != b]


def _slice(source: Shape, target: Shape) -> list | None:
    changed = _changed(source, target)
    dim = changed[0] if changed else 0
    return [dim, 0, target[dim]] if len(changed) <= 1 and len(source) == len(target) else None


def _narrow(source: Shape, target: Shape) -> list | None:
    return _slice(source, target)


def _select(source: Shape, target: Shape) -> list | None:
    return next(
        ([dim, 0] for dim in range(len(source)) if source[:dim] + source[dim + 1 :] == target), None
    )


def _permute(source: Shape, target: Shape) -> list | None:
    if sorted(source) != sorted(target):
        return None
    orders = [
        p
        for p in itertools.permutations(range(len(source)))
        if tuple(source[i] for i in p) == target
    ]
    return [list(max(orders, key=lambda p: p != tuple(range(len(p)))))]


def _transpose(source: Shape, target: Shape) -> list | None:
    pairs = [
        *([(-1, -2)] if len(source) > 1 else []),
        *itertools.combinations(range(len(source)), 2),
        (0, 0),
    ]
    for a, b in pairs:
        swapped = list(source)
        if swapped:
            swapped[a], swapped[b] = swapped[b], swapped[a]
        if tuple(swapped) == target:
            return [a, b]
    return None


def _unsqueeze(source: Shape, target: Shape) -> list | None:
    return next(
        (
            [dim]
            for dim in range(len(target))
            if target[dim] == 1 and target[:dim] + target[dim + 1 :] == source
        ),
        None,
    )


def _squeeze(source: Shape, target: Shape) -> list | None:
    if source == target:
        return [next((i for i, n in enumerate(source) if n != 1), 0)]
    return next(
        (
            [dim]
            for dim in range(len(source))
            if source[dim] == 1 and source[:dim] + source[dim + 1 :] == target
        ),
        None,
    )


def _pieces(name: str, overload: str, source: Shape, targets: Sequence[Shape]) -> list | None:
    if name == "unbind":
        return next(
            (
                [dim]
                for dim in range(len(source))
                if source[:dim] + source[dim + 1 :] == targets[0] and source[dim] == len(targets)
            ),
            None,
        )
    dim = next(
        (
            i
            for i in range(len(source))
            if sum(t[i] for t in targets) == source[i] and len(targets) > 1
        ),
        0,
    )
    if name == "chunk":
        return [len(targets), dim]
    sizes = [t[dim] for t in targets]
    return [sizes, dim] if name == "split_with_sizes" or overload == "sizes" else [sizes[0], dim]
