"""Facts become modules on meta: exact parameter counts against the libraries and the published
totals, batches, heads, blocks."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from drawing import drawn
from torch.overrides import TorchFunctionMode

from planner import libraries, tables
from planner.errors import MissingExtraError, ModelError, UnknownNameError
from planner.models.building.build import build
from planner.models.resolve import resolve
from planner.models.students import default_student

if not all(importlib.util.find_spec(name) for name in ("transformers", "timm", "torchvision")):
    pytest.skip("needs transformers, timm and torchvision", allow_module_level=True)

ROWS = [
    row
    for row in tables.rows("models", "catalogue.csv")
    if importlib.util.find_spec(row["library"])
]
QUICK = drawn(ROWS, 90)
AUDIO_SAMPLES = 16000


class Yes(TorchFunctionMode):
    """Meta tensors have no values; libraries ask whether a mask is all ones, which it is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return True if func is torch.Tensor.__bool__ else func(*args, **(kwargs or {}))


def count(parameters):
    return sum(p.numel() for p in parameters)


def made(name, **options):
    task = options.pop("task", None)
    return build(resolve(name, task=task, offline=True), audio_samples=AUDIO_SAMPLES, **options)


def counted(row):
    """Holds a row against the library."""
    built = made(row["name"])
    total = count(built.module.parameters())
    assert total == int(row["parameters"])
    assert all(p.is_meta and p.dtype == torch.float32 for p in built.module.parameters())
    assert built.blocks
    if row["task"] != "text_embedding":  # pooling has no parameters
        assert built.head and 0 < count(built.head_parameters()) < total
    if row["published_parameters"]:
        assert int(row["published_parameters"]) in (total, int(row["base_parameters"])), (
            "differs from the published total"
        )


@pytest.mark.parametrize("row", QUICK, ids=lambda row: row["name"])
def test_catalogue_parameters_are_the_librarys(row):
    counted(row)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", drawn([row for row in ROWS if row not in QUICK], 60), ids=lambda row: row["name"]
)
def test_parameters_of_the_rest_of_the_catalogue_are_the_librarys(row):
    counted(row)


PUBLISHED = {
    "bert-base": 109_482_240,
    "gpt2": 124_439_808,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-2-7b": 6_738_415_616,
    "t5-base": 222_903_552,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Qwen2.5-7B": 7_615_616_512,
    "resnet50": 25_557_032,
    "vit-base": 86_567_656,
    "clip-vit-b32": 151_277_313,
    "whisper-small": 241_734_912,
    "flan-t5-base": 247_577_856,
    "gemma-2b": 2_506_172_416,
    "phi-2": 2_779_683_840,
}


@pytest.mark.parametrize("name, published", PUBLISHED.items())
def test_published_totals(name, published):
    row = next(row for row in ROWS if row["name"] == name or name in row["aliases"].split())
    built = made(name)
    base = getattr(built.module, "base_model", built.module)
    assert (
        published in (count(built.module.parameters()), count(base.parameters()))
        and int(row["published_parameters"]) == published
    )


#: name, task, (B, S, T), shape of the logits, parameters of the head (the same names as the
#: measured runs train).
FAMILIES = [
    ("gpt2", None, (2, 16, None), (2, 16, 50257), 50257 * 768),
    ("Llama-3.2-1B", None, (2, 16, None), (2, 16, 128256), 128256 * 2048),
    ("Llama-3.2-1B", "text_classification", (2, 16, None), (2, 2), 2 * 2048),
    ("Mistral-7B-v0.1", None, (1, 8, None), (1, 8, 32000), 32000 * 4096),
    ("gemma-2-2b", None, (1, 8, None), (1, 8, 256000), 256000 * 2304),
    ("bert-base", None, (2, 16, None), (2, 2), 2 * 768 + 2),
    ("bert-base", "masked_lm", (2, 16, None), (2, 16, 30522), None),
    ("bert-base", "token_classification", (2, 16, None), (2, 16, 2), 2 * 768 + 2),
    ("distilbert", None, (2, 16, None), (2, 2), 768 * 768 + 768 + 2 * 768 + 2),
    ("roberta-base", None, (2, 16, None), (2, 2), 768 * 768 + 768 + 2 * 768 + 2),
    ("deberta-v3-base", None, (2, 16, None), (2, 2), None),
    ("ModernBERT-base", None, (2, 16, None), (2, 2), None),
    ("t5-small", None, (2, 16, 8), (2, 8, 32128), 32128 * 512),
    ("bart-base", None, (2, 16, 8), (2, 8, 50265), 50265 * 768),
    ("whisper-tiny", None, (2, 16, None), (2, 16, 51865), 51865 * 384),
    ("wav2vec2-base", None, (2, None, None), (2, 2), 768 * 256 + 256 + 2 * 256 + 2),
    ("clip-vit-b32", None, (3, None, None), (3, 3), 512 * 512 + 768 * 512 + 1),
    ("resnet50", None, (2, None, None), (2, 1000), 2048 * 1000 + 1000),
    ("vit-base", None, (2, None, None), (2, 1000), 768 * 1000 + 1000),
    ("torchvision:resnet18", None, (2, None, None), (2, 1000), 512 * 1000 + 1000),
    ("torchvision:regnet_y_400mf", None, (2, None, None), (2, 1000), 440 * 1000 + 1000),
]


@pytest.mark.parametrize("name, task, sizes, logits, head", FAMILIES, ids=lambda value: str(value))
def test_a_step_runs_on_meta(name, task, sizes, logits, head):
    built = made(name, task=task)
    given = dict(zip("BST", sizes))
    assert [symbol for symbol in "BST" if given[symbol]] == list(built.symbols)
    batch = built.batch(**given)
    with Yes():
        loss = built.loss(built.module, batch)
        loss.backward()
        assert tuple(built.logits(built.module, batch).shape) == logits
    assert loss.ndim == 0 and built.module.training
    if head is not None:
        assert count(built.head_parameters()) == head


def test_weights_and_inputs_have_the_dtype():
    built = made("vit-base", dtype="bfloat16")
    assert (
        {p.dtype for p in built.module.parameters()}
        == {torch.bfloat16}
        == {built.batch(2)["images"].dtype}
    )
    whisper = made("whisper-tiny", dtype="float16")
    assert whisper.batch(2, 4)["input_features"].dtype == torch.float16
    assert whisper.batch(2, 4)["input_features"].shape == (2, 80, 3000)
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(ModelError, match="int8"):
        made("gpt2", dtype="int8")


def test_missing_sizes_are_named():
    with pytest.raises(ModelError, match="needs S, T"):
        made("t5-small").batch(2)
    with pytest.raises(ModelError, match="raw sound"):
        build(resolve("wav2vec2-base"))


def test_classes_and_image_size():
    assert made("bert-base", classes=7).module.num_labels == 7
    assert made("resnet18", classes=10).module.fc.out_features == 10
    # one class is a regression
    assert made("bert-base", classes=1).batch(2, 4)["labels"].dtype == torch.float32
    vit = made("vit-base", image_size=384)
    assert vit.batch(1)["images"].shape[-1] == 384 and vit.module.pos_embed.shape[1] == 24 * 24 + 1
    assert made("clip-vit-b32", image_size=256).batch(1)["pixel_values"].shape[-1] == 256
    assert made("torchvision:vit_b_16", image_size=256).module.image_size == 256


def test_a_config_without_an_image_size_takes_the_questions(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
        )
    )
    facts = resolve(str(tmp_path))
    assert facts.task == "image_classification" and build(facts, image_size=64).batch(2)[
        "pixel_values"
    ].shape == (2, 3, 64, 64)
    unsized = build(facts)
    assert unsized.batch(2)["pixel_values"].shape == (2, 3, 224, 224)
    assert any("224 × 224" in text for text in unsized.assumptions)


def test_channels_last_lays_out_weights_and_images():
    built = made("resnet18", channels_last=True)
    assert built.batch(2)["images"].is_contiguous(memory_format=torch.channels_last)
    assert built.module.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert made("resnet18").batch(2)["images"].is_contiguous()


def test_linear_names_reach_every_linear_but_the_head():
    assert made("Llama-3.2-1B").linear_names() == [
        "down_proj",
        "gate_proj",
        "k_proj",
        "o_proj",
        "q_proj",
        "up_proj",
        "v_proj",
    ]
    assert made("gpt2").linear_names() == ["c_attn", "c_fc", "c_proj"]
    for name in ("roberta-base", "vit-base", "opt-350m"):
        built = made(name)
        chosen = set(built.linear_names())
        for path, module in built.module.named_modules():
            wanted = isinstance(module, torch.nn.Linear) and not built.in_head(path)
            assert wanted == (path in chosen or path.rpartition(".")[2] in chosen), path


def test_tied_heads_are_told():
    assert (
        made("gpt2").head_tied
        and not made("Llama-2-7b").head_tied
        and not made("flan-t5-small").head_tied
        and made("t5-small").head_tied
    )


def test_blocks_are_in_order():
    assert made("t5-small").block_names == [f"decoder.block.{i}" for i in range(6)]
    assert made("resnet50").block_names == ["layer1", "layer2", "layer3", "layer4"]
    assert made("clip-vit-b32").block_names[0].startswith("vision_model.encoder.layers.0")


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("gpt2", (2, 16)),
        ("bert-base", (2, 16)),
        ("vit-base", (2,)),
        ("resnet18", (2,)),
        ("torchvision:resnet18", (2,)),
    ],
)
def test_checkpointing_keeps_fewer_activations(name, sizes):
    def saved(checkpointed):
        built = made(name)
        if checkpointed:
            built.enable_checkpointing()
        held = []
        with (
            Yes(),
            torch.autograd.graph.saved_tensors_hooks(
                lambda t: held.append(t.numel()) or t, lambda t: t
            ),
        ):
            built.loss(built.module, built.batch(*sizes)).backward()
        return sum(held)

    assert saved(True) < 0.7 * saved(False)


def test_checkpointing_is_refused_where_there_is_none():
    with pytest.raises(ModelError, match="no gradient checkpointing"):
        made("vgg16").enable_checkpointing()


def test_attention_implementation():
    assert made("gpt2", attention="eager").module.config._attn_implementation == "eager"
    assert made("gpt2", attention="flash").module.config._attn_implementation == "sdpa"


def test_a_config_that_the_library_cannot_build_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "hidden_size": 32,
                "num_attention_heads": 4,
                "num_hidden_layers": 1,
                "intermediate_size": 8,
                "vocab_size": 16,
                "hidden_act": "no_such_activation",
            }
        )
    )
    with pytest.raises(ModelError) as error:
        build(resolve(str(tmp_path)))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_missing_libraries_name_their_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("transformers", "timm") else found(name, *rest),
    )
    with pytest.raises(MissingExtraError, match=r"planner\[hf\]"):
        libraries.import_library("transformers", "the model")
    with pytest.raises(MissingExtraError, match=r"planner\[vision\]"):
        made("resnet50")


def test_unknown_to_the_installed_library():
    import dataclasses

    facts = dataclasses.replace(resolve("timm:resnet50"), architecture="resnet5000")
    with pytest.raises(UnknownNameError, match="resnet50"):
        build(facts)


@pytest.mark.parametrize(
    "teacher, student", [("bert-base", 66_956_546), ("gpt2", 81_912_576), ("resnet50", 11_689_512)]
)
def test_students(teacher, student):
    facts = default_student(resolve(teacher))
    # DistilGPT2's and ResNet-18's published counts
    assert count(build(facts).module.parameters()) == student
    assert "http" in facts.assumptions[-1] and facts.fingerprint != resolve(teacher).fingerprint


def test_students_of_encoder_decoders_keep_the_encoder():
    t5, whisper = (
        build(default_student(resolve("t5-base"))).module,
        build(default_student(resolve("whisper-small"))).module,
    )
    assert (len(t5.encoder.block), len(t5.decoder.block)) == (12, 6)
    assert (len(whisper.model.encoder.layers), len(whisper.model.decoder.layers)) == (12, 2)
    with pytest.raises(ModelError, match="--teacher"):
        default_student(resolve("resnet18"))


@pytest.mark.slow
def test_the_models_own_code_runs_only_when_trusted(tmp_path):
    marker = tmp_path / "ran"
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "configuration_own.py").write_text(
        "from transformers import GPT2Config\nclass OwnConfig(GPT2Config):\n    model_type = "
        "'own'\n"
    )
    (folder / "modeling_own.py").write_text(
        f"open({str(marker)!r}, 'w').write('x')\nfrom transformers import "
        "GPT2LMHeadModel\nfrom .configuration_own import OwnConfig\n"
        "class OwnModel(GPT2LMHeadModel):\n    config_class = OwnConfig\n"
    )
    (folder / "config.json").write_text(
        json.dumps(
            {
                "model_type": "own",
                "n_layer": 2,
                "n_embd": 32,
                "n_head": 2,
                "vocab_size": 64,
                "auto_map": {
                    "AutoConfig": "configuration_own.OwnConfig",
                    "AutoModelForCausalLM": "modeling_own.OwnModel",
                },
            }
        )
    )
    code = (
        "import sys\nfrom planner.models.resolve import resolve\nfrom "
        "planner.models.building.build import build\n"
        f"facts = resolve({str(folder)!r}, trust_remote_code=True)\nbuilt = build(facts)\n"
        "assert type(built.module).__name__ == 'OwnModel' and "
        "built.module.lm_head.weight.shape == (64, 32) and built.head == ('lm_head',)"
    )
    with pytest.raises(ModelError, match="trust-remote-code"):
        resolve(str(folder))
    assert not marker.exists()
    import os

    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=120,
        env={**os.environ, "HF_HOME": str(tmp_path / "home")},
    )
    assert marker.exists()
