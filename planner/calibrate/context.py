"""What a process takes of a device's memory before its tensors: measured in a process of its own,
since this one has run too much."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import IO, cast

import torch

from planner.calibrate.operations.backends import Backend, CudaBackend

LEAST_SECONDS = 1.5  # of starting an interpreter with torch
#: A product forward and backward, as every training run makes: the driver's context, the libraries'
#: handles and kernels.
_ON_CUDA = """
import sys, torch
x = torch.randn(256, 256, device=sys.argv[1], requires_grad=True)
torch.nn.functional.gelu(x @ x).sum().backward()
del x
torch.cuda.synchronize(sys.argv[1])
torch._C._cuda_clearCublasWorkspaces() if hasattr(torch._C, "_cuda_clearCublasWorkspaces") else None
torch.cuda.empty_cache()
print(torch.cuda.memory_reserved(sys.argv[1]), flush=True)
sys.stdin.readline()
"""
#: On a processor the process itself is what there is besides tensors.
_ON_A_PROCESSOR = """
import psutil, torch
x = torch.randn(64, 64, requires_grad=True)
torch.nn.functional.gelu(x @ x).sum().backward()
print(psutil.Process().memory_info().rss, flush=True)
"""


def context_bytes(backend: Backend, seconds: float) -> tuple[int, str] | None:
    """(bytes, how they were measured), None where that cannot be told within ``seconds``."""
    if backend.kind == "cpu":
        lines = _printed(_ON_A_PROCESSOR, [], seconds) if seconds >= LEAST_SECONDS else []
        return (int(lines[-1]), "resident bytes of a process that ran torch") if lines else None
    if backend.kind == "cuda":
        return _of_another_process(backend, seconds) or _of_this_process(backend)
    return None


def _printed(code: str, arguments: list[str], seconds: float) -> list[str]:
    """Lines that a Python of its own printed within ``seconds``."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
        )
    except (subprocess.TimeoutExpired, OSError):
        return []
    return [line for line in done.stdout.splitlines() if line.strip().isdigit()]


def _of_another_process(backend: Backend, seconds: float) -> tuple[int, str] | None:
    """What the device has less while another process with a context is there. None where that one
    did not start in time (or may not: a device in exclusive mode)."""
    if seconds < LEAST_SECONDS:
        return None
    backend.synchronise()
    before, _ = torch.cuda.mem_get_info(backend.device)
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", _ON_CUDA, str(backend.device)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        return None
    guard = threading.Timer(seconds, child.kill)
    output = cast("IO[str]", child.stdout)  # a pipe was asked for
    guard.start()
    try:
        line = output.readline().strip()
        after, _ = torch.cuda.mem_get_info(backend.device)
    finally:
        guard.cancel()
        child.kill()
        child.communicate()
    if not line.isdigit() or before - after - int(line) <= 0:
        return None
    return before - after - int(
        line
    ), "what the device had less while a process with a context was there"


def _of_this_process(backend: Backend) -> tuple[int, str] | None:
    """What is used and not torch's, where nobody else is on the device."""
    if cast("CudaBackend", backend).nvml.other_processes(os.getpid()) != []:
        return None
    free, total = torch.cuda.mem_get_info(backend.device)
    used = total - free - torch.cuda.memory_reserved(backend.device)
    return (used, "memory in use on the device that is not torch's") if used > 0 else None
