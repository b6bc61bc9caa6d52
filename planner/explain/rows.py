"""Trees of the document as the rows of a table: the parts that are worth a line, depth by depth,
what is smaller added up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: What has a line of its own, as a share of the whole; how deep; how many kinds are named, and
#: which, as a share of their row.
LEAST_SHARE, DEEPEST, NAMED, LEAST_PART = 0.01, 5, 2, 0.02
Node = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """``amount``: seconds or bytes of ``count`` blocks together, ``each`` of one. ``parts``: what
    it consists of, (name, share of the amount), the largest first. ``smaller``: of how many parts
    it is the sum that have no line of their own."""

    depth: int
    name: str
    count: int
    amount: float
    each: float
    share: float
    parts: tuple[tuple[str, float], ...]
    smaller: int = 0


def time_rows(document: Node, least: float = LEAST_SHARE) -> list[Row]:
    """Of ``document["time"]["tree"]``."""
    return list(_rows(document["time"]["tree"], "seconds", _kinds, least, 0, 1))


def memory_rows(document: Node, least: float = LEAST_SHARE) -> list[Row]:
    """Of ``document["memory"]["tree"]``."""
    return list(_rows(document["memory"]["tree"], "bytes", _categories, least, 0, 1))


def _kinds(node: Node) -> dict[str, float]:
    waiting = node["waiting_seconds"]
    return {**node["by_kind"], **({"waiting for the host": waiting} if waiting > 0 else {})}


def _categories(node: Node) -> dict[str, float]:
    return dict(node["by_category"])


def _rows(
    nodes: Sequence[Node], key: str, parts: Any, least: float, depth: int, inside: int
) -> Iterator[Row]:
    """``inside``: how many blocks the nodes are already summed over."""
    large = [node for node in nodes if node["share"] >= least and depth < DEEPEST]
    small = [node for node in nodes if node not in large]
    for node in large:
        own = node["count"] // inside
        shares = _shares(parts(node), node[key])
        name, amount = node["name"], node[key]
        yield Row(depth, name, own, amount, amount / node["count"], node["share"], shares)
        yield from _rows(node["children"], key, parts, least, depth + 1, node["count"])
    amount = sum(node[key] for node in small)
    share = sum(node["share"] for node in small)
    if large and share >= least / 2:
        yield Row(depth, "", 1, amount, amount / inside, share, (), len(small))


def _shares(parts: Mapping[str, float], whole: float) -> tuple[tuple[str, float], ...]:
    ordered = sorted(parts.items(), key=lambda part: -part[1])[:NAMED]
    return tuple((name, value / whole) for name, value in ordered if value > LEAST_PART * whole)


def shares_of(parts: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(name, amount, share), the largest first, of parts that sum to a whole."""
    whole = sum(parts.values())
    ordered = sorted(parts.items(), key=lambda part: -part[1])
    return [(name, value, value / whole if whole else 0.0) for name, value in ordered if value]


@dataclass(frozen=True)
class Leaf:
    """A node of a tree as a row of data: ``amount`` None for one that is the sum of those below it,
    else what it holds itself; ``total`` with all below. ``main``: the largest of its parts."""

    key: int
    parent: int | None
    name: str
    path: str
    count: int
    amount: float | None
    total: float
    share: float
    main: str
    parts: tuple[tuple[str, float], ...]


def time_leaves(document: Node) -> list[Leaf]:
    """Every node of ``document["time"]["tree"]`` below one root."""
    return _leaves(document["time"]["tree"], "seconds", _kinds)


def memory_leaves(document: Node) -> list[Leaf]:
    """Every node of ``document["memory"]["tree"]`` below one root."""
    return _leaves(document["memory"]["tree"], "bytes", _categories)


def _leaves(nodes: Sequence[Node], key: str, parts: Any) -> list[Leaf]:
    whole = sum(node[key] for node in nodes)
    found = [Leaf(0, None, "", "", 1, None, whole, 1.0, "", ())]

    def visit(node: Node, parent: int) -> None:
        number, below = len(found), node["children"]
        shares = _shares(parts(node), node[key])
        main = shares[0][0] if shares else ""
        name, path, count, total = node["name"], node["path"], node["count"], node[key]
        own = None if below else total
        found.append(
            Leaf(number, parent, name, path, count, own, total, node["share"], main, shares)
        )
        for child in below:
            visit(child, number)
        rest = total - sum(child[key] for child in below)
        if below and rest > 0:
            share = node["share"] * rest / total
            inside = f"{name} itself"
            found.append(
                Leaf(len(found), number, inside, path, count, rest, rest, share, main, shares)
            )

    for node in nodes:
        visit(node, 0)
    return found
