"""What follows from an array of lengths, kept for as long as the same array is asked about.

The arrays of a dataset are read-only by convention and are not compared: one with equal numbers is
another array."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    import numpy as np


Rest = ParamSpec("Rest")
Made = TypeVar("Made")


class _Same:
    """An array by its identity. It holds the array, so that no other takes the identity over."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.array is other.array


def kept_by_array(
    work: Callable[Concatenate[np.ndarray, Rest], Made],
) -> Callable[Concatenate[np.ndarray, Rest], Made]:
    """``work`` of an array and plain values, its 512 latest results kept."""

    @lru_cache(maxsize=512)
    def kept(same: _Same, *rest: Any, **named: Any) -> Made:
        return work(same.array, *rest, **named)

    @wraps(work)
    def asked(array: np.ndarray, *rest: Rest.args, **named: Rest.kwargs) -> Made:
        return kept(_Same(array), *rest, **named)

    return asked
