"""A recorded training step cut down to what runs without training: the forward pass alone, and, of
a model that writes, what runs once a batch and what runs at every token."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.operations.registry import kind_of
from planner.trace.table import PHASES, Signature, StepTrace

FORWARD, NO_GRAD = PHASES.index("forward"), PHASES.index("teacher")
#: Of the forward pass what trains alone does: dropout, and what autograd keeps for later.
TRAINS = ("random",)
DROPOUT = "dropout"
KEPT = "aten.detach.default"
#: At one token a transposed tensor is contiguous: torch makes no copy of it.
COPY = "aten.clone.default"


@dataclass(frozen=True)
class Decoder:
    """A forward pass without gradients in three parts. ``encoder`` runs once a sample and is empty
    where there is none; ``keys`` once a written row: keys and values of what the encoder read;
    ``step`` at every token, at ``symbol`` = 1: ``T``, or ``S`` where nothing else has a length."""

    encoder: StepTrace
    keys: StepTrace
    step: StepTrace
    symbol: str


def forward_only(trace: StepTrace) -> StepTrace:
    """The operations of the forward pass, one after another: no teacher, no backward pass, no
    update. Storages are left out, so that it can be priced and not replayed."""
    return kept(trace, trace.op_phase == FORWARD)


def inference(trace: StepTrace) -> StepTrace:
    """The forward pass with its loss as an evaluation runs it: without gradients, in evaluation
    mode. Its operations are of the phase whose host costs know no autograd."""
    return trace.memo.of("inference", None, lambda: _inference(trace))


def _inference(trace: StepTrace) -> StepTrace:
    """Of an objective the reference runs in an evaluation as it does in a step."""
    trains = np.array([kind_of(s.op).name in TRAINS or s.op == KEPT for s in trace.signatures])
    forward = trace.op_phase == FORWARD
    if trace.has_objective:
        forward = forward | (trace.op_phase == NO_GRAD)
    return _without_gradients(trace, forward & ~trains[trace.op_signature], forward)


def decoder(trace: StepTrace) -> Decoder | None:
    """None where the trace is of one length alone: no token can be told from it."""
    return trace.memo.of("decoder", None, lambda: _decoder(trace))


def _decoder(trace: StepTrace) -> Decoder | None:
    symbol = "T" if "T" in trace.symbols else "S"
    if symbol not in trace.symbols:
        return None
    names = [s.op for s in trace.signatures]
    has_length, has_batch = _depends_on(trace, symbol), _depends_on(trace, "B")
    kinds = [kind_of(op) for op in names]
    idle = np.array([k.name in TRAINS or k.host_waits or op == KEPT for k, op in zip(kinds, names)])
    products = np.array([kind.model_work for kind in kinds])
    forward = trace.op_phase == FORWARD
    signature, order = trace.op_signature, np.arange(trace.op_count)
    own = forward & (trace.op_module != _root(trace))  # labels and loss are of the whole model
    last = int(order[own & products[signature]].max(initial=-1))
    runs = own & ~idle[signature] & (order <= last)
    # a module that ever sees the written length runs at every token, its weights' casts with it
    written = np.isin(trace.op_module, np.unique(trace.op_module[own & has_length[signature]]))
    once = ~has_length & has_batch
    step = runs & written & ~once[signature]
    begins = int(order[step].min(initial=trace.op_count))
    copies = np.array([op == COPY for op in names])
    return Decoder(
        encoder=_without_gradients(trace, runs & ~step & (order < begins), forward),
        keys=_without_gradients(trace, runs & ~step & (order >= begins), forward),
        step=_without_gradients(trace, step & ~copies[signature], forward),
        symbol=symbol,
    )


def _root(trace: StepTrace) -> int:
    return trace.modules.index("") if "" in trace.modules else -1


def _depends_on(trace: StepTrace, symbol: str) -> np.ndarray:
    """Whether a signature has an operand that grows with a symbol: bool [n_signatures]."""
    columns = [i for i, monomial in enumerate(trace.monomials) if symbol in monomial]
    grows = (trace.forms[:, columns] != 0).any(axis=1)
    return np.array(
        [
            any(grows[form] for side in (s.inputs, s.outputs) for o in side for form in o.shape)
            for s in trace.signatures
        ],
        dtype=bool,
    )


def _without_gradients(trace: StepTrace, mask: np.ndarray, forward: np.ndarray) -> StepTrace:
    """``mask`` of the ``forward`` operations, under no_grad, with their share of the calls of
    modules."""
    cut = kept(trace, mask)
    calls = float(trace.meta.get("module_calls", 0))
    share = mask.sum() / max(1, int((forward | _recomputed(trace)).sum()))
    return replace(
        cut,
        signatures=tuple(_evaluated(signature) for signature in cut.signatures),
        op_phase=np.full(cut.op_count, NO_GRAD, trace.op_phase.dtype),
        meta={**trace.meta, "module_calls": calls * share},
    )


def _evaluated(signature: Signature) -> Signature:
    """In evaluation mode: attention drops nothing, for which other kernels may run."""
    if not signature.attr(DROPOUT):
        return signature
    attrs = tuple((name, 0.0 if name == DROPOUT else value) for name, value in signature.attrs)
    return replace(signature, attrs=attrs)


def _recomputed(trace: StepTrace) -> np.ndarray:
    """Operations that the calls of modules are counted over, beside the forward pass's."""
    return np.isin(trace.op_phase, (NO_GRAD, PHASES.index("recompute")))


def kept(trace: StepTrace, mask: np.ndarray) -> StepTrace:
    """The operations of a mask, without storages."""
    empty = np.zeros(0, np.int32)
    return replace(
        trace,
        op_signature=trace.op_signature[mask],
        op_phase=trace.op_phase[mask],
        op_module=trace.op_module[mask],
        size=empty,
        birth=empty,
        death=empty,
        category=empty.astype(np.uint8),
        storage_module=empty,
    )
