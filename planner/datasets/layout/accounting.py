"""How much of the text counts: measured on a sample, every byte in one of four places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.datasets.layout.cells.messages import plan_of
from planner.datasets.layout.cells.values import LANGUAGE, kind_of_text, size_of
from planner.datasets.layout.cells.walk import empty, strings, text_bytes, told
from planner.datasets.layout.column import CHAT, TEXT, TEXTS, TOKENS, sample_of
from planner.datasets.layout.conversations import are_rounds, first_answer
from planner.datasets.layout.shape import Layout, Shape
from planner.datasets.readers import AUDIO, IMAGE


@dataclass
class Account:
    """UTF-8 bytes of all texts in the judged records. ``counted``: in the columns that are trained
    on. ``copies``: repeat those. ``odd``: no language, such as labels, numbers, addresses.
    ``rejected``: the other answer of preference pairs. ``left``: language that is left out, by
    column. Their sum is ``total``."""

    records: int = 0
    total: int = 0
    counted: int = 0
    copies: int = 0
    odd: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    left: Counter[str] = field(default_factory=Counter)

    @property
    def left_share(self) -> float:
        """Of the language, without the rejected answers of pairs."""
        left = sum(self.left.values())
        return left / (left + self.counted) if left else 0.0

    @property
    def rejected_share(self) -> float:
        """Of the language."""
        return self.rejected / (self.rejected + self.counted) if self.rejected else 0.0

    def shares(self) -> dict[str, float]:
        """Column → share of the language that is left out with it, the largest first."""
        whole = self.counted + sum(self.left.values())
        return {path: size / whole for path, size in self.left.most_common() if size}


def account(records: Sequence[Mapping[str, Any]], layout: Layout) -> Account:
    """Of prepared records, on a sample of them."""
    found = Account()
    for record in sample_of(records):
        shape = layout.shape_of(record)
        found.records += 1
        for path, value in record.items():
            if path not in (IMAGE, AUDIO) and not empty(value):
                _add(found, path, record, shape, layout)
    return found


def _add(
    found: Account, path: str, record: Mapping[str, Any], shape: Shape, layout: Layout
) -> None:
    value = record[path]
    size = text_bytes(value)
    found.total += size
    if path in shape.paths("rejected"):
        found.rejected += size
    elif path in shape.counted:
        beside = list(_beside(path, record, shape, layout))
        found.counted += size - sum(size_of(text) for _, text in beside)
        for name, text in beside:
            _sort(found, name, (text,))
    elif path in shape.copies:
        found.copies += size
    else:
        column = layout.columns.get(path)
        if column is not None and column.form in (TEXT, TEXTS, TOKENS) and column.role != "aside":
            (found.left if column.kind == LANGUAGE and path != shape.label else found.odd)[
                path
            ] += size
        elif column is not None and column.form == CHAT:
            found.left[path] += size
        else:
            _sort(found, path, strings(value))


def _beside(
    path: str, record: Mapping[str, Any], shape: Shape, layout: Layout
) -> Iterator[tuple[str, str]]:
    """(name, text) of what is in a counted column and not rendered: further keys of messages, the
    second answer to a question, what stands beside an answer."""
    column, value = layout.columns.get(path), record[path]
    if column is None:
        return
    if column.form == CHAT:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            yield from _beside_turn(path, item)
    elif path in shape.paths("tools") or isinstance(value, str):
        return
    elif path in shape.paths("answer") and not are_rounds(record, shape):
        first = first_answer(value, path)
        yield from _untold(path, first)
        if first is not value:
            yield from ((f"{path} after the first", text) for text in strings(value[1:]))
    else:
        yield from _untold(path, value)


def _untold(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """What a cell's dictionaries hold beside their text."""
    if isinstance(value, (dict, list, tuple)):
        for text in (Counter(strings(value)) - Counter(told(value))).elements():
            yield f"{path}[]", text


def _beside_turn(path: str, item: Any) -> Iterator[tuple[str, str]]:
    plan = plan_of(tuple(item)) if isinstance(item, dict) else None
    if plan is None:
        return
    for key, value in item.items():
        if key not in plan.keys:
            yield from ((f"{path}[].{key}", text) for text in strings(value))
    content = item.get(plan.content) if plan.content else None
    for part in content if isinstance(content, (list, tuple)) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            others = [value for key, value in part.items() if key != "text"]
            yield from ((f"{path}[].{plan.content}", text) for text in strings(others))


def _sort(found: Account, path: str, texts: Any) -> None:
    for text in texts:
        place = found.left if kind_of_text(text) == LANGUAGE else found.odd
        place[path] += size_of(text)
