"""What memory a real step holds, by category: from the CUDA allocator's own history, from tensors
and the resident set elsewhere.

Categories are those of a trace (``planner.trace.table.CATEGORIES``), fragmentation and context, as
the estimate's breakdown has them. Where some cannot be told apart they are one: a resident set does
not say what was there at its peak.
"""

from __future__ import annotations

import contextlib
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.memory.allocator import MIN_BLOCK
from planner.trace.table import CATEGORIES
from planner.units import KIB

# of one step: a model of a thousand layers with checkpointing makes some 100,000
HISTORY_EVENTS = 2_000_000
LEFT_TO_THE_SYSTEM = 0.95  # of the memory that is free, a run on the processor may take this much
TOGETHER = "gradients_activations_and_temporary"
FRESH_SECONDS = 120  # at most, of importing the libraries
_FRESH = """
import sys, torch
from planner.measure.memory_seen import resident_bytes
from planner.libraries import import_library
for name in sys.argv[1:]:
    library = import_library(name, "measuring")
    getattr(library, "AutoModelForCausalLM", None)
x = torch.randn(64, 64, requires_grad=True)
torch.nn.functional.gelu(x @ x).sum().backward()
print(resident_bytes())
"""


# ---------------------------------------------------------------- tensors


def tensor_bytes(step: Any) -> dict[str, int]:
    """Weights and optimizer state of a step, each storage once."""
    return {"weights": _bytes(_weights(step)), "optimizer": _bytes(_states(step))}


def _weights(step: Any) -> list[Any]:
    modules = [
        module for module in (step.prepared.module, step.prepared.teacher) if module is not None
    ]
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def _states(step: Any) -> list[Any]:
    import torch

    if step.optimizer is None:
        return []
    return [
        value
        for state in step.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]


def _gradients(step: Any) -> list[Any]:
    return [parameter.grad for parameter in step.prepared.trainable if parameter.grad is not None]


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()
    )


# ---------------------------------------------------------------- the processor


def resident_bytes(name: str = "VmRSS") -> int | None:
    """This process's resident set (``VmHWM``: its peak, ``VmData``: what it may write); None where
    the system does not say."""
    try:
        found = re.search(
            rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE
        )
    except OSError:
        return None
    return int(found[1]) * KIB if found else None


@cache
def fresh_process_bytes(library: str) -> int | None:
    """Resident in a new process that has imported torch and the model's library and run a product:
    what a run takes besides its tensors. None where it did not come to an end."""
    names = (
        ["peft", library]
        if library == "transformers"
        else [library]
        if library in ("timm", "torchvision")
        else []
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FRESH, *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=FRESH_SECONDS,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    fields = done.stdout.split()
    return int(fields[-1]) if fields and fields[-1].isdigit() else None


def forget_peak() -> bool:
    """Start the peak of the resident set anew (proc(5), clear_refs 5)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return True
    except OSError:
        return False


@contextlib.contextmanager
def within_free_memory(device_type: str) -> Iterator[None]:
    """A run on the processor that needs more than is free gets an error, not the system's killer.
    Nothing on other devices."""
    used, free = resident_bytes("VmData"), _free_bytes()
    if device_type != "cpu" or used is None or free is None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + int(LEFT_TO_THE_SYSTEM * free)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (min(limit, before[0]) if before[0] != resource.RLIM_INFINITY else limit, before[1]),
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _free_bytes() -> int | None:
    """Of the machine, or of the control group that this process runs in where that is less."""
    try:
        found = re.search(
            r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE
        )
    except OSError:
        return None
    amounts = [int(found[1]) * KIB] if found else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            amounts.append(
                max(
                    0,
                    int(Path("/sys/fs/cgroup", limit).read_text())
                    - int(Path("/sys/fs/cgroup", used).read_text()),
                )
            )
    return min(amounts, default=None)


def processor_categories(step: Any, context_bytes: int, peak_bytes: int) -> dict[str, int]:
    """``peak_bytes`` of the resident set, of which ``context_bytes`` were there without any tensor:
    Python and the libraries."""
    known = {**tensor_bytes(step), "context": context_bytes}
    return known | {TOGETHER: max(0, peak_bytes - sum(known.values()))}


@contextlib.contextmanager
def _at_the_update(step: Any, look: Any) -> Iterator[None]:
    step.before_forgetting = look
    try:
        yield
    finally:
        del step.before_forgetting


# ---------------------------------------------------------------- CUDA


@dataclass(frozen=True)
class History:
    """One step of the caching allocator. ``live``: address → bytes of the blocks before it;
    ``events``: (``alloc`` or ``free``, address, bytes) in order; ``forward_ends``: how many events
    had happened by the end of each forward pass, ``updated`` by the end of the update. The
    addresses say what is what; ``gradients`` as they lie then."""

    live: Mapping[int, int]
    events: Sequence[tuple[str, int, int]]
    forward_ends: tuple[int, ...]
    updated: int
    weights: frozenset[int]
    optimizer: frozenset[int]
    gradients: frozenset[int]
    batch: frozenset[int] = frozenset()


@dataclass
class _Block:
    address: int
    size: int
    born: int  # event that allocates it, -1 before the step
    freed: float = math.inf  # event that frees it


def categories_at_peak(history: History) -> dict[str, int]:
    """Bytes by category at the step's peak of live blocks; they sum to it."""
    open_ = {address: _Block(address, size, -1) for address, size in history.live.items()}
    blocks = list(open_.values())
    total = peak = sum(history.live.values())
    at = -1
    for index, (action, address, size) in enumerate(history.events):
        if action == "alloc":
            open_[address] = _Block(address, size, index)
            blocks.append(open_[address])
            total += size
        elif address in open_:
            block = open_.pop(address)
            block.freed, total = index, total - block.size
        if total > peak:
            peak, at = total, index
    found: dict[str, int] = dict.fromkeys(CATEGORIES, 0)
    for block in blocks:
        if block.born <= at < block.freed:
            found[_category(history, block)] += block.size
    return found


def _category(history: History, block: _Block) -> str:
    if block.born < 0:
        named = {
            "weights": history.weights,
            "optimizer": history.optimizer,
            "activations": history.batch,
        }
        return next(
            (name for name, addresses in named.items() if block.address in addresses), "temporary"
        )
    if block.address in history.gradients and block.born < history.updated <= block.freed:
        return "gradients"
    saved = any(block.born < end <= block.freed for end in history.forward_ends)
    return "activations" if saved else "temporary"


def recorded_history(step: Any, device: Any) -> History:
    """Run one more step and take the allocator's own account of it. Raises what torch raises where
    it keeps none."""
    import torch

    memory, index = torch.cuda.memory, torch.device(device).index
    index = torch.cuda.current_device() if index is None else index
    forward_ends: list[int] = []
    updated: list[tuple[int, frozenset[int]]] = []

    def events() -> list[tuple[str, int, int]]:
        seen = memory._snapshot(index)["device_traces"][index]
        return [
            (_ACTIONS[event["action"]], event["addr"], -(-event["size"] // MIN_BLOCK) * MIN_BLOCK)
            for event in seen
            if event["action"] in _ACTIONS
        ]

    torch.cuda.synchronize(index)
    live = _live(memory._snapshot(index), index)
    known = _addresses(_weights(step)), _addresses(_states(step))
    batch = _addresses(value for value in step.feed().values() if isinstance(value, torch.Tensor))
    memory._record_memory_history(enabled=None)  # forgets an earlier account
    memory._record_memory_history(
        enabled="all", context=None, stacks="python", max_entries=HISTORY_EVENTS
    )
    try:
        with _at_the_update(
            step, lambda: updated.append((len(events()), _addresses(_gradients(step))))
        ):
            step(lambda phase: forward_ends.append(len(events())) if phase == "forward" else None)
        torch.cuda.synchronize(index)
        seen = events()
    finally:
        memory._record_memory_history(enabled=None)
    last, gradients = updated[0] if updated else (len(seen), frozenset())
    return History(live, seen, tuple(forward_ends), last, *known, gradients, batch)


#: A block is the program's own until the free is asked for. The account holds the sizes that were
#: asked for, blocks are whole multiples of ``MIN_BLOCK``.
_ACTIONS = {"alloc": "alloc", "free_requested": "free"}


def _live(snapshot: Mapping[str, Any], index: int) -> dict[int, int]:
    found = {}
    for segment in snapshot["segments"]:
        address = segment["address"]
        for block in segment["blocks"] if segment.get("device", index) == index else ():
            if block["state"] == "active_allocated":
                found[block.get("address", address)] = block["size"]
            address += block["size"]
    return found


def _addresses(tensors: Iterable[Any]) -> frozenset[int]:
    return frozenset(tensor.untyped_storage().data_ptr() for tensor in tensors)
