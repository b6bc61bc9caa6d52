"""One device's step under DeepSpeed's ZeRO, as a rewrite of the step's trace: optimizer states in
parts (stage 1), gradients too (2), parameters too (3).

After deepspeed ``runtime/zero/stage_1_and_2.py`` and ``stage3.py`` with bfloat16 or float32. All
stages keep float32 copies of the own part of what trains beside the states, and make its gradients
float32 for the update. Stages 1 and 2 reduce gradients bucket by bucket while the backward pass
goes on, stage 1 in a step's last micro-batch alone, stage 2 in each, and gather the updated
parameters behind the update, where nothing hides it. Stage 3 gathers parameters block by block as
FSDP2 does; its own limits (prefetching by numbers, parameters that stay because they are small or
soon needed again) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from planner import tables
from planner.memory.lifetimes import (
    GRADIENTS,
    OPTIMIZER,
    TEMPORARY,
    first_optimizer_operation,
)
from planner.parallel.sharded import (
    BACKWARD,
    BYTES,
    COPY_IN,
    TYPES,
    WIDE,
    Fully,
    Kept,
    Rewrite,
    Sent,
    Sharded,
)
from planner.parallel.units import Unit
from planner.trace.table import StepTrace

FLOAT32 = "float32"
#: ZeRO updates in float32, whatever the step is in.
_UPDATE = Kept(wide=True)


@cache
def zero_fact(key: str) -> float:
    """A row of ``profiles/stacks/zero.csv``, in its unit. Raises KeyError."""
    return float({row["key"]: row["value"] for row in tables.rows("stacks", "zero.csv")}[key])


def zero_sharded(trace: StepTrace, shards: int, stage: int, host: tuple[str, ...] = ()) -> Sharded:
    """The trace of one of ``shards`` devices under a stage, 1 to 3; ``host``: what waits in the
    host's memory. Kept with the trace."""

    def made() -> Sharded:
        kept = Kept(host=host)
        if stage == 3:
            return _Third(trace, shards, kept, _UPDATE).done()
        return _Buckets(trace, shards, kept, _UPDATE, stage).done()

    return trace.memo.of("zero", (shards, stage, host), made)


def _copies(rewrite: Rewrite) -> None:
    """Float32 copies of the own part, and for the update its gradients in float32."""
    trace, parts = rewrite.trace, sum(rewrite.part[w] for w in rewrite.trained)
    if not parts or rewrite.kept.updates_on_host:
        return
    begin, module = first_optimizer_operation(trace), rewrite.module(rewrite.all[0])
    edit = rewrite.edit
    edit.storage(edit.size(parts, WIDE), None, [trace.op_count], OPTIMIZER, module)
    if begin < trace.op_count:
        at_once = min(parts, int(zero_fact("update_group")))
        size = edit.size(at_once, WIDE)
        edit.storage(size, begin, [trace.op_count - 1], TEMPORARY, module)


class _Third(Fully):
    """As FSDP2, in the step's own types."""

    HOST_SOFTWARE = "deepspeed"

    def leaving(self, kept: str) -> str:
        return FLOAT32

    def done(self) -> Sharded:
        _copies(self)
        return super().done()


class _Buckets(Rewrite):
    """Stages 1 and 2: every device has all parameters."""

    HOST_SOFTWARE = "deepspeed"

    def __init__(self, trace: StepTrace, shards: int, kept: Kept, update: Kept, stage: int) -> None:
        super().__init__(trace, shards, kept, update)
        self.stage = stage

    def done(self) -> Sharded:
        _copies(self)
        if self.trained and self.units.root.backward is not None:
            self._reduce(*self.units.root.backward)
        meta = self.meta()
        if self.stage == 1:
            meta["gradient_bytes"] = self.trace.meta.get("gradient_bytes", 0)
        return self.finished(meta, [one for own in (False, True) for one in self._updated(own)])

    def _updated(self, of_experts: bool) -> Iterator[Sent]:
        """The gather of what the devices have updated."""
        units = [unit for unit in self.all if unit.of_experts == of_experts]
        trained = [w for unit in units for w in unit.gradients.values()]
        if trained:
            size = sum(self.part[w] * self.itemsize(w) for w in trained) * self.ways(units[0])
            kind = self.type_of(trained)
            yield Sent("all_gather", size, kind, None, False, of_experts=of_experts)

    def _reduce(self, begin: int, end: int) -> None:
        """Buckets in the order in which gradients come about, each sent when it is full; experts'
        apart, where devices have others."""
        for own in (False, True):
            units = [unit for unit in self.all if unit.of_experts == own and unit.gradients]
            if units:
                self._buckets(units, begin, end)

    def _buckets(self, units: list[Unit], begin: int, end: int) -> None:
        gradients = {g: w for unit in units for g, w in unit.gradients.items()}
        ways = self.ways(units[0])
        order = sorted(gradients, key=lambda gradient: int(self.trace.birth[gradient]))
        full, each = int(zero_fact("reduce_bucket")), max(map(self.itemsize, order))
        bucket = min(full, ways * sum(self.part[w] for w in gradients.values()))
        for _ in range(int(zero_fact("buckets"))):
            self.hold(bucket * each, begin, end - 1, TEMPORARY, self.all[0])
        filled: list[int] = []
        for gradient in order:
            filled.append(gradient)
            numbers = ways * sum(self.part[gradients[g]] for g in filled)
            if numbers >= full or gradient == order[-1]:
                self._send(filled, numbers, TYPES[each], self._unit(gradients[filled[0]]))
                filled = []

    def _send(self, filled: list[int], numbers: int, dtype: str, unit: Unit) -> None:
        # on the last stage of a pipeline a tied embedding's is made by an operation of the first
        update = first_optimizer_operation(self.trace)
        before = min(int(self.trace.birth[filled[-1]]) + 1, update)
        module = self.module(unit)
        operands = [(numbers, dtype)] * 2
        copied = self.edit.operation(before, COPY_IN, operands, BACKWARD, module)
        self.edit.operation(before, "planner.reduce_scatter.default", [], BACKWARD, module)
        if self.stage == 2:
            for gradient in filled:
                # copied into the bucket as it is made
                self.edit.free(gradient, min(int(self.trace.birth[gradient]) + 1, update))
            parts, until = numbers // self.ways(unit), self.trace.op_count
            if self.kept.updates_on_host:
                until = self.leave(before, parts, FLOAT32, unit)
            size = self.edit.size(parts, BYTES[dtype])
            self.edit.storage(size, copied, [until], GRADIENTS, module)
        elif self.kept.updates_on_host:
            self.leave(before, numbers // self.ways(unit), FLOAT32, unit)
        sending = numbers * BYTES[dtype]
        sent = Sent("reduce_scatter", sending, dtype, copied, True, of_experts=unit.of_experts)
        self.sent.append(sent)

    def _unit(self, weight: int) -> Unit:
        return next(unit for unit in self.all if weight in unit.weights)
