"""Operations of a recorded step, each with the device's time of all that it launched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from planner.calibrate.kineto.naming import (
    is_communication,
    is_operation,
    is_whole,
    kind_of_name,
    phase_of,
    unit_of,
    works,
)
from planner.calibrate.kineto.reading import RUNTIME, Document, Span
from planner.errors import FieldName, ProfileError

#: Where a second device has at least this share of the kernels' time, one has to be named.
SECOND_DEVICE = 0.01
UPDATE, _ONE_BY_ONE = "optimizer", ("elementwise", "copy", "fill", "reduction")


@dataclass(slots=True)
class Unit:
    """An operation that counts whole: ``seconds`` of the device, ``span`` on the host; ``kernels``
    that it launched, each with its ``kernel_seconds``."""

    name: str
    kind: str
    phase: str
    span: Span
    seconds: float = 0.0
    kernels: list[str] = field(default_factory=list)
    kernel_seconds: list[float] = field(default_factory=list)

    @property
    def start(self) -> float:
        return self.span.start


@dataclass(frozen=True, slots=True)
class Ran:
    """A piece of the device's work: when it ran, on which stream, when the host had launched it
    (None: not recorded), for which unit (None: for no operation)."""

    name: str
    start: float
    end: float
    stream: str
    launch: Span | None
    unit: Unit | None

    @property
    def issued(self) -> float:
        """When the host asked for it, else when it ran."""
        return self.start if self.launch is None else self.launch.start


def device_of(document: Document, wanted: int | None) -> int | None:
    """The index of the device that ran the kernels; None of a profile of a processor. Raises
    ProfileError where several did and none is named, or the named one ran nothing."""
    ran: dict[int, float] = defaultdict(float)
    for span in document.device:
        ran[_device(span)] += span.seconds
    if not ran:
        return None
    if wanted is not None:
        if wanted not in ran:
            raise ProfileError(
                f"nothing ran on cuda:{wanted}; kernels ran on {_named(ran)}",
                where=str(document.path),
            )
        return wanted
    busiest = max(ran, key=lambda index: ran[index])
    others = sum(ran.values()) - ran[busiest]
    if others > SECOND_DEVICE * sum(ran.values()):
        raise ProfileError(
            f"kernels of several devices: {_named(ran)}",
            where=str(document.path),
            mend=f"Name one with {FieldName('device')} cuda:{busiest}",
        )
    return busiest


def _named(ran: Mapping[int, float]) -> str:
    return ", ".join(f"cuda:{index}" for index in sorted(ran))


def _device(span: Span) -> int:
    found = span.args.get("device")
    return found if isinstance(found, int) else 0


# ---- on a device


def launched(document: Document, device: int) -> tuple[list[Unit], list[Ran]]:
    """(operations that launched something, what the device ran), each in its own order. A kernel
    belongs to the operation around the call of the runtime with its correlation id, or, where that
    call was not recorded, to the operation with its external id."""
    calls = {
        s.args["correlation"]: s
        for s in document.host
        if s.category in RUNTIME and isinstance(s.args.get("correlation"), int)
    }
    operations = {
        s.args["External id"]: s
        for s in document.host
        if s.category == "cpu_op" and isinstance(s.args.get("External id"), int)
    }
    first = min(calls, default=0)
    units: dict[int, Unit] = {}
    ran: list[Ran] = []
    for kernel in (s for s in document.device if _device(s) == device):
        correlation = kernel.args.get("correlation")
        launch = calls.get(correlation) if isinstance(correlation, int) else None
        if launch is None and isinstance(correlation, int) and correlation < first:
            continue  # what was launched before the profile began
        around = launch or operations.get(kernel.args.get("External id"))
        unit = None if around is None else _unit(around, units)
        if unit is not None:
            unit.seconds += kernel.seconds
            unit.kernels.append(kernel.name)
            unit.kernel_seconds.append(kernel.seconds)
        stream = str(kernel.args.get("stream"))
        ran.append(Ran(kernel.name, kernel.start, kernel.end, stream, launch, unit))
    return sorted(units.values(), key=lambda unit: unit.start), ran


def _unit(around: Span, units: dict[int, Unit]) -> Unit | None:
    kinds = ("cpu_op", "user_annotation")
    chain = [s for s in around.enclosing if s.category in kinds and not casts(s)]
    place = unit_of([s.name for s in chain])
    if place is None:
        return None
    span = chain[place]
    if id(span) not in units:
        units[id(span)] = made(span, [s.name for s in chain])
    return units[id(span)]


def made(span: Span, names: list[str]) -> Unit:
    """An update is of kind ``optimizer`` whether it runs over lists or tensor by tensor."""
    kind, phase = kind_of_name(span.name), phase_of(names)
    return Unit(span.name, UPDATE if phase == UPDATE and kind in _ONE_BY_ONE else kind, phase, span)


# ---- on a processor


def computed(document: Document) -> tuple[list[Unit], list[Ran]]:
    """As ``launched``, where the processor is the device: an operation's own time is its time.
    What the planner does not know and that holds nothing it knows counts as one operation too."""
    units: list[Unit] = []
    tops = [s for s in document.host if s.parent is None]
    for top in tops:
        _compute(top, [], units)
    ran = [Ran(u.name, u.start, u.span.end, "processor", None, u) for u in units]
    for unit in units:
        unit.seconds = unit.span.seconds
    return units, ran


def _compute(top: Span, around: list[str], units: list[Unit]) -> None:
    todo: list[tuple[Span, list[str]]] = [(top, around)]
    while todo:
        span, names = todo.pop()
        inside = [*names, span.name]
        if span.category == "cpu_op" and not casts(span) and _counts(span):
            units.append(made(span, inside))
            continue
        todo += [(child, inside) for child in reversed(span.children)]


def _counts(span: Span) -> bool:
    if is_whole(span.name):
        return True
    if not is_operation(span.name):
        return False
    # an operation nobody knows, made of nothing that takes time
    return kind_of_name(span.name) == "unmodelled" and not any(
        _holds_work(c) for c in span.children
    )


def _holds_work(span: Span) -> bool:
    todo = [span]
    while todo:
        one = todo.pop()
        if is_operation(one.name) and (is_whole(one.name) or not is_view(one.name)):
            return True
        todo += one.children
    return False


def casts(span: Span) -> bool:
    """Whether it is autocast's: the same operation lies within, on operands of other types, beside
    what made them."""
    again = next((c for c in span.children if c.name == span.name), None)
    if again is None or not is_whole(span.name):
        return False
    makes = any(child.name == "aten::to" for child in span.children)
    return makes or again.args.get("Input type") != span.args.get("Input type")


def is_view(name: str) -> bool:
    """Whether an operation only arranges."""
    kind = kind_of_name(name)
    return not works(kind)


def without_operation(ran: list[Ran]) -> Iterator[tuple[str, float]]:
    """(name, seconds) of what ran for no operation."""
    for one in ran:
        if one.unit is None:
            yield one.name, one.end - one.start


def communicates(one: Ran) -> bool:
    """Whether it is a collective's kernel, which waits for other devices too."""
    return is_communication(one.name)
