"""What devices that share state leave in their host's memory: the optimizer, which runs there on
each device's part, gradients, which leave as they are reduced, and parameters, whose parts come
before they are gathered.

After torch 2.13 ``torch/distributed/fsdp/_fully_shard`` (``CPUOffloadPolicy``: parameters,
gradients and states together; ``_fsdp_param.py: all_gather_inputs`` copies a part to the device
before it is cast, ``_fsdp_collectives.py: foreach_reduce`` copies what is reduced back) and
deepspeed 0.19 ``runtime/zero/stage_1_and_2.py``, ``stage3.py`` (``offload_optimizer``,
``offload_param``). Copies run beside the passes, as on one device; gradients of several
micro-batches are added on the host, which is not counted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.memory.lifetimes import OPTIMIZER, first_optimizer_operation
from planner.parallel.units import numbers_of
from planner.trace.table import PHASES, StepTrace
from planner.training.host_memory import WIDE, HostBytes, host_bytes, offloading_fact

UPDATE = PHASES.index("optimizer")
_NARROW = 2


def without_update(trace: StepTrace) -> StepTrace:
    """The step up to its update, without the optimizer's states. Kept with the trace."""
    return trace.memo.of("without update", None, lambda: _without(trace))


def _without(trace: StepTrace) -> StepTrace:
    stop = first_optimizer_operation(trace)
    states = (trace.birth < 0) & (trace.category == OPTIMIZER)
    keep = (trace.birth < stop) & ~states
    return replace(
        trace,
        op_signature=trace.op_signature[:stop],
        op_phase=trace.op_phase[:stop],
        op_module=trace.op_module[:stop],
        size=trace.size[keep],
        birth=trace.birth[keep],
        death=np.minimum(trace.death[keep], stop),
        category=trace.category[keep],
        storage_module=trace.storage_module[keep],
    )


def host_part(
    trace: StepTrace, elements: int, itemsize: int, *, whose: str, wide: bool
) -> HostBytes:
    """Of an element of the optimizer of ``trace``, which trains so many ``elements`` of
    ``itemsize`` bytes on the device. ``whose``: ``torch``, whose optimizers but the fused ones run
    over their lists operation by operation, or ``deepspeed``, which holds float32 whatever the step
    is in; ``wide``: torch keeps float32 where the step has 16 bits."""
    wide = wide or whose == "deepspeed"
    states = 0.0
    for storage in np.flatnonzero((trace.birth < 0) & (trace.category == OPTIMIZER)).tolist():
        size = int(trace.size[storage])
        own = trace.sizes[size][1]
        each = WIDE if wide and own == _NARROW else own
        states += each * max(0, numbers_of(trace, size))
    states /= max(1, elements)
    if whose == "deepspeed":
        return host_bytes(states, itemsize, wide=True)
    found = host_bytes(states, WIDE if wide and itemsize == _NARROW else itemsize, wide=False)
    name = str(trace.meta.get("recipe", {}).get("optimizer"))
    if name.endswith("fused"):
        return found
    return replace(found, moved=round(found.moved * offloading_fact("loop_factor")))
