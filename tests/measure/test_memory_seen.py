"""The allocator's account of a step, read from what torch's interface gives, and this process's own
resident set."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from fakes.surface import Surface  # noqa: E402
from fakes.torch_cuda import CUDA, cuda  # noqa: E402

from planner.measure import memory_seen  # noqa: E402
from planner.units import MIB  # noqa: E402


class FakeAllocator:
    """``torch.cuda.memory``'s private interface, as torch documents its snapshot."""

    def __init__(self, blocks):
        self.blocks, self.events, self.recording = blocks, [], False

    def _record_memory_history(self, enabled="all", **_):
        self.recording, self.events = enabled is not None, [] if enabled is None else self.events

    def _snapshot(self, device=None):
        blocks = [
            {"address": address, "size": size, "state": "active_allocated"}
            for address, size in self.blocks.items()
        ]
        idle = {"address": 7, "size": 512, "state": "inactive"}
        return {
            "segments": [{"address": 0, "device": 0, "blocks": [*blocks, idle]}],
            "device_traces": [list(self.events)],
        }

    def note(self, action, address, size):
        assert self.recording
        self.events += [
            {"action": action, "addr": address, "size": size},
            {"action": "snapshot", "size": 0},
        ]


class FakeStep:
    """One layer whose gradient lies at its own address; saves 1000 bytes, drops 600 in its
    update."""

    def __init__(self, allocator):
        self.allocator, self.layer = allocator, torch.nn.Linear(16, 16, bias=False)
        self.layer.weight.grad = torch.zeros(16, 16)
        self.prepared = SimpleNamespace(
            module=self.layer, teacher=None, trainable=[self.layer.weight]
        )
        self.optimizer = SimpleNamespace(state={0: {"exp_avg": torch.zeros(16, 16), "step": 1}})
        self.batch = {"x": torch.zeros(128), "return_loss": True}

    def feed(self):
        return self.batch

    def before_forgetting(self):
        raise AssertionError("the reader looks at the update itself")

    def __call__(self, mark=lambda phase: None):
        grad = self.layer.weight.grad.data_ptr()
        self.allocator.note("alloc", 11, 1000)
        mark("forward")
        self.allocator.note("alloc", grad, 1024)
        self.allocator.note("free_requested", 11, 1000)
        mark("backward")
        self.allocator.note("alloc", 12, 1600)
        self.before_forgetting()
        self.allocator.note("free_requested", 12, 1600)
        self.allocator.note("free_requested", grad, 1024)
        self.allocator.note("free_completed", grad, 1024)


def test_an_allocators_account_is_read(monkeypatch):
    allocator = FakeAllocator({})
    step = FakeStep(allocator)
    weight, state, batch = (
        t.data_ptr()
        for t in (step.layer.weight, step.optimizer.state[0]["exp_avg"], step.batch["x"])
    )
    allocator.blocks = {weight: 1024, state: 1024, batch: 512, 99: 2048}
    account = Surface(
        CUDA.memory,
        dict(
            _snapshot=allocator._snapshot,
            _record_memory_history=allocator._record_memory_history,
        ),
    )
    monkeypatch.setattr(torch, "cuda", cuda(memory=account))
    found = memory_seen.categories_at_peak(memory_seen.recorded_history(step, "cuda"))
    assert found == {
        "weights": 1024,
        "optimizer": 1024,
        "gradients": 1024,
        "activations": 512,
        "temporary": 2048 + 2048,
    }
    assert not allocator.recording and memory_seen.tensor_bytes(step) == {
        "weights": 1024,
        "optimizer": 1024,
    }


def test_the_peak_of_the_resident_set_is_that_since_it_was_forgotten():
    if not memory_seen.forget_peak():
        pytest.skip("the system does not let the peak be forgotten")
    before = memory_seen.resident_bytes("VmHWM")
    block = torch.ones(64 * MIB // 4)
    assert memory_seen.resident_bytes("VmHWM") - before > 60 * MIB
    del block
    memory_seen.forget_peak()
    assert memory_seen.resident_bytes("VmHWM") < before + 32 * MIB


def test_a_run_that_needs_more_than_is_free_gets_an_error(monkeypatch):
    if memory_seen.resident_bytes("VmData") is None:
        pytest.skip("the system does not say what a process uses")
    monkeypatch.setattr(memory_seen, "_free_bytes", lambda: 32 * MIB)
    with (
        memory_seen.within_free_memory("cpu"),
        pytest.raises(RuntimeError, match="allocate memory"),
    ):
        torch.ones(256 * MIB)
    with memory_seen.within_free_memory("cuda"):
        assert torch.ones(64 * MIB).numel()
    assert torch.ones(64 * MIB).numel() == 64 * MIB
