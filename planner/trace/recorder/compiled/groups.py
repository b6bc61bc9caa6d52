"""Which operations of a compiled graph become one kernel.

torch.compile's inductor fuses element-wise operations and reductions over the same elements with
what they read and with what reads them (``torch/_inductor/scheduler.py``, ``can_fuse_vertical``);
products, attention and whatever else is a kernel of its own end a group. Inductor itself decides
for a device that it generates code for, which needs one; these are its rules without its limits on
registers and on the size of a kernel.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

_REDUCTIONS = frozenset(
    "sum mean amax amin max min prod any all var var_mean argmax argmin linalg_vector_norm".split()
)
#: Element-wise by what they read and write, though torch does not mark them so.
_ALIKE = frozenset(
    "_to_copy clone where full full_like zeros_like ones_like new_zeros new_full zeros ones arange "
    "constant_pad_nd slice_scatter select_scatter cat gather scatter copy native_dropout "
    "native_dropout_backward iota empty_like rand rand_like bernoulli scalar_tensor".split()
)
_VIEWS = frozenset(
    "view _unsafe_view reshape expand slice select permute transpose t unsqueeze squeeze alias "
    "detach split split_with_sizes unbind as_strided diagonal unfold lift_fresh".split()
)


#: Values of more reads than this are kept for several readers, and not computed again in each
#: (``realize_reads_threshold`` of ``torch/_inductor/config.py``).
READS = 4


@dataclass
class Group:
    """Nodes of one kernel in the order of the graph. ``again``: what other kernels compute too, and
    this one again; ``written``: what anybody else reads, or what that is a view of; ``views``: the
    views of what was written that others read."""

    nodes: list[Node] = field(default_factory=list)
    again: list[Node] = field(default_factory=list)
    written: list[Node] = field(default_factory=list)
    views: list[Node] = field(default_factory=list)

    @property
    def computed(self) -> list[Node]:
        return [*self.again, *self.nodes]

    def read(self) -> list[Node]:
        """What comes from outside, in order."""
        inside = set(self.computed)
        befores = (before for node in self.computed for before in node.all_input_nodes)
        return list(dict.fromkeys(before for before in befores if before not in inside))


def base_name(node: Node) -> str:
    target: Any = node.target
    return target._schema.name.partition("::")[2] if hasattr(target, "_schema") else ""


def is_view(node: Node) -> bool:
    if node.op != "call_function":
        return False
    return node.target is operator.getitem or base_name(node) in _VIEWS


def fuses(node: Node) -> bool:
    """Element-wise, or a reduction."""
    target: Any = node.target
    if node.op != "call_function" or not hasattr(target, "_schema"):
        return False
    if target.namespace not in ("aten", "prims"):
        return False
    name = base_name(node).rstrip("_")
    return torch.Tag.pointwise in target.tags or name in _REDUCTIONS or name in _ALIKE


def groups_of(nodes: Iterable[Node]) -> list[Group]:
    """The kernels of a graph's fusable operations, views between them included."""
    ordered = list(nodes)
    groups = _joined(ordered, _Levels(ordered))
    _compute_again(ordered, groups)
    _find_written(ordered, groups)
    return groups


class _Levels:
    """Each node's place in the order of kernels: one more than what it waits for. A fusable node is
    in its producer's kernel where both go over the same elements (``domain``, their number); one
    that can wait is put to its readers."""

    def __init__(self, nodes: list[Node]):
        self.domain: dict[Node, int] = {}
        self.level: dict[Node, int] = {}
        self.fused: dict[Node, bool] = {}
        #: What is made of a reduction's result alone that no kernel has while it still reduces.
        self.late: dict[Node, bool] = {}
        for node in nodes:
            self._find_domain(node)
            self.late[node] = self._is_late(node)
        for node in reversed(nodes):
            self._join_readers(node)
        for node in nodes:
            befores = node.all_input_nodes
            self.level[node] = max((self._after(n, node) for n in befores), default=0)
        for node in reversed(nodes):
            self._put_off(node)

    def _find_domain(self, node: Node) -> None:
        """The elements of its widest operand; what is made of a reduction's result belongs to what
        was reduced, and a view to what it is of."""
        before = node.all_input_nodes
        inside = is_view(node) and bool(before) and self.fused[before[0]]
        self.fused[node] = inside or fuses(node)
        own = max((_elements(n) for n in (node, *before)), default=0)
        if inside:
            own = self.domain[before[0]]
        elif self.fused[node] and own:
            parts = [self.domain[n] for n in before if self.fused[n]]
            own = max([own, *(d for d in parts if d > own and not d % own)])
        self.domain[node] = own

    def _join_readers(self, node: Node) -> None:
        """What is element-wise is computed where it is read, as halves that are put together."""
        shown = any(user.op == "output" for user in node.users)
        if not self.fused[node] or base_name(node) in _REDUCTIONS or shown or not node.users:
            return
        if _has_parts(node):
            return
        wanted = {self.domain[user] if self.fused[user] else None for user in node.users}
        domain = wanted.pop()
        if not wanted and domain is not None:
            self.domain[node] = domain

    def _after(self, before: Node, node: Node) -> int:
        """The earliest level of a node that reads another."""
        if self.together(before, node) or (is_view(node) and not self.fused[node]):
            return self.level[before]
        return self.level[before] + self._is_made(before)

    def _is_made(self, node: Node) -> bool:
        """Not there from the beginning, or a view of what is."""
        while is_view(node) and not self.fused[node]:
            node = node.all_input_nodes[0]
        return node.op == "call_function"

    def together(self, one: Node, other: Node) -> bool:
        alike = self.fused[one] and self.fused[other] and self.domain[one] == self.domain[other]
        return alike and not (self.late[one] and not self.late[other])

    def _is_late(self, node: Node) -> bool:
        if not self.fused[node]:
            return False
        if base_name(node) in _REDUCTIONS:
            return _is_split(node)
        befores = [n for n in node.all_input_nodes if n.op == "call_function"]
        late = [n for n in befores if self.late.get(n)]
        return bool(late) and _elements(node) <= max(map(_elements, late))

    def _put_off(self, node: Node) -> None:
        users = [user for user in node.users if user.op != "output"]
        if self.fused[node] and users and not _has_parts(node):
            latest = min(self.level[u] - (0 if self.together(node, u) else 1) for u in users)
            self.level[node] = max(self.level[node], latest)


def _is_split(node: Node) -> bool:
    """A reduction over all elements, or over rows that lie one after the other, is cut over many
    blocks (``torch/_inductor/choices.py``, ``reduction_split_factor``): its result is there when
    all have ended, and who reads it beside what was reduced reads that again."""
    before = node.all_input_nodes[0].meta.get("val") if node.all_input_nodes else None
    if not isinstance(before, torch.Tensor) or before.dim() == 0:
        return False
    count = _elements(node)
    if count == 1:
        return before.numel() > 1
    dims = next((arg for arg in node.args[1:2] if isinstance(arg, (list, tuple, int))), None)
    if dims is None or count >= before.numel():
        return False
    reduced = {d % before.dim() for d in ([dims] if isinstance(dims, int) else dims)}  # pyright: ignore
    inner = [d for d in range(before.dim()) if before.shape[d] > 1 and before.stride(d) == 1]
    return bool(inner) and not reduced & set(inner)


def _joined(nodes: list[Node], levels: _Levels) -> list[Group]:
    """Fusable nodes of one level and domain that read or are read by each other, or read the
    same."""
    parent: dict[Node, Node] = {node: node for node in nodes if levels.fused[node]}

    def root(node: Node) -> Node:
        while parent[node] is not node:
            node = parent[node]
        return node

    readers: dict[tuple, Node] = {}
    for node in parent:
        place = levels.level[node], levels.domain[node]
        for before in node.all_input_nodes:
            if levels.fused.get(before) and (levels.level[before], levels.domain[before]) == place:
                parent[root(node)] = root(before)
            else:
                other = readers.setdefault((before, *place), node)
                parent[root(node)] = root(other)
    found: dict[Node, Group] = {}
    for node in parent:
        found.setdefault(root(node), Group()).nodes.append(node)
    return list(found.values())


def _compute_again(nodes: list[Node], groups: list[Group]) -> None:
    """An element-wise value that reads little is computed in each kernel that wants it."""
    of = {node: group for group in groups for node in group.nodes}
    place = {node: index for index, node in enumerate(nodes)}
    for node in nodes:
        own = of.get(node)
        readers = [of.get(user) for user in node.users]
        if own is None or None in readers or all(group is own for group in readers):
            continue
        closure, reads = _closure(node, own)
        if len(reads) > READS or not closure:
            continue
        for group in readers:
            if group is not None and group is not own:
                found = dict.fromkeys([*group.again, *closure])
                group.again = sorted(found, key=place.__getitem__)


def _closure(node: Node, group: Group) -> tuple[set[Node], set[Node]]:
    """(what of its kernel an element-wise value is made of, itself included; what those read).
    Nothing for a reduction."""
    inside, computed = set(group.nodes), set[Node]()
    reads, waiting = set[Node](), [node]
    while waiting:
        one = waiting.pop()
        if one in inside and base_name(one) not in _REDUCTIONS and not _has_parts(one):
            computed.add(one)
            waiting += [before for before in one.all_input_nodes if before not in computed]
        else:
            reads.add(one)
    return (computed, reads) if node in computed else (set[Node](), set[Node]())


def _find_written(nodes: list[Node], groups: list[Group]) -> None:
    """What another kernel reads, or an operation that is none of them."""
    grouped = {node for group in groups for node in group.nodes}
    wanted = {before for group in groups for before in group.read()}
    for node in nodes:
        wanted |= {node} if any(user not in grouped for user in node.users) else set()
    for group in groups:
        written: set[Node] = set()
        views: set[Node] = set()
        for node in group.nodes:
            if node not in wanted:
                continue
            while _is_plain_view(node) and node.all_input_nodes[0] in group.nodes:
                views.add(node)
                node = node.all_input_nodes[0]
            written.add(node)
        group.written = [node for node in group.nodes if node in written]
        group.views = [node for node in group.nodes if node in views]


def _has_parts(node: Node) -> bool:
    """One of several results, or what has several: they stay together."""
    return node.target is operator.getitem or any(u.target is operator.getitem for u in node.users)


def _is_plain_view(node: Node) -> bool:
    """No part of several results, which are tensors of their own."""
    return is_view(node) and node.target is not operator.getitem


def _elements(node: Node) -> int:
    value = node.meta.get("val")
    parts = value if isinstance(value, (tuple, list)) else (value,)
    return max((v.numel() for v in parts if isinstance(v, torch.Tensor)), default=0)
