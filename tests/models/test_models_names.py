"""Other names of models: old ones, mirrors, tags, spellings; folders that are no plain model."""

import json

import pytest

from planner import tables
from planner.errors import ModelError, PlannerError
from planner.models import catalogue
from planner.models.names import renames, spelling
from planner.models.resolve import resolve

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
    "torch_dtype": "bfloat16",
}


def written(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def said(facts):
    return [line.text for line in facts.first_lines]


# ---- timm and torchvision


def test_a_renamed_model_is_found_under_its_old_name_and_it_is_said():
    facts = resolve("timm:convnext_base_in22ft1k")
    assert facts.architecture == "convnext_base" and facts.image_size == 224
    assert any("is called convnext_base.fb_in22k_ft_in1k" in text for text in said(facts))


def test_weights_of_another_size_keep_their_tag():
    facts = resolve("timm:convnext_base_384_in22ft1k")
    assert facts.architecture == "convnext_base.fb_in22k_ft_in1k_384" and facts.image_size == 384
    assert resolve("timm:convnext_base.fb_in22k_ft_in1k").architecture == "convnext_base"


def test_every_rename_leads_to_a_model_or_one_line():
    for row in tables.rows("models", "timm_renames.csv"):
        if row["now"]:
            assert renames.vision_name("timm", row["name"]) is not None, row
        else:
            with pytest.raises(ModelError, match="removed"):
                renames.vision_name("timm", row["name"])


def test_the_current_name_says_nothing():
    assert not any("is called" in text for text in said(resolve("timm:resnet50.a1_in1k")))


@pytest.mark.parametrize(
    "name, architecture",
    [("torchvision:ResNet-50", "resnet50"), ("torchvision:vit-b-16", "vit_b_16")],
)
def test_torchvision_names_are_known_in_other_spellings(name, architecture):
    facts = resolve(name)
    assert facts.architecture == architecture
    assert any("is called" in text for text in said(facts))


def test_an_unknown_vision_model_offers_near_ones():
    with pytest.raises(PlannerError, match="resnet50"):
        resolve("timm:resnet5O0")


# ---- published models


@pytest.mark.parametrize(
    "name, model",
    [
        ("unsloth/Llama-3.2-1B-Instruct", "Llama-3.2-1B"),
        ("meta-llama/Llama-2-7b", "Llama-2-7b"),
        ("meta-llama/Llama-2-7b-chat-hf", "Llama-2-7b"),
        ("meta-llama/Meta-Llama-3.1-8B", "Llama-3.1-8B"),
        ("llama3.2:1b", None),
        ("Qwen2-5-7B", "Qwen2.5-7B"),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5-7B"),
    ],
)
def test_mirrors_and_spellings_are_planned_as_the_nearest_name(name, model):
    facts = resolve(name, offline=True)
    row = catalogue.find(model or "Llama-3.2-1B")
    assert facts.fingerprint == catalogue.facts(row).fingerprint
    if catalogue.find(name) is None:
        assert facts.first_lines[0].warning and name in facts.first_lines[0].text


@pytest.mark.parametrize("name", ["opt-175b", "opt-66b", "Llama-2-8b", "qwen9-1b"])
def test_another_size_is_not_the_nearest_name(name):
    with pytest.raises(ModelError, match="unknown model"):
        resolve(name, offline=True)


@pytest.mark.parametrize(
    "name",
    [
        "TheBloke/Mistral-7B-v0.1-GGUF",
        "Mistral-7B-v0.1.Q4_K_M.gguf",
        "mlx-community/Mistral-7B-v0.1-MLX",
    ],
)
def test_weights_for_running_are_refused_with_the_model_they_are_of(name):
    with pytest.raises(ModelError) as raised:
        resolve(name, offline=True)
    assert "Mistral-7B-v0.1" in str(raised.value).partition("Did you mean")[2]
    assert "not for training" in str(raised.value)


def test_smaller_weights_name_the_model_that_they_were_made_from():
    with pytest.raises(ModelError, match="Did you mean Mistral-7B-v0.1"):
        resolve("TheBloke/Mistral-7B-v0.1-GPTQ", offline=True)


def test_no_name_of_the_catalogue_is_read_as_another():
    """Whatever spelling is taken for a name, a name of the catalogue stays its own."""
    for name in catalogue.names():
        match = spelling.match(name, catalogue.index())
        assert match is not None and catalogue.index()[match]["name"] == name


# ---- folders


def adapter(folder, base, **keys):
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": 8,
        "lora_dropout": 0.05,
        "target_modules": ["v_proj", "q_proj"],
        **keys,
    }
    return written(folder, "adapter_config.json", settings)


def test_an_adapter_is_planned_on_its_base(tmp_path):
    base = written(tmp_path / "base", "config.json", LLAMA)
    facts = resolve(str(adapter(tmp_path / "a", str(base))))
    assert facts.fingerprint == resolve(str(base)).fingerprint
    assert facts.adapter.settings["lora_rank"] == 8
    assert facts.adapter.settings["lora_targets"] == ("q_proj", "v_proj")
    assert "LoRA adapter of rank 8 on q_proj, v_proj" in facts.first_lines[0].text


def test_an_adapter_of_another_method_is_planned_as_such(tmp_path):
    base = str(written(tmp_path / "base", "config.json", LLAMA))
    oft = resolve(str(adapter(tmp_path / "a", base, peft_type="OFT", r=0, oft_block_size=16)))
    assert oft.adapter.settings["adapter"] == "oft" and "OFT adapter" in oft.first_lines[0].text
    assert oft.adapter.settings["adapter_block_size"] == 16
    assert "lora_rank" not in oft.adapter.settings
    pissa = resolve(str(adapter(tmp_path / "b", base, init_lora_weights="pissa_niter_4")))
    assert pissa.adapter.settings["adapter"] == "pissa"
    blocks = resolve(str(adapter(tmp_path / "c", base, peft_type="OFT", r=8, oft_block_size=0)))
    assert blocks.adapter.settings is None and blocks.first_lines[0].warning


def test_a_base_beside_the_adapter_and_a_published_one_are_found(tmp_path):
    written(tmp_path / "a" / "base", "config.json", LLAMA)
    assert resolve(str(adapter(tmp_path / "a", "base"))).config["vocab_size"] == 512
    facts = resolve(str(adapter(tmp_path / "b", "meta-llama/Llama-3.2-1B")), offline=True)
    assert facts.fingerprint == resolve("Llama-3.2-1B", offline=True).fingerprint


@pytest.mark.parametrize("base", [None, "", 7])
def test_an_adapter_without_a_base_is_one_line(tmp_path, base):
    with pytest.raises(ModelError, match="names no base model"):
        resolve(str(adapter(tmp_path / "a", base)))


def test_adapters_that_name_each_other_are_one_line(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    adapter(first, str(second))
    adapter(second, str(first))
    with pytest.raises(ModelError, match="is an adapter too"):
        resolve(str(first))


def test_another_kind_of_adapter_is_a_warning(tmp_path):
    base = written(tmp_path / "base", "config.json", LLAMA)
    facts = resolve(str(adapter(tmp_path / "a", str(base), peft_type="PREFIX_TUNING")))
    assert facts.first_lines[0].warning and "not covered" in facts.first_lines[0].text


def test_the_encoder_of_a_sentence_transformers_folder_is_planned(tmp_path):
    bert = {**LLAMA, "model_type": "bert", "architectures": ["BertModel"]}
    modules = [
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    folder = written(tmp_path / "m", "modules.json", modules)
    written(folder / "0_Transformer", "config.json", bert)
    facts = resolve(str(folder))
    assert facts.config["model_type"] == "bert" and facts.task_is_open
    assert facts.task == "text_embedding" and "--task" in facts.first_lines[-1].text
    modules[0]["path"] = "../0_Transformer"
    outside = written(tmp_path / "n", "modules.json", modules)
    with pytest.raises(ModelError, match="no config.json"):
        resolve(str(outside))


@pytest.mark.parametrize(
    "name, words", [("params.json", "own format"), ("model.gguf", "for running")]
)
def test_other_programs_weights_are_one_line(tmp_path, name, words):
    folder = written(tmp_path / "m", name, {"dim": 4096})
    with pytest.raises(ModelError, match=words):
        resolve(str(folder))


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
        ("tf_efficientnet_b0_ns", "tf_efficientnet_b0.ns_jft_in1k"),
        ("timm/convnext_base_in22k", "convnext_base.fb_in22k"),
    ],
)
def test_old_names_of_timm_need_no_prefix(name, architecture):
    """They are other weights than those of the nearest name in the catalogue."""
    bare, full = resolve(name, offline=True), resolve(f"timm:{name.removeprefix('timm/')}")
    assert bare.architecture == full.architecture and bare.fingerprint == full.fingerprint
    assert any(architecture in line.text for line in bare.first_lines)
    assert not any(line.warning for line in bare.first_lines)


def test_a_base_that_nobody_knows_is_said_to_be_the_adapters(tmp_path):
    folder = adapter(tmp_path / "a", "acme/secret-9b")
    with pytest.raises(ModelError) as error:
        resolve(str(folder), offline=True)
    line = str(error.value)
    assert str(folder) in line and "base_model_name_or_path" in line and "acme/secret-9b" in line
    assert "\n" not in line
