"""The arithmetic of comparisons and totals, and the document."""

import csv
import datetime
import math
import re

import pytest
from whole_reports import answer, outcome

from benchmarks import whole_runs
from benchmarks.whole.answers import Answer, Answers, of_document
from benchmarks.whole.document import document
from benchmarks.whole.figures import before_and_after, figures, read_figures, to_csv
from benchmarks.whole.outcome import Comparison
from benchmarks.whole.report import shipped
from benchmarks.whole.shipped import to_csv as shipped_csv
from benchmarks.whole.totals import by, largest, total
from planner import tables
from planner.errors import DataError, QuestionError
from planner.figures import Estimate

DOCUMENT = whole_runs.ROOT / "docs" / "whole_runs.md"


def of(ours, theirs=1.0):
    return Comparison(Estimate(ours / 2, ours, ours * 2), theirs)


def test_totals_of_three():
    made = total("all", [of(0.5), of(1.2), of(4.0)])
    assert made.n == 3
    assert made.median_error == pytest.approx(0.5)
    assert made.within == pytest.approx(1 / 3)
    assert made.bias == pytest.approx(0.2)
    assert made.covered == pytest.approx(2 / 3), "0.5 to 2 times: 0.5 and 1.2 hold 1, 4 does not"
    assert total("none", []) is None


def test_bias_and_error_are_of_ratios():
    halves, doubles = of(0.5), of(2.0)
    assert total("both", [halves, doubles]).bias == pytest.approx(0.0)
    assert halves.error == pytest.approx(-0.5) and doubles.error == pytest.approx(1.0)
    assert halves.log_ratio == pytest.approx(-math.log(2))


def test_groups_without_a_comparison_are_left_out():
    rows = [outcome(answer(1.0)), outcome(answer(1.0), strategy="ppo")]
    made = by(rows, lambda o: o.hours, lambda o: o.report["strategy"])
    assert [one.name for one in made] == ["qlora"]


def test_a_trainers_clock_starts_with_the_first_batch():
    whole, clock = outcome(answer(1.0)), outcome(answer(1.0), notes="train_runtime 3600 s")
    assert whole.hours.ours.p50 == pytest.approx(1.0)
    assert clock.hours.ours.p50 == pytest.approx(0.9)
    assert clock.hours.ours.p10 == pytest.approx(0.4)
    logged = outcome(answer(1.0), steps="1000", seconds_per_step="7.2")
    assert logged.by_trainers_clock, "1,000 steps of 7.2 s are the 2 hours that it reports"


def test_dollars_are_judged_at_a_stated_price_only():
    assert outcome(usd="4", usd_per_gpu_hour="2").usd.error == pytest.approx(-0.5)
    assert outcome(usd="4").usd is None and outcome(usd_per_gpu_hour="2").usd is None


def test_memory_is_the_one_that_the_report_names():
    assert outcome(peak_gib="8", notes="peak = torch max reserved").memory.error == pytest.approx(0)
    assert outcome(peak_gib="9").memory.error == pytest.approx(0)
    assert outcome(peak_gib="9", gpus="2", notes="FSDP SHARD_GRAD_OP").memory is None
    int8 = outcome(peak_gib="9", precision="int8 base, bf16", strategy="lora")
    assert int8.memory.error == pytest.approx(0)  # asked with its 8-bit base


def test_refusals_are_said_in_the_planners_words():
    refused = outcome(Answer(refused="a bert model cannot do that"))
    assert refused.hours is None and "a bert model cannot do that" in refused.refused
    assert outcome(hours="").refused == "no hours reported"


def test_the_largest_misses_are_of_trusted_reports():
    rows = [
        outcome(answer(0.2), id="far"),
        outcome(answer(30.0), id="further"),
        outcome(answer(1.9), id="near"),
        outcome(answer(0.001), id="rumour", trust="L"),
    ]
    assert [o.report.id for o in largest(rows, 10)] == ["further", "far"]


def test_answers_are_kept_and_not_asked_twice(tmp_path):
    asked_of = []

    def ask(model, **fields):
        asked_of.append(model)
        if model == "unknown":
            raise QuestionError("no such model")
        figure = {"p10": 1.0, "p50": 2.0, "p90": 3.0}
        option = {
            "fits": True,
            "run": {"wall_hours": figure, "breakdown_hours": {"start_up": 0.1}, "steps": 5},
            "memory": {"reserved_bytes": figure, "device_used_bytes": figure},
            "cost": {"usd": figure},
            "step": {"seconds": figure},
            "training": {},
            "energy_kwh": figure,
        }
        return {"options": [option]}

    store = tmp_path / "answers" / "kept.json"
    row = outcome().asked
    first = Answers(ask, store, "a state").of(row)
    assert first.hours == Estimate(1.0, 2.0, 3.0) and first.steps == 5
    assert Answers(ask, store, "a state").of(row) == first and len(asked_of) == 1
    Answers(ask, store, "another state").of(row)
    assert len(asked_of) == 2, "another planner is asked again"
    row.fields["model"] = "unknown"
    assert "no such model" in Answers(ask, store, "a state").of(row).refused


def test_the_answer_is_read_from_a_document():
    from planner import estimate

    found = of_document(
        estimate("gpt2", samples=100, tokens_per_sample=128, gpu="a10g", strategy="lora", price=1.0)
    )
    assert found.fits and found.steps > 0 and found.step_seconds > 0
    assert sum(found.parts.values()) == pytest.approx(found.hours.p50)


def test_the_document_counts_and_explains():
    rows = [
        outcome(answer(1.9), id="met", usd="4", usd_per_gpu_hour="2", peak_gib="9"),
        outcome(answer(0.5), id="missed", notes="PyTorch; evaluation each epoch"),
        outcome(None, id="left-out", task="object detection"),
    ]
    text = document(rows, "three")
    assert "| all trusted | 2 | 40% | 50% |" in text
    assert "### missed: 2 h reported, ours 0.5 h (-75%)" in text
    assert "evaluation: PyTorch; evaluation each epoch" not in text
    assert "- By rule, evaluation: evaluation each epoch; ours 0.025 h of their 2 h." in text
    assert "- 1 × task not understood: object detection" in text
    assert not re.search(r"\bnan\b|None", text)


def test_an_earlier_planner_is_held_beside_this_one(tmp_path):
    cells = {"id": "a", "usd": "4", "usd_per_gpu_hour": "2", "peak_gib": "9"}
    old = [outcome(answer(0.5), **cells), outcome(answer(9.0), id="rumour", trust="L")]
    kept = tmp_path / "old.csv"
    kept.write_text(to_csv(figures(old)), encoding="utf-8")
    before = read_figures(kept)
    assert before["a", "hours"].error == pytest.approx(-0.75)
    assert set(quantity for _, quantity in before) == {"hours", "dollars", "memory"}
    hours, dollars, memory = before_and_after([outcome(answer(1.9), **cells)], before)
    assert (hours[1].n, hours[2].n) == (1, 1), "a report without trust does not count"
    assert hours[1].bias == pytest.approx(-0.75) and hours[2].bias == pytest.approx(-0.05)
    assert dollars[1].bias == pytest.approx(-0.75) and memory[2].within == 1
    text = document([outcome(answer(1.9), **cells)], "one", before)
    assert "| hours, before | 1 | 75% | 0% | -75% |" in text and "| hours, now | 1 | 5% |" in text


def test_figures_out_of_order_are_refused(tmp_path):
    kept = tmp_path / "old.csv"
    kept.write_text("id,quantity,reported,p10,p50,p90\na,hours,1,3,2,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="old.csv row 2"):
        read_figures(kept)


def test_the_written_document_is_of_the_curated_reports():
    text = DOCUMENT.read_text(encoding="utf-8")
    for one in shipped():
        assert re.search(rf"(\| {re.escape(one.id)} \||\*\*{re.escape(one.id)}\*\*)", text), (
            f"{one.id}: write it again: python benchmarks/whole_runs.py --write docs/whole_runs.md"
        )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("## The runs")[2].partition("## The 10")[0].splitlines()
        if line.startswith("| ") and not line.startswith(("| run", "| ---"))
    ]
    ratios = [
        float(row[5].partition(" ")[0].replace(",", "")) / float(row[4].replace(",", ""))
        for row in rows
    ]
    assert len(ratios) > 30
    for row, ratio in zip(rows, ratios, strict=True):
        assert ratio - 1 == pytest.approx(float(row[6].rstrip("%")) / 100, abs=0.03 * ratio), row
    within = sum(abs(ratio - 1) <= 0.3 for ratio in ratios) / len(ratios)
    stated = re.search(r"\| all trusted \| (\d+) \| \d+% \| (\d+)% \|", text)
    assert int(stated[1]) == len(ratios)
    assert within == pytest.approx(int(stated[2]) / 100, abs=0.05)


def test_the_table_that_ships_holds_trusted_hours(tmp_path):
    rows = [outcome(answer(1.0)), outcome(answer(1.0), trust="L"), outcome(answer(1.0), gpu="")]
    text = shipped_csv(rows, datetime.date(2026, 1, 2))
    made = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert [row["name"] for row in made] == ["a-run"]
    assert (made[0]["reported_hours"], made[0]["planned_hours"]) == ("2", "1")
    assert made[0]["modality"] == "language model" and made[0]["strategy"] == "qlora"
    assert made[0]["trainer"] == "trainer" and made[0]["checked_date"] == "2026-01-02"


def test_the_table_that_ships_is_of_the_document():
    """Both were written from the same answers: the same runs, the same errors in whole percents."""
    told = re.findall(r"^\| (\S+) \| [HM] \| .*? \| ([+-]\d+)% \|", DOCUMENT.read_text(), re.M)
    found = {
        row["name"]: float(row["planned_hours"]) / float(row["reported_hours"]) - 1
        for row in tables.rows("accuracy", "whole_runs.csv")
    }
    assert set(found) == {name for name, _ in told}
    for name, error in told:
        assert found[name] * 100 == pytest.approx(float(error), abs=1.0), name
