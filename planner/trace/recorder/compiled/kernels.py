"""A compiled graph as the kernels that run: one operation a fused group, products and attention as
they are, views none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from planner.trace.recorder.compiled.groups import Group, fuses, groups_of, is_view

_LIBRARY = torch.library.Library("planner", "FRAGMENT")
_LIBRARY.define("fused(Tensor[] inputs, int operations) -> Tensor[]")
_LIBRARY.impl("fused", lambda inputs, operations: _RUNNING[-1](inputs), "CompositeExplicitAutograd")
#: What the kernel that is being launched computes, innermost last.
_RUNNING: list[Callable[[list], list]] = []


@dataclass
class _Step:
    """One operation or one group. ``ends``: nodes whose values nobody reads after it."""

    node: Node | None
    group: Group | None
    ends: list[Node] = field(default_factory=list)

    @property
    def read(self) -> list[Node]:
        return self.group.read() if self.group else self.node.all_input_nodes  # pyright: ignore


class Kernels:
    """Calls a graph with its inputs as one list, which it empties (``boxed``)."""

    _boxed_call = True

    def __init__(self, graph: GraphModule):
        self.graph = graph
        nodes = list(graph.graph.nodes)
        self.inputs = [node for node in nodes if node.op == "placeholder"]
        self.output = nodes[-1]
        self.steps = _steps(nodes)
        self._mark_ends()

    def __call__(self, arguments: list) -> Any:
        values: dict[Node, Any] = dict(zip(self.inputs, arguments, strict=True))
        arguments.clear()
        for node in [node for node in self.inputs if not node.users]:
            del values[node]
        for step in self.steps:
            if step.group is not None:
                self._launch(step.group, values)
            elif step.node is not None:
                values[step.node] = self._run(step.node, values)
            for node in step.ends:
                values.pop(node, None)
        return map_arg(self.output.args[0], values.__getitem__)

    def _run(self, node: Node, values: dict[Node, Any]) -> Any:
        if node.op == "get_attr":
            return getattr(self.graph, str(node.target))
        arguments = map_arg(node.args, values.__getitem__)
        options = map_arg(node.kwargs, values.__getitem__)
        target: Any = node.target
        if not is_view(node):
            return target(*arguments, **options)
        with torch._C._DisableTorchDispatch():  # generated code computes places, it makes no views
            return target(*arguments, **options)

    def _launch(self, group: Group, values: dict[Node, Any]) -> None:
        read, written = group.read(), group.written
        if not written:  # each of its readers computes it
            return
        if not read:  # constants, which a kernel of their own fills
            own = dict(values)
            for node in group.computed:
                own[node] = self._run(node, own)
            values.update((node, own[node]) for node in group.nodes)
            return

        def compute(given: list) -> list:
            inside = dict(zip(read, given, strict=True))
            for node in group.computed:
                target: Any = node.target
                inside[node] = target(
                    *map_arg(node.args, inside.__getitem__),
                    **map_arg(node.kwargs, inside.__getitem__),
                )
            seen = {tensor.untyped_storage()._cdata for tensor in given}
            return [_own(inside[node], seen) for node in written]

        _RUNNING.append(compute)
        try:
            given = [values[node] for node in read]
            count = sum(map(fuses, group.nodes))
            made = torch.ops.planner.fused(given, count)
        finally:
            _RUNNING.pop()
        values.update(zip(written, made, strict=True))
        for node in group.views:
            values[node] = self._run(node, values)

    def _mark_ends(self) -> None:
        """Each value ends with the last step that reads it."""
        kept = set(self.output.all_input_nodes)
        last: dict[Node, _Step] = {}
        for step in self.steps:
            for node in step.read:
                last[node] = step
            for node in step.group.nodes if step.group else [step.node]:
                last.setdefault(node, step)  # pyright: ignore[reportArgumentType]
        for node, step in last.items():
            if node not in kept:
                step.ends.append(node)


def _own(tensor: torch.Tensor, seen: set[int]) -> torch.Tensor:
    """As a kernel writes it: no view of what it read, or of what is larger."""
    storage = tensor.untyped_storage()
    if storage._cdata in seen or storage.nbytes() != tensor.numel() * tensor.element_size():
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    seen.add(tensor.untyped_storage()._cdata)
    return tensor


def _steps(nodes: Sequence[Node]) -> list[_Step]:
    """In an order in which everything comes after what it reads, early ones first."""
    groups = groups_of(node for node in nodes if node.op != "output")
    of = {node: group for group in groups for node in group.nodes}
    done: set[Node] = {node for node in nodes if node.op == "placeholder"}
    steps: list[_Step] = []
    waiting: list[_Step] = []
    seen: set[int] = set()
    for node in nodes:
        if node.op in ("placeholder", "output"):
            continue
        group = of.get(node)
        if group is not None and id(group) in seen:
            continue
        if group is not None:
            seen.add(id(group))
        waiting.append(_Step(None if group else node, group))
    while waiting:
        ready = next((step for step in waiting if all(n in done for n in step.read)), None)
        if ready is None:
            raise RuntimeError("groups of a compiled graph wait for each other")
        waiting.remove(ready)
        steps.append(ready)
        done.update(ready.group.nodes if ready.group else [ready.node])  # pyright: ignore
    return steps
