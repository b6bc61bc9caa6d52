"""A miss is put down to a cause by what the report states and what the answer is made of."""

import pytest
from whole_reports import answer, outcome

from benchmarks.whole.causes import RULES, causes

#: Half of what is reported: a miss, with nothing in the row that speaks of a cause.
LOW = answer(1.0)


def names(made):
    return [cause.name for cause in causes(made)]


def test_a_met_report_has_no_cause_and_a_silent_one_stays_open():
    assert causes(outcome(answer(1.9))) == []
    assert names(outcome(LOW)) == ["open"]
    assert causes(outcome(LOW, strategy="ppo")) == [], "nothing was asked"


@pytest.mark.parametrize(
    ("cells", "cause"),
    [
        ({"notes": "under an hour (upper bound)"}, "the report itself"),
        ({"trust": "L"}, "the report itself"),
        ({"notes": "train_runtime 7200 s, Unsloth kernels"}, "software of its day"),
        ({"notes": "flash attention 2 + Liger kernels"}, "software of its day"),
        ({"precision": "int8 base, bf16", "strategy": "lora"}, "software of its day"),
        ({"date": "2023-03"}, "software of its day"),
        ({"gpu": "V100 16GB"}, "software of its day"),
        ({"gpus": "2"}, "several devices"),
        ({"notes": "includes evaluation each epoch"}, "evaluation"),
        ({"notes": "job time incl. start-up"}, "saving, start-up"),
        ({"lora_targets": "q,v + lm_head"}, "question"),
    ],
)
def test_a_rule_speaks_by_its_evidence(cells, cause):
    assert cause in names(outcome(LOW, **cells))


def test_attention_of_its_day_needs_length_and_silence():
    assert "software of its day" not in names(outcome(LOW, date="2023-03", max_length="128"))
    stated = outcome(LOW, date="2023-03", notes="flash attention (monkey patch)")
    assert "software of its day" not in names(stated)
    assert "software of its day" not in names(outcome(LOW, date="2024-03"))


def test_the_step_is_the_cause_where_it_shows_most_of_the_miss():
    same_step = outcome(answer(1.0, step_seconds=7.2), steps="1000")
    assert "step" not in names(same_step), "the step is right, so something else takes the time"
    half = outcome(answer(1.0, step_seconds=3.6), steps="1000")
    (step,) = (cause for cause in causes(half) if cause.name == "step")
    assert "our step 3.6 s, reported 7.2 s" in step.evidence and "matmul 75%" in step.evidence
    assert "step" not in names(outcome(answer(1.0, step_seconds=3.6))), "no steps are reported"


def test_hours_over_steps_are_no_step_where_they_hold_evaluation():
    cells = {"steps": "1000", "seconds_per_step": "7.2", "notes": "evaluation every 100 steps"}
    found = names(outcome(answer(1.0, step_seconds=3.6), **cells))
    assert "step" not in found and found[0] == "evaluation"


def test_what_only_adds_time_explains_no_overestimate():
    high = answer(9.0)
    assert "evaluation" not in names(outcome(high, notes="includes evaluation each epoch"))
    assert "saving, start-up" not in names(outcome(high, notes="job time incl. start-up"))


def test_images_are_loaded_unless_the_report_rules_it_out():
    image = {"task": "image classification", "strategy": "full", "max_length": "224x224"}
    assert "data loading" in names(outcome(LOW, **image))
    calm = outcome(LOW, **image, notes="FFCV loader, no loading bottleneck")
    assert "data loading" not in names(outcome(LOW)) and "data loading" not in names(calm)


def test_short_steps_wait_for_the_trainer():
    short = outcome(answer(1.0, step_seconds=0.2, micro=4), steps="1000")
    assert "trainer's overhead" in names(short)
    assert "trainer's overhead" not in names(outcome(answer(1.0, step_seconds=0.2)))


def test_the_order_of_rules_is_that_of_proof():
    order = [name for name, _ in RULES]
    found = names(outcome(LOW, gpus="2", notes="upper bound; evaluation each epoch"))
    assert found == sorted(found, key=order.index) and found[0] == "the report itself"
