"""Pickles of plain containers, read by a reader of our own: it knows the operations that make
dictionaries, lists, tuples, texts, bytes and numbers, and no other. Nothing is imported, called or
built, so a file can be hostile.

Operations: Python's ``pickletools``, protocols 2 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

#: Values that a pickle may make, and bytes of its longest number.
MOST_VALUES, LONGEST_NUMBER = 100_000_000, 64
_KEYS = (str, int, float, bool, bytes, type(None))
_MARK = object()


class NotPlain(Exception):
    """Not a pickle of plain containers, with the reason in a few words."""


def load(data: bytes) -> Any:
    """The value of a pickle. Raises NotPlain."""
    return _Reader(data).value()


class _Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def value(self) -> Any:
        data, size, table = self.data, len(self.data), _TABLE
        try:
            while self.at < size:
                code = data[self.at]
                self.at += 1
                if code == _STOP:
                    return self._last()
                run = table[code]
                if run is None:
                    raise NotPlain(_refusal(code))
                run(self)
                if len(self.stack) + len(self.memo) > MOST_VALUES:
                    raise NotPlain("it makes more values than a snapshot has")
        except (IndexError, struct.error, KeyError):
            raise NotPlain("it is damaged or cut short") from None
        except UnicodeDecodeError:
            raise NotPlain("a text is not UTF-8") from None
        raise NotPlain("it is damaged or cut short")

    def _last(self) -> Any:
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise NotPlain("it is damaged or cut short")
        return self.stack[0]

    # ---- bytes

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise NotPlain("it is damaged or cut short")
        found = self.data[self.at : end]
        self.at = end
        return found

    def whole(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    # ---- the stack

    def since_mark(self) -> list[Any]:
        """What was put since the last mark, which goes."""
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                found = stack[place + 1 :]
                del stack[place:]
                return found
        raise NotPlain("it is damaged or cut short")

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        parts = tuple(self.stack[-count:])
        if any(part is _MARK for part in parts):
            raise IndexError
        self.stack[-count:] = [parts]

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise NotPlain("it is damaged or cut short")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise NotPlain("it is damaged or cut short")
        keys = values[::2]
        # a tuple that holds itself twice, and so on, would be hashed without end
        if not all(map(_is_key, keys)):
            raise NotPlain("a key is no plain value")
        target.update(zip(keys, values[1::2]))

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])


def _is_key(key: Any) -> bool:
    parts = key if type(key) is tuple else (key,)
    return all(type(part) in _KEYS for part in parts)


def _refusal(code: int) -> str:
    name = _REFUSED.get(code)
    where = f"the operation {name}" if name else f"the byte {code}"
    return f"it holds {where}, which plain containers never need"


_STOP = ord(".")
#: Names of operations that import, call or build, for the refusal.
_REFUSED = {
    ord(code): name
    for code, name in {
        "c": "GLOBAL",
        "\x93": "STACK_GLOBAL",
        "R": "REDUCE",
        "i": "INST",
        "o": "OBJ",
        "\x81": "NEWOBJ",
        "\x92": "NEWOBJ_EX",
        "b": "BUILD",
        "P": "PERSID",
        "Q": "BINPERSID",
        "\x82": "EXT1",
        "\x83": "EXT2",
        "\x84": "EXT4",
    }.items()
}
Run = Callable[[_Reader], Any]


def _protocol(reader: _Reader) -> None:
    if reader.whole(1) > 5:
        raise NotPlain("it is of a protocol that is not known")


def _text(width: int) -> Run:
    return lambda r: r.stack.append(r.take(r.whole(width)).decode("utf-8", "surrogatepass"))


def _bytes(width: int) -> Run:
    return lambda r: r.stack.append(r.take(r.whole(width)))


def _long(width: int) -> Run:
    def run(reader: _Reader) -> None:
        count = reader.whole(width)
        if count > LONGEST_NUMBER:
            raise NotPlain("a number is too long")
        reader.stack.append(reader.whole(count, signed=True))

    return run


def _number(width: int, signed: bool = False) -> Run:
    return lambda r: r.stack.append(r.whole(width, signed=signed))


def _fresh(make: Callable[[], Any]) -> Run:
    return lambda r: r.stack.append(make())


def _popped(reader: _Reader) -> Any:
    found = reader.stack.pop()
    if found is _MARK:
        raise NotPlain("it is damaged or cut short")
    return found


def _set_item(reader: _Reader) -> None:
    value = _popped(reader)
    key = _popped(reader)
    reader.set_items([key, value])


_RUNS: dict[str, Run] = {
    "\x80": _protocol,
    "\x95": lambda r: r.take(8),  # FRAME: how long the next piece is, which nothing depends on
    "(": lambda r: r.stack.append(_MARK),
    "N": _fresh(lambda: None),
    "\x88": _fresh(lambda: True),
    "\x89": _fresh(lambda: False),
    "J": _number(4, signed=True),
    "K": _number(1),
    "M": _number(2),
    "\x8a": _long(1),
    "G": lambda r: r.stack.append(struct.unpack(">d", r.take(8))[0]),
    "\x8c": _text(1),
    "X": _text(4),
    "\x8d": _text(8),
    "C": _bytes(1),
    "B": _bytes(4),
    "}": _fresh(dict),
    "]": _fresh(list),
    ")": _fresh(tuple),
    "t": lambda r: r.stack.append(tuple(r.since_mark())),
    "\x85": lambda r: r.tuple_of(1),
    "\x86": lambda r: r.tuple_of(2),
    "\x87": lambda r: r.tuple_of(3),
    "a": lambda r: r.append([_popped(r)]),
    "e": lambda r: r.append(r.since_mark()),
    "s": _set_item,
    "u": lambda r: r.set_items(r.since_mark()),
    "\x94": lambda r: r.put(len(r.memo)),
    "q": lambda r: r.put(r.whole(1)),
    "r": lambda r: r.put(r.whole(4)),
    "h": lambda r: r.get(r.whole(1)),
    "j": lambda r: r.get(r.whole(4)),
}
_TABLE: list[Run | None] = [_RUNS.get(chr(code)) for code in range(256)]
