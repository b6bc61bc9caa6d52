"""A column as it was judged on a sample of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import is_chat
from planner.datasets.layout.cells.values import LABEL, LANGUAGE, WORD, few, kind_of_texts
from planner.datasets.layout.cells.walk import empty, joined, spread, strings, text_bytes
from planner.datasets.readers import AUDIO, IMAGE

#: What a cell may be: a text, texts in a list, words or tokens in a list, numbers in a list, a
#: conversation, other lists and dictionaries, a number or a flag.
TEXT, TEXTS, TOKENS, NUMBERS, CHAT, OBJECTS, VALUE = (
    "text",
    "texts",
    "tokens",
    "numbers",
    "chat",
    "objects",
    "value",
)
JUDGED_ITEMS = 20  # of the list in a cell


@dataclass(frozen=True, slots=True)
class Column:
    """``role``: by its name, "" when that says nothing; ``known``: the name stands in the table as
    it is. ``kind``: what its texts are (values.py). ``size``: bytes of text in the judged records.
    ``length``: mean items of a list, words of a text."""

    path: str
    role: str
    known: bool
    form: str
    kind: str
    size: int
    length: float = 0.0
    distinct: int = 0

    @property
    def is_language(self) -> bool:
        return self.kind == LANGUAGE or self.form == CHAT

    @property
    def is_label(self) -> bool:
        """Numbers, flags, short texts that come again, or a tag a token."""
        return self.form == VALUE or self.kind in (LABEL, WORD, "number", "identifier")


def sample_of(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Records spread over the data, and some of each column and type that those do not have."""
    chosen = [records[i] for i in spread(len(records), int(constant("judged_records")))]
    if len(chosen) == len(records):
        return chosen
    met = {_types(record) for record in chosen}
    seen = {pair for types in met for pair in zip(*types)}
    found: Counter[Any] = Counter()
    for record in records:
        if _types(record) in met:
            continue
        for key, value in record.items():
            kind = (key, type(value))
            if kind not in seen and found[kind] < JUDGED_ITEMS and not empty(value):
                found[kind] += 1
                chosen.append(record)
    return chosen


def _types(record: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[type, ...]]:
    return tuple(record), tuple(map(type, record.values()))


def judge(sample: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Every column of flat records, in the order in which they come."""
    values: dict[str, list[Any]] = {}
    for record in sample:
        for path, value in record.items():
            if path not in (IMAGE, AUDIO):
                kept = values.setdefault(path, [])
                if not empty(value):
                    kept.append(value)
    return {path: column_of(path, cells) for path, cells in values.items() if cells}


def column_of(path: str, cells: Sequence[Any]) -> Column:
    """Of cells that are not empty."""
    role, known = names.role_of(path)
    form = Counter(_form(value, path) for value in cells).most_common(1)[0][0]
    size = sum(map(text_bytes, cells))
    kind, length, distinct = DESCRIBE[form](cells)
    if form == TEXTS:
        form, kind = _list_form(role, kind, length, distinct, cells)
    return Column(path, role, known, form, kind, size, length, distinct)


def _form(value: Any, path: str) -> str:
    if isinstance(value, str):
        return TEXT
    if not isinstance(value, (list, tuple, dict)):
        return VALUE
    if is_chat(value, path):
        return CHAT
    if isinstance(value, dict):
        return OBJECTS
    if all(isinstance(item, str) or item is None for item in value):
        return TEXTS
    numbers = all(isinstance(item, (int, float)) for item in islice(value, JUDGED_ITEMS))
    return NUMBERS if numbers else OBJECTS


def _texts(cells: Sequence[Any]) -> tuple[str, float, int]:
    texts = [value for value in cells if isinstance(value, str)]
    words = sum(len(text.split()) for text in texts) / max(1, len(texts))
    return kind_of_texts(texts), words, len(set(texts))


def _items(cells: Sequence[Any]) -> tuple[str, float, int]:
    lists = [value for value in cells if isinstance(value, (list, tuple))]
    items = [text for value in lists for text in value[:JUDGED_ITEMS] if isinstance(text, str)]
    length = sum(map(len, lists)) / max(1, len(lists))
    return kind_of_texts(items), length, len(set(items))


def _list_form(
    role: str, kind: str, length: float, distinct: int, cells: Sequence[Any]
) -> tuple[str, str]:
    """A list of words is a tokenized text, unless the same few come again and again."""
    if kind == LANGUAGE and role != "token_list":
        return TEXTS, kind
    if role in ("token_list", "text") and length > 1:
        return TOKENS, LANGUAGE
    if kind in (WORD, "number") and length >= MANY_ITEMS and not _label_like(cells):
        return TOKENS, LANGUAGE
    return TEXTS, kind


MANY_ITEMS = 5


def _label_like(cells: Sequence[Any]) -> bool:
    return few([joined(item) for value in cells for item in value[:JUDGED_ITEMS]])


def _numbers(cells: Sequence[Any]) -> tuple[str, float, int]:
    lists = [value for value in cells if isinstance(value, (list, tuple))]
    items = {item for value in lists for item in value[:JUDGED_ITEMS] if isinstance(item, int)}
    return "", sum(map(len, lists)) / max(1, len(lists)), len(items)


def _objects(cells: Sequence[Any]) -> tuple[str, float, int]:
    texts = [text for value in cells[:200] for text in islice(strings(value), JUDGED_ITEMS)]
    lists = [len(value) for value in cells if isinstance(value, (list, tuple))]
    return kind_of_texts(texts), sum(lists) / max(1, len(lists)), len(set(texts))


def _values(cells: Sequence[Any]) -> tuple[str, float, int]:
    return "", 1.0, len({str(value) for value in cells})


DESCRIBE: dict[str, Callable[[Sequence[Any]], tuple[str, float, int]]] = {
    TEXT: _texts,
    TEXTS: _items,
    TOKENS: _items,
    NUMBERS: _numbers,
    CHAT: _objects,
    OBJECTS: _objects,
    VALUE: _values,
}


TEXT_ROLES = ("system", "tools", "history", "conversation", "prompt", "input", "answer")
TEXT_ROLES += ("reasoning", "chosen", "rejected", "text", "token_list")
#: Roles of lists and dictionaries that are understood: schemas, answers with their places.
OBJECT_ROLES = ("tools", "answer", "prompt")
#: Roles of lists and dictionaries that count where they hold language: blocks, passages.
SPOKEN_OBJECT_ROLES = ("system", "input")
#: What no trainer reads as text even under the name of a text.
NO_TEXT = ("url", "path", "hash", "base64")


def is_text(column: Column) -> bool:
    """Whether a column counts: a conversation, a known name of a text, or language under a name
    that says nothing else."""
    if column.role == "aside":
        return False
    if column.form == CHAT:
        return True
    if column.form == NUMBERS:
        return names.normal(column.path) == "input_ids" or column.role == "token_list"
    if column.role == "token_list":
        return column.form in (TOKENS, TEXTS, TEXT)
    if column.kind == "identifier" and names.speaker(column.path):  # ``user`` names who speaks
        return False
    if column.known and column.role in TEXT_ROLES and column.kind not in NO_TEXT:
        by_form = {TEXT: True, TEXTS: True, TOKENS: True, VALUE: _is_answer(column)}
        return by_form.get(column.form, _is_told(column))
    return column.kind == LANGUAGE and column.form in (TEXT, TEXTS, TOKENS)


def _is_answer(column: Column) -> bool:
    """A number or a flag answers by its own name: not ``response.usage.total_tokens``."""
    return column.role == "answer" and inner_name(column.path) in (
        *names.words("column", "answer"),
        *names.PLAIN,
    )


def _is_told(column: Column) -> bool:
    spoken = column.role in SPOKEN_OBJECT_ROLES and column.kind == LANGUAGE
    return column.role in OBJECT_ROLES or spoken


def text_columns(columns: Mapping[str, Column], label: str | None) -> tuple[str, ...]:
    """The columns that count, in order: each by itself, and those whose names go together, such as
    ``summary`` beside ``document`` or ``de`` beside ``en``."""
    partners = _partners([c for c in columns.values() if c.form in (TEXT, TEXTS)])
    found = [c for p, c in columns.items() if (is_text(c) or p in partners) and p != label]
    return tuple(c.path for c in found) if any(c.form != VALUE for c in found) else ()


def _partners(columns: Sequence[Column]) -> set[str]:
    columns = [c for c in columns if c.kind not in NO_TEXT]
    by_name = {inner_name(c.path): c.path for c in columns}
    found = set(languages(columns))
    for pair in (*names.pairs("transfer"), *names.pairs("pair"), *names.pairs("asked")):
        if all(name in by_name for name in pair):
            found |= {by_name[name] for name in pair}
    return found


def languages(columns: Sequence[Column]) -> list[str]:
    """Columns that are named by two languages or more; none where they name one, as ``id`` may."""
    spoken = {
        c.path: names.language(c.path)
        for c in columns
        if c.role != "identifier" or c.kind == LANGUAGE
    }
    spoken = {path: language for path, language in spoken.items() if language}
    return list(spoken) if len(set(spoken.values())) > 1 else []


def alternatives(columns: Sequence[Column], roles: frozenset[str]) -> tuple[str, ...]:
    """Two answers to one question, or two conversations, that a number or a letter tells apart:
    ``response_0`` and ``response_1``; none where a further answer stands beside them. ``roles``:
    of all columns, among which something must be asked."""
    asked = bool(roles & {"prompt", "input", "history", "conversation"})
    for stem in dict.fromkeys(filter(None, (names.stem(c.path) for c in columns))):
        role = names.role_of(stem)[0]
        alike = [c for c in columns if names.stem(c.path) == stem]
        forms = {column.form for column in alike}
        fits = role == "conversation" and forms == {CHAT}
        fits = fits or (role == "answer" and asked and forms in ({TEXT}, {CHAT}))
        other = any(c.role == role and c.known and c not in alike for c in columns)
        if fits and not other and len(alike) == 2:
            return tuple(column.path for column in alike)
    return ()


def is_listed(column: Column) -> bool:
    """Several texts of language in a list, under a name that does not say what they are."""
    return (column.form, column.kind, column.role) == (TEXTS, LANGUAGE, "") and column.length >= 2


def inner_name(path: str) -> str:
    """The last part of a column's name, as the table spells names."""
    return names.normal(path.rpartition(".")[2])
