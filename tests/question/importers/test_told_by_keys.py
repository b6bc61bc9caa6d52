"""What files of other tools say between their keys: the objective that only some configurations
have keys of, a number that is none, a key that is nobody's."""

import json

import pytest

from planner.cli.main import run
from planner.errors import QuestionError
from planner.question.files.of_file import of_file
from planner.question.importers.transformers import OTHER_TRAINING

BASE = {"model_name_or_path": "gpt2", "per_device_train_batch_size": 8}
COUNTS = {"samples": 100}


def of_yaml(tmp_path, **keys):
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(BASE | keys))  # JSON is YAML
    return of_file(file, COUNTS)


@pytest.mark.parametrize(
    ("keys", "objective", "said"),
    [
        ({"num_generations": 4}, "grpo", "rloo and on_policy_distillation, of which grpo is taken"),
        ({"lmbda": 0.5, "beta": 0.5}, "gkd", "beta, lmbda are of gkd ("),
        ({"teacher_model_name_or_path": "gpt2-large"}, "gkd", "of which gkd is taken"),
        ({"reward_clip_range": [-1, 1]}, "rloo", "reward_clip_range is of rloo ("),
        ({"num_generations": 4, "normalize_advantages": True}, "rloo", "are of rloo ("),
        ({"precompute_ref_log_probs": True}, "dpo", "of dpo and kto, of which dpo is taken"),
        ({"beta": 0.1, "desirable_weight": 1.0}, "kto", "beta, desirable_weight are of kto ("),
        ({"response_length": 53, "num_ppo_epochs": 4}, "ppo", "are of ppo ("),
        ({"num_generations": 4, "desirable_weight": 1.0}, "kto", "several trainings, of which kto"),
    ],
)
def test_a_file_without_a_script_has_the_objective_of_its_keys(tmp_path, keys, objective, said):
    found = of_yaml(tmp_path, **keys)
    assert found.values["objective"] == objective
    assert any(said in note and "objective says another" in note for note in found.notes)


@pytest.mark.parametrize(
    "keys", [{"packing": True}, {"use_peft": True}, {"num_generations": None}, {}]
)
def test_a_file_of_supervised_keys_has_no_objective(tmp_path, keys):
    found = of_yaml(tmp_path, **keys)
    assert "objective" not in found.values and not any("objective" in n for n in found.notes)


@pytest.mark.parametrize("command", ["sft", *OTHER_TRAINING])
def test_a_script_that_names_its_objective_is_taken_at_its_word(tmp_path, command):
    file = tmp_path / "run.sh"
    file.write_text(f"trl {command} --model_name_or_path gpt2 --beta 0.1 --num_generations 4\n")
    found = of_file(file, COUNTS)
    assert found.values.get("objective", "sft") == command
    assert not any("taken" in note for note in found.notes)


@pytest.mark.parametrize(
    ("command", "objective"),
    [
        ("python examples/scripts/gkd.py", "gkd"),
        ("python examples/scripts/distillation.py", "on_policy_distillation"),
        ("trl distillation", "on_policy_distillation"),
    ],
)
def test_scripts_of_students_have_their_teacher(tmp_path, command, objective):
    file = tmp_path / "run.sh"
    flags = "--model_name_or_path gpt2 --teacher_model_name_or_path gpt2-large"
    more = " --lmbda 0.25 --seq_kd true --max_new_tokens 64" if objective == "gkd" else ""
    file.write_text(f"{command} {flags}{more}\n")
    found = of_file(file, COUNTS).values
    assert found["objective"] == objective and found["teacher"] == "gpt2-large"
    if objective == "gkd":
        written = found["on_policy_share"], found["teacher_writes"], found["completion_tokens"]
        assert written == (0.25, True, 64)


@pytest.mark.parametrize("steps", ["four", 1.5, "${ACCUMULATION}", True])
def test_accumulation_that_is_no_number_is_refused_with_its_line(tmp_path, steps):
    with pytest.raises(QuestionError, match="is no whole number") as error:
        of_yaml(tmp_path, gradient_accumulation_steps=steps)
    assert "gradient_accumulation_steps" in str(error.value) and "\n" not in str(error.value)


def test_accumulation_that_is_no_number_does_no_harm_beside_a_batch(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(BASE | {"gradient_accumulation_steps": "four"}))
    assert of_file(file, COUNTS | {"global_batch": 32}).values["micro_batch"] == 8


def test_accumulation_that_is_written_as_a_text_counts(tmp_path):
    assert of_yaml(tmp_path, gradient_accumulation_steps="4").values["global_batch"] == 32


def test_an_unknown_key_names_a_few_that_are_near(tmp_path, capsys):
    file = tmp_path / "project.yaml"
    file.write_text("model: gpt2\nzzzqqx: 100\n")
    assert run(["estimate", str(file)]) == 2
    shown = capsys.readouterr().err
    assert "unknown key 'zzzqqx'. The nearest of" in shown and len(shown) < 250
    file.write_text("model: gpt2\nsampels: 100\n")
    assert run(["estimate", str(file)]) == 2
    assert "Did you mean samples" in capsys.readouterr().err
