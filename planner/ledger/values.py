"""What a record may hold: plain values that JSON has names for, of the types that its names stand
for."""

from __future__ import annotations

import datetime
import enum
import math
import numbers
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from planner.errors import ProfileError
from planner.question import ALL_STRATEGIES

LARGEST_WHOLE = 2**63 - 1
DEEPEST = 20


def is_number(value: Any) -> bool:
    return type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool))


def _is_whole(value: Any, least: int) -> bool:
    return is_number(value) and isinstance(value, int) and value >= least


#: A type → (in words, whether a value is of it).
HOLDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("text", lambda value: isinstance(value, str)),
    "strategy": ("a strategy", lambda value: value in ALL_STRATEGIES),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "count": ("a whole number of at least 1", lambda value: _is_whole(value, 1)),
    "whole": ("a whole number of at least 0", lambda value: _is_whole(value, 0)),
    "positive": ("a finite number above 0", lambda value: is_number(value) and value > 0),
    "amount": ("a finite number of at least 0", lambda value: is_number(value) and value >= 0),
    "number": ("a finite number", lambda value: is_number(value)),
    "positives": (
        "a list of finite numbers above 0",
        lambda value: isinstance(value, list) and all(is_number(v) and v > 0 for v in value),
    ),
    "amounts": (
        "names with finite numbers of at least 0",
        lambda value: (
            isinstance(value, dict)
            and all(is_number(v) and v >= 0 for v in value.values() if v is not None)
        ),
    ),
}


def check(value_type: str, value: Any, where: str) -> None:
    """Raises ProfileError where the value is not of the type."""
    words, holds = HOLDS[value_type]
    if not holds(value):
        raise ProfileError(
            f"{str(value)[:60]!r} is not {words}",
            where=where,
            mend="Leave it out where it is not known",
        )


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy as JSON holds it: plain numbers, lists and dicts; text that UTF-8 can hold. Raises
    ProfileError for NaN, infinities, whole numbers beyond 63 bits, and values that are no data."""
    # a run keeps thousands of samples: they come first
    if type(value) is float and -math.inf < value < math.inf:
        return value
    if depth > DEEPEST:
        raise ProfileError(f"nested deeper than {DEEPEST} levels", where=where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, where, depth + 1)
    if isinstance(value, str | PurePath | datetime.date):
        return str(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, numbers.Integral):
        return _within(int(value), where)
    if isinstance(value, numbers.Real):
        return _within(float(value), where)
    if isinstance(value, Mapping):
        return {
            plain(str(name), where): plain(item, f"{where}.{str(name)[:60]}", depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [
            plain(item, where, depth + 1)
            for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    # numpy's flags and a tensor of one number
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 0) == 0:
        return plain(item(), where, depth + 1)
    raise ProfileError(f"a {type(value).__name__} cannot be kept in the ledger", where=where)


def _within(value: float, where: str) -> float:
    if (isinstance(value, int) and abs(value) > LARGEST_WHOLE) or not math.isfinite(value):
        raise ProfileError(
            "not a finite number of at most 63 bits",
            where=where,
            mend="Leave it out where it is not known",
        )
    return value
