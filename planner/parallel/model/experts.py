"""Expert parallelism (GShard, Lepikhin et al. 2020, arXiv 2006.16668): a device's share of the
routed experts, with the tokens that all devices send to them.

A rewrite of a device's trace that knows no model by name: experts are what grouped products
multiply with, three-dimensional weights with a matrix an expert. A device keeps E/ep of them, with
their gradients and optimizer states. Routing is taken as even, so as many rows come in as go out,
in larger groups for each expert. Before the first grouped product of a layer every device sends
each other one the rows of its experts, behind the last one they go back; the backward pass sends
their gradients both ways, and recomputation sends once more. Where a device has several experts
what came is put in their order, and back before it goes (Megatron-Core's ``sort_chunks_by_idxs``,
torchtitan's ``_permute``). Attention, norms, router and shared experts stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import FieldName, QuestionError
from planner.memory.lifetimes import GRADIENTS, TEMPORARY, WEIGHTS, first_optimizer_operation
from planner.parallel.model.edited import Editor, Inserted
from planner.parallel.model.places import BACKWARD, FORWARD, RECOMPUTE
from planner.trace.table import ITEMSIZE, Operand, Signature, StepTrace

#: The name of a trace's attribute that says what devices with other experts send each other.
EXPERTS = "experts"
GROUPED = "aten._grouped_mm."
EXCHANGE, SORT = "planner.all_to_all.default", "aten.index_select.default"
MATRICES = 3  # dimensions of a weight with a matrix an expert
_LAYER = re.compile(r"^(.*?\.\d+(?:\.[^.]+)?)(?=\.|$)")
_COUNTED_BYTES = 8  # torch counts an expert's tokens in int64


@dataclass(frozen=True)
class ExpertSending:
    """Of one micro-batch. ``size``: index of the rows that a device sends in an all-to-all among
    the trace's sizes; ``exchanges``: all-to-alls (forward, backward with recomputation);
    ``counts_bytes``: of all devices' counts of tokens, which are gathered before each dispatch.
    ``form``: index of the dimension that counts a device's experts, of ``experts`` in all, over
    ``ranks``; ``same``: devices that hold the same ones. ``gradient_bytes``: of a device's
    experts."""

    size: int
    exchanges: tuple[int, int]
    counts_bytes: int
    form: int
    experts: int
    ranks: int
    same: int
    gradient_bytes: int

    @property
    def dispatches(self) -> tuple[int, int]:
        """Of the exchanges those that follow a new count of tokens, not its gradient."""
        return self.exchanges[0] // 2, 0


def sending_of(trace: StepTrace) -> ExpertSending | None:
    """None of a trace whose devices have all experts."""
    return trace.meta.get(EXPERTS)


def has_experts(trace: StepTrace) -> bool:
    """Whether a step has grouped products."""
    return any(one.op.startswith(GROUPED) for one in trace.signatures)


def expert_gradient_bytes(trace: StepTrace) -> float:
    """Of a device's gradients those of experts that other devices have not."""
    sending = sending_of(trace)
    return float(sending.gradient_bytes) if sending is not None else 0.0


def is_of_experts(trace: StepTrace, shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of something which the device has of its own experts alone."""
    sending = sending_of(trace)
    return sending is not None and shape[:1] == (sending.form,)


def sharing(trace: StepTrace, shape: tuple[int, ...], shards: int) -> int:
    """Devices that share what has a shape: ``shards``, of experts those with the same ones."""
    sending = sending_of(trace)
    if sending is None or not is_of_experts(trace, shape):
        return shards
    return sending.same


def expert_trace(trace: StepTrace, ranks: int, same: int) -> StepTrace:
    """The step of one of ``ranks`` devices that have the experts together; ``same`` devices hold
    the same ones. Kept with the trace. Raises QuestionError for a step without grouped products,
    and for experts that do not divide."""
    return trace.memo.of(EXPERTS, (ranks, same), lambda: _Cut(trace, ranks, same).done())


class _Cut:
    def __init__(self, trace: StepTrace, ranks: int, same: int) -> None:
        self.trace, self.ranks, self.same = trace, ranks, same
        self.one = trace.monomials.index("1")
        grouped = np.array([s.op.startswith(GROUPED) for s in trace.signatures])
        self.grouped = np.flatnonzero(grouped[trace.op_signature])
        self.inside = np.zeros(len(trace.modules), dtype=bool)
        self.inside[trace.op_module[self.grouped]] = True
        weights = np.flatnonzero((trace.birth < 0) & (trace.category == WEIGHTS))
        mine = [self._shape(w) for w in weights.tolist() if self.inside[trace.storage_module[w]]]
        self.weights = {shape for shape in mine if len(shape) == MATRICES}
        self.experts = self._count()
        self.whole = next(iter(self.weights))[0]
        self.turned = self.weights | {(s[0], s[2], s[1]) for s in self.weights}
        self.form = len(trace.forms)
        self.varies = np.asarray(np.delete(trace.forms, self.one, axis=1).any(axis=1))

    def _shape(self, storage: int) -> tuple[int, ...]:
        return self.trace.sizes[int(self.trace.size[storage])][0]

    def _count(self) -> int:
        found = {int(self.trace.forms[shape[0], self.one]) for shape in self.weights}
        where = FieldName("expert_parallel")
        if len(found) != 1:
            raise QuestionError(
                f"its step has no grouped products of routed experts, so {where} {self.ranks} is "
                "not planned",
                where=where,
                mend="Leave it out, or share all state: parallel fsdp",
            )
        (count,) = found
        if count % self.ranks:
            divisors = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
            raise QuestionError(
                f"{count} experts do not divide among {self.ranks} devices",
                where=where,
                mend=f"Use one of {divisors}",
            )
        return count

    # ---- a share of the experts

    def _cut(self, shape: tuple[int, ...], inside: bool) -> tuple[int, ...]:
        """A share of the experts, where a shape has them all; ``inside``: of the experts' own
        modules, where vectors an expert are theirs too."""
        if not shape or shape[0] != self.whole:
            return shape
        fixed = inside and not self.varies[list(shape)].any()
        return (self.form, *shape[1:]) if fixed or shape in self.turned else shape

    def _signatures(self) -> tuple[tuple[Signature, ...], np.ndarray]:
        trace = self.trace
        signatures, op_signature = list(trace.signatures), trace.op_signature.copy()
        known = {one: index for index, one in enumerate(signatures)}
        inside = self.inside[trace.op_module]
        for old, own in {(int(s), bool(i)) for s, i in zip(trace.op_signature, inside)}:
            one = trace.signatures[old]

            def cut(operands: tuple[Operand, ...], own: bool = own) -> tuple[Operand, ...]:
                return tuple(replace(o, shape=self._cut(o.shape, own)) for o in operands)

            made = replace(one, inputs=cut(one.inputs), outputs=cut(one.outputs))
            if made == one:
                continue
            at = known.setdefault(made, len(signatures))
            if at == len(signatures):
                signatures.append(made)
            op_signature[(trace.op_signature == old) & (inside == own)] = at
        return tuple(signatures), op_signature

    def _sizes(self) -> tuple[tuple[tuple[tuple[int, ...], int], ...], np.ndarray]:
        trace = self.trace
        sizes, size = list(trace.sizes), trace.size.copy()
        known = {one: index for index, one in enumerate(sizes)}
        own = self.inside[trace.storage_module]
        for old, inside in {(int(s), bool(i)) for s, i in zip(trace.size, own)}:
            shape, itemsize = trace.sizes[old]
            made = self._cut(shape, inside), itemsize
            if made[0] == shape:
                continue
            at = known.setdefault(made, len(sizes))
            if at == len(sizes):
                sizes.append(made)
            size[(trace.size == old) & (own == inside)] = at
        return tuple(sizes), size

    def done(self) -> StepTrace:
        trace = self.trace
        share = np.zeros((1, trace.forms.shape[1]), dtype=trace.forms.dtype)
        share[0, self.one] = self.experts // self.ranks
        signatures, op_signature = self._signatures()
        sizes, size = self._sizes()
        cut = replace(
            trace,
            forms=np.concatenate([trace.forms, share]),
            signatures=signatures,
            op_signature=op_signature.astype(np.int32),
            sizes=sizes,
            size=size.astype(np.int32),
        )
        return self._exchanging(cut)

    # ---- what is sent

    def _exchanging(self, cut: StepTrace) -> StepTrace:
        edit, rows = Editor(cut), self._rows(cut)
        size = cut.sizes.index(rows) if rows in cut.sizes else None
        if size is None:
            cut = replace(cut, sizes=(*cut.sizes, rows))
            edit, size = Editor(cut), len(cut.sizes) - 1
        counted = {phase: 0 for phase in (FORWARD, RECOMPUTE, BACKWARD)}
        for phase, first, last, module in self._passes():
            counted[phase] += 2
            self._exchange(edit, size, first, phase, module, comes=True)
            self._exchange(edit, size, last + 1, phase, module, comes=False)
        held, own = _gradients(cut)
        sending = ExpertSending(
            size,
            (counted[FORWARD], counted[RECOMPUTE] + counted[BACKWARD]),
            _COUNTED_BYTES * self.experts * self.ranks,
            self.form,
            self.experts,
            self.ranks,
            self.same,
            own,
        )
        made, _ = edit.finished({**cut.meta, EXPERTS: sending, "gradient_bytes": held})
        return made

    def _rows(self, cut: StepTrace) -> tuple[tuple[int, ...], int]:
        """Tokens, once an expert that they go to, × width."""
        forward = self.grouped[cut.op_phase[self.grouped] == FORWARD]
        one = cut.signatures[int(cut.op_signature[forward[0]])]
        # products in 8 bits read what was sent in 16
        return one.inputs[0].shape, ITEMSIZE[one.outputs[0].dtype]

    def _passes(self) -> list[tuple[int, int, int, int]]:
        """(phase, first and last grouped product, module) of each layer in each pass."""
        trace, found = self.trace, {}
        for at in self.grouped.tolist():
            module = int(trace.op_module[at])
            match = _LAYER.match(trace.modules[module])
            key = int(trace.op_phase[at]), match[1] if match else trace.modules[module]
            first, _, own = found.get(key, (at, at, module))
            found[key] = first, at, own
        return [(phase, *places) for (phase, _), places in found.items()]

    def _exchange(
        self, edit: Editor, size: int, before: int, phase: int, module: int, *, comes: bool
    ) -> None:
        """Rows on their way, and in their order: one buffer for what comes, one for what is in
        order, beside what the step holds itself."""
        shape, itemsize = edit.trace.sizes[size]
        sent = Inserted(before, Signature(EXCHANGE, (), ()), phase, module)
        rows = Operand(shape, "bfloat16" if itemsize == 2 else "float32")
        order = Inserted(before, Signature(SORT, (rows,), (rows,)), phase, module)
        several = self.experts > self.ranks
        steps = [sent, order] if comes else [order, sent]
        edit.operations += steps if several else [sent]
        if several:
            edit.storage(size, steps[0], [steps[1]], TEMPORARY, module)
        edit.storage(size, sent, [sent], TEMPORARY, module)


def _gradients(trace: StepTrace) -> tuple[int, int]:
    """Bytes of the gradients that wait for the optimizer: all, and the experts'."""
    stop, one = first_optimizer_operation(trace), trace.monomials.index("1")
    held = np.flatnonzero((trace.category == GRADIENTS) & (trace.death >= stop))
    rows = np.zeros((len(trace.forms), 1), dtype=np.int64)
    rows[:, 0] = trace.forms[:, one]
    sizes, last = trace.storage_bytes(rows)[:, 0], len(trace.forms) - 1
    own = [s for s in held.tolist() if trace.sizes[int(trace.size[s])][0][:1] == (last,)]
    return int(sizes[trace.size[held]].sum()), int(sizes[trace.size[own]].sum())
