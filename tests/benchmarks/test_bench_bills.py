"""Published training bills: every row is asked or refused with a reason, the arithmetic from a step
to a bill, and the document."""

import json
import re

import pytest

from benchmarks.bills import prices
from benchmarks.bills.asking import STEPS, Answered, answer, question
from benchmarks.bills.bill import bills, fact, stages
from benchmarks.bills.document import document
from benchmarks.bills.prices import inverse
from benchmarks.whole.answers import Answers
from planner import Question, tables
from planner.errors import ProfileError, QuestionError
from planner.figures import Estimate

DOCUMENT = tables.root().parent / "docs" / "published_bills.md"
ASKED = [bill for bill in bills() if not bill.refused]
TRAINING = 10.0


def named(name):
    return next(bill for bill in bills() if bill.id == name)


def planner_of(wall, breakdown=None, steps=100):
    """A planner that answers every question with one run."""
    figure = {"p10": wall / 2, "p50": wall, "p90": wall * 2}
    parts = {"preparation": 0.0, "start_up": 0.0, "training": wall} | (breakdown or {})
    memory = dict.fromkeys(("device_used_bytes", "reserved_bytes"), {"p10": 1, "p50": 1, "p90": 1})

    def ask(model, **fields):
        option = {
            "fits": True,
            "run": {"wall_hours": figure, "breakdown_hours": parts, "steps": steps},
            "memory": memory,
            "cost": {"usd": figure},
            "step": {"seconds": {"p10": 1.0, "p50": 36.0, "p90": 90.0}, "mfu": 0.5},
            "training": {},
        }
        return {"options": [option]}

    return Answers(ask)


def test_a_bill_is_wall_clock_hours_on_all_devices():
    bill = named("gpt2-350m")
    found = answer(bill, planner_of(7.0))
    assert found.gpu_hours.p50 == pytest.approx(7.0 * bill.gpus)
    assert found.error == pytest.approx(7.0 * 8 / 112 - 1)
    assert found.clean == pytest.approx(100 * 36.0 / 3600 * 8)


def test_a_rate_of_steps_holds_no_failures_and_a_trainer_s_clock_no_start():
    parts = {"training": TRAINING, "stragglers": 1.0, "interruptions": 3.0, "start_up": 2.0}
    by_rate = answer(named("llama-65b"), planner_of(16.0, parts))
    assert by_rate.gpu_hours.p50 == pytest.approx(2048 * sum(parts[name] for name in STEPS))
    by_trainer = answer(named("s1-32b"), planner_of(16.0, parts))
    assert by_trainer.gpu_hours.p50 == pytest.approx(16 * (16.0 - 2.0))


def test_a_refusal_is_told():
    def refuses(model, **fields):
        raise QuestionError("not so")

    with pytest.raises(QuestionError, match="not so"):
        answer(named("gpt2-350m"), Answers(refuses))


@pytest.mark.parametrize("bill", ASKED, ids=lambda bill: bill.id)
def test_questions_are_the_row_s_layout(bill):
    if bill.row["architecture"]:
        pytest.importorskip("transformers")
    asked = question(bill)
    Question(**asked)  # fields that the planner knows, with values that it takes
    assert asked["gpus"] == bill.planned_gpus
    ranks = asked.get("tensor_parallel", 1) * asked.get("pipeline_parallel", 1)
    assert asked["gpus"] % ranks == 0
    assert asked["global_batch"] % (asked["micro_batch"] * asked["gpus"] // ranks) == 0
    assert asked["samples"] * (
        bill.sequence_length if bill.unit == "tokens" else 1
    ) == pytest.approx(bill.amount, rel=1e-3)


def test_what_is_not_published_is_said():
    for bill in ASKED:
        assert bill.row["layout_source"] or "GPUs not published" in bill.row["assumed"], bill.id
        assert bill.row["assumed"], bill.id
        if bill.gpus is None:
            assert "GPUs" in bill.row["assumed"], f"{bill.id}: {bill.planned_gpus} GPUs"


def test_inverse_turns_a_range_around():
    assert inverse(Estimate(0.5, 0.8, 1.0)) == Estimate(1.0, 1.25, 2.0)


def test_an_unknown_fact_is_refused():
    with pytest.raises(ProfileError, match="no fact"):
        fact("nobody_said_so")


def test_dollars_go_from_the_cheapest_to_the_dearest_list_price():
    low, high = prices.list_prices("a100-sxm-80", 8)
    assert low.usd_per_hour_for(8) < high.usd_per_hour_for(8)
    found = prices.usd("a100-sxm-80", Estimate(10, 20, 40))
    assert found.p50 == pytest.approx(
        20 * low.usd_per_hour_for(8) / 8
    ) and found.p90 == pytest.approx(40 * high.usd_per_hour_for(8) / 8)


def test_the_report_counts_what_is_inside_and_names_what_is_refused():
    near, far = (
        Answered(named(name), Estimate(hours / 2, hours, hours * 2), 0.4, hours / 2)
        for name, hours in (("gpt2-124m", 12.0), ("alpaca-7b", 6.0))
    )
    refused = named("vicuna-7b")
    text = document([near, far], [(refused, refused.refused)])
    assert "2 runs: median error -38%, median absolute error 38%; 1 of 2 inside" in text
    assert "+0% | -50% | yes" in text and "-75% | -88% | no" in text
    assert f"**{refused.name}** (GPU hours not published): {refused.refused}" in text


def test_the_document_has_every_row_and_its_arithmetic_holds():
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("\n\n## ")[0].partition("| kind |")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("| ")
    ][2:]
    written = {row[0].removesuffix(" (does not fit by ours)"): row for row in rows}
    refused = text.partition("## Not answered")[2]
    unasked = {bill.name for bill in ASKED if f"**{bill.name}**" in refused}
    assert set(written) | unasked == {bill.name for bill in ASKED}, (
        "write it again: python benchmarks/published_bills.py --write docs/published_bills.md"
    )
    assert len(written) >= 40
    for bill in ASKED:
        if bill.name in unasked:
            continue
        row = written[bill.name]
        published, ours = (
            float(cell.partition(" ")[0].replace(",", "")) for cell in (row[4], row[5])
        )
        assert published == pytest.approx(bill.gpu_hours, rel=0.01)
        assert ours / published - 1 == pytest.approx(float(row[6].rstrip("%")) / 100, abs=0.02)
    assert all(f"**{bill.name}**" in refused for bill in bills() if bill.refused)
    assert not re.search(r"[{}]|\bnan\b|\binf\b|None", text)


def test_a_run_of_stages_adds_them_up():
    bill = named("sd-v1")
    parts = stages(bill)
    assert (
        sum(part.amount for part in parts) == pytest.approx(bill.amount)
        and len({part.row["model"] for part in parts}) == len(parts) == 2
    )
    found = answer(bill, planner_of(3.0))
    assert found.gpu_hours.p50 == pytest.approx(2 * 3.0 * bill.gpus)


def test_the_factories_exist():
    root = tables.root().parent
    for bill in ASKED:
        for stage in stages(bill):
            module, _, function = stage.row["model"].partition(":")
            if module.startswith("benchmarks."):
                source = (root / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
                assert f"def {function}():" in source


def test_architectures_are_objects_of_a_kind():
    for bill in bills():
        if bill.row["architecture"]:
            assert json.loads(bill.row["architecture"])["kind"]
