"""Whole steps of small models become the costs that a step's host time is priced by."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.calibrate.host import fitted_steps as fit
from planner.calibrate.host.fitted_steps import no_less_than_nothing, step_costs
from planner.calibrate.host.small_models import CONFIGURATIONS, SMALL_MODELS
from planner.calibrate.host.whole_steps import Measured, measure_steps
from planner.calibrate.operations.backends import backend
from planner.calibrate.priors import prior
from planner.operations.registry import work
from planner.step_time.host import HostCosts
from planner.step_time.host_charges import PARTS, WHOLE, seconds_of

CPU = backend("cpu")
NAMES = [name for part in PARTS.values() for name in part]
SINGLE = {
    "forward_seconds": 6e-6,
    "no_grad_seconds": 5e-6,
    "backward_seconds": 4e-6,
    "optimizer_seconds": 9e-6,
    "view_forward_seconds": 1e-6,
    "view_backward_seconds": 1e-6,
    "module_seconds": 3e-6,
    "tensor_seconds": 4e-7,
    "step_seconds": 3e-4,
    "synchronise_seconds": 1e-5,
}


@pytest.fixture(scope="module")
def ran():
    """The project's own encoder, and models of transformers under autocast, with adapters and
    frozen."""
    wanted = ("encoder", "bert under autocast", "llama with adapters", "bert frozen")
    models = tuple(model for model in SMALL_MODELS if model.name in wanted)
    return measure_steps(CPU, time.monotonic() + 600, models)


def charged(trace, dims, costs):
    """Seconds of each part as the clock charges them."""
    spec = SimpleNamespace(
        key="",
        vendor="",
        compute_capability=None,
        pricing="calibrated",
        calibration=SimpleNamespace(host=costs, facts={}),
    )
    host, done = HostCosts(spec), work(trace, dims[:, None])
    paid = host.charges(trace, done)
    return host, done, {p: seconds_of(paid, host.whole, (p,)).sum() for p in PARTS}


def test_every_kind_of_small_model_runs_and_is_split_into_its_parts(ran):
    assert len(ran) == 4
    for one in ran:
        assert set(one.seconds) == set(PARTS) and min(one.seconds.values()) > 0
        assert all(0 < one.operators[part] for part in PARTS)


def test_a_frozen_model_records_next_to_nothing(ran):
    shares = {}
    for one in ran:
        paid = fit.row_of(one, SINGLE).paid
        forward = (one.trace.op_phase == 0).sum()
        shares[one.name] = paid["node_seconds"] / forward
    assert shares["bert frozen"] < 0.1
    assert shares["encoder"] == 1.0 and shares["llama with adapters"] > 0.7


def test_what_is_charged_is_what_the_clock_takes(ran):
    """The sum of an operation's charges is its time, and the parts make up the whole."""
    costs = SINGLE | {WHOLE + name: 1e-6 * (index + 1) for index, name in enumerate(NAMES)}
    for one in ran:
        host, done, parts = charged(one.trace, one.dims, costs)
        time = host.time(one.trace, done)
        assert time.seconds.sum() == pytest.approx(sum(parts.values()))
        calls = one.trace.meta["module_calls"]
        assert host.charges(one.trace, done)["module_seconds"].sum() == pytest.approx(calls)
        assert host.charges(one.trace, done)["update_seconds"].sum() == pytest.approx(1)


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0, 4.0])
def test_steps_that_the_costs_explain_are_explained(ran, times):
    """Steps of a machine whose every cost is so many times what is believed are given back, but for
    what the beliefs draw them aside, and what is believed is found again exactly."""
    believed = {r["name"]: r["value"] for r in step_costs([], SINGLE)}
    made = []
    for one in ran:
        true = SINGLE | {name: times * value for name, value in believed.items()}
        _, _, parts = charged(one.trace, one.dims, true)
        seconds = {part: float(value) for part, value in parts.items()}
        made.append(replace(one, seconds=seconds, operators={}))
    records = {r["name"]: r["value"] for r in step_costs(made, SINGLE)}
    assert all(records[WHOLE + name] >= 0 for name in NAMES)
    if times == 1:
        assert all(records[name] == pytest.approx(value) for name, value in believed.items())
    for one in made:
        _, _, parts = charged(one.trace, one.dims, SINGLE | records)
        assert sum(parts.values()) == pytest.approx(sum(one.seconds.values()), rel=0.1)


def test_a_step_that_nothing_explains_shows_in_the_error(ran):
    usual = {r["name"]: r for r in step_costs(ran, SINGLE)}[WHOLE + "error"]
    longer = {part: 8 * seconds for part, seconds in ran[2].seconds.items()}
    strange = [*ran[:2], replace(ran[2], seconds=longer), *ran[3:]]
    found = {r["name"]: r for r in step_costs(strange, SINGLE)}[WHOLE + "error"]
    assert set(usual["left_out"]) == {one.name for one in ran}
    assert found["value"] > 2 * usual["value"]
    assert found["left_out"][ran[2].name] < -1


def test_without_a_step_it_is_what_is_believed_and_with_one_there_is_no_error(ran):
    assert list(step_costs([], {})) == []
    believed = {r["name"]: r for r in step_costs([], SINGLE)}
    assert set(believed) == {WHOLE + name for name in NAMES}
    for name in ("forward_factor", "pass_seconds", "backward_factor"):
        assert believed[WHOLE + name]["value"] == pytest.approx(prior(f"host_{name}"))
    assert believed[WHOLE + "module_seconds"]["value"] > SINGLE["module_seconds"]
    assert believed[WHOLE + "module_seconds"]["steps"] == []
    names = {r["name"] for r in step_costs(ran[:1], SINGLE)}
    assert names == {WHOLE + name for name in NAMES}


def test_a_library_that_is_missing_leaves_the_others(monkeypatch):
    import planner.calibrate.host.small_models as small
    from planner.errors import MissingExtraError

    def missing(*_, **__):
        raise MissingExtraError("transformers", "transformers", "models")

    own = small.resolve
    monkeypatch.setattr(
        small, "resolve", lambda name, **more: missing() if more else own(name, **more)
    )
    found = measure_steps(CPU, time.monotonic() + 60, SMALL_MODELS[:2])
    assert [one.name for one in found] == ["encoder"]


def test_time_that_is_over_still_runs_the_first(monkeypatch):
    found = measure_steps(CPU, time.monotonic() - 1, SMALL_MODELS[:2])
    assert [one.name for one in found] == ["encoder"] and isinstance(found[0], Measured)


def test_each_small_model_is_of_a_configuration_that_is_there():
    assert {m.kind for m in SMALL_MODELS} == {None, *CONFIGURATIONS}
    assert len({m.name for m in SMALL_MODELS}) == len(SMALL_MODELS)


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_least_squares_without_negatives_is_the_best_of_all(columns, seed):
    numbers = np.random.default_rng(seed)
    table, target = numbers.normal(size=(columns + 3, columns)), numbers.normal(size=columns + 3)
    found = no_less_than_nothing(table, target)
    assert (found >= 0).all()
    least = np.sum((table @ found - target) ** 2)
    for other in numbers.exponential(size=(50, columns)):
        assert least <= np.sum((table @ other - target) ** 2) + 1e-9
