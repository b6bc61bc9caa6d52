"""The rules of measuring, on a clock that the tests turn: no test here depends on how fast the
machine is."""

import gc
import itertools

import pytest
import torch

from planner.calibrate.operations import timing
from planner.calibrate.operations.backends import backend
from planner.calibrate.operations.timing import time_calls, time_case
from planner.operations.bench import CannotRun
from planner.operations.cases import case


class Clock:
    """A device that takes ``durations`` in turn for its calls, and an asynchronous one that waits
    when synchronised."""

    def __init__(self, monkeypatch, durations, kind="cpu", enqueue=1e-5, watts=None):
        self.now, self.device_free, self.kind, self.enqueue, self.watts = (
            100.0,
            100.0,
            kind,
            enqueue,
            watts,
        )
        self.durations, self.calls = itertools.cycle(durations), 0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def call(self, number=0):
        def work():
            assert not gc.isenabled()
            self.calls += 1
            self.order = [*getattr(self, "order", []), number]
            seconds = next(self.durations)
            if self.kind == "cpu":
                self.now += seconds
            else:
                self.now += self.enqueue
                self.device_free = max(self.device_free, self.now) + seconds

        return work

    def synchronise(self):
        self.now = max(self.now, self.device_free) if self.kind != "cpu" else self.now

    def joules(self):
        return None if self.watts is None else self.watts * self.now


def test_a_steady_call_is_soon_known(monkeypatch):
    clock = Clock(monkeypatch, [0.004])
    found = time_calls([clock.call()], clock)
    assert (
        found.seconds == pytest.approx(0.004)
        and found.low_seconds == pytest.approx(0.004) == found.high_seconds
    )
    assert len(found.samples) == 5 and found.repeats == clock.calls and clock.now - 100 < 0.15
    assert found.host_seconds == found.seconds and found.joules is None


def test_a_noisy_call_is_repeated_until_its_budget_is_spent(monkeypatch):
    clock = Clock(monkeypatch, [0.001, 0.003, 0.002, 0.005, 0.001])
    found = time_calls([clock.call()], clock, budget_seconds=0.05)
    assert len(found.samples) > 10 and 0.05 <= clock.now - 100 < 0.06
    assert found.low_seconds < found.seconds < found.high_seconds


def test_a_call_that_warms_up_is_not_measured_cold(monkeypatch):
    clock = Clock(monkeypatch, [1.0])
    clock.durations = itertools.chain([0.020, 0.010, 0.006], itertools.repeat(0.001))
    found = time_calls([clock.call()], clock, budget_seconds=0.3)
    assert max(found.samples) < 0.0011


def test_a_call_longer_than_its_budget_is_timed_a_few_times(monkeypatch):
    clock = Clock(monkeypatch, [2.0])
    found = time_calls([clock.call()], clock, budget_seconds=0.15)
    assert 2 <= len(found.samples) <= 3 and clock.calls <= 5


def test_short_calls_are_grouped_in_whole_turns_over_the_buffers(monkeypatch):
    clock = Clock(monkeypatch, [1e-6])
    found = time_calls([clock.call(i) for i in range(16)], clock)
    inner = (found.repeats - 16) / len(found.samples)  # the first turn warms every buffer up
    assert inner % 16 == 0 and inner * 1e-6 >= 0.9 * 2e-4
    assert clock.order[:20] == [i % 16 for i in range(20)]


def test_the_hosts_seconds_are_apart_where_the_device_works_by_itself(monkeypatch):
    clock = Clock(monkeypatch, [1e-3], kind="mps", enqueue=2e-5)
    found = time_calls([clock.call()], clock)
    assert found.host_seconds == pytest.approx(2e-5) and found.seconds == pytest.approx(
        1e-3, rel=0.05
    )


class Events:
    """``torch.cuda.Event`` on a test's clock: an event happens when the device has done what was
    asked before."""

    def __init__(self, clock):
        self.clock = clock

    def __call__(self, enable_timing):
        assert enable_timing
        clock = self.clock

        class Event:
            def record(self):
                self.at = clock.device_free = max(clock.device_free, clock.now)

            def synchronize(self):
                clock.now = max(clock.now, self.at)

            def elapsed_time(self, other):
                return (other.at - self.at) * 1e3

        return Event()


@pytest.mark.parametrize("seconds, enqueue", [(3e-6, 8e-5), (2e-4, 1e-5), (5e-3, 1e-5)])
def test_a_device_is_not_timed_at_the_pace_of_its_host(monkeypatch, seconds, enqueue):
    """Kernels that are shorter than their launch run without gaps, since the device is kept busy
    until all are enqueued."""
    clock = Clock(monkeypatch, [seconds], kind="cuda", enqueue=enqueue)
    clock.occupy = lambda busy: setattr(
        clock, "device_free", max(clock.device_free, clock.now) + busy
    )
    monkeypatch.setattr(torch.cuda, "Event", Events(clock))
    found = time_calls([clock.call(i) for i in range(4)], clock)
    assert found.seconds == pytest.approx(
        seconds, rel=1e-3
    ) and found.host_seconds == pytest.approx(enqueue, rel=1e-3)


def test_energy_is_the_counters_over_a_long_loop(monkeypatch):
    clock = Clock(monkeypatch, [0.01], watts=50.0)
    assert time_calls([clock.call()], clock, budget_seconds=1.0).joules == pytest.approx(0.5)
    assert time_calls([clock.call()], clock, budget_seconds=0.15).joules is None


def test_garbage_is_collected_again_after_a_failure(monkeypatch):
    def fails():
        raise ValueError

    with pytest.raises(ValueError):
        time_calls([fails], Clock(monkeypatch, [1.0]))
    assert gc.isenabled()


def test_a_real_case_on_this_processor():
    cpu = backend("cpu")
    small, large = (
        case(
            "aten.mm.default",
            [((n, n), "float32"), ((n, n), "float32", "t")],
            [((n, n), "float32")],
        )
        for n in (16, 1024)
    )
    quick, slow = (time_case(c, cpu, budget_seconds=0.05) for c in (small, large))
    assert 0 < quick.low_seconds <= quick.seconds <= quick.high_seconds
    assert slow.seconds > quick.seconds and quick.repeats > slow.repeats


def test_a_case_that_cannot_run_says_why():
    with pytest.raises(CannotRun):
        time_case(
            case(
                "aten.mm.default", [((4, 5), "float32"), ((6, 4), "float32")], [((4, 4), "float32")]
            ),
            backend("cpu"),
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnCuda:
    def test_device_seconds_are_not_the_hosts(self):
        """A tiny kernel takes the device a few microseconds, however slow Python is."""
        cuda = backend("cuda")
        tiny = time_case(
            case("aten.add.Tensor", [((64,), "float32"), ((64,), "float32")], [((64,), "float32")]),
            cuda,
        )
        assert 0 < tiny.seconds < tiny.host_seconds

    @pytest.mark.parametrize("precision", ["fp32", "tf32"])
    def test_a_product_stays_below_any_peak(self, precision):
        cuda, n = backend("cuda"), 4096
        found = time_case(
            case(
                "aten.mm.default",
                [((n, n), "float32"), ((n, n), "float32", "t")],
                [((n, n), "float32")],
                precision=precision,
            ),
            cuda,
        )
        assert 1e11 < 2 * n**3 / found.seconds < 3e15

    def test_tf32_is_faster(self):
        cuda, n = backend("cuda"), 4096
        if "tf32" not in cuda.dtypes():
            pytest.skip("no TF32")
        plain, fast = (
            time_case(
                case(
                    "aten.mm.default",
                    [((n, n), "float32"), ((n, n), "float32")],
                    [((n, n), "float32")],
                    precision=p,
                ),
                cuda,
            )
            for p in ("fp32", "tf32")
        )
        assert fast.seconds < plain.seconds

    def test_attention_both_ways(self):
        cuda, q, k = (
            backend("cuda"),
            ((2, 16, 1024, 64), "bfloat16", "s"),
            ((2, 4, 1024, 64), "bfloat16", "s"),
        )
        forward = time_case(
            case(
                "planner.attention.default",
                [q, k, k],
                [q, ((2, 16, 1024), "float32")],
                causal=True,
                dropout=0.0,
            ),
            cuda,
        )
        backward = time_case(
            case(
                "planner.attention_backward.default",
                [q, q, k, k, q, ((2, 16, 1024), "float32")],
                [q, k, k],
                causal=True,
                dropout=0.0,
                mask_grad=False,
            ),
            cuda,
        )
        assert 0 < forward.seconds < backward.seconds

    def test_out_of_memory_is_a_result(self):
        cuda = backend("cuda")
        n = int(cuda.free_bytes() // 4 * 0.6)
        with pytest.raises(CannotRun, match="out of memory"):
            time_case(case("aten.relu.default", [((n,), "float32")], [((n,), "float32")]), cuda)

    def test_energy(self):
        cuda, n = backend("cuda"), 4096
        if cuda.joules() is None:
            pytest.skip("no energy counter")
        found = time_case(
            case(
                "aten.mm.default",
                [((n, n), "bfloat16"), ((n, n), "bfloat16")],
                [((n, n), "bfloat16")],
            ),
            cuda,
            budget_seconds=1.0,
        )
        assert 0 < found.joules / found.seconds < 2000
