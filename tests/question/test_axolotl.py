"""axolotl's files as questions."""

import pytest

from planner.cli.main import run
from planner.errors import QuestionError
from planner.question.parsing import question_from

#: As the tool's examples are written: most keys stand there without a value.
QLORA = """
base_model: gpt2
model_type: AutoModelForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: true
strict: false
datasets:
  - path: json
    data_files: train.jsonl
    ds_type: json
    type: alpaca
dataset_prepared_path:
val_set_size: 0.05
output_dir: ./out
adapter: qlora
lora_model_dir:
sequence_len: 1024
sample_packing: true
pad_to_sequence_len: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_modules:
lora_target_linear: true
wandb_project:
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 3
optimizer: paged_adamw_32bit
lr_scheduler: cosine
learning_rate: 0.0002
train_on_inputs: false
group_by_length: false
bf16: auto
fp16: false
tf32: false
gradient_checkpointing: true
logging_steps: 1
xformers_attention:
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
deepspeed:
weight_decay: 0.0
fsdp:
special_tokens:
  bos_token: "<s>"
"""
BASE = "base_model: gpt2\nsequence_len: 512\nmicro_batch_size: 2\n"


@pytest.fixture
def asked(tmp_path):
    """The fields that a file sets, and what it is told to have left out."""

    def ask(text, **given):
        path = tmp_path / "axolotl.yml"
        path.write_text(text)
        given = {"samples": "2k", "tokens_per_sample": "300"} | given
        question = question_from(str(path), None, given)
        return question.model_dump(exclude_unset=True, exclude=set(given)), question.notes

    return ask


def test_an_example_is_understood_but_for_a_share(asked):
    values, notes = asked(QLORA, gpus="4")
    assert values == {
        "model": "gpt2",
        "stack": "axolotl",
        "strategy": ["qlora"],
        "epochs": 3,
        "micro_batch": 2,
        "global_batch": 2 * 4 * 4,
        "max_length": 1024,
        "padding": "packed",
        "group_by_length": False,
        "optimizer": "adamw_paged",
        "gradient_checkpointing": "full",
        "attention": "flash",
        "lora_rank": 32,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "evaluations_per_epoch": 4,
        "saves_per_epoch": 1,
    }
    (note,) = notes
    assert note.endswith("cannot be asked yet: val_set_size 0.05")


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("", "strategy", ["fine_tune"]),
        ("adapter: lora\n", "strategy", ["lora"]),
        ("adapter: lora\nload_in_4bit: true\n", "strategy", ["qlora"]),
        (
            "adapter: lora\nlora_target_modules: [q_proj, v_proj]\n",
            "lora_targets",
            ["q_proj", "v_proj"],
        ),
        ("adapter: lora\nlora_target_modules: '.*(q|v)_proj'\n", "lora_targets", [".*(q|v)_proj"]),
        ("adapter: lora\nload_in_8bit: true\n", "load_in", "8bit"),
        ("adapter: lora\nlora_modules_to_save: [lm_head]\n", "lora_modules_to_save", ["lm_head"]),
        ("adapter: lora\npeft_layers_to_transform: [0, 1]\n", "lora_layers", ["0", "1"]),
        ("bf16: true\n", "precision", "bf16"),
        ("bf16: full\nfp16:\n", "precision", "bf16"),
        ("fp16: true\nbf16: false\n", "precision", "amp_fp16"),
        ("adapter: lora\nfp16: true\n", "precision", "fp16"),
        ("float16: true\n", "precision", "fp16"),
        ("bf16: false\nfp16: false\ntf32: true\n", "precision", "tf32"),
        ("bf16: false\nfp16: false\n", "precision", "fp32"),
        ("optimizer: adamw_bnb_8bit\n", "optimizer", "adamw_8bit"),
        ("optimizer: sgd\n", "optimizer", "sgd_plain"),
        ("pad_to_sequence_len: true\n", "padding", "max"),
        ("gradient_checkpointing: false\n", "gradient_checkpointing", "none"),
        ("attn_implementation: flash_attention_2\n", "attention", "flash"),
        ("val_set_size: 0\n", "evaluations_per_epoch", 0),
        ("val_set_size: 200\n", "evaluation_samples", 200),
        ("dataloader_num_workers: 0\n", "loader_workers", 0),
        ("dataset_processes: 12\n", "preparation_workers", 12),
        ("torch_compile: true\n", "compile", True),
        ("max_steps: 50\n", "max_steps", 50),
    ],
)
def test_a_key_becomes_a_field(asked, lines, field, value):
    values, notes = asked(BASE + lines)
    assert values[field] == value
    assert not notes


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("deepspeed: zero3.json\n", "deepspeed zero3.json"),
        ("load_in_8bit: true\n", "load_in_8bit True"),
        ("adapter: ia3\n", "adapter ia3"),
        ("load_in_4bit: true\n", "load_in_4bit True"),
        ("optimizer: grokadamw\n", "optimizer grokadamw"),
        ("gradient_checkpointing: offload\n", "gradient_checkpointing offload"),
        ("sample_packing: sometimes\n", "sample_packing sometimes"),
        ("torch_compile: auto\n", "torch_compile auto"),
        ("attn_implementation: sage\n", "attn_implementation sage"),
        ("rl: simpo\n", "rl simpo"),
        ("gradient_accumulation_steps: auto\n", "gradient_accumulation_steps auto"),
        ("datasets: [{path: a}, {path: b}]\n", "datasets[1] {'path': 'b'}"),
        ("datasets: [{type: x}]\n", "datasets[0] {'type': 'x'}"),
        ("datasets: [{path: a}, b]\n", "datasets[1] b"),
    ],
)
def test_what_cannot_be_asked_is_listed(asked, lines, words):
    _, (note,) = asked(BASE + lines)
    assert note == (
        "axolotl.yml is read as a file of axolotl; not in this answer, since it cannot be asked "
        f"yet: {words}"
    )


def test_what_is_not_understood_is_listed(asked):
    values, (note,) = asked(BASE + "unheard_of: false\ntrust_remote_code: true\n")
    assert note == "axolotl.yml is read as a file of axolotl; not understood: unheard_of False"
    assert "trust_remote_code" not in values


def test_its_data_is_counted_from_its_folder(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "some words"}\n' * 9)
    (tmp_path / "axolotl.yml").write_text(QLORA)
    question = question_from(str(tmp_path / "axolotl.yml"), None, {})
    assert question.data == str(tmp_path / "train.jsonl")


def test_a_wrong_value_is_refused_at_its_line(asked):
    with pytest.raises(QuestionError) as refused:
        asked(BASE.replace("2", "two"))
    assert "axolotl.yml line 3: micro_batch_size: 'two' is not a whole number" in str(refused.value)
    assert refused.value.fields == ("micro_batch",)


def test_a_project_file_stays_one(tmp_path):
    """A name of its tool alone makes no file axolotl's: it is a mistake in a project file."""
    path = tmp_path / "project.yaml"
    path.write_text("base_model: gpt2\nsamples: 5\n")
    with pytest.raises(QuestionError, match="unknown key 'base_model'"):
        question_from(str(path), None, {})


def test_the_answer_warns_of_what_was_left_out(tmp_path, capsys):
    path = tmp_path / "axolotl.yml"
    path.write_text(BASE + "adapter: lora\ndeepspeed: zero3.json\n")
    for command in ("estimate", "choose"):
        arguments = ["--samples", "900", "--tokens-per-sample", "90", "--gpu", "t4", "--json"]
        assert run([command, str(path), *arguments]) == 0
        assert "since it cannot be asked yet: deepspeed zero3.json" in (capsys.readouterr().out)


@pytest.mark.parametrize("value", [True, False])
def test_grouping_by_length_is_a_field(tmp_path, value):
    path = tmp_path / "own.yml"
    path.write_text(BASE + f"group_by_length: {str(value).lower()}\n")
    assert question_from(str(path), None, {"samples": 10}).group_by_length is value
