"""More devices than one host's: the search beside looking at everything, and what they buy."""

import pytest

from benchmarks.search_layouts import asked_and_compared
from planner.choose.decision import decide
from planner.choose.scaling import LOST_TO
from planner.errors import QuestionError
from planner.parallel.plan import counts_up_to, plans_apart
from planner.question import Question
from planner.report.views.summary.scaling import LOST, pays, scaling_parts

LARGE = {
    "model": "Llama-3.2-1B",
    "strategy": ["scratch"],
    "samples": 1_000_000,
    "tokens_per_sample": 2048.0,
    "gpu": "h100-sxm",
    "global_batch": 256,
    "offline": True,
}


@pytest.fixture(scope="module")
def document():
    return decide(Question(**LARGE), up_to=256)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_search_is_never_worse_than_looking_at_everything(seed):
    for row in asked_and_compared(2, seed):
        assert not row.is_worse
        assert row.looked <= row.places


def test_counts_are_powers_of_two_and_the_last():
    assert counts_up_to(1) == (1,)
    assert counts_up_to(8) == (1, 2, 4, 8)
    assert counts_up_to(12) == (1, 2, 4, 8, 12)


def test_plans_that_are_priced_beside_each_other():
    apart = plans_apart(16, None, together=8)
    ways = [(plan.sharding, plan.dp_replicate, plan.dp_shard) for plan in apart]
    assert ways == [("", 16, 1), ("fsdp", 1, 16), ("fsdp", 2, 8)]
    assert len(plans_apart(1, None, 8)) == 1 and len(plans_apart(8, None, 8)) == 2
    assert [plan.sharding for plan in plans_apart(16, "ddp", 8)] == [""]
    assert all(plan.devices == 16 for plan in apart)
    (hybrid,) = [plan for plan in plans_apart(16, None, together=4) if plan.dp_replicate == 4]
    assert hybrid.dp_shard == 4


def test_every_count_has_a_row_and_more_devices_are_faster_until_they_are_not(document):
    found = document["scaling"]
    rows = found["strong"]
    assert [row["gpus"] for row in rows] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert rows[0]["efficiency"] == pytest.approx(1) and rows[0]["speed_up"] == 1
    # shared state leaves room for larger micro-batches and for no checkpointing
    assert all(0 < row["efficiency"] < 1.6 for row in rows)
    for row in rows:
        assert row["dp_replicate"] * row["dp_shard"] == row["gpus"]
        assert row["speed_up"] == pytest.approx(row["efficiency"] * row["gpus"])
        lost = sum(row["lost_gpu_hours"].values())
        more = row["wall_hours"]["p50"] * row["gpus"] - rows[0]["wall_hours"]["p50"]
        assert lost >= more - 1e-6 * abs(more) - 1e-9
    assert found["pays_up_to"] in [row["gpus"] for row in rows]


def test_weak_scaling_keeps_the_samples_of_a_device(document):
    weak = document["scaling"]["weak"]
    assert weak[0]["efficiency"] == pytest.approx(1)
    each = weak[0]["global_batch_size"] / weak[0]["gpus"]
    assert all(row["global_batch_size"] == pytest.approx(each * row["gpus"]) for row in weak)
    strong = {row["gpus"]: row["efficiency"] for row in document["scaling"]["strong"]}
    assert weak[-1]["efficiency"] > strong[weak[-1]["gpus"]]


def test_the_table_says_where_it_stops_paying(document):
    grid, paragraph = scaling_parts(document)
    assert "Doubling pays up to" in pays(document["scaling"])
    assert paragraph.text == pays(document["scaling"])
    assert set(LOST) == set(LOST_TO)
    assert scaling_parts({"scaling": None}) == []


def test_a_count_and_a_limit_of_counts_contradict_each_other():
    with pytest.raises(QuestionError, match="one count"):
        decide(Question(**LARGE, gpus=4), up_to=64)
