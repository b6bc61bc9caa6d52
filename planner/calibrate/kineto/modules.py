"""Which of the model's modules a recorded operation belongs to, where the profile holds their calls
(``with_stack=True`` or ``with_modules=True``): ``nn.Module: Linear_3`` is one module, by its class
and number."""

from __future__ import annotations

from planner.calibrate.kineto.naming import BACKWARD, phase_of
from planner.calibrate.kineto.reading import MODULE, PYTHON, Span
from planner.calibrate.kineto.recorded import Recorded
from planner.calibrate.kineto.units import Unit

_SEQUENCE = "Sequence number"
#: Modules from the outermost to the one that ran it: ``("Llama_0", "Linear_3")``.
Chain = tuple[str, ...]


class Modules:
    """An operation of the backward pass belongs to the module whose forward operation made its
    autograd node: both have the same sequence number."""

    def __init__(self, seen: Recorded):
        self._made_by: dict[int, Chain] = {}
        self.any = False
        for span in seen.document.host:
            self.any |= span.category == PYTHON
            number = span.args.get(_SEQUENCE)
            if isinstance(number, int) and not _is_backward(span):
                # the last operation that began with this number is the one that used it
                self._made_by[number] = _around(span)

    def of(self, unit: Unit) -> Chain:
        """Empty outside all modules."""
        around = _around(unit.span)
        if around or unit.phase != "backward":
            return around
        for span in unit.span.enclosing[::-1]:
            number = span.args.get(_SEQUENCE)
            if isinstance(number, int):
                return self._made_by.get(number, ())
        return ()


def _is_backward(span: Span) -> bool:
    return (
        span.name.startswith(BACKWARD) or phase_of([s.name for s in span.enclosing]) == "backward"
    )


def _around(span: Span) -> Chain:
    return tuple(s.name.removeprefix(MODULE) for s in span.enclosing if s.category == PYTHON)
