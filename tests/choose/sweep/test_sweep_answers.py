"""A sweep's answers are those of ``planner estimate``, to the last figure."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sweeping import GRID, rows, swept, written

from planner.answer.estimate import estimate
from planner.choose.sweep.asked import questions_of
from planner.choose.sweep.columns import ANSWER, columns
from planner.choose.sweep.grid import read_grid
from planner.choose.sweep.sweep import Where, exit_code, sweep
from planner.choose.sweep.work import answered, unpacked
from planner.question.parsing import question_from


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder, summary, rows) of the small grid."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, *swept(folder)


def alone(given):
    fields = {name: value for name, value in given.items() if name != "model"}
    return json.loads(json.dumps(estimate(question_from(given["model"], None, fields))))


def test_each_answer_is_the_one_that_estimate_gives(whole):
    folder, _, found = whole
    questions, _ = questions_of(read_grid(folder / "grid.yaml"))
    assert [row["id"] for row in found] == [one.id for one in questions]
    for row, one in list(zip(found, questions))[::3]:
        assert row["document"] == alone(one.given)


def test_rows_say_what_was_asked_and_what_is_planned(whole):
    _, summary, found = whole
    row = found[1]
    assert list(row) == summary["columns"]
    assert (row["model"], row["gpu"], row["strategy"]) == ("bert-base-uncased", "l4", "lora")
    option = row["document"]["options"][0]
    assert row["planned_gpu"] == option["gpu"] and row["planned_epochs"] == option["run"]["epochs"]
    assert row["hours_p50"] == option["run"]["wall_hours"]["p50"] > 0
    assert row["gpu_hours_p90"] == option["run"]["gpu_hours"]["p90"]
    assert row["usd_p10"] == option["cost"]["usd"]["p10"] > 0
    bytes_used = option["memory"]["device_used_bytes"]["p50"]
    assert row["memory_gib_p50"] == bytes_used / 2**30
    assert row["fits"] is True and row["basis"] == "datasheet"
    assert row["assumptions"] == len({*row["document"]["assumptions"], *option["assumptions"]})
    assert row["first_assumption"] == row["document"]["assumptions"][0]
    assert row["warnings"] == 1 and "the memory that NVIDIA L4 shows" in row["first_warning"]
    assert "trained as" in row["first_lines"] and "torch" in row["recorded_with"]
    assert (row["status"], row["error"], row["day"]) == ("answered", None, "2026-11-28")


def test_the_summary_counts_them(whole):
    folder, summary, _ = whole
    assert (summary["questions"], summary["answered"], summary["refused"]) == (16, 16, 0)
    assert summary["failed"] == 0 and exit_code(summary) == 0 and summary["limits_kept"] is None
    assert not list(folder.glob("*.journal*"))


GPUS = ("h100-sxm", "a100-sxm-80", "l4", "rtx-4090", "a10g")


@settings(max_examples=8)
@given(
    model=some.sampled_from(["bert-base-uncased", "gpt2", "Llama-3.2-1B", "resnet50"]),
    strategy=some.sampled_from(["lora", "fine_tune", "feature_extraction"]),
    length=some.integers(16, 400),
    batch=some.sampled_from([None, 1, 3, 8, 32]),
    gpus=some.lists(some.sampled_from(GPUS), min_size=1, max_size=3, unique=True),
    spot=some.booleans(),
)
def test_what_earlier_questions_left_changes_no_answer(
    tmp_path_factory, model, strategy, length, batch, gpus, spot
):
    """Whatever was answered before in this process, refusals included."""
    text = json.dumps(
        {"model": model, "samples": 500, "strategy": strategy, "gpu": gpus, "spot": spot}
        | ({} if model == "resnet50" else {"tokens_per_sample": length})
        | ({} if batch is None else {"micro_batch": batch})
    )
    folder = tmp_path_factory.mktemp("some")
    questions, _ = questions_of(read_grid(written(folder, text, "grid.json")))
    for one in questions:
        row, document = unpacked(answered(one).packed)
        if row["status"] == "answered":
            assert json.loads(document) == alone(one.given)
        else:
            with pytest.raises(Exception) as refusal:
                alone(one.given)
            assert row["error"] == str(refusal.value)


def test_processes_give_the_same_file(whole, tmp_path):
    folder, *_ = whole
    sweep(folder / "grid.yaml", tmp_path / "two.jsonl", where=Where(processes=2))
    assert (tmp_path / "two.jsonl").read_bytes() == (folder / "answers.jsonl").read_bytes()


def test_a_worker_of_several_threads_gives_the_same_answers(whole):
    folder, _, found = whole
    questions, _ = questions_of(read_grid(folder / "grid.yaml"))
    with ThreadPoolExecutor(4) as pool:
        together = [unpacked(reply.packed) for reply in pool.map(answered, questions)]
    assert [json.loads(document) for _, document in together] == [r["document"] for r in found]


REFUSED = """\
model: [gpt2, resnet50]
samples: 100
tokens_per_sample: [50, 5000]
strategy: lora
gpu: l4
"""


def test_a_question_that_is_refused_is_a_row_and_the_others_go_on(tmp_path):
    text = REFUSED + "task: [null, image_classification]\n"
    summary, found = swept(tmp_path, text)
    by = {
        status: [row for row in found if row["status"] == status]
        for status in ("answered", "refused")
    }
    assert len(by["answered"]) + len(by["refused"]) == len(found) == 8
    assert by["answered"] and by["refused"] and exit_code(summary) == 0
    for row in by["refused"]:
        assert row["error"] and "\n" not in row["error"] and row["document"] is None
        assert row["hours_p50"] is None and row["fits"] is None and row["planner"]
    assert sum(reason["questions"] for reason in summary["reasons"]) == len(by["refused"])


def test_where_nothing_is_answered_the_exit_code_is_two(tmp_path):
    text = "model: gpt2\nsamples: 10\ntokens_per_sample: 5\ngpu: l4\ntask: image_classification\n"
    summary, found = swept(tmp_path, text)
    assert found[0]["status"] == "refused" and exit_code(summary) == 2


@pytest.mark.parametrize("usd, code", [([0.000001], 1), ([0.000001, 1000], 0)])
def test_limits_are_broken_where_no_answer_keeps_them(tmp_path, usd, code):
    text = GRID.replace("[bert-base-uncased, gpt2]", "gpt2").replace("[lora, fine_tune]", "lora")
    summary, found = swept(tmp_path, f"{text}max_usd: {usd}\n")
    assert exit_code(summary) == code and summary["limits_kept"] is (code == 0)
    for row in found:
        assert (row["limits_broken"] is None) is (row["max_usd"] == 1000)


def test_a_way_that_does_not_fit_is_counted(tmp_path):
    text = "model: Llama-3.1-8B\nsamples: 100\ntokens_per_sample: 64\nmicro_batch: 1\n"
    summary, found = swept(tmp_path, text + "strategy: fine_tune\ngpu: l4\n")
    assert summary["do_not_fit"] == 1 and found[0]["fits"] is False
    assert found[0]["recommended"] is False and found[0]["options"] == 1


def test_every_column_is_declared_and_every_figure_has_one():
    assert set(columns(["model", "epochs"], documents=True)) == {
        *("id", "model", "epochs", "document"),
        *ANSWER,
    }


def test_documents_are_left_out_where_they_are_not_wanted(tmp_path):
    summary, found = swept(tmp_path, GRID.replace("[64, 200]", "64"), documents=False)
    assert "document" not in summary["columns"] and "document" not in found[0]
    assert rows(tmp_path / "answers.jsonl") == found
