"""Context parallelism: a device's part of each sequence, with the keys and values of the others
passed around a ring (Liu et al. 2023, arXiv 2310.01889).

A rewrite of a device's trace that shortens every sequence, but for keys and values in attention,
which each query still sees. A device has two pieces of the sequence, one from either end, so that
causal attention is as much work on each (Megatron-Core's and torch's load balancing); together they
do what one device did. The pieces that are attended to and those that come meanwhile lie in buffers
of their own, in the backward pass with their gradients (TransformerEngine's
``AttnFuncWithCPAndKVP2P``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.errors import FieldName, QuestionError
from planner.memory.lifetimes import TEMPORARY
from planner.parallel.model.places import ATTENTION
from planner.trace.table import Operand, Signature, StepTrace

#: The name of a trace's attribute that says what devices with parts of a sequence pass on.
CONTEXT = "context"
BACKWARD_ATTENTION = "planner.attention_backward."
#: Buffers of pieces: one is read while another comes.
BUFFERS = 2
#: Places of queries, keys and values among what attention reads, and of what it reads in all
#: without a mask: forward, backward.
_QUERIES, _MASKLESS = {False: 0, True: 1}, {False: 3, True: 6}


@dataclass(frozen=True)
class ContextSending:
    """Of one micro-batch. ``pieces``: signature of an attention → (indices of the sizes of a
    device's keys and values, whether their gradients go around too)."""

    ranks: int
    pieces: dict[int, tuple[tuple[int, int], bool]]


def passing_of(trace: StepTrace) -> ContextSending | None:
    """None of a trace whose devices have whole sequences."""
    return trace.meta.get(CONTEXT)


def context_trace(trace: StepTrace, ranks: int) -> StepTrace:
    """The step of one of ``ranks`` devices that share each sequence. Kept with the trace. Raises
    QuestionError where attention is not one fused operation without a mask."""
    return trace.memo.of(CONTEXT, ranks, lambda: _Shortened(trace, ranks).done())


def shortened(monomial: str, ranks: int) -> str:
    """A monomial with a part of S: ``BS`` becomes ``BS*1/2``, ``S*1/4`` becomes ``S*1/8``."""
    if "S" not in monomial:
        return monomial
    plain, _, parts = monomial.partition("^")
    if parts:
        return f"{plain}^{int(parts) * ranks}"
    plain, _, share = monomial.partition("*")
    times, over = share.split("/") if share else ("1", "1")
    return f"{plain}*{times}/{int(over) * ranks}"


class _Shortened:
    def __init__(self, trace: StepTrace, ranks: int) -> None:
        self.trace, self.ranks = trace, ranks
        self.long = [n for n, name in enumerate(trace.monomials) if "S" in name]
        self.attentions = {
            index: one.op.startswith(BACKWARD_ATTENTION)
            for index, one in enumerate(trace.signatures)
            if one.op.startswith((*ATTENTION, BACKWARD_ATTENTION))
        }
        self._check()
        self.forms: dict[int, int] = {}
        self.sizes = list(trace.sizes)

    def _check(self) -> None:
        where, trace = FieldName("context_parallel"), self.trace
        causal = [trace.signatures[n].attr("causal", False) for n in self.attentions]
        masked = any(
            len(trace.signatures[n].inputs) > _MASKLESS[back] for n, back in self.attentions.items()
        )
        softmax = any("softmax" in one.op for one in trace.signatures if self._has_scores(one))
        if not self.attentions or masked or softmax or not all(causal):
            raise QuestionError(
                "its attention is not everywhere one fused causal operation without a mask, so "
                f"{where} {self.ranks} is not planned",
                where=where,
                mend="Ask for flash attention, or leave it out",
            )

    def _has_scores(self, one: Signature) -> bool:
        """Whether an operation reads one number for each pair of places in a sequence."""
        varies = np.asarray(self.trace.forms[:, self.long].any(axis=1))
        return any(len(o.shape) > 2 and varies[list(o.shape[-2:])].all() for o in one.inputs)

    def done(self) -> StepTrace:
        trace, signatures = self.trace, list(self.trace.signatures)
        pieces = {}
        for index, backward in self.attentions.items():
            signatures[index], pieces[index] = self._attention(signatures[index], backward)
        held = self._buffers(pieces)
        count = len(held)
        at = np.array([place for place, _ in held], dtype=np.int64)
        return replace(
            trace,
            monomials=self._monomials(),
            forms=self._all_forms(),
            signatures=tuple(signatures),
            sizes=tuple(self.sizes),
            size=np.append(trace.size, [size for _, size in held]).astype(np.int32),
            birth=np.append(trace.birth, at).astype(np.int32),
            death=np.append(trace.death, at).astype(np.int32),
            category=np.append(trace.category, [TEMPORARY] * count).astype(trace.category.dtype),
            storage_module=np.append(trace.storage_module, trace.op_module[at]).astype(np.int32),
            meta={**trace.meta, CONTEXT: ContextSending(self.ranks, pieces)},
        )

    def _attention(
        self, one: Signature, backward: bool
    ) -> tuple[Signature, tuple[tuple[int, int], bool]]:
        """With all keys and values."""
        first = _QUERIES[backward] + 1
        inputs = list(one.inputs)
        key, value = (self._place(inputs[first + n]) for n in (0, 1))
        for place in (first, first + 1):
            shape = inputs[place].shape
            whole = (*shape[:-2], self._whole(shape[-2]), shape[-1])
            inputs[place] = replace(inputs[place], shape=whole)
        return replace(one, inputs=tuple(inputs)), ((key, value), backward)

    def _place(self, operand: Operand) -> int:
        """Index of the size of a device's own keys or values."""
        wanted = operand.shape, 4 if operand.dtype == "float32" else 2
        if wanted not in self.sizes:
            self.sizes.append(wanted)
        return self.sizes.index(wanted)

    def _whole(self, form: int) -> int:
        return self.forms.setdefault(form, len(self.trace.forms) + len(self.forms))

    def _buffers(self, pieces: dict[int, tuple[tuple[int, int], bool]]) -> list[tuple[int, int]]:
        """(operation, size) of what lies beside an attention while it runs."""
        found = []
        for at, signature in enumerate(self.trace.op_signature.tolist()):
            if signature not in pieces:
                continue
            sizes, backward = pieces[signature]
            found += [(at, size) for size in sizes * (BUFFERS * (2 if backward else 1))]
        return found

    def _monomials(self) -> tuple[str, ...]:
        plain = self.trace.monomials
        return tuple(shortened(name, self.ranks) for name in plain) + tuple(
            plain[n] for n in self.long
        )

    def _all_forms(self) -> np.ndarray:
        old = self.trace.forms
        wider = np.concatenate([old, np.zeros((len(old), len(self.long)), old.dtype)], axis=1)
        rows = wider[list(self.forms)].copy()
        rows[:, old.shape[1] :] = rows[:, self.long]
        rows[:, self.long] = 0
        return np.concatenate([wider, rows])
