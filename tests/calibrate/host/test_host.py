"""Host costs: what is counted, what is taken off, and that records keep to their form."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from planner.calibrate.host import costs as host_costs
from planner.calibrate.host.programs import PROGRAMS
from planner.calibrate.host.small_models import SMALL_MODELS
from planner.calibrate.host.timing import (
    issued,
    one_thread,
    replaying,
    tensors_in,
)
from planner.calibrate.host.whole_steps import measure_steps
from planner.calibrate.operations.backends import backend
from planner.devices.priors import prior
from planner.operations.registry import kind_of
from planner.trace.table import PHASES

CPU = backend("cpu")
COSTS = (
    "forward_seconds",
    "no_grad_seconds",
    "backward_seconds",
    "optimizer_seconds",
    "tensor_seconds",
    "view_forward_seconds",
    "view_backward_seconds",
    "module_seconds",
    "step_seconds",
    "synchronise_seconds",
)
GPU_LIKE = SimpleNamespace(kind="cuda", device=torch.device("cpu"), synchronise=lambda: None)


def test_a_biased_linear_layer_issues_one_product_and_three_views():
    x, weight, bias = torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5)
    found = issued(lambda: functional.linear(x, weight, bias))
    assert [kind_of(str(operator)).name for operator, _, _ in found.calls] == [
        "matmul"
    ] and found.views >= 2


def test_what_a_backward_pass_issues_is_heard_too():
    x = torch.randn(4, 4, requires_grad=True)
    y = functional.gelu(x)
    found = issued(lambda: y.backward(torch.ones_like(y)))
    assert "aten.gelu_backward.default" in [str(operator) for operator, _, _ in found.calls]


def test_replaying_runs_the_operators_again():
    total = torch.zeros(3)
    found = issued(lambda: total.add_(1))
    found.replay()
    assert total.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.kind)
def test_programs_issue_the_kind_that_they_are_named_for(program):
    arguments = program.make(torch.device("cpu"))
    found = issued(lambda: program.run(*arguments))
    if program.kind == "view":
        assert found.views == 4 and not found.launches
    elif program.stands_for is not None:
        with torch.no_grad():
            assert (
                str(issued(lambda: program.stands_for(*arguments)).calls[0][0])
                == "aten.native_dropout.default"
            )
    elif program.kind != "attention":  # a processor's kernel has another name
        assert program.kind in {kind_of(str(operator)).name for operator, _, _ in found.calls}


def test_bare_operators_are_taken_off_where_host_and_device_are_one():
    total = torch.zeros(())
    what = issued(lambda: total.add_(1))
    before = float(total)
    # the operators really run, and a sample is what one run of them takes
    assert replaying(what, CPU)() > 0 and float(total) > before
    before = float(total)
    assert replaying(what, GPU_LIKE)() == 0.0 and float(total) == before


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_thread(CPU):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


@given(
    st.floats(0, 1e-4),
    st.floats(0, 1e-5),
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 500)), min_size=2, max_size=8),
)
def test_two_costs_are_found_again_where_they_explain_all(one, other, counts):
    rows = [(one * a + other * b, a, b, 1.0) for a, b in counts]
    found = host_costs.explained(rows)
    assert all(value >= 0 for value in found)
    assert all(
        abs(found[0] * a + found[1] * b - value) <= 1e-9 + 1e-6 * value for value, a, b, _ in rows
    )


def test_a_cost_below_nothing_leaves_all_to_the_other():
    each, slope = host_costs.explained(
        [(1e-6, 10, 1, 1.0), (10e-6, 10, 10, 1.0), (100e-6, 10, 100, 1.0)]
    )
    assert each == pytest.approx(0, abs=1e-12) and slope == pytest.approx(1e-6)
    each, slope = host_costs.explained(
        [(1e-6, 10, 20, 1.0), (10e-6, 10, 200, 1.0), (30e-6, 10, 900, 1.0)]
    )
    assert each == 0 or slope >= 0


def test_the_weighted_median_is_the_value_at_half_of_the_weight():
    assert host_costs.weighted_median([(5.0, 0.1), (1.0, 0.2), (3.0, 0.6)]) == 3.0
    assert host_costs.weighted_median([(7.0, 1.0)]) == 7.0


def test_optimizers_tensors_are_counted_as_the_clock_counts_them():
    found = host_costs._Measuring._issued_by(
        host_costs._adamw(torch.device("cpu"), 4, foreach=True)
    )
    by_name = {str(operator): len(tensors_in(args)) for operator, args, _ in found.calls}
    assert (
        by_name["aten._foreach_sqrt.default"] == 4
        and by_name["aten._foreach_addcdiv_.ScalarList"] == 12
    )


def test_the_optimizer_issues_what_a_trace_of_it_holds(small):
    trace, _ = small
    recorded = sorted(
        s.op
        for s, n in zip(trace.signatures, trace.counts[:, PHASES.index("optimizer")])
        for _ in range(int(n))
    )
    found = host_costs._Measuring._issued_by(
        host_costs._adamw(torch.device("cpu"), 4, foreach=True)
    )
    assert sorted(str(operator) for operator, _, _ in found.calls) == recorded


def test_a_whole_run_gives_every_cost_that_the_clock_asks_for(monkeypatch):
    monkeypatch.setattr(host_costs, "MEASUREMENTS", 10**6)  # the shortest ones
    monkeypatch.setattr(host_costs, "LEAST_FOR_STEPS_SECONDS", 10**6)
    records = [
        json.loads(json.dumps(record))
        for record in host_costs.measure_host(CPU, budget_seconds=100.0)
    ]
    named = {record["name"]: record for record in records}
    assert all(
        record["record"] == "host"
        and np.isfinite(record["value"])
        and 0 <= record["value"] < (1 if record["unit"] == "s" else 10)
        for record in records
    )
    for parameter in COSTS:
        assert parameter in named
        # the clock knows it by this name
        prior(SimpleNamespace(key="", vendor="", compute_capability=None), "host", parameter)
    assert {
        "forward_seconds.matmul",
        "backward_seconds.normalization",
        "no_grad_seconds.copy",
        "optimizer_seconds.elementwise",
    } <= set(named)
    assert (
        named["backward_seconds.elementwise"]["value"] > 0 and named["tensor_seconds"]["value"] > 0
    )


def test_a_gpu_keeps_the_whole_host_time():
    (matmul,) = [
        r
        for r in host_costs.measure_host(GPU_LIKE, budget_seconds=0.2)
        if r["name"] == "forward_seconds.matmul"
    ]
    assert matmul["bare_seconds"] == 0 and 0 < matmul["value"] <= matmul["gross_seconds"]


def test_a_short_budget_is_kept_and_still_says_something():
    list(host_costs.measure_host(CPU, budget_seconds=0.1))
    start = time.monotonic()
    records = list(host_costs.measure_host(CPU, budget_seconds=0.1))
    assert "view_forward_seconds" in {
        record["name"] for record in records
    } and "optimizer_seconds.elementwise" not in {r["name"] for r in records}
    assert time.monotonic() - start < 5


@pytest.fixture(scope="module")
def small():
    (encoder,) = measure_steps(CPU, time.monotonic() + 60, SMALL_MODELS[:1])
    return encoder.trace, encoder.dims


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_host_costs_on_a_gpu():
    records = {
        r["name"]: r["value"] for r in host_costs.measure_host(backend("cuda"), budget_seconds=8.0)
    }
    assert (
        1e-6 < records["forward_seconds"] < 1e-3
        and 1e-6 < records["backward_seconds"] < 1e-3
        and records["whole.module_seconds"] > 0
        and records["whole.error"] < 0.5
    )
