"""Code that runs as if on CUDA: the mode, with what torch itself is asked of autocast."""

from __future__ import annotations

import contextlib

import torch

from planner.trace.recorder.cuda_mode import CudaLike


@contextlib.contextmanager
def as_if_on_cuda(mode: CudaLike):
    """The mode, with torch's own questions about autocast answered by it (PEFT asks; checkpointing
    restores)."""
    enabled, clear = torch.is_autocast_enabled, torch.clear_autocast_cache

    def is_enabled(*_device) -> bool:
        return mode.autocasting

    def clear_both():
        mode.clear_cache()
        clear()

    torch.is_autocast_enabled, torch.clear_autocast_cache = is_enabled, clear_both
    try:
        with mode, _own_blocks(mode):
            yield mode
    finally:
        torch.is_autocast_enabled, torch.clear_autocast_cache = enabled, clear


@contextlib.contextmanager
def _own_blocks(mode: CudaLike):
    """``with torch.autocast(…)`` in a model's code, which meta tensors do not have, told to the
    mode. Only a block for CUDA names a type that counts: blocks for other devices come from code
    that asks its tensors where they lie."""
    kind = torch.amp.autocast_mode.autocast
    own = {name: vars(kind)[name] for name in ("__init__", "__enter__", "__exit__")}

    def init(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        self.told = (bool(enabled), dtype if device_type == "cuda" else None)

    def enter(self):
        mode.contexts.append(self.told)
        return self

    def leave(self, exc_type, exc_val, exc_tb):
        mode.contexts.pop()
        return False

    kind.__init__, kind.__enter__, kind.__exit__ = init, enter, leave
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(kind, name, function)
