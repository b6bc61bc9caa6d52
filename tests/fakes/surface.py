"""A module's real surface with other answers: what a caller may ask is what the module has.

A name that the module lacks raises AttributeError, a call that the real function would not take
raises TypeError, and an answer for a name that does not exist is refused where it is given.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


def answering(real: Any, answer: Callable[..., Any]) -> Callable[..., Any]:
    """``answer``, called only as ``real`` may be called. Functions in C without a signature take
    what they get."""
    try:
        signature = inspect.signature(real)
    except ValueError:
        return answer

    @functools.wraps(real)
    def called(*args: Any, **kwargs: Any) -> Any:
        signature.bind(*args, **kwargs)
        return answer(*args, **kwargs)

    return called


class Surface(ModuleType):
    """``real``, where ``answers`` (name: value, or what a function returns, or a function) replace
    what needs the hardware; ``otherwise(name)`` answers the functions that are left, else the
    module itself does."""

    def __init__(
        self,
        real: ModuleType,
        answers: Mapping[str, Any],
        otherwise: Callable[[str], Callable[..., Any]] | None = None,
    ):
        super().__init__(real.__name__)
        unknown = [name for name in answers if not hasattr(real, name)]
        if unknown:
            raise AssertionError(f"{real.__name__} has no {', '.join(unknown)}")
        self.__dict__.update(_real=real, _otherwise=otherwise, asked=[])
        for name, answer in answers.items():
            self.__dict__[name] = self._answer(name, getattr(real, name), answer)

    def _answer(self, name: str, real: Any, answer: Any) -> Any:
        if isinstance(real, type) or not callable(real):
            return answer
        give = answer if callable(answer) else lambda *_a, **_k: answer

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(name)
            return give(*args, **kwargs)

        return answering(real, counted)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.__dict__["_real"], name)  # AttributeError: the module has no such name
        otherwise = self.__dict__["_otherwise"]
        if otherwise is None or isinstance(real, type) or not callable(real):
            return real
        return answering(real, otherwise(name))
