"""Figures of whole answers, over models, devices and all strategies: parts sum, ranges are ordered,
and what is said of memory and limits follows from the figures."""

import math

import pytest

from planner import estimate
from planner.answer.schema import Answer
from planner.question import Question
from planner.trace.source import shipped_models

GPUS = ("h100-sxm", "rtx-4090", "t4", "a100-pcie-40", "l4", "rtx-3060-12")
QUICK = ("gpt2", "bert-base-uncased", "resnet50", "Llama-3.2-1B")


def cases():
    for number, model in enumerate(sorted(shipped_models())):
        fields = {"gpu": GPUS[number % len(GPUS)], "max_usd": 5.0, "max_hours": 4.0}
        marks = [] if model in QUICK else [pytest.mark.slow]
        yield pytest.param(model, fields, marks=marks)


def answer_to(model, fields):
    text = not any(part in model for part in ("resnet", "vit", "efficientnet", "clip"))
    counts = {"tokens_per_sample": 300.0} if text else {}
    if "t5" in model:
        counts["target_tokens_per_sample"] = 60.0
    return estimate(Question(model=model, samples=6000, trials=2, **counts, **fields))


def figures(node):
    if isinstance(node, dict):
        if set(node) == {"p10", "p50", "p90"}:
            yield node
        for value in node.values():
            yield from figures(value)
    elif isinstance(node, list):
        for value in node:
            yield from figures(value)


@pytest.mark.parametrize("model, fields", cases())
def test_an_answer_s_figures_agree_with_each_other(model, fields):
    answer = answer_to(model, fields)
    Answer.model_validate(answer)
    assert sum(1 for _ in figures(answer)) > 20
    for figure in figures(answer):
        assert figure["p10"] <= figure["p50"] <= figure["p90"]
    for option in answer["options"]:
        memory, cost, run = option["memory"], option["cost"], option["run"]
        used = memory["device_used_bytes"]
        assert math.isclose(sum(memory["breakdown"].values()), used["p50"], rel_tol=1e-9)
        assert math.isclose(sum(cost["breakdown"].values()), cost["usd"]["p50"], rel_tol=1e-9)
        parts = sum(run["breakdown_hours"].values())
        assert math.isclose(parts, run["wall_hours"]["p50"], rel_tol=1e-9)
        assert math.isclose(run["gpu_hours"]["p50"], option["gpus"] * run["wall_hours"]["p50"])
        allocated, reserved = memory["allocated_bytes"], memory["reserved_bytes"]
        assert all(allocated[p] <= reserved[p] <= used[p] for p in ("p10", "p50", "p90"))
        assert option["fits"] == (used["p90"] <= memory["device_total_bytes"])
        assert option["fits"] == (memory["short_by_bytes"] is None)
        assert (memory["verdict"] == "fits") <= option["fits"]
        assert (memory["verdict"] == "does not fit") == (
            not option["fits"] and used["p50"] > memory["device_total_bytes"]
        )
        assert all(fix["fits"] or fix["device_used_bytes"] for fix in option["fixes"])
        for limit, figure in zip(option["limits"], (cost["usd"], run["wall_hours"])):
            assert limit["used"] == figure and limit["kept"] == (figure["p50"] <= limit["allowed"])
            assert limit["kept"] == (limit["chance_kept"] >= 0.5)
    chosen = answer["recommended"]
    if chosen:
        (option,) = [
            o
            for o in answer["options"]
            if (o["strategy"], o["variant"]) == (chosen["strategy"], chosen["variant"])
        ]
        assert option["fits"] and all(limit["kept"] for limit in option["limits"])


def test_what_several_options_say_is_said_once():
    answer = answer_to("Llama-3.2-1B", {"gpu": "l4"})
    for key in ("warnings", "assumptions"):
        said = [line for option in answer["options"] for line in option[key]]
        assert len(said) == len(set(said)) and len(answer[key]) == len(set(answer[key]))
    together = [line for line in answer["assumptions"] if line.startswith("all options: ")]
    assert any("tax, support contracts" in line for line in together)
    scratch = next(option for option in answer["options"] if option["strategy"] == "scratch")
    assert any("from scratch" in line for line in scratch["warnings"])
