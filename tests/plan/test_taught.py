"""Questions that learn from a teacher: what it holds, what is written, and what is refused."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from planner import Question, estimate
from planner.datasets.profile import DatasetProfile
from planner.errors import QuestionError
from planner.plan.objectives.asked import samples_of
from planner.plan.objectives.mixed import MixedProfile

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")),
    reason="needs the extra hf",
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4096,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
LARGER = CONFIG | {"hidden_size": 512, "num_hidden_layers": 4}
IN_STEP = ("gkd", "on_policy_distillation", "kd")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a student, its teacher, and a teacher with other tokens."""
    made = {}
    for name, config in (
        ("student", CONFIG),
        ("teacher", LARGER),
        ("other", LARGER | {"vocab_size": 5000}),
    ):
        folder = tmp_path_factory.mktemp(name)
        (folder / "config.json").write_text(json.dumps(config))
        made[name] = str(folder)
    return made


def answered(models, objective, strategy="lora", teacher="teacher", **more):
    given = {"samples": 2000, "tokens_per_sample": 200, "gpu": "h100-sxm", "length_spread": 0}
    given |= {"micro_batch": 8, "global_batch": 32}
    named = {"teacher": models[teacher]} if teacher else {}
    return estimate(
        models["student"], objective=objective, strategy=strategy, **given | named | more
    )


def asked(models, objective, strategy="lora", **more):
    (option,) = answered(models, objective, strategy, **more)["options"]
    return option


def hours(option, phase="generation"):
    return option["run"]["breakdown_hours"].get(phase, 0.0)


def lines(answer):
    return " ".join(line["text"] for line in answer["first_lines"])


@pytest.mark.parametrize("objective", IN_STEP)
def test_memory_holds_the_teacher_and_the_logits_of_both(models, objective):
    alone = asked(models, None, teacher=None, gradient_checkpointing="none")
    # since 2026-08 on-policy distillation works through its logits in tiles
    taught = asked(models, objective, gradient_checkpointing="none", stack="trl-2026-07")
    held = taught["memory"]["breakdown"]["weights"] - alone["memory"]["breakdown"]["weights"]
    parameters = 4 * (512 * 512 * 2.5 + 3 * 512 * 512) + 2 * 4096 * 512
    assert held == pytest.approx(2 * parameters, rel=0.15)
    logits = 8 * 200 * 4096
    added = taught["memory"]["allocated_bytes"]["p50"] - alone["memory"]["allocated_bytes"]["p50"]
    # torchtune's recipe holds both models' logits in 16 bits, chunk by chunk
    assert added > held + (1 if objective == "kd" else 4) * logits
    own = taught["step"]["forward_seconds"]["p50"]
    assert own > 1.5 * alone["step"]["forward_seconds"]["p50"]


def test_a_teacher_that_wrote_before_is_gone_when_the_training_begins(models):
    alone = asked(models, None, teacher=None, gradient_checkpointing="none")
    taught = asked(models, "sequence_distillation", gradient_checkpointing="none")
    assert taught["memory"] == alone["memory"] and taught["step"] == alone["step"]
    assert hours(taught) > 0 and hours(alone) == 0
    by_hand = asked(models, "sequence_distillation", generation_engine="transformers")
    assert hours(by_hand) > hours(taught)


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("gkd", {}),
        ("gkd", {"teacher_writes": True}),
        ("on_policy_distillation", {"generation_engine": "vllm"}),
        ("sequence_distillation", {}),
    ],
)
def test_hours_by_phase_sum_to_the_run(models, objective, more):
    run = asked(models, objective, **more)["run"]
    assert sum(run["breakdown_hours"].values()) == pytest.approx(run["wall_hours"]["p50"])
    written = run["of_which_hours"]["generation"]
    assert sum(written.values()) == pytest.approx(run["breakdown_hours"]["generation"])


def writers(option):
    return set(option["run"]["of_which_hours"]["generation"]) - {"beyond_clean_steps"}


def test_the_student_writes_its_share_and_the_teacher_the_rest_where_it_is_asked(models):
    made = {"gradient_checkpointing": "none"}
    none, half, whole = (
        asked(models, "gkd", on_policy_share=share, **made) for share in (0, 0.5, 1)
    )
    assert hours(none) == 0 and hours(whole) == pytest.approx(2 * hours(half), rel=0.001)
    assert hours(asked(models, "gkd", **made)) == hours(half)
    both = asked(models, "gkd", teacher_writes=True, **made)
    assert writers(both) == {"the student", "the teacher"}
    taught = asked(models, "gkd", teacher_writes=True, on_policy_share=0, **made)
    assert writers(taught) == {"the teacher"}


def test_checkpointed_students_write_without_a_cache(models):
    made = {"completion_tokens": 512, "tokens_per_sample": 2000, "on_policy_share": 1}
    plain = asked(models, "gkd", gradient_checkpointing="none", **made)
    checkpointed = asked(models, "gkd", gradient_checkpointing="full", **made)
    assert hours(checkpointed) > 1.1 * hours(plain)
    answer = answered(models, "gkd", gradient_checkpointing="full", **made)
    assert "keeps no keys and values" in lines(answer)
    assert "keeps no keys and values" not in lines(
        answered(models, "gkd", gradient_checkpointing="none", **made)
    )


def test_a_batch_is_of_texts_or_of_what_is_written():
    texts = np.array([100, 200, 300, 400])
    data = DatasetProfile(
        "text", 4, lengths=texts, sampled=4, prompt_lengths=np.array([50, 60, 70, 80])
    )
    question = Question(
        model="x",
        samples=4,
        objective="gkd",
        teacher="y",
        completion_tokens=30,
        on_policy_share=0.25,
    )
    mixed = samples_of(question, data)
    assert isinstance(mixed, MixedProfile)
    plan = mixed.batches(4)
    assert plan.longest_length == 400
    assert plan.mean_padded_length == pytest.approx(0.75 * 400 + 0.25 * (80 + 30))
    assert plan.tokens_per_epoch == pytest.approx(0.75 * 1000 + 0.25 * (260 + 4 * 30))
    all_written = samples_of(question.model_copy(update={"teacher_writes": True}), data)
    assert all_written.batches(4).longest_length == 110
    none = samples_of(question.model_copy(update={"on_policy_share": 0.0}), data)
    assert none is data


def test_answers_of_a_teacher_are_as_long_as_the_datas_own(models, tmp_path):
    file = tmp_path / "answers.jsonl"
    rows = [{"prompt": "why is it so? " * 20, "completion": "for a reason " * n} for n in (10, 30)]
    file.write_text("\n".join(json.dumps(row) for row in rows * 20))
    given = {"teacher": models["teacher"], "strategy": "lora", "gpu": "h100-sxm"}

    def one(**more):
        answer = estimate(
            models["student"], str(file), objective="sequence_distillation", **given | more
        )
        return answer, answer["dataset"]["lengths"]["mean"]

    answer, own = one()
    _, asked_for = one(completion_tokens=500)
    assert asked_for > own + 300
    assert "taken as its prompt" not in lines(answer)


@pytest.mark.parametrize(
    ("objective", "more", "said"),
    [
        ("gkd", {"teacher": None}, "learns from a teacher, and none is named"),
        ("sequence_distillation", {"teacher": None}, "learns from a teacher"),
        ("gkd", {"teacher": "other"}, "4,096 tokens and .* 5,000"),
        ("kd", {"teacher": "other"}, "compares chances of the same tokens"),
        ("gkd", {"padding": "packed"}, "not packed"),
        ("sequence_distillation", {"generation_engine": "vllm_server"}, "no GPU is paid beside"),
        ("gkd", {"strategy": "distillation"}, "not planned with distillation"),
        ("kd", {"loss": "chunked"}, "planned as torchtune computes it"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(models, objective, more, said):
    with pytest.raises(QuestionError, match=said) as error:
        answered(models, objective, **more)
    assert "\n" not in str(error.value)


def test_a_teacher_with_other_tokens_may_write(models):
    assert hours(asked(models, "sequence_distillation", teacher="other")) > 0


def test_first_lines_say_what_is_assumed(models):
    said = lines(answered(models, "gkd"))
    assert "50% of a text is taken as its prompt" in said
    assert "50% of the batches itself, as TRL by default" in said and "128 tokens each" in said
    said = lines(answered(models, "sequence_distillation"))
    assert "writes all answers once, before the first step" in said and "vLLM" in said
    assert "rewards" not in lines(answered(models, "on_policy_distillation"))


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("dpo", {"on_policy_share": 0.3}),
        ("kd", {"teacher_writes": True}),
        ("kd", {"completion_tokens": 64}),
        ("gkd", {"generation_engine": "vllm"}),
    ],
)
def test_a_field_of_writing_has_no_effect_where_it_is_not_written_so(models, objective, more):
    teacher = None if objective == "dpo" else "teacher"
    (name,) = more
    said = lines(answered(models, objective, teacher=teacher, **more))
    assert f"--{name.replace('_', '-')} has no effect" in said


def test_adapters_of_torchtunes_recipe_are_in_the_weights_number_format(models):
    assert asked(models, "kd")["training"]["adapter_precision"] == "weights"
    assert asked(models, "gkd")["training"].get("adapter_precision") is None
    assert asked(models, "gkd", "qlora")["training"]["adapter_precision"] == "weights"
    assert (
        asked(models, "on_policy_distillation", "qlora")["training"].get("adapter_precision")
        is None
    )


def test_ligers_loss_of_a_teacher_holds_no_logits(models):
    made = {"gradient_checkpointing": "full", "tokens_per_sample": 1000}
    plain = asked(models, "gkd", **made)["memory"]["allocated_bytes"]["p50"]
    fused = asked(models, "gkd", stack="liger-2026-07", **made)["memory"]["allocated_bytes"]["p50"]
    assert fused < 0.5 * plain
