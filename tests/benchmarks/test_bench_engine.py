"""From a case to its outcome, with a hand-made planner, and the program around it."""

import dataclasses
import json
import random
from types import SimpleNamespace

import pytest

from benchmarks import accuracy
from planner.errors import ModelError
from planner.figures import Estimate
from planner.report.views import accuracy as accuracy_view
from planner.validate.architectures import resolvable, task_of
from planner.validate.cases import Case, Refused, to_csv
from planner.validate.judge import compare, outcome, recipe_of_case

CASE = Case(
    id="c",
    table="t",
    citation="s",
    model="bert-base-uncased",
    task="text_classification",
    strategy="fine_tune",
    gpu="t4",
    micro_batch=8,
    precision="fp32",
    optimizer="adamw",
    step_seconds=0.1,
    forward_seconds=0.03,
    peaks=(("allocated", 1000), ("device", 3000)),
)


def result(**kw):
    given = dict(
        basis="datasheet",
        step_seconds=Estimate(0.09, 0.11, 0.13),
        forward_seconds=Estimate(0.02, 0.03, 0.04),
        allocated_bytes=Estimate(900, 1000, 1100),
        reserved_bytes=Estimate(1500, 1600, 1700),
        device_used_bytes=Estimate(3100, 3200, 3300),
        fits=True,
    )
    return SimpleNamespace(**{**given, **kw})


def test_only_what_was_measured_is_compared():
    got = compare(CASE, result())
    assert {c.quantity: c.p50 for c in got.comparisons} == {
        "time": 0.11,
        "forward": 0.03,
        "allocated": 1000,
        "device": 3200,
    }
    assert got.verdict.fits is True and got.verdict.ran_out is False


def test_an_optimizer_outside_the_timer_is_taken_off():
    case = dataclasses.replace(CASE, measures="forward_backward", forward_seconds=None, peaks=())
    (one,) = compare(
        case,
        result(step=SimpleNamespace(time=SimpleNamespace(seconds=0.2, optimizer_seconds=0.02))),
    ).comparisons
    assert one.p50 == pytest.approx(0.099)


def test_out_of_memory_gives_a_verdict_without_figures():
    case = dataclasses.replace(CASE, oom=True, step_seconds=None, forward_seconds=None, peaks=())
    got = compare(case, result(fits=True))
    assert got.comparisons == () and got.verdict.ran_out


def test_sharded_runs_are_judged_whole_or_as_copies_on_time_only(tmp_path):
    case = dataclasses.replace(CASE, parallel="fsdp", gpus=8)
    assert len(outcome(case, tmp_path, lambda *_: result()).comparisons) > 1
    other = dataclasses.replace(CASE, parallel="tensor", gpus=8)
    assert "tensor" in outcome(other, tmp_path, lambda *_: result()).refused.reason
    got = outcome(case, tmp_path, lambda *_: result(), sharded_as_ddp=True)
    assert [c.quantity for c in got.comparisons] == ["time"] and got.verdict is None


def test_a_refusal_and_a_defect_are_told_apart(tmp_path):
    def refuse(*_):
        raise ModelError("no such model")

    def crash(*_):
        raise ZeroDivisionError("oh")

    assert outcome(CASE, tmp_path, refuse).refused.reason == "ModelError: no such model"
    assert outcome(CASE, tmp_path, crash).refused.reason.startswith("DEFECT ZeroDivisionError")


def test_recipes_hold_only_what_the_strategy_uses():
    recipe = recipe_of_case(
        dataclasses.replace(
            CASE, strategy="scratch", lora_rank=8, lora_targets=("q",), image_size=224
        ),
        96,
    )
    assert (recipe.strategy, recipe.lora_rank, recipe.image_size) == ("fine_tune", None, None)
    image = recipe_of_case(
        dataclasses.replace(
            CASE, task="image_classification", strategy="feature_extraction", measures="forward"
        ),
        96,
    )
    assert (image.image_size, image.variant) == (None, "features")  # its own size
    audio = recipe_of_case(
        dataclasses.replace(CASE, task="audio_classification", sequence_length=160000)
    )
    assert audio.audio_samples == 160000


def test_architectures_become_folders(tmp_path):
    pytest.importorskip("transformers")
    name = resolvable(
        "small",
        {"kind": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        tmp_path,
    )
    config = json.loads((tmp_path / name / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["max_position_embeddings"]) == (
        "llama",
        64,
        131072,
    )
    assert resolvable("resnet50", {"kind": "timm"}, tmp_path) == "timm:resnet50"
    assert resolvable("bert-base-uncased", None, tmp_path) == "bert-base-uncased"


@pytest.mark.parametrize(
    "kind, task",
    [
        ("llama", "causal_lm"),
        ("causal:opt", "causal_lm"),
        ("classifier:electra", "text_classification"),
        ("t5", "seq2seq_lm"),
        ("wav2vec2", "audio_classification"),
        ("clip", "contrastive"),
        ("timm", "image_classification"),
    ],
)
def test_tasks_of_kinds(kind, task):
    assert task_of(kind) == task


def cases(count):
    return [
        dataclasses.replace(CASE, id=f"c{i:03d}", table="a" if i % 2 else "b") for i in range(count)
    ]


def test_the_draw_is_reproducible_and_by_table():
    items = cases(40)
    first, _ = accuracy.choose(items, "all", 5, 7)
    random.Random(1).shuffle(items)
    again, _ = accuracy.choose(items, "all", 5, 7)
    assert first == again and [c.table for c in first] == ["a"] * 5 + ["b"] * 5
    assert accuracy.choose(items, "all", 5, 8)[0] != first
    only_a, _ = accuracy.choose([c for c in items if c.table == "a"], "all", 5, 7)
    assert only_a == first[:5]


def test_the_split_is_kept():
    holdout = dataclasses.replace(CASE, id="g", model="gpt2")
    assert accuracy.choose([CASE, holdout], "holdout", None, 0)[0] == [holdout]
    assert accuracy.choose([CASE, holdout], "fit", None, 0)[0] == [CASE]


def test_shipped_reads_published_and_measured_runs(tmp_path):
    (tmp_path / "published.csv").write_text(
        to_csv([dataclasses.replace(CASE, peaks=CASE.peaks[:1])])
    )
    (tmp_path / "h200").mkdir()
    (tmp_path / "h200" / "runs.csv").write_text(
        "run_id,status,architecture,step_ms_median,peak_allocated_bytes,note,model\n"
        "x,error,{},,,no driver,m\n"
    )
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    found = list(accuracy.shipped(tmp_path, None))
    assert [f.id for f in found] == ["x", "c"] and isinstance(found[0], Refused)
    assert [f.id for f in accuracy.shipped(tmp_path, ["runs"])] == ["x"]


def test_reports_name_everything():
    got = compare(CASE, result())
    oom = compare(
        dataclasses.replace(CASE, id="o", oom=True, step_seconds=None, peaks=()), result()
    )
    parts = (
        list(got.comparisons),
        [got.verdict, oom.verdict],
        [Refused("r", "t", "no such GPU")],
        {"rows": 3, "cases": 2, "description": "test"},
    )
    text = accuracy_view.markdown(*parts)
    assert (
        "no such GPU: 1" in text
        and "called fitting by the planner: 1 (must be 0)" in text
        and "Called fitting but ran out: `o`" in text
    )
    document = json.loads(json.dumps(accuracy_view.document(*parts)))
    assert (
        document["verdicts"]["all"]["false_fits"] == ["o"]
        and document["not_asked"][0]["count"] == 1
    )
    assert document["summaries"]["table"][0]["table"] == "t"
