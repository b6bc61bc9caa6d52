"""torch.cuda with exactly the names and parameters of the installed torch, over tensors that lie on
the processor: the CUDA paths run without a GPU.

What no answer is given for is the installed torch's own, which says that it has no CUDA device. A
name that torch.cuda does not have raises AttributeError, a call that it would not take TypeError.
"""

import ast
import contextlib
import inspect
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fakes.surface import Surface
from torch.overrides import TorchFunctionMode

#: The real ones: a test that stands others in their place asks them still.
CUDA, _PROFILE = torch.cuda, torch.profiler.profile
GIB = 2**30
NAME = "NVIDIA H100 80GB HBM3"
#: ``torch/csrc/cuda/Module.cpp`` defines these beside what torch's own stub lists (torch 2.8).
_BESIDE_THE_STUB = ("pci_bus_id", "pci_device_id", "pci_domain_id")


def _names_of_properties() -> tuple[str, ...]:
    stub = ast.parse((Path(torch.__file__).parent / "_C" / "__init__.pyi").read_text())
    shown = next(
        node
        for node in stub.body
        if isinstance(node, ast.ClassDef) and node.name == "_CudaDeviceProperties"
    )
    fields = (node.target for node in shown.body if isinstance(node, ast.AnnAssign))
    return (*(f.id for f in fields if isinstance(f, ast.Name)), *_BESIDE_THE_STUB)


def properties(**answers: Any) -> Any:
    """``torch.cuda.get_device_properties``: an H100's, with other answers; no name besides torch's.
    An answer ``...`` leaves the name out, as an older torch does."""
    usual = dict(
        name=NAME,
        major=9,
        minor=0,
        total_memory=80 * GIB,
        multi_processor_count=132,
        L2_cache_size=50 * 2**20,
        uuid="ab-12",
        pci_bus_id=1,
        pci_device_id=0,
        pci_domain_id=0,
    )
    found = usual | answers
    unknown = set(found) - set(_names_of_properties())
    if unknown:
        raise AssertionError(f"torch's device properties have no {', '.join(sorted(unknown))}")
    return SimpleNamespace(**{name: value for name, value in found.items() if value is not ...})


class Event:
    """``torch.cuda.Event`` by the host's clock: what is recorded has happened."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False, external=False):
        self._timed, self._moment = enable_timing, None

    def record(self, stream=None):
        self._moment = time.perf_counter()

    def query(self):
        return True

    def synchronize(self):
        pass

    def elapsed_time(self, end_event):
        if not (self._timed and end_event._timed) or None in (self._moment, end_event._moment):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        return max(1e-6, (end_event._moment - self._moment) * 1e3)


class Allocator:
    """The caching allocator's account: a block a tensor that the program holds, and the events of
    what a step makes and drops while they are recorded. Shapes as ``torch.cuda.memory._snapshot``
    documents them."""

    def __init__(self) -> None:
        self.recording, self.events = False, 0

    def record(self, enabled=None, **_more):
        self.recording = enabled is not None

    def snapshot(self, *_a, **_k):
        self.events += self.recording
        made = [
            dict(action=action, addr=2**40, size=1000, stream=0, frames=[])
            for action in ("segment_alloc", "alloc", "free_requested", "free_completed")
        ]
        block = dict(
            address=2**41, size=4096, requested_size=4000, state="active_allocated", frames=[]
        )
        segment = dict(
            device=0,
            address=2**41,
            total_size=2**21,
            stream=0,
            segment_type="small",
            blocks=[block],
        )
        return {"segments": [segment], "device_traces": [made * self.events]}


def cuda(**answers: Any) -> Any:
    """A module to stand for ``torch.cuda``: one device, in use from the start. An answer is a
    value, or a function of the call's arguments."""
    account = Allocator()
    memory = Surface(
        CUDA.memory, dict(_snapshot=account.snapshot, _record_memory_history=account.record)
    )
    usual = dict(
        Event=Event,
        memory=memory,
        is_available=True,
        is_initialized=True,
        init=None,
        device_count=1,
        current_device=0,
        set_device=None,
        current_stream=None,
        synchronize=None,
        empty_cache=None,
        is_bf16_supported=True,
        get_device_properties=properties(),
        get_device_name=NAME,
        get_device_capability=(9, 0),
        get_rng_state=lambda device=None: torch.get_rng_state(),
        set_rng_state=None,
        mem_get_info=(70 * GIB, 80 * GIB),
        memory_stats={"num_ooms": 0},
        memory_allocated=2 * GIB,
        memory_reserved=3 * GIB,
        max_memory_allocated=5 * GIB,
        max_memory_reserved=6 * GIB,
        reset_peak_memory_stats=None,
        memory_snapshot=[],
        get_allocator_backend="native",
        _sleep=None,
    )
    return Surface(CUDA, usual | answers)


def _profile_of_the_host(*, activities: Any = None, **more: Any) -> Any:
    """The real one would ask for the kernels of each operation in C++, and log that it cannot."""
    inspect.signature(_PROFILE).bind(activities=activities, **more)
    return _PROFILE(activities=[torch.profiler.ProfilerActivity.CPU], **more)


class _OnTheProcessor(TorchFunctionMode):
    """What is asked of a CUDA device is made on the processor."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:  # a name for a device stays what it is
            return func(*args, **kwargs)
        kwargs = {k: _there(v) for k, v in kwargs.items() if k != "pin_memory"}
        return func(*map(_there, args), **kwargs)


def _there(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return "cpu"
    return value


@contextlib.contextmanager
def on_cuda(monkeypatch: Any, **answers: Any) -> Iterator[Any]:
    """A machine with one CUDA device; the module that stands for ``torch.cuda``, whose ``asked``
    lists what was called."""
    fake = cuda(**answers)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "cuda", fake)
        patch.setitem(sys.modules, "torch.cuda", fake)
        patch.setattr(torch.version, "cuda", "12.8")
        patch.setattr(torch.profiler, "profile", _profile_of_the_host)
        with _OnTheProcessor():
            yield fake
