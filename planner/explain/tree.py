"""Amounts by module as a tree: sums upwards, repeated blocks folded into one node.

Amounts are vectors, so that one tree serves seconds by kind and bytes by category.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

#: What stands between the first and the last number of folded blocks.
TO = "–"


@dataclass
class Node:
    """``own``: what the module itself holds, without its children; ``count``: of how many equal
    blocks it is the sum; ``path``: the module's name in the model, of folded blocks the first's."""

    name: str
    path: str
    own: np.ndarray
    children: list[Node] = field(default_factory=list)
    count: int = 1

    @property
    def total(self) -> np.ndarray:
        """With its children's."""
        return self.own + sum((child.total for child in self.children), np.zeros_like(self.own))

    @property
    def shape(self) -> tuple[object, ...]:
        """The names beneath: equal for blocks that are built alike."""
        return tuple((child.name, child.shape) for child in self.children)


def tree_of(amounts: Mapping[str, np.ndarray], width: int) -> list[Node]:
    """Modules by dotted path → the tops of the tree, blocks folded, empty ones left out. The path
    "" is left out: what it holds is for the caller to name."""
    root = Node("", "", np.zeros(width))
    for path, amount in amounts.items():
        if path and np.any(amount):
            _at(root, path).own = _at(root, path).own + amount
    return [_folded(child) for child in root.children]


def _at(root: Node, path: str) -> Node:
    node, parts = root, path.split(".")
    for depth, name in enumerate(parts, start=1):
        found = next((child for child in node.children if child.name == name), None)
        if found is None:
            found = Node(name, ".".join(parts[:depth]), np.zeros_like(root.own))
            node.children.append(found)
        node = found
    return node


def _folded(node: Node) -> Node:
    """With equal numbered neighbours as one node; a list that holds nothing but one such node is
    that node."""
    children = [_folded(child) for child in node.children]
    node.children = [
        _joined(list(group)) for _, group in groupby(sorted(children, key=_place), key=_alike)
    ]
    # a block keeps its number, by which it is told from its like
    if len(node.children) == 1 and not np.any(node.own) and not node.name.isdecimal():
        only = node.children[0]
        # one name for a chain of modules, as the model's own paths have it
        only.name = f"{node.name}.{only.name}"
        return only
    return node


def _place(node: Node) -> tuple[bool, int]:
    """Numbered blocks in their order, before what has a name."""
    return (not node.name.isdecimal(), int(node.name) if node.name.isdecimal() else 0)


def _alike(node: Node) -> tuple[object, ...]:
    return (node.shape, "") if node.name.isdecimal() else ("", node.path)


def _joined(alike: list[Node]) -> Node:
    first = alike[0]
    if len(alike) == 1:
        return first
    numbers = [int(node.name) for node in alike]
    name = TO.join(str(number) for number in (numbers[0], numbers[-1]))
    children = [_joined_below(list(group)) for group in zip(*(node.children for node in alike))]
    own = _sum(node.own for node in alike)
    count = sum(node.count for node in alike)
    return Node(name, first.path, own, children, count)


def _joined_below(alike: list[Node]) -> Node:
    """The same module of several blocks: its name stays."""
    first = alike[0]
    children = [_joined_below(list(group)) for group in zip(*(node.children for node in alike))]
    count = sum(node.count for node in alike)
    return Node(first.name, first.path, _sum(node.own for node in alike), children, count)


def _sum(amounts: Iterable[np.ndarray]) -> np.ndarray:
    found = list(amounts)
    return np.sum(found, axis=0)
