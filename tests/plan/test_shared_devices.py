"""Questions about devices that share a model's state."""

import pytest

from planner import estimate
from planner.errors import QuestionError
from planner.plan.inputs.hardware import find_hardware
from planner.plan.inputs.problem import understand
from planner.plan.survey.bound import wall_hours_at_least
from planner.plan.survey.survey import survey
from planner.question import Question

EIGHT = dict(
    model="Llama-3.1-8B",
    samples=1000,
    tokens_per_sample=400,
    gpu="a100-80gb-sxm",
    gpus=8,
    price=1.5,
    strategy=["fine_tune"],
)
SMALL = EIGHT | {"model": "gpt2", "gpus": 4}


def asked(**fields):
    question = EIGHT | fields
    return estimate(question.pop("model"), **question)


def said(document):
    return [line["text"] for line in document["first_lines"]]


def test_where_copies_do_not_fit_state_is_shared_and_that_is_said():
    found = asked()
    (option,) = found["options"]
    sharing = option["step"]["sharing"]
    assert option["fits"] and sharing["plan"] == "fsdp"
    assert (sharing["dp_replicate"], sharing["dp_shard"], sharing["units"]) == (1, 8, 33)
    (line,) = [text for text in said(found) if "copies do not fit" in text]
    assert line.startswith("8 devices: fsdp, as copies do not fit")
    assert (
        sharing["exposed_seconds"] < sharing["sending_seconds"] < option["step"]["seconds"]["p50"]
    )
    breakdown = option["memory"]["breakdown"]
    assert sum(breakdown.values()) == pytest.approx(option["memory"]["device_used_bytes"]["p50"])
    held = sharing["held_bytes"]
    assert held["parameters"] < breakdown["weights"] < 3 * held["parameters"]
    assert held["parameters"] == pytest.approx(2 * 8.03e9 / 8, rel=0.01)


def test_what_is_asked_is_planned_whether_it_fits_or_not():
    copies, shared = asked(parallel="ddp"), asked(parallel="fsdp")
    assert not copies["options"][0]["fits"] and "sharing" not in copies["options"][0]["step"]
    assert shared["options"][0]["fits"]
    assert not any("copies do not fit" in text for text in said(shared))
    assert any("8 devices: fsdp;" in text for text in said(shared))


def test_copies_that_fit_stay_copies():
    question = dict(SMALL)
    found = estimate(question.pop("model"), **question)
    assert found["options"][0]["step"].get("sharing") is None


def test_one_device_shares_nothing():
    found = asked(model="gpt2", gpus=1, parallel="zero2")
    assert any("parallel zero2 has no effect" in text for text in said(found))


@pytest.mark.parametrize("way", ["zero1", "zero2", "zero3"])
def test_zero_needs_more_room_than_full_shards_and_less_than_copies(way):
    gpu = {"gpu": "h200", "micro_batch": 1, "global_batch": 8}
    memory = {
        name: asked(parallel=name, **gpu)["options"][0]["memory"]["allocated_bytes"]["p50"]
        for name in ("fsdp", way, "ddp")
    }
    assert memory["fsdp"] < memory[way] < memory["ddp"]


def test_gradients_that_a_trainer_would_keep_whole_are_said():
    found = asked(parallel="fsdp", micro_batch=1, global_batch=32)
    assert any("sync_each_batch" in text for text in said(found))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"strategy": ["distillation"]}, "models beside"),
        ({"offload": ["activations"]}, "offload"),
        ({"optimizer_in_backward": True}, "optimizer_in_backward"),
    ],
)
def test_what_is_not_planned_in_parts_is_refused(fields, why):
    question = SMALL | fields | {"parallel": "fsdp"}
    with pytest.raises(QuestionError, match=why):
        estimate(question.pop("model"), **question)


def test_the_bound_is_below_what_is_planned():
    question = Question(**EIGHT)
    problem = understand(question)
    found = survey(problem, find_hardware(question), counts=(8,))
    best = found.cheapest("fine_tune")
    assert best is not None and best.placement.parallel.sharding == "fsdp"
    place = next(iter(found.places("fine_tune")))
    bound = wall_hours_at_least(
        question, found.grids, place.variant, place.spec, best.placement.parallel
    )
    assert 0 < bound <= best.placement.run.wall_hours.p50
    assert place.hours <= best.placement.run.wall_hours.p50
