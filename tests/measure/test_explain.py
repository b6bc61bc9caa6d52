"""What explains a measurement: kinds from a profile, categories from an allocator's history, the
table of differences."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as some

from planner.ledger.record import RunRecord
from planner.measure.explain import explain, within
from planner.measure.memory_seen import TOGETHER, History, categories_at_peak
from planner.measure.profiler import by_kind, kind_of_event


@dataclass
class Event:
    name: str
    own: float = 0.0
    cpu_children: list = field(default_factory=list)
    cpu_parent: object = None
    device_type: str = "DeviceType.CPU"
    on_device: float = 0.0

    def __post_init__(self):
        for child in self.cpu_children:
            child.cpu_parent = self

    @property
    def self_cpu_time_total(self):
        return self.own

    @property
    def cpu_time_total(self):
        return self.own + sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def self_device_time_total(self):
        return self.on_device

    @property
    def device_time_total(self):
        return self.on_device + sum(child.device_time_total for child in self.cpu_children)


def everyone(event):
    return [event, *(inner for child in event.cpu_children for inner in everyone(child))]


def kinds(root, device="cpu"):
    found = {}
    for kind, seconds in by_kind(everyone(root), device):
        found[kind] = found.get(kind, 0.0) + seconds * 1e6
    return {kind: pytest.approx(value) for kind, value in found.items() if value}


def test_operations_go_by_the_planners_kinds():
    assert kind_of_event("aten::addmm") == "matmul" and kind_of_event("aten::add_") == "elementwise"
    assert (
        kind_of_event("aten::_scaled_dot_product_flash_attention_for_cpu_backward") == "attention"
    )
    assert (
        kind_of_event("Optimizer.step#AdamW.step") == "optimizer"
        and kind_of_event("autograd::engine::evaluate_function: MmBackward0") is None
    )
    assert (
        kind_of_event("aten::never_heard_of") == "unmodelled"
        and kind_of_event("bitsandbytes::dequantize_4bit") == "dequantize"
    )


def test_a_known_operation_counts_whole_and_once():
    root = Event(
        "autograd::engine::evaluate_function: AddmmBackward0",
        3,
        [
            Event("aten::linear", 1, [Event("aten::t", 2), Event("aten::addmm", 10)]),
            Event(
                "aten::cross_entropy_loss",
                4,
                [
                    Event("aten::_log_softmax", 20),
                    Event("aten::nll_loss_nd", 1, [Event("aten::nll_loss_forward", 5)]),
                ],
            ),
            Event("aten::never_heard_of", 7),
        ],
    )
    assert kinds(root) == {"matmul": 13, "softmax": 20, "loss": 5, "unmodelled": 7}


def test_a_view_that_copies_is_a_copy():
    root = Event("aten::reshape", 1, [Event("aten::clone", 2, [Event("aten::copy_", 30)])])
    assert kinds(root) == {"view": 1, "copy": 32}


def test_an_update_is_the_optimizers_whatever_it_calls():
    root = Event("Optimizer.step#AdamW.step", 5, [Event("aten::mul_", 10), Event("aten::sqrt", 10)])
    assert kinds(root) == {"optimizer": 25}


def test_on_a_device_the_kernels_count():
    root = Event("aten::linear", 50, [Event("aten::addmm", 50, on_device=8)])
    assert kinds(root, "cuda") == {"matmul": 8}
    assert kinds(
        Event(
            "Optimizer.step#AdamW.step",
            5,
            [Event("aten::_foreach_add_", 5, on_device=4)],
            on_device=4,
        ),
        "cuda",
    ) == {"optimizer": 4}
    assert kinds(
        Event("aten::composite", 9, [Event("aten::mul", 9, on_device=3)], on_device=2), "cuda"
    ) == {"unmodelled": 2, "elementwise": 3}


@given(
    some.dictionaries(
        some.sampled_from(("matmul", "copy", "loss")), some.floats(1e-6, 10), min_size=1
    ),
    some.floats(1e-6, 100),
)
def test_kinds_with_the_host_sum_to_the_step(kinds_, whole):
    assert sum(within(kinds_, whole).values()) == pytest.approx(whole)


def history(**more):
    """Weights 100 at address 1, state 50 at 2; a forward pass that saves 40 and drops 30; a
    gradient of 100; an update with 10."""
    events = [
        ("alloc", 10, 40),
        ("alloc", 11, 30),
        ("free", 11, 30),
        ("alloc", 12, 100),
        ("alloc", 13, 25),
        ("free", 13, 25),
        ("free", 10, 40),
        ("alloc", 14, 10),
        ("free", 14, 10),
        ("free", 12, 100),
    ]
    values = dict(
        live={1: 100, 2: 50, 3: 8, 4: 5},
        events=events,
        forward_ends=(3,),
        updated=9,
        weights=frozenset({1}),
        optimizer=frozenset({2}),
        gradients=frozenset({12}),
        batch=frozenset({3}),
    )
    return History(**(values | more))


def test_the_peak_is_made_of_what_lives_then():
    found = categories_at_peak(history())
    assert found == {
        "weights": 100,
        "optimizer": 50,
        "gradients": 100,
        "activations": 48,
        "temporary": 30,
    }
    assert sum(found.values()) == 100 + 50 + 8 + 5 + 40 + 100 + 25


def test_an_address_that_is_used_again_is_another_block():
    found = categories_at_peak(
        history(
            events=[("alloc", 12, 500), ("free", 12, 500), ("alloc", 12, 100)],
            forward_ends=(1,),
            updated=3,
        )
    )
    # the first one is saved when the forward pass ends
    assert found["activations"] == 508 and found["gradients"] == 0


def test_the_second_micro_batchs_activations_are_activations_too():
    events = [
        ("alloc", 10, 40),
        ("free", 10, 40),
        ("alloc", 12, 100),
        ("alloc", 15, 60),
        ("free", 15, 60),
        ("free", 12, 100),
    ]
    found = categories_at_peak(history(events=events, forward_ends=(1, 4), updated=5))
    assert found["activations"] == 68 and found["gradients"] == 100


def record(measurement, estimate=None):
    return RunRecord.new(
        "measured",
        "planner measure",
        {"model": "m", "strategy": "fine_tune", "micro_batch": 1, "gpu": "g"},
        measurement,
        estimate=estimate,
    )


def test_differences_say_which_part_is_to_blame():
    run = record(
        {
            "kind_seconds": {"matmul": 3.0, "host": 1.0},
            "phase_seconds": {"forward": 1.0, "data": 0.5},
        },
        {"kind_seconds": {"matmul": 2.0, "copy": 0.5}, "phase_seconds": {"forward": 2.0}},
    )
    found = explain(run)
    assert [(part.name, part.difference) for part in found.kinds] == [
        ("matmul", 1.0),
        ("host", 1.0),
        ("copy", -0.5),
    ]
    assert [(part.name, part.difference) for part in found.phases] == [
        ("forward", -1.0),
        ("data", None),
    ]
    assert found.memory == () and found.as_dict()["kinds_seconds"][0] == {
        "name": "matmul",
        "measured": 3.0,
        "estimated": 2.0,
        "difference": 1.0,
    }


def test_what_a_processor_cannot_tell_apart_is_compared_together():
    run = record(
        {"category_bytes": {"weights": 10, TOGETHER: 30}},
        {"category_bytes": {"weights": 12, "activations": 8, "temporary": 2, "fragmentation": 1}},
    )
    assert {part.name: part.difference for part in explain(run).memory} == {
        "weights": -2,
        TOGETHER: 19,
    }


def test_without_a_measurement_there_is_nothing_to_explain_but_what_ran_out():
    estimate = {"kind_seconds": {"matmul": 2.0}, "category_bytes": {"weights": 12}}
    assert explain(record({"steps": 2}, estimate)).memory == ()
    found = explain(record({"out_of_memory": True}, estimate))
    assert found.kinds == () and [
        (part.name, part.measured, part.estimated) for part in found.memory
    ] == [("weights", None, 12)]
