"""Steps, epochs and batches are those that were asked for, or the answer says what runs."""

import json

import pytest

from planner.answer.estimate import estimate
from planner.datasets.profile import DatasetProfile
from planner.errors import QuestionError
from planner.models.resolve import resolve
from planner.plan.inputs.problem import fitted_to

TINY = {"gpu": "a100-sxm-80", "strategy": "fine_tune", "tokens_per_sample": 100}


def ask(model="gpt2", **fields):
    answer = estimate(model, **TINY | fields)
    return answer, answer["options"][0], [line["text"] for line in answer["first_lines"]]


def warned(answer):
    return [line["text"] for line in answer["first_lines"] if line["warning"]]


def test_max_steps_is_the_number_of_steps_through_the_data_again_and_again():
    # a public run: whisper-small, 5,000 steps of 32, about 2.0 h of work on a V100
    answer = estimate(
        "whisper-small",
        samples=6540,
        max_steps=5000,
        micro_batch=16,
        global_batch=32,
        precision="amp_fp16",
        gradient_checkpointing="full",
        strategy="fine_tune",
        gpu="v100-sxm2-16",
    )
    run = answer["options"][0]["run"]
    assert run["steps"] == 5000
    assert run["epochs"] == pytest.approx(5000 * 32 / 6540, rel=0.01)
    # rows of features as lists, read by the training process, take as long again: the run took 8 h
    stall = run["of_which_hours"]["training"]["loader_stall"]
    assert 1.5 < run["gpu_hours"]["p50"] - stall < 2.6 and 0.8 < stall < 1.6
    assert any("5,000 steps of 32 samples" in line["text"] for line in answer["first_lines"])


@pytest.mark.parametrize("steps", [1, 50, 400, 5000])
def test_any_number_of_steps_is_run(steps):
    _, option, texts = ask(samples=1000, global_batch=10, max_steps=steps)
    assert option["run"]["steps"] == steps
    assert option["run"]["epochs"] == pytest.approx(steps / 100)
    plural = "" if steps == 1 else "s"
    assert any(f"{steps:,} step{plural} of 10 samples" in text for text in texts)


def test_a_run_within_its_first_epoch_is_evaluated_once_at_its_end():
    _, option, texts = ask(samples=100_000, global_batch=10, max_steps=50)
    assert any("; evaluated 1 time on" in text for text in texts)
    part = option["run"]["breakdown_hours"]["evaluation"]
    _, longer, _ = ask(samples=100_000, global_batch=10, max_steps=10_000)
    assert part == pytest.approx(longer["run"]["breakdown_hours"]["evaluation"])


def test_one_sample_is_one():
    assert any(text.count(" on 1 sample: ") for text in ask(samples=5)[2])


def test_more_steps_are_never_cheaper():
    hours = [
        ask(samples=1000, global_batch=10, max_steps=n)[1]["run"]["gpu_hours"]["p50"]
        for n in (10, 100, 1000, 10_000)
    ]
    assert hours == sorted(hours)


def test_the_answer_says_which_one_ended_the_run():
    answer, option, _ = ask(samples=1000, global_batch=10, max_steps=500, epochs=3)
    assert option["run"]["steps"] == 500
    (line,) = warned(answer)
    assert line.startswith("--max-steps 500 ends the run, after 5 epochs: --epochs 3 would be 300")


def test_nothing_is_said_where_both_agree():
    answer, option, _ = ask(samples=1000, global_batch=10, max_steps=300, epochs=3)
    assert option["run"]["steps"] == 300 and not warned(answer)


def test_gradual_unfreezing_shares_the_steps_among_its_stages():
    answer = estimate(
        "gpt2",
        samples=1000,
        tokens_per_sample=100,
        gpu="l4",
        strategy="partial_fine_tune",
        unfreezing="gradual",
        max_steps=101,
    )
    assert answer["options"][0]["run"]["steps"] == 101


def test_no_step_takes_more_than_the_data_and_that_is_said():
    answer, option, _ = ask(samples=20, global_batch=64, micro_batch=32)
    assert option["training"]["global_batch_size"] == 20
    assert option["step"]["micro_batch_size"] == 20
    assert warned(answer) == [
        "--global-batch 64 is more than the data: 20 samples are taken",
        "--micro-batch 32 is more than the data: 20 samples are taken",
    ]


def test_a_step_that_takes_more_than_was_asked_is_said():
    answer, option, _ = ask(samples=5000, global_batch=10, micro_batch=4)
    assert option["training"]["global_batch_size"] == 12
    assert any("a step takes 12 samples" in text for text in warned(answer))


def test_a_batch_that_is_asked_does_not_hide_that_there_is_a_recipe():
    _, _, texts = ask("Llama-3.2-1B", strategy="lora", samples=1000, global_batch=64)
    assert any("epochs (" in text for text in texts)
    assert not any("no published recipe" in text for text in texts)


def test_a_length_beyond_the_models_is_said():
    answer, option, _ = ask(samples=500, max_length=4000, tokens_per_sample=3000)
    assert option["training"]["max_length"] == 1024
    (line,) = warned(answer)
    assert line.startswith("--max-length 4,000 is more than gpt2 takes: its 1,024 tokens")


def test_the_first_lines_hold_model_task_data_run_and_recipe():
    answer, option, texts = ask(samples=2000)
    topics = [line["topic"] for line in answer["first_lines"]]
    assert [topic for topic in topics if topic != "task"] == [
        "model",
        "data",
        "data",
        "run",
        "recipe",
        "stack",
        "cost",
    ]
    assert any("lengths spread as 0.53" in text for text in texts)
    run = next(text for text in texts if "steps of" in text)
    for word in ("epochs", "steps of", "tokens an epoch", "in all", "to start"):
        assert word in run, word
    assert option["run"]["tokens_per_epoch"] == pytest.approx(200_000)


def test_tokens_are_real_ones_whatever_the_padding():
    for padding in ("longest", "max", "packed"):
        _, option, _ = ask(samples=2000, padding=padding, max_length=512)
        assert option["run"]["tokens_per_epoch"] == pytest.approx(200_000), padding


def test_each_option_says_its_own_run_once():
    """In the first lines, with the option, or in one line of several options that names it."""
    answer = estimate("gpt2", samples=2000, tokens_per_sample=100, gpu="l4")
    said = [line["text"] for line in answer["first_lines"]]
    together = [text for text in answer["assumptions"] if "to start" in text]
    for option in answer["options"]:
        name = option["strategy"]
        own = [text for text in option["assumptions"] if "to start" in text]
        above = [text for text in said if text.startswith(f"{name}:")]
        shared = [text for text in together if name in text.partition(": ")[0]]
        assert len(own) <= 1 and own + above + shared, name


@pytest.mark.parametrize("padding", ["longest", "max"])
def test_targets_longer_than_inputs_are_kept_whole(tmp_path, padding):
    """Short questions with long answers: an input's length is none of a target's."""
    file = tmp_path / "stories.jsonl"
    asked, told = "write a story", "once upon a time there was a small house by the sea " * 20
    rows = [{"prompt": asked, "completion": told[: 900 + i]} for i in range(100)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"data": str(file), "strategy": "fine_tune", "gpu": "l4", "padding": padding}
    (option,) = estimate("t5-base", **fields)["options"]
    (long,) = estimate("t5-base", **fields | {"max_length": 512, "padding": "longest"})["options"]
    assert option["run"]["tokens_per_epoch"] == long["run"]["tokens_per_epoch"] > 100 * 150


def test_a_model_and_its_data_are_said_once():
    answer = estimate("7B", samples=1000, tokens_per_sample=100, gpu="h100", strategy="lora")
    said = [line["text"] for line in answer["first_lines"] if line["topic"] == "model"]
    assert len(said) == 1 and said[0].startswith("7B is taken as")
    answer = estimate("whisper-small", audio_hours=40, gpu="l4", strategy="fine_tune")
    (said,) = [line["text"] for line in answer["first_lines"] if line["topic"] == "data"]
    assert said.startswith("4,800 clips of 30 s, 40 hours")


CTC = {"audio_hours": 40, "task": "speech_recognition", "gpu": "l4"}


@pytest.mark.parametrize("strategy", ["lora", "scratch"])
def test_ctc_has_defaults_of_its_own_and_no_tokens(strategy):
    answer = estimate("wav2vec2-base", strategy=strategy, **CTC)
    texts = [line["text"] for line in answer["first_lines"]]
    (run,) = [text for text in texts if text.startswith(f"{strategy}: ")]
    (recipe,) = [text for text in texts if text.startswith(f"{strategy} by default")]
    assert "steps of 32 samples" in run and "tokens" not in run
    assert "Whisper" not in recipe
    # nothing is published of scratch, which takes no fewer passes than fine-tuning
    tuned = estimate("wav2vec2-base", strategy="fine_tune", **CTC)["options"][0]["run"]["epochs"]
    passes = {"lora": 15, "scratch": pytest.approx(tuned, rel=0.01)}[strategy]
    assert answer["options"][0]["run"]["epochs"] == passes


def test_images_for_a_model_that_writes_about_them_are_refused_with_the_way(tmp_path):
    text, vision = {"model_type": "gemma3_text"}, {"model_type": "siglip_vision_model"}
    config = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": vision,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    photos = DatasetProfile("image", 100, None, sampled=100, source="scanned", format="images")
    for model, mend in (
        (str(tmp_path), "--samples and --tokens-per-sample"),
        ("Llama-3.2-1B", "Name a model for such data"),
    ):
        with pytest.raises(QuestionError) as error:
            fitted_to(resolve(model, offline=True), photos, [])
        assert "the data holds image" in str(error.value) and mend in str(error.value)
