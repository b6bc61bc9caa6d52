"""The document of a report holds together, whatever is asked: of its schema, and its sums sum."""

import importlib.util
from pathlib import Path

import pytest

from planner.budget.schema import validated

_spec = importlib.util.spec_from_file_location("budget_kinds", Path(__file__).with_name("kinds.py"))
kinds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kinds)
KINDS = list(kinds.KINDS)
each = pytest.mark.parametrize("kind", KINDS)


def parts(kind):
    """(the recommended option or None, the part budget)."""
    document = kinds.document(kind)
    index = document["budget"]["headline"]["option"]
    return None if index is None else document["options"][index], document["budget"]


@each
def test_the_document_is_of_its_schema(kind):
    validated(kinds.document(kind))


@each
def test_lines_sum_to_the_bill(kind):
    option, budget = parts(kind)
    lines = [line["usd"] for line in budget["lines"] if line["group"] == "run"]
    if option is None or option["cost"] is None:
        assert not lines and any(
            text.startswith("lines of the bill") for text in budget["left_out"]
        )
    else:
        assert sum(lines) == pytest.approx(option["cost"]["usd"]["p50"], rel=1e-9)
        assert all(line["source"] for line in budget["lines"] if line["unit"] == "GPU-hours")


def test_lines_of_serving_sum_to_the_months():
    option, budget = parts("served")
    lines = sum(line["usd"] for line in budget["lines"] if line["group"] == "serving")
    cost = option["cost"]
    assert lines == pytest.approx(cost["project_usd"]["p50"] - cost["usd"]["p50"], rel=1e-9)
    assert lines > 0


@each
def test_the_project_sums(kind):
    option, budget = parts(kind)
    project = budget["project"]
    if project is None:
        assert any(text.startswith("the project") for text in budget["left_out"])
        return
    told = option["cost"]["project_range_usd"]
    for side in ("low", "high"):
        lines = sum(line[f"{side}_usd"] for line in project["lines"])
        assert lines == pytest.approx(project[f"{side}_usd"], rel=1e-9)
        assert project[f"{side}_usd"] == told[side]
    assert project["run_usd"] == told["run"]


@each
def test_time_sums_by_level(kind):
    option, budget = parts(kind)
    if not budget["time"]:
        assert option is None or option["run"] is None
        return
    phases = {one["phase"]: one["hours"] for one in budget["time"] if one["part"] is None}
    assert sum(phases.values()) == pytest.approx(option["run"]["wall_hours"]["p50"], rel=1e-9)
    for phase, hours in phases.items():
        inside = [one["hours"] for one in budget["time"] if one["phase"] == phase and one["part"]]
        assert not inside or sum(inside) == pytest.approx(hours, rel=1e-6)


@each
def test_chances_fall_as_sums_rise(kind):
    option, budget = parts(kind)
    points = [(one["usd"], one["chance"]) for one in budget["chances"]]
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    if points:
        held = option["cost"].get("project_usd") or option["cost"]["usd"]
        at = {round(chance, 2): usd for usd, chance in points}
        for chance, name in ((0.9, "p10"), (0.5, "p50"), (0.1, "p90")):
            assert at[chance] == pytest.approx(held[name], rel=1e-6)


@each
def test_the_chance_over_the_limit_is_the_limits(kind):
    option, budget = parts(kind)
    limits = {one["limit"]: one for one in option["limits"]} if option else {}
    limit = limits.get("max_usd")
    assert budget["chance_over_limit"] == (None if limit is None else 1 - limit["chance_kept"])


@each
def test_one_offer_is_chosen_and_the_front_is_beaten_by_none(kind):
    option, budget = parts(kind)
    offers = budget["offers"]
    chosen = [one for one in offers if one["chosen"]]
    if option is None or not offers:
        assert not chosen
    else:
        assert len(chosen) == 1 and chosen[0]["usd"] == option["cost"]["usd"]
        assert chosen[0]["gpu"] == option["gpu"] and chosen[0]["provider"] == option["provider"]
    for one in offers:
        better = [
            other
            for other in offers
            if other["usd"]["p50"] <= one["usd"]["p50"]
            and other["wall_hours"]["p50"] < one["wall_hours"]["p50"]
        ]
        assert not (one["on_front"] and better)
    assert {(one["provider"], one["gpu"]) for one in offers} <= {
        (price["provider"], price["gpu"]) for price in budget["prices"]
    }


@each
def test_the_runner_up_can_be_done_and_is_another(kind):
    option, budget = parts(kind)
    document, runner_up = kinds.document(kind), budget["runner_up"]
    if runner_up is None:
        return
    other = document["options"][runner_up["option"]]
    assert other["fits"] is not False and all(limit["kept"] for limit in other["limits"])
    assert runner_up["option"] != budget["recommended"]["option"]
    if runner_up["usd_more"] is not None:
        more = other["cost"]["usd"]["p50"] - option["cost"]["usd"]["p50"]
        assert runner_up["usd_more"] == pytest.approx(more)


@each
def test_what_is_empty_is_left_out_in_words(kind):
    _, budget = parts(kind)
    said = " ".join(budget["left_out"])
    for name, words in (
        ("lines", "lines of the bill"),
        ("offers", "other offers"),
        ("sensitivity", "what changing"),
        ("chances", "the chance"),
        ("time", "where the time goes"),
        ("stages", "the stages"),
        ("enough", "whether the data"),
    ):
        assert budget[name] or words in said, name
    assert budget["accuracy"] or "how right" in said


@each
def test_nothing_recommended_is_said_first(kind):
    option, budget = parts(kind)
    if option is None:
        assert budget["recommended"] is None and budget["headline"]["usd"] is None
        assert budget["decisive"] and budget["decisive"][0]["warning"]
    assert len(budget["decisive"]) <= 5
    assert len({line["text"] for line in budget["decisive"]}) == len(budget["decisive"])


@each
def test_what_comes_nearest_is_over_what_it_says(kind):
    option, budget = parts(kind)
    near = budget["nearest"]
    document = kinds.document(kind)
    if option is not None or not any(one["memory"] for one in document["options"]):
        assert near is None
        return
    shown = kinds.document(kind)["options"][near["option"]]
    assert near["over"], "nothing is recommended for no reason"
    for over in near["over"]:
        assert over["over"] > 0
        assert over["used"] - over["allowed"] == pytest.approx(over["over"], rel=1e-9)
        if over["limit"] == "memory":
            assert shown["fits"] is False
            assert over["over"] == shown["memory"]["short_by_bytes"]
        else:
            limit = next(one for one in shown["limits"] if one["limit"] == over["limit"])
            assert over["used"] == limit["used"]["p50"] and not limit["kept"]
    if near["offer"] is not None:
        keeping = [one for one in budget["offers"] if one["keeps_limits"]]
        assert budget["offers"][near["offer"]] == keeping[0]


def test_another_gpu_that_would_keep_the_limit_is_named():
    from planner.budget.make import budget as made
    from planner.question import Question

    asked = dict(kinds.KINDS["a limit that nothing keeps"], max_usd=12, strategy=["lora"])
    document = made(Question(**asked))
    near = document["budget"]["nearest"]
    offer = document["budget"]["offers"][near["offer"]]
    assert offer["usd"]["p50"] <= 12 < document["options"][near["option"]]["cost"]["usd"]["p50"]
    assert near["over"][0]["words"].endswith("over max_usd $12.00")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"objective": "dpo"}, " by DPO: "),
        ({"objective": "kd", "teacher": "Qwen2.5-1.5B"}, " from Qwen2.5-1.5B: "),
        ({}, " tokens: "),
    ],
)
def test_a_report_begins_with_what_is_learnt(asked, words):
    from planner import Question
    from planner.budget.make import budget

    question = Question(
        model="Qwen2.5-0.5B",
        strategy=["lora"],
        samples=300,
        tokens_per_sample=300,
        gpu="l4",
        price=1.0,
        offline=True,
        **asked,
    )
    assert words in budget(question)["budget"]["question"]
