"""Keys and what becomes of them: in each tool's words, together with others, and for files that
nobody has written yet."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import QuestionError
from planner.question import Question
from planner.question.importers import importer_named, importer_of, registry
from planner.question.importers.keys import (
    CANNOT_BE_ASKED,
    FATES,
    NO_NUMBER,
    UNDERSTOOD,
    UNKNOWN,
    WITHOUT_COST,
    Keys,
)
from planner.question.importers.table import CODE, Table, model_called, table
from planner.question.parsing import is_file, question_from

#: tool → (the tables that its keys are rows of, keys that make a file its own).
TABLES = {
    "transformers": (("trl", "transformers"), {"model_name_or_path": "gpt2"}),
    "LLaMA-Factory": (
        ("llamafactory", "transformers"),
        {"model_name_or_path": "gpt2", "stage": "sft"},
    ),
    "torchtune": (("torchtune",), {"checkpointer": {}, "tokenizer": {}}),
    "axolotl": (("axolotl",), {"base_model": "gpt2", "sequence_len": 8}),
    "unsloth": (("unsloth",), {"training": {"max_steps": 3}, "lora": {"lora_r": 8}}),
    "accelerate": (("accelerate",), {"distributed_type": "NO"}),
    "deepspeed": (("deepspeed",), {"zero_optimization": {"stage": 0}}),
    "lightning": (("lightning",), {"trainer": {"devices": 1}, "model": {"class_path": "a.B"}}),
    "diffusers": (
        ("diffusers",),
        {"pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5", "rank": 4},
    ),
    "kohya": (
        ("kohya",),
        {"pretrained_model_name_or_path": "a", "network_module": "networks.lora"},
    ),
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(-1, 10, allow_nan=False),
    st.sampled_from(["auto", "no", "bf16", "fp16", "adamw_torch", "512,512", "x", "", "all"]),
    st.lists(st.sampled_from(["q_proj", "v_proj"]), max_size=2),
    st.builds(lambda: {"enabled": True}),
)


def nested(pairs):
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``; a list's parts are its first."""
    found = {}
    for key, value in pairs.items():
        at = found
        *parts, last = key.replace("[]", "").split(".")
        for part in parts:
            at = at.setdefault(part, {}) if isinstance(at.get(part, {}), dict) else {}
        at[last] = value
    return found


def paths(value, before=""):
    if isinstance(value, dict) and value:
        return [p for name, one in value.items() for p in paths(one, f"{before}.{name}")]
    return [before[1:]]


@pytest.mark.parametrize("tool", TABLES)
@given(data=st.data())
def test_every_key_of_any_file_has_one_fate(tool, data):
    """Rows of the table and strange keys with any values: none is dropped, none counted twice, and
    a strange one is never understood."""
    names, signs = TABLES[tool]
    rows = sorted(table(*names).rows)
    keys = data.draw(st.dictionaries(st.sampled_from(rows), VALUES, max_size=12))
    if tool == "kohya":  # names of sections mean nothing to its scripts
        keys = {key: value for key, value in keys.items() if not isinstance(value, dict)}
    strange = data.draw(st.dictionaries(st.sampled_from(["zz_one", "zz_two"]), st.just(7)))
    document = signs | nested(keys) | strange
    if importer_of(document) is not importer_named(tool):
        return  # a key of another tool's makes it a file of that
    found = importer_named(tool).read(document, 2)
    handed = tuple(f"{key}." for _, what, key in found.beside if isinstance(what, dict))
    wanted = [path for path in paths(document) if not handed or not path.startswith(handed)]
    assert sorted(one.key for one in found.fates) == sorted(wanted)
    assert {one.key for one in found.of(UNKNOWN)} >= set(strange)
    assert {one.fate for one in found.fates} <= {*FATES, NO_NUMBER}
    assert set(found.values) <= set(Question.model_fields)
    said = {one.field for one in found.of(UNDERSTOOD) if one.field}
    assert said <= set(found.values)


@pytest.mark.parametrize("tool", TABLES)
def test_a_key_that_code_takes_is_taken(tool):
    """None of these rows is left for the table, which does not know what they mean."""
    names, signs = TABLES[tool]
    for row in table(*names).rows.values():
        if row.meaning != CODE or "[]" in row.key:
            continue
        document = signs | nested({row.key: "zz"})
        if importer_of(document) is importer_named(tool):
            found = importer_named(tool).read(document, 1)
            assert row.key not in {one.key for one in found.of(UNKNOWN)}, row.key


def test_a_table_stands_on_another():
    both = table("llamafactory", "transformers")
    assert both.row("cutoff_len").field == "max_length"
    assert both.row("num_train_epochs").default == "3"
    assert both.row("flash_attn").said("fa2") == (True, "flash")
    assert both.row("flash_attn").said("unheard") == (False, "unheard")
    assert table("kohya").row("datasets[3].subsets[0].class_tokens").meaning == "none"
    # what a row says of a whole part holds for what nobody has named in it
    assert table("torchtune").row("profiler.new_switch").key == "profiler"
    assert Table({}).row("anything") is None


def test_a_value_without_a_word_cannot_be_asked():
    keys = Keys({"flash_attn": "triton", "nobody": 1, "seed": 3, "max_steps": -1}, LLAMA)
    found = keys.imported()
    fates = {one.key: one.fate for one in found.fates}
    assert fates == {
        "flash_attn": CANNOT_BE_ASKED,
        "nobody": UNKNOWN,
        "seed": WITHOUT_COST,
        "max_steps": UNDERSTOOD,
    }
    # its default is not taken in the place of a word that nobody knows
    assert not {"max_steps", "attention"} & set(found.values)
    assert "max_length" in found.assumed


LLAMA = table("llamafactory", "transformers")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("torchtune.models.llama3_2.llama3_2_3b", "meta-llama/Llama-3.2-3B"),
        ("torchtune.models.qwen3.qwen3_8b_base", "Qwen/Qwen3-8B-Base"),
        ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("unsloth/Qwen3-14B-unsloth-bnb-4bit", "unsloth/Qwen3-14B"),
        ("unsloth/mistral-7b-v0.3-bnb-4bit", "mistralai/Mistral-7B-v0.3"),
        ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.1"),
    ],
)
def test_a_model_is_found_by_another_tools_name(name, model):
    assert model_called(name) == model


TRL = {"model_name_or_path": "gpt2", "use_peft": True}
LLAMA_FACTORY = {"model_name_or_path": "gpt2", "finetuning_type": "lora"}
TUNE = {"checkpointer": {"model_type": "X"}, "tokenizer": {"path": "x"}}
KOHYA = {"pretrained_model_name_or_path": "x/y", "network_module": "networks.lora"}
LIGHTNING = {"seed_everything": 1}
AXOLOTL = {"base_model": "gpt2", "micro_batch_size": 2, "sequence_len": 512}
UNSLOTH = {"model_name": "gpt2", "load_in_4bit": False, "max_seq_length": 512}
UNSLOTH_SECTIONS = {"model": "gpt2", "training": {"batch_size": 2}}


@pytest.mark.parametrize(
    ("document", "field", "value"),
    [
        (TRL | {"load_in_4bit": True}, "strategy", ["qlora"]),
        (TRL | {"load_in_8bit": True}, "load_in", "8bit"),
        (TRL | {"dtype": "float32"}, "precision", "amp_bf16"),
        (TRL | {"fp16": True}, "precision", "fp16"),
        (TRL | {"packing": True}, "padding", "packed"),
        (TRL | {"use_peft": False, "torch_dtype": "bfloat16"}, "precision", "bf16"),
        (TRL | {"use_peft": False}, "precision", "amp_bf16"),
        (TRL, "max_length", 1024),
        (TRL, "global_batch", 16),
        (TRL, "stack", "trl"),
        (TRL | {"use_liger_kernel": True}, "stack", "liger"),
        (LLAMA_FACTORY | {"enable_liger_kernel": False}, "stack", "llama_factory"),
        (TRL | {"lora_target_modules": "all-linear"}, "lora_targets", None),
        (TRL | {"eval_strategy": "no", "eval_steps": 5}, "evaluations_per_epoch", 0),
        ({"num_train_epochs": 2}, "strategy", None),
        ({"num_train_epochs": 2}, "gradient_checkpointing", "none"),
        (LLAMA_FACTORY, "gradient_checkpointing", "full"),
        (LLAMA_FACTORY, "lora_rank", 8),
        (LLAMA_FACTORY | {"quantization_bit": 4}, "strategy", ["qlora"]),
        (LLAMA_FACTORY | {"quantization_bit": 8}, "load_in", "8bit"),
        (LLAMA_FACTORY | {"finetuning_type": "full", "bf16": True}, "precision", "amp_bf16"),
        (LLAMA_FACTORY | {"finetuning_type": "full", "pure_bf16": True}, "precision", "bf16"),
        (LLAMA_FACTORY | {"finetuning_type": "freeze"}, "unfrozen_blocks", 2),
        (
            LLAMA_FACTORY | {"disable_gradient_checkpointing": True},
            "gradient_checkpointing",
            "none",
        ),
        (LLAMA_FACTORY | {"stage": "pt"}, "padding", "packed"),
        (LLAMA_FACTORY | {"dataset": "one,two"}, "data", "one"),
        (TUNE | {"epochs": 2, "max_steps_per_epoch": 50}, "max_steps", 100),
        (TUNE | {"optimizer": {"_component_": "torch.optim.SGD"}}, "optimizer", "sgd_plain"),
        (TUNE | {"s": 512, "dataset": {"max_seq_len": "${s}"}}, "max_length", 512),
        (KOHYA, "max_steps", 1600),
        (KOHYA | {"max_train_epochs": 4}, "max_steps", None),
        (KOHYA | {"resolution": "768,768"}, "image_size", 768),
        (KOHYA | {"train": {"train_batch_size": 3}}, "micro_batch", 3),
        (LIGHTNING | {"trainer": {"devices": [0, 1], "num_nodes": 2}}, "gpus", 4),
        (LIGHTNING | {"trainer": {"devices": "0,1"}}, "gpus", 2),
        (LIGHTNING | {"trainer": {"val_check_interval": 0.25}}, "evaluations_per_epoch", 4),
        (LIGHTNING | {"trainer": {"precision": "bf16-mixed"}}, "precision", "amp_bf16"),
        ({"distributed_type": "MULTI_GPU", "num_processes": 8}, "gpus", 8),
        ({"distributed_type": "MULTI_GPU", "num_processes": 8}, "parallel", "ddp"),
        ({"zero_optimization": {"stage": 0}, "bf16": {"enabled": True}}, "precision", "amp_bf16"),
        ({"zero_optimization": {"stage": 2}}, "parallel", "zero2"),
        (
            {"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 3}},
            "parallel",
            "zero3",
        ),
        ({"distributed_type": "FSDP", "num_processes": 8}, "parallel", "fsdp"),
        (
            {
                "distributed_type": "FSDP",
                "num_processes": 8,
                "fsdp_config": {"fsdp_sharding_strategy": "SHARD_GRAD_OP"},
            },
            "parallel",
            None,
        ),
        (TRL | {"fsdp": "full_shard auto_wrap"}, "parallel", "fsdp"),
        (TRL | {"fsdp": True}, "parallel", "fsdp"),
        (TRL | {"fsdp": True, "fsdp_config": {"version": 2}}, "parallel", "fsdp"),
        (TRL | {"fsdp": "shard_grad_op auto_wrap"}, "parallel", None),
        (
            {"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4},
            "global_batch",
            16,
        ),
        ({"train_batch_size": "auto", "optimizer": {"type": "Adam"}}, "global_batch", None),
    ],
)
def test_what_keys_say_together(document, field, value):
    importer = importer_of(document)
    assert importer is not None
    gpus = importer.devices(document) or 2
    assert importer.read(document, gpus).values.get(field) == value


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (TRL | {"fsdp": ["full_shard"], "fsdp_config": {"x": 1}}, "fsdp_config.x"),
        (TRL | {"fsdp": True, "fsdp_config": {"reshard_after_forward": False}}, "fsdp"),
        (LLAMA_FACTORY | {"finetuning_type": "oft", "oft_rank": 8}, "oft_rank"),
        (AXOLOTL | {"adapter": "lora", "peft_init_lora_weights": "eva"}, "peft_init_lora_weights"),
        (
            LLAMA_FACTORY | {"freeze_trainable_layers": -2, "finetuning_type": "freeze"},
            "freeze_trainable_layers",
        ),
        (TUNE | {"ac_mode": "selective"}, "ac_mode"),
        (TUNE | {"model": {"_component_": "own.models.mine"}}, "model._component_"),
        (KOHYA | {"network_module": "networks.oft"}, "network_module"),
        (KOHYA | {"resolution": "512,768"}, "resolution"),
        (LIGHTNING | {"trainer": {"strategy": "xla_fsdp"}}, "trainer.strategy"),
        (
            LIGHTNING | {"trainer": {"callbacks": [{"class_path": "a.EMA"}]}},
            "trainer.callbacks[0].class_path",
        ),
        ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage"),
        ({"distributed_type": "FSDP", "fsdp_config": {"a": 1}}, "fsdp_config.a"),
    ],
)
def test_what_cannot_be_asked_yet_is_kept(document, key):
    found = importer_of(document).read(document, 2)
    assert key in {one.key for one in found.of(CANNOT_BE_ASKED)}


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (TRL | {"use_peft": True, "use_dora": True, "use_rslora": True}, {"adapter": "dora"}),
        (TRL | {"use_peft": True, "use_rslora": True}, {"adapter": "rslora"}),
        (TRL | {"use_peft": True, "use_dora": False}, {"adapter": None}),
        (TRL | {"use_peft": False, "use_dora": True}, {"adapter": None}),
        (AXOLOTL | {"adapter": "lora", "peft_use_dora": True}, {"adapter": "dora"}),
        (
            AXOLOTL | {"adapter": "lora", "peft_init_lora_weights": "pissa_niter_4"},
            {"adapter": "pissa"},
        ),
        (LLAMA_FACTORY | {"use_dora": True}, {"adapter": "dora"}),
        (LLAMA_FACTORY | {"pissa_init": True}, {"adapter": "pissa"}),
        (
            LLAMA_FACTORY | {"finetuning_type": "oft", "lora_rank": 8},
            {"strategy": ["lora"], "adapter": "oft", "adapter_block_size": 32, "lora_rank": None},
        ),
        (
            LLAMA_FACTORY | {"finetuning_type": "oft", "oft_block_size": 16, "quantization_bit": 4},
            {"strategy": ["qlora"], "adapter": "oft", "adapter_block_size": 16},
        ),
        (UNSLOTH | {"use_dora": True}, {"adapter": "dora"}),
        (UNSLOTH_SECTIONS | {"lora": {"use_rslora": True}}, {"adapter": "rslora"}),
    ],
)
def test_the_method_of_adapters_is_the_question_s(document, values):
    found = importer_of(document).read(document, 1)
    assert {name: found.values.get(name) for name in values} == values
    assert not [one.key for one in found.of(CANNOT_BE_ASKED) if "dora" in one.key]


def test_savings_of_torchtune_are_the_question_s():
    asked = {"optimizer_in_bwd": True, "enable_activation_offloading": True}
    values = importer_of(TUNE).read(TUNE | asked, 1).values
    assert values["optimizer_in_backward"] is True
    assert values["offload"] == "activations"


AXOLOTL_FULL = {"base_model": "meta-llama/Llama-3.2-1B", "sequence_len": 512, "fp8": True}
FACTORY_FULL = {
    "model_name_or_path": "meta-llama/Llama-3.2-1B",
    "stage": "sft",
    "finetuning_type": "full",
    "fp8": True,
}
LAUNCHED = {"compute_environment": "LOCAL_MACHINE", "mixed_precision": "fp8"}


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (TUNE | {"enable_fp8_training": True}, "tensorwise"),
        (TUNE | {"enable_fp8_training": True, "fp8_recipe_name": "rowwise"}, "rowwise"),
        (TUNE | {"enable_fp8_training": False, "fp8_recipe_name": "rowwise"}, None),
        (AXOLOTL_FULL, "tensorwise"),
        (AXOLOTL_FULL | {"adapter": "lora"}, None),
        (FACTORY_FULL | {"fp8_backend": "torchao"}, "tensorwise"),
        (FACTORY_FULL, "tensorwise"),
        (FACTORY_FULL | {"fp8_backend": "te"}, None),
        (FACTORY_FULL | {"finetuning_type": "lora"}, None),
        (LAUNCHED | {"fp8_config": {"backend": "AO"}}, "tensorwise"),
        (LAUNCHED | {"fp8_config": {"backend": "TE"}}, None),
        (LAUNCHED, None),
    ],
)
def test_products_in_8_bits_are_torchao_s_or_cannot_be_asked(document, wanted):
    found = importer_of(document).read(document, 1)
    assert found.values.get("float8") == wanted
    left_out = [one.key for one in found.of(CANNOT_BE_ASKED) if one.value is not None]
    asked = document.get("enable_fp8_training") is not False
    assert bool(left_out) == (wanted is None and asked)
    if document.get("mixed_precision") and wanted:
        assert found.values["precision"] == "amp_bf16"


def test_switches_that_are_off_ask_for_nothing():
    document = TUNE | {"optimizer_in_bwd": False, "enable_activation_offloading": False}
    found = importer_of(document).read(document, 1)
    assert not found.of(CANNOT_BE_ASKED)
    document = {
        "zero_optimization": {"stage": 0},
        "compression_training": {"a": {"enabled": False}},
    }
    assert not importer_of(document).read(document, 1).of(CANNOT_BE_ASKED)


def test_no_file_has_two_tools():
    for _, signs in TABLES.values():
        claiming = [one.tool for one in registry() if one.claims(frozenset(signs))]
        assert len(claiming) == 1


@pytest.fixture
def ask(tmp_path):
    """A question of files that are written beside each other; the first is asked."""

    def written(files, *beside, **given):
        for name, text in files.items():
            (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text))
        paths = [str(tmp_path / name) for name in (next(iter(files)), *beside)]
        counts = {"samples": 500, "tokens_per_sample": 90}
        given = {name: value for name, value in (counts | given).items() if value is not None}
        return question_from(paths[0], None, given, beside=paths[1:])

    return written


BASE = {"model_name_or_path": "gpt2", "use_peft": True, "per_device_train_batch_size": 2}


def test_a_file_beside_says_on_how_many_devices(ask):
    launch = "distributed_type: MULTI_GPU\nnum_processes: 4\nmixed_precision: bf16\n"
    files = {"train.json": BASE, "accelerate.yaml": launch}
    question = ask(files, "accelerate.yaml")
    assert question.gpus == 4 and question.parallel == "ddp" and question.global_batch == 8
    # what the file leaves to its tool's default, the file beside decides
    assert question.precision == "amp_bf16"
    own = ask({**files, "train.json": BASE | {"bf16": True}}, "accelerate.yaml")
    assert own.precision == "bf16"
    assert ask(files, "accelerate.yaml", gpus=2).global_batch == 4


def test_a_file_that_is_named_inside_is_read(ask):
    deepspeed = {"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}}
    question = ask({"train.json": BASE | {"deepspeed": "config/ds.json"}, "ds.json": deepspeed})
    assert question.optimizer == "adam"
    assert "ds.json: zero_optimization.stage 2" in question.notes[0]
    part = ask({"train.json": BASE | {"deepspeed": deepspeed}})
    assert "deepspeed.zero_optimization.stage 2" in part.notes[0]
    gone = ask({"train.json": BASE | {"deepspeed": "elsewhere.json"}})
    assert "cannot be asked yet: deepspeed elsewhere.json" in gone.notes[0]


def test_a_command_line_says_what_its_launcher_was_told(ask):
    command = (
        "# how it is run\nexport MODEL=gpt2\npip install trl\n"
        "accelerate launch --num_processes 2 --multi_gpu trl/scripts/sft.py \\\n"
        "  --model_name_or_path $MODEL --use_peft --lora_target_modules q_proj v_proj \\\n"
        "  --learning_rate=1e-4 --mystery\n"
    )
    question = ask({"run.sh": command})
    assert question.model == "gpt2" and question.gpus == 2 and question.parallel == "ddp"
    assert question.lora_targets == ["q_proj", "v_proj"] and question.strategy == ["lora"]
    assert question.notes[0].endswith("not understood: mystery True")


def test_what_the_file_leaves_to_its_tool_is_an_assumption(ask):
    question = ask({"train.json": BASE})
    (granted,) = question.granted
    assert "max_length 1024" in granted and "num_train_epochs 3" in granted
    assert "num_train_epochs" not in " ".join(ask({"train.json": BASE}, epochs=1).granted)


@pytest.mark.parametrize(
    ("files", "beside", "words"),
    [
        ({"t.json": {"num_train_epochs": 1}}, (), "names no model that is known here"),
        ({"t.json": BASE | {"dataset_name": "a/b"}}, (), "'a/b' is not on this machine"),
        (
            {"p.yaml": "model: gpt2\nsamples: 3\n", "a.yaml": "x: 1\n"},
            ("a.yaml",),
            "a project file",
        ),
        ({"t.json": BASE, "p.yaml": "model: gpt2\n"}, ("p.yaml",), "goes beside no other"),
        ({"o.toml": "x = 1\n"}, (), "its keys are of no tool that is known here"),
        ({"run.sh": "ls\n"}, (), "holds no training command"),
        ({"run.sh": "python a.py\npython b.py\n"}, (), "holds 2 training commands"),
    ],
)
def test_what_is_missing_is_asked_for_in_one_line(ask, files, beside, words):
    with pytest.raises(QuestionError, match=words):
        ask(files, *beside, **({"samples": None} if "not on this machine" in words else {}))


def test_a_model_of_json_is_no_file_of_a_tool(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
    assert not is_file(str(config)) and not is_file(str(tmp_path / "gone.json"))
    config.write_text(json.dumps(BASE))
    assert is_file(str(config))
