"""The parts of a recorder: the sample of its steps, events, what a device counts."""

import sys

import pytest
import torch
from fakes.nvml import Refused, library, process
from fakes.torch_cuda import cuda

from planner.devices.telemetry.device_watch import DeviceWatch, StepEvents
from planner.ledger import stopwatch
from planner.recording import recorder


def test_the_sample_of_a_long_run_is_bounded_and_even():
    times = stopwatch.StepTimes()
    for number in range(100_000):
        times.add(1.0 + (number % 100) / 100)
    found = times.summary()
    assert (
        len(times.rest.values) < 2 * stopwatch.SAMPLE_STEPS
        and len(found["step_samples"]) <= stopwatch.RECORDED_SAMPLES
    )
    assert found["step_seconds_mean"] == pytest.approx(1.495, rel=1e-3) and found[
        "step_seconds"
    ] == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(
    "steps, apart",
    [
        ([9], 0),
        ([9, 1, 1], 0),
        ([9, 1, 1, 1], 2),
        ([9, 8, 7, 1, 1, 1, 1, 1], 3),
        ([1, 1, 1, 1, 9, 1], 2),
    ],
)
def test_what_is_warming_up(steps, apart):
    times = stopwatch.StepTimes()
    for seconds in steps:
        times.add(seconds)
    assert times.warm_up_steps() == apart and times.summary()["step_seconds"] > 0


class Event:
    """Stands for a CUDA event: it has happened when the test says so."""

    def __init__(self, at, happened):
        self.at, self.happened = at, happened

    def query(self):
        return self.happened[0] >= self.at

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3


def test_events_are_read_in_order_once_they_have_happened():
    happened, events = [0.0], StepEvents()
    for number in range(10):
        assert (
            events.add(
                [
                    ("forward", Event(number, happened), Event(number + 0.5, happened)),
                    (None, Event(number + 0.5, happened), Event(number + 1, happened)),
                ]
            )
            == []
        )
    assert events.done() == []
    happened[0] = 3.0
    assert events.done() == [[("forward", 0.5), (None, 0.5)]] * 3 and len(events.pending) == 7
    happened[0] = 100.0
    assert len(events.done()) == 7


def watch_of(monkeypatch, millijoules, reset_peak=True, part=False, **answers):
    """A watch of one board, or of a slice of it; what torch.cuda was asked."""
    counter = iter(millijoules)

    def handle(uuid):
        return uuid if uuid.startswith("MIG-" if part else "GPU-") else Refused()()

    board = library(
        nvmlDeviceGetHandleByUUID=handle,
        nvmlDeviceGetTotalEnergyConsumption=lambda _board: next(counter, None) or Refused()(),
        nvmlDeviceGetComputeRunningProcesses=[process(1234), process(1235)],
    )
    monkeypatch.setitem(sys.modules, "pynvml", board)
    device = cuda(**answers)
    monkeypatch.setattr(torch, "cuda", device)
    watch = DeviceWatch(reset_peak=reset_peak)
    watch.begin()
    return watch, device


def test_the_devices_counters_are_read(monkeypatch):
    failures = {"num_ooms": 0}
    watch, device = watch_of(
        monkeypatch,
        [100_000, 350_000],
        memory_stats=failures,
        max_memory_allocated=7_000,
        max_memory_reserved=9_000,
        mem_get_info=(40_000, 50_000),
    )
    found = watch.measured()
    assert (
        device.asked.count("reset_peak_memory_stats") == 1
        and found["peak_allocated_bytes"] == 7_000
        and found["peak_reserved_bytes"] == 9_000
        and found["device_used_bytes"] == 10_000
    )
    assert (
        found["energy_joules"] == pytest.approx(250.0)
        and found["mean_watts"] > 0
        and "other processes" in watch.notes[0]
    )
    assert watch.name() == "NVIDIA H100 80GB HBM3" and watch.machine()["driver"] == "570.1"
    assert not watch.ran_out()
    failures["num_ooms"] = 1
    assert watch.ran_out()
    assert watch.stamp().query()


def test_what_cannot_be_read_is_left_out(monkeypatch):
    watch, device = watch_of(monkeypatch, [], reset_peak=False)
    assert "reset_peak_memory_stats" not in device.asked
    assert "energy_joules" not in watch.measured()


def test_a_slice_of_a_board_has_no_counter_of_energy(monkeypatch):
    whole, _ = watch_of(monkeypatch, [100_000, 200_000])
    part, _ = watch_of(monkeypatch, [100_000, 200_000], part=True)
    assert "energy_joules" in whole.measured() and "energy_joules" not in part.measured()


def test_a_name_of_torchs_device_is_not_asked_before_the_run_made_a_context(monkeypatch):
    watch = recorder.DeviceWatch("cuda")
    monkeypatch.setitem(
        sys.modules,
        "torch",
        type("T", (), {"cuda": type("C", (), {"is_initialized": staticmethod(lambda: False)})})(),
    )
    watch.begin()
    assert watch.cuda is None and watch.measured() == {} and watch.stamp() is None
