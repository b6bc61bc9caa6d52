"""Every setting of a plan stands in the config as planned, and planner estimate reads it back."""

import ast
import subprocess
import sys

import pytest
import yaml

from planner.errors import PlannerError
from planner.question import Question
from planner.question.parsing import question_and_file
from planner.recipe import expressible
from planner.recipe.expressible import unknown_fields
from planner.recipe.planned import planned
from planner.recipe.scripts import files_of


def config_of(plan):
    return yaml.safe_load(files_of(plan)["config.yaml"])


@pytest.mark.parametrize(
    "asked, settings",
    [
        (dict(micro_batch=4, global_batch=16), dict(gradient_accumulation_steps=4)),
        (dict(precision="amp_bf16"), dict(dtype="float32", bf16=True, fp16=False)),
        (dict(precision="bf16"), dict(dtype="bfloat16", bf16=False)),
        (dict(precision="fp16"), dict(dtype="float16", bf16=False, fp16=False)),
        (dict(precision="tf32"), dict(dtype="float32", bf16=False, tf32=True)),
        (dict(lora_rank=8, lora_dropout=0.1), dict(lora_r=8, lora_alpha=16, lora_dropout=0.1)),
        (dict(adapter="dora"), dict(use_peft=True, use_dora=True, lora_r=16)),
        (dict(adapter="rslora"), dict(use_rslora=True)),
        (dict(adapter="pissa"), dict(init_lora_weights="pissa")),
        (dict(lora_targets=["q_proj", "v_proj"]), dict(lora_target_modules=["q_proj", "v_proj"])),
        (dict(adapter_precision="weights"), dict(autocast_adapter_dtype=False)),
        (dict(gradient_checkpointing="full"), dict(gradient_checkpointing=True)),
        (dict(attention="flash"), dict(attn_implementation="flash_attention_2")),
        (dict(max_length=128, padding="packed"), dict(max_length=128, packing=True)),
        (dict(max_length=128, padding="max"), dict(packing=False, pad_to_max_length=True)),
        (dict(group_by_length=True), dict(train_sampling_strategy="group_by_length")),
        (dict(optimizer="adamw_8bit"), dict(optim="adamw_bnb_8bit")),
        (
            dict(optimizer="adafactor_torch"),
            dict(optimizer_class="torch.optim.Adafactor", optimizer_arguments={}),
        ),
        (dict(max_steps=100, evaluations_per_epoch=0), dict(max_steps=100, eval_strategy="no")),
        (dict(saves_per_epoch=0), dict(save_strategy="no")),
        (dict(loader_workers=3), dict(dataloader_num_workers=3)),
        (dict(stack="liger"), dict(use_liger_kernel=True)),
        (dict(strategy=["qlora"]), dict(load_in_4bit=True, bf16=True, kbit_preparation="peft")),
        (dict(strategy=["fine_tune"]), dict(use_peft=False)),
        (dict(strategy=["partial_fine_tune"], unfrozen_blocks=2), dict(unfrozen_blocks=2)),
        (dict(strategy=["scratch"]), dict(from_scratch=True, use_peft=False)),
    ],
    ids=lambda value: "-".join(value),
)
def test_what_is_asked_stands_in_the_config(plan_of, chats, asked, settings):
    plan = plan_of(chats, **asked)
    found = config_of(plan)
    assert {name: found.get(name) for name in settings} == settings
    setting, run = plan.option.setting, plan.option.run
    assert found["per_device_train_batch_size"] == setting.micro_batch
    assert found["gradient_accumulation_steps"] == setting.accumulation
    assert found["max_steps"] == run.steps and found["num_train_epochs"] == run.epochs
    assert found["max_length"] == plan.option.choices.max_length
    assert ("lora_r" in found) == bool(plan.recipe.lora_rank) == found["use_peft"]


@pytest.mark.parametrize(
    "asked",
    [
        dict(micro_batch=2, global_batch=8, max_length=128),
        dict(precision="amp_bf16", gradient_checkpointing="full", lora_rank=8),
        dict(strategy=["fine_tune"], optimizer="adamw_fused", max_steps=50),
        dict(strategy=["qlora"], lora_targets=["q_proj"], padding="packed", max_length=256),
        dict(adapter="dora", micro_batch=2),
        dict(adapter="pissa", micro_batch=2),
    ],
    ids=lambda value: "-".join(value),
)
def test_planner_estimate_reads_the_plan_back(plan_of, chats, tmp_path, asked):
    """The config as another tool's file: the same steps, memory and hours come out."""
    plan = plan_of(chats, **asked)
    file = tmp_path / "config.yaml"
    file.write_text(files_of(plan)["config.yaml"])
    question, _ = question_and_file(str(file), None, {"gpu": "h100-sxm", "offline": True})
    again = planned(question)
    assert again.recipe == plan.recipe
    assert again.steps == plan.steps
    mine, theirs = plan.option.setting, again.option.setting
    assert (mine.micro_batch, mine.accumulation) == (theirs.micro_batch, theirs.accumulation)
    assert mine.step.seconds.p50 == pytest.approx(theirs.step.seconds.p50, rel=0.01)
    assert plan.values["memory"]["allocated_bytes"] == again.values["memory"]["allocated_bytes"]


@pytest.mark.parametrize(
    "fields, word",
    [
        (dict(loss="chunked", strategy=["fine_tune"]), "a chunked loss"),
        (dict(optimizer_in_backward=True, strategy=["fine_tune"]), "inside the backward pass"),
        (dict(offload=["activations"]), "host's memory"),
        (
            dict(float8="tensorwise", compile=True, strategy=["fine_tune"], gpu="l4"),
            "products in float8",
        ),
        (dict(gradient_checkpointing="selective"), "selective checkpointing"),
        (dict(stack="trainer-2022"), "trainer of 2022 is no trainer of this script"),
        (dict(adapter="prompt"), "adapters of prompt tuning"),
        (dict(adapter="vera"), "adapters of VeRA"),
        (dict(stack="lightning"), "lightning of today is no trainer"),
        (dict(evaluation_keeps_logits=True), "keeps all logits"),
        (dict(strategy=["distillation"], teacher="Llama-3.1-8B"), "a teacher beside the model"),
        (
            dict(strategy=["prompting"], api_model="gpt-4o-mini", output_tokens=50),
            "trains anything",
        ),
        (dict(model="2.3B"), "is a size and no model"),
        (dict(model="t5-small"), "is trained for seq2seq_lm"),
        (dict(strategy=["feature_extraction"], cached_features=True), "cached"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_no_script_runs_is_refused_in_one_line(plan_of, chats, fields, word):
    with pytest.raises(PlannerError, match=word) as refusal:
        files_of(plan_of(chats, **fields))
    assert "\n" not in str(refusal.value)


def test_no_field_is_newer_than_the_scripts():
    """A new field of how it is trained is expressed, refused or said in planner/recipe, and then
    stands in KNOWN."""
    assert not unknown_fields()


def test_a_field_that_scripts_do_not_know_is_refused(plan_of, chats, monkeypatch):
    monkeypatch.setattr(expressible, "KNOWN", expressible.KNOWN - {"lora_rank"})
    with pytest.raises(PlannerError, match="--lora-rank: lora rank is newer than the scripts"):
        files_of(plan_of(chats, lora_rank=8))
    files_of(plan_of(chats))  # where it is not asked it is the plan's own


def test_counts_alone_are_refused():
    question = Question(model="Llama-3.2-1B", samples=100, tokens_per_sample=50, gpu="l4")
    with pytest.raises(PlannerError, match="trains on data"):
        planned(question)


def test_several_gpus_are_run_by_torchrun(plan_of, chats):
    files = files_of(plan_of(chats, gpus=4, strategy=["fine_tune"]))
    assert "torchrun --nproc-per-node 4 train.py" in files["README.md"]
    assert "torchrun --nproc-per-node 4 train.py --max-usd 20" in files["train.py"]


def test_a_plan_that_does_not_fit_is_said_first(plan_of, chats):
    plan = plan_of(chats, model="Llama-3.1-8B", strategy=["fine_tune"], gpu="l4")
    readme = files_of(plan)["README.md"].splitlines()
    assert readme[2].startswith("- **The plan does not fit on")


def test_the_readme_says_the_planned_figures_and_versions(plan_of, chats):
    plan = plan_of(chats)
    files = files_of(plan)
    for word in (
        "h100",
        "60 records of chat",
        "planner validate",
        "--max-usd",
        "held out",
        "a GPU-hour",
    ):
        assert word.lower() in files["README.md"].lower()
    pinned = files["requirements.txt"].split("# What else")[0]
    assert "torch==" in pinned and "transformers==" in pinned and "+cpu" not in pinned


def test_writing_imports_neither_torch_nor_transformers(chats, tmp_path):
    code = (
        "import sys\nfrom planner.question import Question\n"
        "from planner.recipe.planned import planned\nfrom planner.recipe.scripts import files_of\n"
        f"files_of(planned(Question(model='Llama-3.2-1B', data={str(chats)!r}, gpu='h100-sxm', "
        "strategy=['lora'], offline=True)))\n"
        "heavy = {'torch', 'transformers', 'peft', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]


def test_a_script_has_no_more_than_its_plan_needs(plan_of, chats):
    lora = files_of(plan_of(chats))["train.py"]
    full = files_of(plan_of(chats, strategy=["fine_tune"]))["train.py"]
    assert "peft.LoraConfig" in lora and "peft." not in full and "bitsandbytes" not in lora.lower()
    for text in (lora, full):
        ast.parse(text)
        assert max(map(len, text.splitlines())) <= 100 and "\n\n\n\n" not in text
