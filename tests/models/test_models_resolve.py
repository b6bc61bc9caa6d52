"""Names become facts: order, local hub cache, catalogue, sizes, near names, and no torch on the
way."""

import json
import math
import subprocess
import sys

import pytest

from planner.errors import ModelError, PlannerError, UnknownNameError
from planner.models import catalogue, hub, sizes
from planner.models.resolve import resolve

TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "download_config", lambda name: pytest.fail("the network was asked"))


def write(folder, config=TINY):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_folder_and_file_are_one_model(tmp_path):
    folder = write(tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    by_folder, by_file = resolve(str(folder)), resolve(str(folder / "config.json"))
    assert by_folder.fingerprint == by_file.fingerprint
    assert (
        by_folder.origin,
        by_folder.task,
        by_folder.blocks,
        by_folder.vocabulary,
        by_folder.max_length,
    ) == (
        "folder",
        "causal_lm",
        2,
        128,
        64,
    )
    assert (
        by_folder.tokenizer == folder / "tokenizer.json"
        and by_folder.weights_dtype == "bfloat16"
        and by_folder.parameters is None
    )


def test_fingerprint_covers_the_architecture_only(tmp_path):
    same = write(
        tmp_path / "same",
        {
            **TINY,
            "_name_or_path": "x",
            "transformers_version": "9",
            "torch_dtype": "float32",
            "use_cache": False,
        },
    )
    wider = write(tmp_path / "wider", {**TINY, "intermediate_size": 65})
    base = resolve(str(write(tmp_path / "base"))).fingerprint
    assert resolve(str(same)).fingerprint == base != resolve(str(wider)).fingerprint


def test_hub_cache_follows_refs_main(tmp_path, monkeypatch):
    model = tmp_path / "hub" / "models--someone--tiny"
    write(model / "snapshots" / "aaa", {**TINY, "num_hidden_layers": 1})
    write(model / "snapshots" / "bbb", {**TINY, "num_hidden_layers": 3})
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("aaa\n")
    assert resolve("someone/tiny").blocks == 1
    assert resolve("someone/tiny").origin == "hub cache"
    (model / "refs" / "main").write_text("bbb")
    assert resolve("someone/tiny").blocks == 3
    # a hostile ref names no folder: the newest snapshot is taken instead
    (model / "refs" / "main").write_text("../../..")
    assert resolve("someone/tiny").blocks in (1, 3)


def test_hf_home_is_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    write(tmp_path / "home" / "hub" / "models--someone--tiny" / "snapshots" / "abc")
    assert resolve("someone/tiny", offline=True).blocks == 2


def test_cached_config_goes_before_the_catalogue(tmp_path):
    write(
        tmp_path / "hub" / "models--openai-community--gpt2" / "snapshots" / "abc",
        {"model_type": "gpt2", "n_layer": 2, "n_embd": 48, "n_head": 4},
    )
    facts = resolve("gpt2")
    assert (facts.origin, facts.blocks, facts.license) == ("hub cache", 2, "mit")


@pytest.mark.parametrize(
    "name",
    [
        "Llama-3.1-8B",
        "meta-llama/Llama-3.1-8B",
        "meta-llama/llama-3.1-8b",
        "llama3.1-8b",
        "LLAMA-3.1-8B-Instruct",
    ],
)
def test_catalogue_names_need_no_network(name):
    facts = resolve(name)
    assert (
        facts.parameters == 8_030_261_248
        and facts.weights_dtype == "bfloat16"
        and facts.max_length == 131072
    )
    assert "shipped config of meta-llama/Llama-3.1-8B" in facts.assumptions[-1]


def test_dots_tell_models_apart():
    assert resolve("opt-1.3b").parameters == 1_315_758_080
    assert resolve("opt-13b").parameters == 12_853_473_280


def test_folder_without_config_does_not_hide_a_catalogue_name(tmp_path, monkeypatch):
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("gpt2").parameters == 124_439_808


def test_failure_says_what_was_tried(tmp_path, monkeypatch):
    with pytest.raises(ModelError) as error:
        resolve("meta-llama/Llama-3.1-9B", offline=True)
    line = str(error.value)
    assert (
        "\n" not in line
        and str(tmp_path / "hub") in line
        and "--offline" in line
        and "catalogue" in line
        and "Llama-3.1-8B" in line
    )
    monkeypatch.setattr(
        hub, "download_config", lambda name: (None, "the hub says that it is gated")
    )
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    with pytest.raises(ModelError, match="gated"):
        resolve("someone/secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        resolve("someone/secret")


def test_downloaded_config_is_used(tmp_path, monkeypatch):
    folder = write(tmp_path / "downloaded")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "download_config", lambda name: (folder, None))
    assert resolve("someone/new").origin == "hub"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "./nowhere",
        "/nowhere/config.json",
        "a/b/c",
        "x" * 5000,
        "nul\0byte",
        "no_such_module_xyz:make",
        "5X",
        "../../etc",
    ],
)
def test_wrong_names_are_one_line(name):
    with pytest.raises(PlannerError) as error:
        resolve(name, offline=True)
    assert "\n" not in str(error.value) and error.value.exit_code == 2


def test_pickles_are_not_opened(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match="pickle"):
        resolve(str(tmp_path))


def test_vision_names():
    assert resolve("timm:resnet50").parameters == 25_557_032
    assert (
        resolve("timm:resnet50.a1_in1k").fingerprint
        == resolve("resnet50").fingerprint
        == resolve("microsoft/resnet-50").fingerprint
    )
    assert resolve("torchvision:vit_b_16").parameters == 86_567_656
    assert resolve("torchvision:resnet50").fingerprint != resolve("timm:resnet50").fingerprint
    with pytest.raises(UnknownNameError, match="resnet50"):
        resolve("torchvision:resnet5O")
    with pytest.raises(ModelError, match="image_classification"):
        resolve("timm:resnet50", task="causal_lm")


def test_tasks():
    assert resolve("bert-base").task == "text_classification"
    masked = resolve("bert-base", task="masked_lm")
    # the catalogue counts the default task's class
    assert masked.task == "masked_lm" and masked.parameters is None
    assert (
        resolve("whisper-small").task == "speech_recognition"
        and resolve("whisper-small").modality == "audio"
    )
    assert (
        resolve("clip-vit-b32").modality == "image_text"
        and resolve("clip-vit-b32").image_size == 224
    )
    with pytest.raises(ModelError, match="text_classification"):
        resolve("bert-base", task="contrastive")


def test_every_name_of_the_catalogue_resolves_and_is_its_own():
    fingerprints = {}
    for name in catalogue.names():
        facts = resolve(name)
        assert facts.parameters and len(facts.fingerprint) == 64
        fingerprints.setdefault(facts.fingerprint, []).append(name)
    # tuned for other things, BERT's shape is BERT's: what shares a fingerprint is of one size
    for names in fingerprints.values():
        sizes = {catalogue.find(name)["base_parameters"] for name in names}
        assert len(sizes) == 1, names
    assert len(fingerprints) > len(catalogue.names()) * 3 // 4


@pytest.mark.parametrize(
    "name",
    ["20M", "100M", "200M", "5B", "18B", "22B", "48B", "180B", "405B", "1T"],
)
def test_sizes_that_no_model_has_come_close(name):
    facts = resolve(name)
    wanted = sizes.parse_count(name)
    assert abs(math.log(facts.parameters / wanted)) < 0.05, facts.assumptions
    config = facts.config
    assert (
        config["num_attention_heads"] % config["num_key_value_heads"] == 0
        and name in facts.assumptions[0]
    )
    assert facts.first_lines[0].text.startswith(f"no known model is of the size {name}")


@pytest.mark.parametrize(
    "size, model",
    [
        ("8B", "Llama-3.1-8B"),
        ("8b", "Llama-3.1-8B"),
        ("1B", "Llama-3.2-1B"),
        ("70B", "Llama-3.1-70B"),
        ("0.5B", "Qwen2.5-0.5B"),
        ("500M", "Qwen2.5-0.5B"),
        ("32B", "Qwen2.5-32B"),
        ("124M", "gpt2"),
    ],
)
def test_a_size_is_the_known_model_that_people_train(size, model):
    facts = resolve(size)
    assert facts.name == model and facts.origin == "catalogue"
    assert facts.first_lines[0].text.startswith(f"{size} is taken as {model}")
    assert facts.fingerprint == resolve(model, offline=True).fingerprint


@pytest.mark.parametrize(
    "size", ["135M", "1.1B", "1.5B", "2B", "3B", "4B", "7B", "9B", "13B", "30B"]
)
def test_a_size_stands_for_a_real_model_of_that_size(size):
    facts = resolve(size)
    assert facts.origin == "catalogue" and facts.task == "causal_lm"
    assert abs(math.log(facts.parameters / sizes.parse_count(size))) < 0.26


@pytest.mark.parametrize(
    ("written", "size"),
    [
        *(("7 B", "7b"), ("7b-instruct", "7b"), ("8B_chat", "8b"), ("an 8B model", "8b")),
        *(("13B parameters", "13b"), ("8 billion", "8b"), ("500 million", "500m")),
        *(("70b-chat-hf", "70b"), ("0.5b", "0.5b"), ("1_500M", "1500m")),
    ],
)
def test_a_size_with_words_that_name_no_model_is_that_size(written, size):
    assert sizes.bare(written).lower() == size
    found = resolve(written)
    assert found.fingerprint == resolve(size).fingerprint
    assert found.first_lines[0].text.startswith((f"{written} is taken as", "no known model"))


@pytest.mark.parametrize("written", ["llama-7b", "7b-instruct-v2", "gpt-7b", "7", "b", "qwen 7b"])
def test_a_size_beside_a_name_is_no_bare_size(written):
    assert not sizes.is_size(written)


def test_the_table_of_decoders_counts_the_published_recipes():
    from planner.plan.inputs.recipes import published

    for row in sizes.tables.rows("models", "decoders.csv"):
        size = float(row["nominal_parameters"])
        count = sum(
            recipe.family == row["family"]
            and any(abs(known / size - 1) < 0.01 for known in recipe.parameters)
            for recipe in published()
        )
        assert catalogue.find(row["name"])["task"] == "causal_lm"
        assert count == int(row["recipes"]), row["name"]


def test_a_published_size_gives_the_published_depth_and_width():
    config = resolve("405.853388800B").config
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_key_value_heads"]) == (
        16384,
        126,
        8,
    )


def test_resolving_imports_no_heavy_library(tmp_path):
    folder = write(tmp_path / "model")
    code = (
        f"import sys\nfrom planner.models.resolve import resolve\n"
        "[resolve(name) for name in ('bert-base', '7B', 'timm:resnet50', "
        f"'torchvision:resnet18', {str(folder)!r})]\n"
        "heavy = {'torch', 'transformers', 'timm', 'torchvision', 'pandas', 'numpy', "
        "'huggingface_hub', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
