"""Published training bills: every row is asked or refused with a reason, the arithmetic from a step
to a bill, and the document."""

import re

import pytest

from benchmarks import published_bills
from benchmarks.published_bills import Answered, answer, bills, fact, inverse, question, report
from planner import tables
from planner.errors import ProfileError
from planner.figures import Estimate

DOCUMENT = tables.root().parent / "docs" / "published_bills.md"
ASKED = [bill for bill in bills() if not bill.refused]


def named(name):
    return next(bill for bill in bills() if bill.id == name)


def step_of(seconds, micro, accumulation):
    """A planner that answers every question with one step."""

    def ask(**fields):
        assert fields["micro_batch"] == micro
        figure = {"p10": seconds / 2, "p50": seconds, "p90": seconds * 2}
        return {
            "options": [
                {
                    "step": {
                        "seconds": figure,
                        "micro_batch_size": micro,
                        "gradient_accumulation": accumulation,
                        "mfu": 0.5,
                    }
                }
            ]
        }

    return ask


def test_a_run_on_one_host_is_steps_times_devices():
    bill = named("gpt2-124m")
    found = answer(bill, ask=step_of(2.0, 64, 16))
    steps = 10e9 / 1024 / (64 * 16 * 8)
    assert found.gpu_hours.p50 == pytest.approx(steps * 2.0 * 8 / 3600)
    assert found.gpu_hours.p90 == pytest.approx(4 * found.gpu_hours.p10)
    assert found.error == pytest.approx(found.gpu_hours.p50 / 12 - 1)


def test_a_cluster_loses_what_the_stated_factors_say():
    bill = named("llama-65b")
    found = answer(bill, ask=step_of(10.0, 4, 16))
    alone = 1.4e12 / 2048 / (4 * 16) * 10.0 / 3600
    assert found.gpu_hours.p50 == pytest.approx(
        alone / fact("cluster_scaling").p50 / fact("effective_time").p50
    )
    assert (
        found.gpu_hours.p90 / found.gpu_hours.p50 > 2
        and found.gpu_hours.p50 / found.gpu_hours.p10 > 2
    ), "their spread widens the step's"


def test_questions_name_whole_hosts_and_full_lengths():
    for bill in ASKED:
        # an architecture of its own needs the library to write its configuration
        if not bill.row["architecture"]:
            asked = question(bill)
            assert asked["gpus"] == bill.hosts_gpus <= published_bills.HOST_GPUS
            assert (
                asked["global_batch"]
                == asked["micro_batch"] * asked["gpus"] * published_bills.ACCUMULATION
            )
            assert asked["samples"] * (
                bill.sequence_length if bill.unit == "tokens" else 1
            ) == pytest.approx(bill.amount, rel=1e-3)


def test_inverse_turns_a_range_around():
    assert inverse(Estimate(0.5, 0.8, 1.0)) == Estimate(1.0, 1.25, 2.0)


def test_an_unknown_fact_is_refused():
    with pytest.raises(ProfileError, match="no fact"):
        fact("nobody_said_so")


def test_dollars_go_from_the_cheapest_to_the_dearest_list_price():
    low, high = published_bills.list_prices("a100-sxm-80", 8)
    assert low.usd_per_hour_for(8) < high.usd_per_hour_for(8)
    found = published_bills.usd("a100-sxm-80", Estimate(10, 20, 40))
    assert found.p50 == pytest.approx(
        20 * low.usd_per_hour_for(8) / 8
    ) and found.p90 == pytest.approx(40 * high.usd_per_hour_for(8) / 8)


def test_the_report_counts_what_is_inside_and_names_what_is_refused():
    near, far = (
        Answered(named(name), Estimate(hours / 2, hours, hours * 2), 0.4)
        for name, hours in (("gpt2-124m", 12.0), ("alpaca-7b", 6.0))
    )
    refused = named("sd-v1")
    text = report([near, far], [(refused, refused.refused)])
    assert "2 runs: median error -38%, median absolute error 38%; 1 of 2 inside" in text
    assert (
        "+0% | yes" in text
        and "-75% | no" in text
        and f"**{refused.name}** (150,000 GPU h): {refused.refused}" in text
    )


def test_the_document_has_every_row_and_its_arithmetic_holds():
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ][2:]
    written = {row[0]: row for row in rows}
    assert set(written) == {bill.name for bill in ASKED}, (
        "write it again: python benchmarks/published_bills.py --write docs/published_bills.md"
    )
    for bill in ASKED:
        row = written[bill.name]
        published, ours = (
            float(row[3].replace(",", "")),
            float(row[4].partition(" ")[0].replace(",", "")),
        )
        assert published == pytest.approx(bill.gpu_hours, rel=0.01)
        assert ours / published - 1 == pytest.approx(float(row[5].rstrip("%")) / 100, abs=0.02)
    assert all(
        f"**{bill.name}**" in text.partition("## Not answered")[2]
        for bill in bills()
        if bill.refused
    )
    assert not re.search(r"[{}]|\bnan\b|\binf\b|None", text)


def test_a_run_of_stages_adds_them_up():
    bill = named("sd-v1")
    parts = published_bills.stages(bill)
    assert (
        sum(part.amount for part in parts) == pytest.approx(bill.amount)
        and len({part.row["model"] for part in parts}) == len(parts) == 2
    )
    seconds = {part.row["model"]: seconds for part, seconds in zip(parts, (1.0, 3.0), strict=True)}
    found = answer(bill, ask=lambda **fields: step_of(seconds[fields["question"]], 4, 16)(**fields))
    alone = sum(part.amount / (4 * 16) * seconds[part.row["model"]] for part in parts) / 3600
    assert found.gpu_hours.p50 == pytest.approx(
        alone / fact("cluster_scaling").p50 / fact("effective_time").p50
    )


@pytest.mark.parametrize(
    "bill", [bill for bill in ASKED if bill.row["parts"]], ids=lambda bill: bill.id
)
def test_the_factories_of_the_stages_exist(bill):
    source = (tables.root().parent / "benchmarks" / "stable_diffusion.py").read_text(
        encoding="utf-8"
    )
    for stage in published_bills.stages(bill):
        assert f"def {stage.row['model'].partition(':')[2]}():" in source
