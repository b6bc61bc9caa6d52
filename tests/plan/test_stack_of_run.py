"""What a stack does to a run: its attention and optimizer of the day, the parts of training, the
first lines, the refusal on the command line."""

import json

import pytest

from planner import Question, estimate
from planner.cli.main import run as run_command
from planner.models.resolve import resolve
from planner.plan.inputs.of_its_day import fused_share, of_its_day
from planner.question.stack import Stack

BERT = dict(
    model="bert-base-uncased",
    task="text_classification",
    strategy=["fine_tune"],
    samples=20_000,
    tokens_per_sample=128,
    epochs=1,
    micro_batch=32,
    global_batch=32,
    gpu="t4",
    price=1.0,
    offline=True,
)


def question(**more) -> Question:
    return Question(**BERT | more)


@pytest.fixture(scope="module")
def bert():
    return resolve("bert-base-uncased", offline=True)


@pytest.mark.parametrize(
    ("asked", "attention", "optimizer"),
    [
        ({}, "sdpa", "adamw"),
        ({"stack": "trainer-2021"}, "eager", "adamw_hf"),
        ({"stack": "trainer-2024-01"}, "eager", "adamw"),
        ({"stack": "trainer-2024-06"}, "sdpa", "adamw"),
        ({"stack": "trainer-2021", "attention": "sdpa"}, "sdpa", "adamw_hf"),
        ({"stack": "trainer-2021", "optimizer": "sgd"}, "eager", "sgd"),
        ({"stack": "trainer-2021", "optimizer": "adamw"}, "eager", "adamw_for_loop"),
        ({"stack": "loop-2021"}, "eager", "adamw_for_loop"),
        ({"stack": "loop-2023-06"}, "eager", "adamw"),
    ],
)
def test_a_question_wins_over_its_stack_and_that_over_todays(bert, asked, attention, optimizer):
    found = of_its_day(question(**asked), bert)
    assert (found.attention, found.optimizer) == (attention, optimizer)
    assert bool(found.changed) == (
        attention != asked.get("attention", "sdpa") or optimizer != asked.get("optimizer", "adamw")
    )


def test_fused_kernels_are_of_the_families_they_were_written_for(bert):
    llama = resolve("meta-llama/Llama-3.1-8B", offline=True)
    assert fused_share(Stack("unsloth"), llama) == Stack("unsloth").number("fused_share") < 1
    assert fused_share(Stack("unsloth"), bert) == 1.0
    assert fused_share(Stack("trainer"), llama) == 1.0


def test_fused_attention_was_slower_before_flash_attention_2():
    fields = {
        "strategy": ["scratch"],
        "samples": 100_000,
        "tokens_per_sample": 4096,
        "max_length": 4096,
        "gpu": "a100-80gb-sxm",
        "price": 1.0,
        "attention": "flash",
        "micro_batch": 1,
        "offline": True,
    }
    then, now = (
        estimate("TinyLlama-1.1B", stack=stack, **fields)["options"][0]["step"]
        for stack in ("loop-2023-03", "loop-2023-08")
    )
    assert then["by_kind"]["attention"] == pytest.approx(2 * now["by_kind"]["attention"])
    assert then["by_kind"]["matmul"] == now["by_kind"]["matmul"]
    assert then["seconds"]["p50"] > now["seconds"]["p50"]


def run_of(**more) -> dict:
    return estimate(question(**more))["options"][0]["run"]


def test_the_parts_of_training_sum_to_its_hours_and_a_loop_clips_nothing():
    trainer, loop = run_of(), run_of(stack="loop")
    for run in (trainer, loop):
        assert sum(run["of_which_hours"]["training"].values()) == pytest.approx(
            run["breakdown_hours"]["training"]
        )
    assert (
        trainer["of_which_hours"]["training"]["clipping"]
        > 0
        == loop["of_which_hours"]["training"]["clipping"]
    )
    assert trainer["of_which_hours"]["training"]["steps"] == pytest.approx(
        loop["of_which_hours"]["training"]["steps"]
    )
    assert trainer["breakdown_hours"]["training"] > loop["breakdown_hours"]["training"]


def test_clipping_berts_gradients_on_a_t4_by_hand():
    """109.5 million float32 gradients, read twice and written once, at 320 GB/s times 0.75: 5.5 ms
    a step, 625 steps."""
    run = run_of()
    hours = 625 * 3 * 4 * 109.5e6 / (320e9 * 0.75) / 3600
    assert run["steps"] == 625
    assert run["of_which_hours"]["training"]["clipping"] == pytest.approx(hours, rel=0.1)


def test_no_accumulated_micro_batch_is_clipped():
    often, seldom = run_of(), run_of(global_batch=256)
    assert seldom["of_which_hours"]["training"]["clipping"] == pytest.approx(
        often["of_which_hours"]["training"]["clipping"] * seldom["steps"] / often["steps"], rel=0.05
    )


def test_older_versions_of_the_same_optimizer_are_never_faster():
    hours = [
        run_of(stack=stack, optimizer="sgd")["of_which_hours"]["training"]["steps"]
        for stack in ("trainer-2020", "trainer-2023-12", "trainer-2024-06", "trainer")
    ]
    assert hours == sorted(hours, reverse=True) and hours[0] > hours[-1]


def test_the_first_lines_name_the_stack_and_what_it_changed():
    def line(**more) -> str:
        lines = estimate(question(**more))["first_lines"]
        return next(one["text"] for one in lines if one["text"].startswith("runs as"))

    assert line(precision="fp32") == "runs as Hugging Face Trainer of today; --stack changes it"
    assert (
        "(its scripts train in fp32 without a flag, which is not taken for granted: --precision)"
        in line()
    )
    assert "precision" not in line(stack="loop")
    old = line(stack="trainer-2021")
    assert "of 2021" in old and "eager attention" in old and "adamw_hf" in old


def test_the_command_line_refuses_an_unknown_stack_at_once(capsys):
    arguments = "estimate no/such-model --samples 10 --tokens-per-sample 8 --offline".split()
    assert run_command([*arguments, "--stack", "keras-2022"]) == 2
    told = capsys.readouterr().err
    assert "--stack: no stack 'keras-2022'. One of trainer" in told and "Traceback" not in told


def test_the_command_line_answers_with_the_stack(capsys):
    code = run_command(
        "estimate bert-base-uncased --task text-classification --strategy fine-tune "
        "--samples 2000 --tokens-per-sample 128 --gpu t4 --price 1 --offline "
        "--stack loop-2024-06 --json".split()
    )
    told = capsys.readouterr()
    assert code == 0, told.err
    texts = [line["text"] for line in json.loads(told.out)["first_lines"]]
    assert any("a plain loop of 2024-06" in text for text in texts)


def test_texts_under_trl_of_today_hold_no_logits():
    """TRL 1.16 multiplies by the head in tiles; axolotl's own trainer, TRL's before, and a model
    that tells classes apart do not."""

    def answered(**more):
        asked = dict(
            model="Qwen2.5-0.5B",
            strategy=["lora"],
            samples=100,
            tokens_per_sample=512,
            micro_batch=8,
            gpu="a100-40gb",
            price=1.0,
            gradient_checkpointing="none",
            offline=True,
        )
        answer = estimate(Question(**asked | more))
        tiled = any("the logits in tiles" in line["text"] for line in answer["first_lines"])
        return tiled, answer["options"][0]["memory"]["allocated_bytes"]["p50"]

    today, then, other = (answered(stack=s) for s in ("trl", "trl-2026-06", "axolotl"))
    assert (today[0], then[0], other[0]) == (True, False, False)
    assert today[1] < then[1] == other[1]
    assert not answered(stack="trl", loss="chunked")[0]
    assert not answered(stack="trl", task="text_classification", classes=2)[0]
