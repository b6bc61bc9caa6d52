"""``planner calibrate`` on a CUDA device, without one: NVML and torch.cuda answer with exactly the
surface of the installed modules, so that a name that they lack fails here."""

import itertools
import json
import sys

import pytest

torch = pytest.importorskip("torch")

from fakes import nvml  # noqa: E402
from fakes.torch_cuda import GIB, on_cuda, properties  # noqa: E402

from planner.calibrate import context, facts, suites  # noqa: E402
from planner.calibrate.operations import reference  # noqa: E402
from planner.calibrate.operations.backends import CudaBackend  # noqa: E402
from planner.cli import main  # noqa: E402
from planner.devices.telemetry.nvml import Nvml  # noqa: E402
from planner.operations.cases import case  # noqa: E402

SIZES = (1024, 4096, 16384, 65536)
FACTS = {
    "memory_bytes_per_s",
    "allocator_round_bytes",
    "allocator_small_segment_bytes",
    "allocator_large_segment_bytes",
    "host_to_device_pinned_bytes_per_s",
    "device_to_host_pageable_bytes_per_s",
    "host_to_device_seconds",
    "matmul_flops_per_s.bfloat16",
    "idle_watts",
    "malloc_seconds",
    "free_seconds",
    "context_bytes",
}


def _quiet(visited, _part):
    return {"mean": 1.1e-3, "least": 1e-3, "clock_mhz": visited._clock()}


@pytest.fixture
def small(monkeypatch):
    """A suite of a few sizes, and facts of small buffers: the paths are the same."""
    adds = [case("aten.add.Tensor", [((n,), "float32")] * 2, [((n,), "float32")]) for n in SIZES]
    monkeypatch.setattr(suites, "suite", lambda _backend: adds)
    monkeypatch.setitem(facts._COPY_BYTES, "cuda", 1 << 16)
    monkeypatch.setitem(facts._WIDTH, "cuda", {2: 32, 4: 32})
    monkeypatch.setattr(facts, "_LINK_BYTES", 1 << 14)
    monkeypatch.setattr(facts, "_ALLOCATED", {"malloc_seconds": 1 << 12})
    for name, seconds in (("_ONE_SECONDS", 0.01), ("_RESTING_SECONDS", 0.01)):
        monkeypatch.setattr(facts, name, seconds)
    # the machine that the test runs on is as quiet as this says
    monkeypatch.setattr(reference.Reference, "__call__", _quiet)
    # what another process with a context takes cannot be seen without a device
    monkeypatch.setattr(context, "LEAST_SECONDS", 1e9)


@pytest.fixture
def calibrated(small, monkeypatch, tmp_path, capsys):
    """Exit code, the document, standard error, and what torch.cuda was asked."""

    def call(*more, board=None, **answers):
        counter, held = itertools.count(10**6, 10**5), itertools.count(3 * GIB, 2**20)
        answered = dict(
            nvmlDeviceGetHandleByUUID=lambda uuid: (
                "board" if uuid == "GPU-ab-12" else nvml.Refused()()
            ),
            nvmlDeviceGetTotalEnergyConsumption=lambda _board: next(counter),
        )
        monkeypatch.setitem(sys.modules, "pynvml", nvml.library(**answered | (board or {})))
        usual = dict(
            memory_reserved=lambda device=None: next(held),
            memory_snapshot=[dict(address=0, total_size=2**62)],
        )
        arguments = ["calibrate", "--device", "cuda", "--seconds", "12", "--json", *more]
        with on_cuda(monkeypatch, **usual | answers) as device:
            code = main.run([*arguments, "--out", str(tmp_path / "h100.json")])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err, device.asked

    return call


def doubts(document):
    return [d["what"] for d in document["doubts"]]


def test_a_device_is_calibrated_with_all_its_facts(calibrated):
    code, found, _, asked = calibrated()
    assert code == 0 and found["name"] == "NVIDIA H100 80GB HBM3" and found["kind"] == "cuda"
    assert found["cases"] == len(SIZES) and "mig" not in found["device"]
    assert found["device"]["power_limit_watts"] == 700.0
    assert not FACTS - set(found["facts"]) and found["facts"]["idle_watts"] == 250.0
    assert not [d for d in doubts(found) if "fault of the planner" in d or "not be measured" in d]
    assert {"_sleep", "synchronize", "mem_get_info", "get_allocator_backend"} <= set(asked)


def test_a_slice_with_others_on_its_board(calibrated):
    code, found, _, _ = calibrated(
        board=dict(
            nvmlDeviceGetHandleByUUID=lambda uuid: (
                "part" if uuid == "MIG-ab-12" else nvml.Refused()()
            ),
            nvmlDeviceGetDeviceHandleFromMigDeviceHandle="board",
            nvmlDeviceGetComputeRunningProcesses=[nvml.process(1), nvml.process(2)],
            nvmlDeviceGetCurrentClocksThrottleReasons=0x4,
        )
    )
    assert code == 0 and found["device"]["mig"] == "MIG-ab-12"
    assert any("other process" in d for d in doubts(found))
    assert any("power cap" in d for d in doubts(found))


def test_a_name_that_is_not_there_is_said_to_be_the_planners_fault(calibrated, monkeypatch):
    monkeypatch.delattr(Nvml, "watts")
    code, document, err, _ = calibrated()
    said = err if document is None else " ".join([*doubts(document), err])
    assert "'Nvml' object has no attribute 'watts'" in said
    assert "unexpected" in said or "fault of the planner" in said


@pytest.mark.parametrize(
    "answers, dtypes, cache",
    [
        ({}, ("float32", "tf32", "bfloat16", "float16"), 50 * 2**20),
        (dict(major=7), ("float32", "float16"), 50 * 2**20),
        (dict(major=6), ("float32",), 50 * 2**20),
        # names that older versions of torch do not have
        (
            dict(L2_cache_size=..., uuid=..., pci_bus_id=..., pci_domain_id=...),
            ("float32", "tf32", "bfloat16", "float16"),
            32 * 2**20,
        ),
    ],
)
def test_properties_as_torch_names_them(monkeypatch, answers, dtypes, cache):
    asked = []
    board = nvml.library(
        nvmlDeviceGetHandleByPciBusId=lambda pci: asked.append(pci) or "board",
        nvmlDeviceGetHandleByUUID=nvml.Refused(),
    )
    monkeypatch.setitem(sys.modules, "pynvml", board)
    with on_cuda(monkeypatch, get_device_properties=properties(**answers)):
        device = CudaBackend(0)
        assert (device.dtypes(), device.cache_bytes) == (dtypes, cache)
        assert device.nvml.handle == "board" and device.alive()
        assert asked == ([] if "pci_bus_id" in answers else ["00000000:01:00.0"])


def test_a_visit_to_the_reference_tells_the_clock(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml.library())
    monkeypatch.setitem(reference._WIDTH, "cuda", 32)
    with on_cuda(monkeypatch):
        visit = reference.Reference(CudaBackend(0))
        found = [visit(part) for part in ("device", "host")]
    for one in found:
        assert 0 < one["least"] <= one["mean"] and one["clock_mhz"] == 1980.0
