"""How much of the text counts: measured on a sample, every byte in one of four places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.datasets.layout.column import CHAT, TEXT, TEXTS, TOKENS, sample_of
from planner.datasets.layout.conversations import are_rounds, first_answer
from planner.datasets.layout.messages import plan_of
from planner.datasets.layout.shape import Layout, Shape
from planner.datasets.layout.values import LANGUAGE, kind_of_text, size_of
from planner.datasets.layout.walk import empty, strings, text_bytes
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
        return {path: size / whole for path, size in self.left.most_common()}


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
        found.counted += size - sum(map(size_of, beside))
        _sort(found, path, beside)
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


def _beside(path: str, record: Mapping[str, Any], shape: Shape, layout: Layout) -> Iterator[str]:
    """Texts inside of a counted column that are not rendered: further keys of messages, the second
    answer to a question."""
    column, value = layout.columns.get(path), record[path]
    if column is None:
        return
    if column.form == CHAT:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            plan = plan_of(tuple(item)) if isinstance(item, dict) else None
            if plan is not None:
                yield from strings([v for key, v in item.items() if key not in plan.keys])
                content = item.get(plan.content) if plan.content else None
                yield from _data_of_parts(content)
    elif path in shape.paths("answer") and not are_rounds(record, shape):
        first = first_answer(value, path)
        if first is not value:
            yield from strings(value[1:])


def _data_of_parts(content: Any) -> Iterator[str]:
    """Addresses and bytes of pictures, and the types of parts."""
    if isinstance(content, (list, tuple)):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield from strings([v for key, v in part.items() if key != "text"])


def _sort(found: Account, path: str, texts: Any) -> None:
    for text in texts:
        place = found.left if kind_of_text(text) == LANGUAGE else found.odd
        place[path] += size_of(text)
