"""One device's step where parameters, gradients and optimizer states are cut over devices: FSDP2's
``fully_shard`` of every block and of the model around them, as a rewrite of the step's trace.

After torch 2.13 ``torch/distributed/fsdp/_fully_shard`` (``_fsdp_param_group.py``,
``_fsdp_collectives.py``), whose order of allocations and of waits is followed:

- forward: a block's all-gather fills one flat buffer, from which its parameters are copied out; the
  buffer waits until the next block's is there, the parameters go when the block ends. The root's
  parameters stay until its gradients are there.
- backward: a block's parameters are copied out when its backward pass begins, and the one that
  follows is gathered meanwhile. When it ends the parameters go, its gradients are copied into one
  buffer of the reduction's type, and what the reduce-scatter leaves is the gradient that the
  optimizer reads. The buffer waits until the next block's is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from planner.memory.lifetimes import GRADIENTS, TEMPORARY, WEIGHTS
from planner.parallel.model.edited import Editor, Inserted, Moment
from planner.parallel.model.experts import sending_of
from planner.parallel.shards import part_of, sharded_update
from planner.parallel.units import Unit, units_of
from planner.trace.table import PHASES, StepTrace

FORWARD, BACKWARD = PHASES.index("forward"), PHASES.index("backward")
#: Types by their bytes, as collectives send them; what is mixed or packed is sent as bytes.
TYPES = {1: "uint8", 2: "bfloat16", 4: "float32", 8: "float64"}
BYTES = {name: size for size, name in TYPES.items()}
NARROW, WIDE = 2, 4
COPY_OUT, COPY_IN = "aten.split_with_sizes_copy.default", "aten._chunk_cat.default"
CAST = "aten._to_copy.default"


@dataclass(frozen=True)
class Collective:
    """``size_bytes``: the whole buffer, all devices' parts together. It may start when operation
    ``after`` has ended (-1: at the step's beginning), and operation ``until`` waits for it.
    ``of_experts``: among the devices that hold the same experts alone."""

    kind: str  # all_gather | reduce_scatter
    size_bytes: int
    dtype: str
    after: int
    until: int
    backward: bool
    of_experts: bool = False


@dataclass(frozen=True)
class Sharded:
    """``trace``: of the device with the largest part. ``collectives`` of one micro-batch, in the
    order in which they are asked for, then those of the update. ``units``: blocks and the root."""

    trace: StepTrace
    collectives: tuple[Collective, ...]
    units: int
    of_update: tuple[Collective, ...] = ()


@dataclass(frozen=True)
class Kept:
    """Number formats beside those of the step. ``wide``: parameters, gradients and states are kept
    in float32 where the step has them in 16 bits; ``reduced``: what gradients are sent in, None:
    as they are kept (FSDP2's ``MixedPrecisionPolicy``)."""

    wide: bool = False
    reduced: str | None = None


@dataclass(eq=False)
class Sent:
    """A collective whose operations are not numbered yet."""

    kind: str
    size_bytes: int
    dtype: str
    after: Moment | None
    backward: bool
    until: Moment | None = None
    of_experts: bool = False


def fully_sharded(trace: StepTrace, shards: int, kept: Kept) -> Sharded:
    """The trace of one of ``shards`` devices that share all state. Kept with the trace."""
    return trace.memo.of("fully sharded", (shards, kept), lambda: Fully(trace, shards, kept).done())


class Rewrite:
    """What the plans of sharding share: parts, types, and the numbers of the new trace."""

    def __init__(
        self, trace: StepTrace, shards: int, kept: Kept, update: Kept | None = None
    ) -> None:
        """``update``: the formats of the optimizer, where they are not those that are kept."""
        self.trace, self.shards, self.kept = trace, shards, kept
        self.update = update or kept
        self.units = units_of(trace)
        self._modules = {path: index for index, path in enumerate(trace.modules)}
        self.all = tuple(u for u in (self.units.root, *self.units.blocks) if u.weights)
        self.edit = Editor(sharded_update(trace, shards, self.update.wide))
        self.sent: list[Sent] = []
        weights = [w for unit in self.all for w in unit.weights]
        self.part = {w: part_of(trace, int(trace.size[w]), shards) for w in weights}
        self.trained = [w for unit in self.all for w in unit.gradients.values()]

    def itemsize(self, storage: int) -> int:
        return self.trace.sizes[int(self.trace.size[storage])][1]

    def kept_bytes(self, weight: int) -> int:
        """An element's, between two steps."""
        own = self.itemsize(weight)
        return WIDE if self.kept.wide and own == NARROW else own

    def module(self, unit: Unit) -> int:
        """The block itself where it has a name among the modules."""
        own = int(self.trace.storage_module[unit.weights[0]])
        return self._modules.get(unit.name, own)

    def ways(self, unit: Unit) -> int:
        """Devices that share what a unit has."""
        sending = sending_of(self.trace)
        return sending.same if sending and unit.of_experts else self.shards

    def type_of(self, weights: Sequence[int]) -> str:
        """What is sent of so many weights together."""
        sizes = {self.itemsize(w) for w in weights}
        return TYPES[sizes.pop()] if len(sizes) == 1 else TYPES[1]

    def hold(
        self, size_bytes: int, birth: Moment, death: Moment, category: int, unit: Unit
    ) -> None:
        size = self.edit.size(size_bytes, 1)
        self.edit.storage(size, birth, [death], category, self.module(unit))

    def meta(self) -> dict[str, object]:
        """What one device has of the trained model; a checkpoint is of the whole."""
        held = sum(self.part[w] * self.kept_bytes(w) for w in self.trained)
        times = 2 if self.update.wide and self._is_narrow else 1
        saved = self.trace.meta.get("checkpoint_bytes", 0)
        return {"gradient_bytes": held, "checkpoint_bytes": times * saved}

    @property
    def _is_narrow(self) -> bool:
        return any(self.itemsize(w) == NARROW for w in self.trained)

    def finished(self, meta: dict[str, object], of_update: Sequence[Sent] = ()) -> Sharded:
        made, at = self.edit.finished({**self.trace.meta, **meta})

        def numbered(sent: Sent) -> Collective:
            after = -1 if sent.after is None else at(sent.after)
            until = made.op_count if sent.until is None else at(sent.until)
            return Collective(
                sent.kind,
                sent.size_bytes,
                sent.dtype,
                after,
                until,
                sent.backward,
                sent.of_experts,
            )

        sent, update = (tuple(map(numbered, found)) for found in (self.sent, of_update))
        return Sharded(made, sent, len(self.all), update)


@dataclass(frozen=True)
class _Gathered:
    """A unit's parameters on their way, in one flat buffer since ``asked``."""

    unit: Unit
    sent: Sent
    asked: Inserted


@dataclass(frozen=True)
class _Reduced:
    """A unit's gradients on their way, in one buffer since ``copied``."""

    unit: Unit
    sent: Sent
    copied: Inserted
    asked: Inserted


class Fully(Rewrite):
    def done(self) -> Sharded:
        for weight, part in self.part.items():
            self.edit.resize(weight, self.edit.size(part, self.kept_bytes(weight)))
        self._forward()
        if self.units.root.backward is not None:
            self._backward(*self.units.root.backward)
        return self.finished(self.meta())

    # ---- parameters

    def _gather(self, unit: Unit, before: int, phase: int, after: Moment | None) -> _Gathered:
        """Ask for a unit's parameters, and cast the own parts where they are kept wider."""
        module, own = self.module(unit), sum(self.part[w] * self.itemsize(w) for w in unit.weights)
        asked = self.edit.operation(before, "planner.all_gather.default", [], phase, module)
        if any(self.kept_bytes(w) != self.itemsize(w) for w in unit.weights):
            self.hold(own, asked, asked, TEMPORARY, unit)
        sent = Sent(
            "all_gather",
            own * self.ways(unit),
            self.type_of(unit.weights),
            after,
            phase == BACKWARD,
            of_experts=unit.of_experts,
        )
        self.sent.append(sent)
        return _Gathered(unit, sent, asked)

    def _copy_out(self, gathered: _Gathered, before: int, phase: int, until: Moment) -> Inserted:
        """The unit's parameters, each with its padding, out of the flat buffer."""
        unit, sent = gathered.unit, gathered.sent
        operands = [(sent.size_bytes // BYTES[sent.dtype], sent.dtype)] * 2
        copied = self.edit.operation(before, COPY_OUT, operands, phase, self.module(unit))
        for weight in unit.weights:
            size = self.edit.size(self.part[weight] * self.ways(unit), self.itemsize(weight))
            self.edit.storage(size, copied, [until], WEIGHTS, self.module(unit))
        sent.until = copied
        return copied

    def _drop(self, gathered: _Gathered, death: Moment) -> None:
        """Its flat buffer, when it is no longer needed."""
        self.hold(gathered.sent.size_bytes, gathered.asked, death, TEMPORARY, gathered.unit)

    def _forward(self) -> None:
        begin, end = self.units.root.forward or (0, 1)
        last_of_all = (self.units.root.backward or (begin, end))[1] - 1
        copies: list[Inserted] = []
        waiting: _Gathered | None = None
        for unit in self.all:
            if unit.forward is None:
                continue
            is_root = unit is self.units.root
            start = begin if is_root else unit.forward[0]
            # the streams of all-gathers wait for the copies of the unit before the last
            gathered = self._gather(unit, start, FORWARD, copies[-2] if copies[1:] else None)
            if waiting is not None:
                self._drop(waiting, gathered.asked)
            waiting = gathered
            until = last_of_all if is_root else unit.forward[1] - 1
            copies.append(self._copy_out(gathered, start, FORWARD, until))
        if waiting is not None:
            self._drop(waiting, end - 1)

    # ---- gradients

    def _backward(self, begin: int, end: int) -> None:
        # a block's experts come and go with the rest of it
        order = [list(units) for _, units in groupby(self.units.backward, lambda u: u.backward)]
        place, last = begin, None
        # asked for by the root, before the backward pass has come to any block
        begun = max(begin - 1, 0)
        coming = [self._gather(u, begin, BACKWARD, begun) for u in (order[0] if order else [])]
        for number, units in enumerate(order):
            first, stop = units[0].backward or (place, place)
            place = max(place, first)
            stop = max(stop, place + 1)
            copied = None
            for gathered in coming:
                copied = self._copy_out(gathered, place, BACKWARD, stop - 1)
                self._drop(gathered, copied)
            behind = order[number + 1] if number + 1 < len(order) else []
            coming = [self._gather(unit, place, BACKWARD, copied) for unit in behind]
            for unit in units:
                last = self._reduce(unit, stop, last)
            place = stop
        last = self._reduce(self.units.root, max(end, place), last)
        if last is not None:
            self.hold(last.sent.size_bytes, last.copied, last.asked, TEMPORARY, last.unit)

    def _reduce(self, unit: Unit, before: int, last: _Reduced | None) -> _Reduced | None:
        """A unit's gradients into one buffer, of which every device keeps the sum of its part;
        ``last``: the one before it, whose buffer goes when this one is asked for."""
        weights = list(unit.gradients.values())
        if not weights:
            return last
        module, parts = self.module(unit), sum(self.part[w] for w in weights)
        kept = TYPES[max(map(self.kept_bytes, weights))]
        reduced = self.kept.reduced or kept
        whole = parts * self.ways(unit)
        operands = [(whole, self.type_of(list(unit.gradients))), (whole, reduced)]
        copied = self.edit.operation(before, COPY_IN, operands, BACKWARD, module)
        if last is not None:
            last.sent.until = copied
            death = before - 1 if last.copied.before < before else last.asked
            self.hold(last.sent.size_bytes, last.copied, death, TEMPORARY, last.unit)
        for gradient in unit.gradients:
            self.edit.free(gradient, copied)
        asked = self.edit.operation(before, "planner.reduce_scatter.default", [], BACKWARD, module)
        born = asked
        if reduced != kept:
            operands = [(parts, reduced), (parts, kept)]
            born = self.edit.operation(before, CAST, operands, BACKWARD, module)
            self.hold(parts * BYTES[reduced], asked, born, TEMPORARY, unit)
        flat = self.edit.size(parts, BYTES[kept])
        self.edit.storage(flat, born, [self.trace.op_count], GRADIENTS, module)
        size = whole * BYTES[reduced]
        sent = Sent("reduce_scatter", size, reduced, copied, True, of_experts=unit.of_experts)
        self.sent.append(sent)
        return _Reduced(unit, sent, copied, asked)
