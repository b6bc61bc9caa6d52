"""Devices and what is read of them, with answers of a board in place of the driver's."""

import json
import os
import sys
from types import SimpleNamespace

import pynvml
import pytest
import torch
from fakes.nvml import Refused, library, nvml, process
from fakes.torch_cuda import cuda as torch_cuda
from fakes.torch_cuda import properties

from planner.calibrate.operations.backends import backend
from planner.devices.telemetry import monitor, processor
from planner.devices.telemetry.monitor import Load, Monitor, doubts_of
from planner.devices.telemetry.nvml import Nvml
from planner.errors import MachineError, QuestionError

GPU = SimpleNamespace(kind="cuda", name="a GPU", joules=lambda: None)


def only(known):
    """A board or a slice by this name; the driver finds no other."""

    def found(name):
        return name if name == known else Refused(pynvml.NVML_ERROR_NOT_FOUND)()

    return found


def watched(samples=12, **answers):
    with Monitor(GPU, nvml(**answers), every_seconds=60) as watch:
        for _ in range(samples):
            watch._take()
    return watch


def said(watch):
    """Doubts about the device; the machine that runs the tests may be as busy as it likes."""
    return [d for d in watch.doubts() if "processor" not in d[0] and "battery" not in d[0]]


def test_the_processor_is_a_device():
    cpu = backend("cpu")
    facts = json.loads(json.dumps(cpu.facts()))
    assert (
        facts["kind"] == "cpu"
        and facts["name"]
        and facts["threads"] == torch.get_num_threads()
        and facts["total_memory_bytes"] > 2**28
    )
    assert facts["host"]["usable_cores"] >= 1 and facts["torch"] == torch.__version__
    assert 0 < cpu.free_bytes() <= facts["total_memory_bytes"] and 0 < cpu.cache_bytes <= 64 * 2**20
    assert cpu.dtypes()[0] == "float32" and cpu.alive()


def test_threads_are_those_that_torch_uses_now():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert backend("cpu").facts()["threads"] == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["gpu0", "cuda:x", "tpu"])
def test_a_name_that_is_no_device(name):
    with pytest.raises(QuestionError, match="cuda, cuda:1, mps or cpu"):
        backend(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device_says_what_to_do():
    with pytest.raises(MachineError, match="--device cpu"):
        backend("cuda")


def test_best_device_there_is():
    assert backend().kind == (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )


@pytest.mark.parametrize(
    "major, name, dtypes, mig",
    [
        (9, "NVIDIA H200 MIG 1g.18gb", ("float32", "tf32", "bfloat16", "float16"), "1g.18gb"),
        (7, "Tesla V100", ("float32", "float16"), None),
        (6, "GTX 1080", ("float32",), None),
    ],
)
def test_a_cuda_device_as_torch_describes_it(monkeypatch, major, name, dtypes, mig):
    answers = dict(
        device_count=2,
        get_device_properties=properties(name=name, major=major, L2_cache_size=50 * 2**20),
        mem_get_info=(100, 200),
        memory_reserved=30,
        memory_allocated=10,
    )
    monkeypatch.setattr(torch, "cuda", torch_cuda(**answers))
    monkeypatch.setitem(sys.modules, "pynvml", library())
    cuda = backend("cuda:1")
    facts = json.loads(json.dumps(cuda.facts()))
    assert (
        facts["name"],
        facts["mig"],
        facts["sm_count"],
        facts["compute_capability"],
        facts["driver"],
    ) == (name, mig, 132, f"{major}.0", "570.1")
    assert (
        cuda.dtypes() == dtypes
        and cuda.cache_bytes == 50 * 2**20
        and cuda.free_bytes() == 120
        and cuda.index == 1
    )
    with pytest.raises(QuestionError, match="This machine has 2"):
        backend("cuda:2")


def test_nvml_reads_in_our_units():
    board = nvml()
    assert (
        board.watts(),
        board.limit_watts(),
        board.joules(),
        board.sm_clock_mhz(),
        board.most_sm_clock_mhz(),
        board.temperature_c(),
        board.driver,
    ) == (250.0, 700.0, 5.0, 1980.0, 1980.0, 55.0, "570.1")
    assert board.throttles() == set() and board.mig is None


def test_what_nvml_refuses_is_unknown():
    board = nvml(
        nvmlDeviceGetPowerUsage=Refused(),
        nvmlDeviceGetComputeRunningProcesses=Refused(),
        nvmlDeviceGetCurrentClocksThrottleReasons=Refused(),
    )
    assert board.watts() is None and board.other_processes(1) is None and board.throttles() is None
    nowhere = nvml(nvmlInit=Refused(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert nowhere.watts() is None and nowhere.driver is None
    assert Nvml.of_no_device().watts() is None


def test_a_device_is_found_by_its_uuid():
    known = library(nvmlDeviceGetHandleByUUID=only("GPU-ab-12"))
    board = Nvml(0, "ab-12", library=known)
    assert board.handle == "GPU-ab-12" and board.mig is None


def test_a_slice_is_watched_on_its_board():
    known = library(
        nvmlDeviceGetHandleByUUID=only("MIG-ab-12"),
        nvmlDeviceGetDeviceHandleFromMigDeviceHandle=lambda handle: f"board of {handle}",
    )
    board = Nvml(0, "ab-12", library=known)
    assert board.mig == "MIG-ab-12" and board.handle == "board of MIG-ab-12"


def test_readings_are_means_since_the_last():
    numbers = iter([200_000, 300_000, 100_000, 400_000])
    watch = watched(1, nvmlDeviceGetPowerUsage=lambda _h: next(numbers))
    assert watch.readings()["watts"] == 250.0
    assert watch.readings()["watts"] == 100.0


def test_energy_since_the_last_reading():
    counter = iter([10.0, 35.0, 36.0])
    watch = Monitor(SimpleNamespace(kind="cpu", name="x", joules=lambda: next(counter))).start()
    assert watch.readings()["joules"] == 25.0 and watch.readings()["joules"] == 1.0
    uncounted = SimpleNamespace(kind="cpu", name="x", joules=lambda: None)
    assert Monitor(uncounted).start().readings()["joules"] is None


def test_a_quiet_device_raises_no_doubt():
    assert said(watched()) == []


def test_another_process_on_the_device():
    own = process(os.getpid())
    assert said(watched(nvmlDeviceGetComputeRunningProcesses=[own])) == []
    ((what, mend),) = said(watched(nvmlDeviceGetComputeRunningProcesses=[own, process(1)]))
    assert "1 other process used" in what and "nvidia-smi" in mend
    # Where process numbers are those of the host outside a container, one of them is this process.
    assert said(watched(nvmlDeviceGetComputeRunningProcesses=[process(10**9)])) == []


@pytest.mark.parametrize(
    "bits, what", [(0x4, "power cap"), (0x40, "temperature"), (0x8, "hardware")]
)
def test_throttling(bits, what):
    ((line, mend),) = said(watched(nvmlDeviceGetCurrentClocksThrottleReasons=bits))
    assert what in line and mend


def test_idle_and_chosen_clocks_are_no_throttling():
    assert said(watched(nvmlDeviceGetCurrentClocksThrottleReasons=0x1 | 0x2 | 0x10)) == []


def test_drifting_clocks():
    falling = iter(range(1980, 1000, -20))
    ((line, _),) = said(watched(24, nvmlDeviceGetClockInfo=lambda _h, _k: next(falling)))
    assert "drifted" in line
    idle_between = iter([1980, 345] * 20)
    assert said(watched(24, nvmlDeviceGetClockInfo=lambda _h, _k: next(idle_between))) == []


def test_a_shared_processor():
    before = Load(100.0, 50.0, 1.0, 10.0)
    assert monitor._of_load(before, Load(120.0, 60.0, 1.0, 19.5)) == []
    ((others, _),) = monitor._of_load(before, Load(120.0, 60.0, 1.0, 15.0))
    assert "other programs took 25%" in others
    ((stolen, _),) = monitor._of_load(before, Load(120.0, 60.0, 2.0, 20.0))
    assert "withheld 5%" in stolen
    assert monitor._of_load(before, before) == []


def test_a_sleepy_governor(monkeypatch):
    monkeypatch.setattr(processor, "governor", lambda: "powersave")
    monkeypatch.setattr(processor, "clock_driver", lambda: "acpi-cpufreq")
    assert any("powersave" in what for what, _ in monitor._of_power("cpu"))
    monkeypatch.setattr(processor, "clock_driver", lambda: "intel_pstate")
    assert not any("powersave" in what for what, _ in monitor._of_power("cpu"))


def test_scattered_samples():
    steady, loose = (
        SimpleNamespace(seconds=1.0, low_seconds=1 - s, high_seconds=1 + s, samples=(1, 1, 1))
        for s in (0.01, 0.3)
    )
    assert doubts_of([steady] * 9 + [loose]) == [] == doubts_of([])
    ((what, mend),) = doubts_of([steady, loose])
    assert "1 of 2" in what and "--again" in mend


def test_caches_and_clocks_as_the_system_writes_them(tmp_path):
    for index, level, kind, size in [
        (0, 1, "Data", "48K"),
        (1, 1, "Instruction", "32K"),
        (2, 2, "Unified", "2048K"),
        (3, 3, "Unified", "480M"),
    ]:
        folder = tmp_path / "cpu0" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", str(level)), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    assert (
        processor.cache_bytes(1, tmp_path) == 48 * 2**10
        and processor.cache_bytes(2, tmp_path) == 2 * 2**20
        and processor.cache_bytes(3, tmp_path) == 480 * 2**20
    )
    assert processor.governor(tmp_path) is None


def test_the_processors_energy(tmp_path):
    for zone, text in (
        ("intel-rapl:0", "2000000"),
        ("intel-rapl:1", "500000"),
        ("intel-rapl:0:0", "77"),
    ):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(text)
    assert processor.joules(tmp_path) == pytest.approx(2.5)
    assert processor.joules(tmp_path / "none") is None


def test_memory_that_a_container_leaves(tmp_path):
    assert processor.container_free_bytes(tmp_path) is None
    for name, text in (
        ("memory.max", "1000"),
        ("memory.current", "700"),
        ("memory.stat", "anon 1\ninactive_file 200\n"),
    ):
        (tmp_path / name).write_text(text)
    assert processor.container_free_bytes(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert processor.container_free_bytes(tmp_path) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_and_its_monitor():
    cuda = backend("cuda:0")
    facts = json.loads(json.dumps(cuda.facts()))
    assert facts["kind"] == "cuda" and facts["sm_count"] > 0 and facts["total_memory_bytes"] > 2**30
    assert 0 < cuda.free_bytes() <= facts["total_memory_bytes"] and cuda.cache_bytes > 2**20
    with Monitor(cuda) as watch:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        cuda.occupy(0.02)
        end.record()
        cuda.synchronise()
        readings = watch.readings()
    assert 0.5 < start.elapsed_time(end) / 20 < 2.0
    if cuda.nvml.handle is not None:
        assert 100 < readings["sm_clock_mhz"] < 5000 and 0 < readings["temperature_c"] < 120
    with pytest.raises(QuestionError, match="there is no cuda:99"):
        backend("cuda:99")
