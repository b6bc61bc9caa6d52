"""Facts of a device: their form, their limits, and what is left out where a device does not have
it."""

import json
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fakes.nvml import Refused, nvml, process
from fakes.torch_cuda import cuda
from session_fakes import Backend, World

from planner.calibrate import compiled, facts, session
from planner.calibrate import context as contexts
from planner.calibrate.operations.backends import backend
from planner.calibrate.operations.execute import CannotRun
from planner.calibrate.session import recording

CPU = backend("cpu")
UNITS = {"_bytes_per_s": "B/s", "_bytes": "B", "_seconds": "s", "_watts": "W"}


@pytest.mark.slow
def test_facts_of_the_processor():
    found = {
        r["name"]: r
        for r in map(
            lambda r: json.loads(json.dumps(r)), facts.measure_facts(CPU, budget_seconds=60.0)
        )
    }
    assert {"memory_bytes_per_s", "matmul_flops_per_s.float32", "context_bytes"} <= set(found)
    for name, record in found.items():
        assert record["record"] == "fact" and record["value"] > 0
        assert record["unit"] == next(
            (unit for ending, unit in UNITS.items() if name.endswith(ending)), "FLOP/s"
        )
    assert 1e8 < found["memory_bytes_per_s"]["value"] < 1e13
    assert 1e9 < found["matmul_flops_per_s.float32"]["value"] < 1e14
    assert 50 * 2**20 < found["context_bytes"]["value"] < 4 * 2**30


def test_without_time_nothing_is_measured():
    assert list(facts.measure_facts(CPU, budget_seconds=0.0)) == []
    assert contexts.context_bytes(CPU, 0.5) is None


def test_a_program_that_cannot_run_leaves_the_others(monkeypatch):
    def failing(*_):
        raise CannotRun("out of memory")

    monkeypatch.setitem(facts._PROGRAMS, "cpu", (failing, facts.memory_rate))
    assert [r["name"] for r in facts.measure_facts(CPU, budget_seconds=5.0)] == [
        "memory_bytes_per_s"
    ]


def test_the_segment_that_a_tensor_lies_in():
    snapshot = [
        {"address": 0x1000, "total_size": 2 << 20},
        {"address": 0x900000, "total_size": 20 << 20},
        {"address": 0x9000000, "total_size": 64 << 20, "is_expandable": True},
    ]
    assert (
        facts.segment_bytes(snapshot, 0x1000) == 2 << 20
        and facts.segment_bytes(snapshot, 0x900000 + 12345) == 20 << 20
    )
    assert (
        facts.segment_bytes(snapshot, 0x9000010) is None
        and facts.segment_bytes(snapshot, 0x10) is None
    )


@pytest.mark.parametrize(
    "joules, watts, expected",
    [
        ((10.0, 20.0), [None] * 5, True),
        ((None, None), [50.0, 60.0, None, 55.0, 58.0], 56.5),
        ((None, None), [None] * 5, None),
    ],
)
def test_power_at_rest_comes_from_readings_or_from_the_counter(
    joules, watts, expected, monkeypatch
):
    monkeypatch.setattr(facts, "_RESTING_SECONDS", 0.01)
    counter, readings = iter(joules), iter(watts)
    device = SimpleNamespace(
        kind="cuda",
        synchronise=lambda: None,
        joules=lambda: next(counter),
        nvml=nvml(nvmlDeviceGetPowerUsage=lambda _board: _milliwatts(next(readings))),
    )
    found = list(facts.power_at_rest(device, time.monotonic() + 60))
    if expected is None:
        assert found == []
    elif expected is True:
        assert found[0]["value"] > 0.5  # ten joules in a moment
    else:
        assert found[0]["value"] == expected
    assert list(facts.power_at_rest(device, time.monotonic())) == []


def _milliwatts(watts):
    return Refused()() if watts is None else int(watts * 1000)


def test_power_is_not_asked_of_a_processor_without_a_counter():
    start = time.monotonic()
    assert (
        list(
            facts.power_at_rest(
                SimpleNamespace(kind="cpu", joules=lambda: None, synchronise=lambda: None),
                time.monotonic() + 60,
            )
        )
        == []
    )
    assert time.monotonic() - start < facts._RESTING_SECONDS


class _Device:
    """A device whose free memory shrinks while another process lives."""

    kind, device = "cuda", "cuda:0"

    def __init__(self, others=()):
        shown = [process(number) for number in (os.getpid(), *others)]
        self.nvml = nvml(nvmlDeviceGetComputeRunningProcesses=shown)

    def synchronise(self):
        pass


def test_a_context_is_what_is_missing_while_another_process_is_there(monkeypatch):
    free = iter([(100_000_000, 0), (60_000_000, 0)])
    monkeypatch.setattr(torch, "cuda", cuda(mem_get_info=lambda _: next(free)))
    monkeypatch.setattr(
        contexts, "_ON_CUDA", "import sys; print(1000, flush=True); sys.stdin.readline()"
    )
    assert contexts.context_bytes(_Device(), 30.0)[0] == 40_000_000 - 1000


@pytest.mark.parametrize("others, expected", [((), 30), ((4711,), None)])
def test_where_no_other_process_may_start_this_one_is_asked(others, expected, monkeypatch):
    monkeypatch.setattr(torch, "cuda", cuda(mem_get_info=(50, 100), memory_reserved=20))
    monkeypatch.setattr(contexts, "_ON_CUDA", "raise SystemExit(1)")
    found = contexts.context_bytes(_Device(others), 30.0)
    assert (found and found[0]) == expected


def test_a_process_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(torch, "cuda", cuda(mem_get_info=(50, 100)))
    monkeypatch.setattr(contexts, "_ON_CUDA", "import time; time.sleep(60)")
    start = time.monotonic()
    assert contexts._of_another_process(_Device(), 1.6) is None and time.monotonic() - start < 20


def test_the_child_programs_are_python():
    for code in (contexts._ON_CUDA, contexts._ON_A_PROCESSOR):
        compile(code, "child", "exec")


def test_a_compiler_that_fails_is_a_doubt_and_no_crash(monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(torch, "compile", broken)
    (record,) = facts.measure_facts(CPU, budget_seconds=0.0, compiled=True)
    assert (
        record["record"] == "trust"
        and "no C++ compiler second line" in record["what"]
        and record["mend"]
    )


def test_shares_compare_the_compiled_with_the_plain(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda chain, **_: chain)
    monkeypatch.setattr(compiled, "_SECONDS", 0.1)
    for record in compiled.measure_compiled(CPU):
        assert record["record"] == "fact" and 0.02 < record["value"] < 50


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_facts_of_a_gpu():
    found = {
        r["name"]: r["value"] for r in facts.measure_facts(backend("cuda"), budget_seconds=30.0)
    }
    assert (
        found["allocator_round_bytes"] == 512 and found["allocator_small_segment_bytes"] == 2 << 20
    )
    assert (
        found["host_to_device_pinned_bytes_per_s"] > 1e9
        and found["context_bytes"] > 100 * 2**20
        and found["malloc_seconds"] > 0
    )


@pytest.mark.parametrize("asked", [True, False])
def test_a_session_measures_compiled_chains_where_it_is_asked_to(asked, tmp_path, monkeypatch):
    world = World(cases=4)
    monkeypatch.setattr(recording, "time", world.clock())
    tools = replace(
        world.tools(),
        compiled=lambda _backend: iter(
            [{"record": "fact", "name": "compile_host_share", "value": 0.4, "unit": "share"}]
        ),
    )
    done = session.measure(
        Backend(),
        tmp_path / "device.json",
        session.Plan(seconds=30.0, started=world.now, compiled=asked),
        using=tools,
    )
    assert ("compile_host_share" in done.profile.facts) is asked
