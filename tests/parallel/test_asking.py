"""The host's time of asking for what devices send each other."""

from dataclasses import replace

import numpy as np
import pytest
from handmade_traces import make

from planner import estimate
from planner.devices.lookup import find_device
from planner.devices.priors import prior
from planner.parallel.model.sequence import TENSOR, TensorSending
from planner.parallel.plan import ParallelPlan
from planner.parallel.shared_time import asking_seconds
from planner.parallel.source import SENT, Sending
from planner.step_time.clock import StepClock

SPEC = find_device("h100-sxm")
#: A pass forward and back over two weights.
TRAINED = make(
    [(0, "forward"), (0, "backward")],
    [(0, -1, 2, "weights"), (0, -1, 2, "weights"), (0, 0, 1, "activations")],
    [((3,), 4)],
)
SMALL = dict(
    model="gpt2",
    samples=1000,
    tokens_per_sample=256,
    gpu="h100",
    gpus=8,
    price=2.0,
    strategy=["fine_tune"],
    micro_batch=1,
    global_batch=8,
)


def asked(meta, **degrees):
    trace = replace(TRAINED, meta={**TRAINED.meta, **meta})
    return asking_seconds(StepClock(SPEC), trace, ParallelPlan(**degrees))


def test_copies_ask_for_nothing_here():
    assert asked({}, dp_replicate=8) == 0


def test_tensor_parallel_ranks_pay_for_each_collective():
    sending = TensorSending(0, gathers=(2, 3), scatters=(2, 3), rows=0, sums=3)
    each = prior(SPEC, "host", "tensor_collective_seconds")
    assert asked({TENSOR: sending}, tp=4) == pytest.approx(13 * each)


def test_stages_pay_for_each_pair_of_a_part():
    one = asked({}, pp=2)
    assert one > 0 and asked({}, pp=2, chunks=3) == pytest.approx(3 * one)


def test_fsdp_pays_for_units_and_parameters_and_zero_does_not():
    held = int(((TRAINED.birth < 0) & (TRAINED.category == 0)).sum())
    plan = {"dp_shard": 4, "sharding": "fsdp"}
    few, many = (asked({SENT: Sending(units=n)}, **plan) for n in (1, 5))
    assert many - few == pytest.approx(4 * prior(SPEC, "host", "fsdp_unit_seconds"))
    assert few == pytest.approx(
        prior(SPEC, "host", "fsdp_unit_seconds")
        + held * prior(SPEC, "host", "fsdp_parameter_seconds")
    )
    assert asked({SENT: Sending(units=5)}, dp_shard=4, sharding="zero3") == 0


def test_it_shows_where_the_host_is_late_and_hides_where_it_is_not(monkeypatch):
    def seconds(**fields):
        question = SMALL | fields
        return estimate(question.pop("model"), **question)["options"][0]["step"]["seconds"]["p50"]

    late, busy = {"parallel": "fsdp"}, {"parallel": "fsdp", "micro_batch": 64, "global_batch": 512}
    with_it = seconds(**late), seconds(**busy)
    monkeypatch.setattr("planner.parallel.shared_time.asking_seconds", lambda *_: 0.0)
    without = seconds(**late), seconds(**busy)
    assert with_it[0] > 1.05 * without[0]
    assert np.isclose(with_it[1], without[1], rtol=0.02)
