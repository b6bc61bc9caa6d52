"""Models that write about images: what an image takes of a sequence, what trains, and a step of
every family under every strategy."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from planner.errors import ModelError
from planner.models.building.sight.image_inputs import image_input, image_rules
from planner.models.resolve import resolve

sys.path.insert(0, str(Path(__file__).parent))
from small_seeing import SMALL  # noqa: E402

TASK = "image_text_to_text"


def small(tmp_path, name):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL[name]))
    return resolve(str(file), task=TASK)


def shipped(name, **given):
    facts = resolve(name, offline=True)
    return image_input(facts.config, name, **given)


#: By the processors: places of a sequence, pictures of the vision tower, their side.
READ = [
    ("llava-1.5-7b", {}, (576, 1, 336)),  # (336 / 14)²
    ("gemma-3-4b", {}, (260, 1, 896)),  # 256, a mark and a blank line on either side
    ("paligemma-3b-pt-224", {}, (256, 1, 224)),
    ("blip2-opt-2.7b", {}, (32, 1, 224)),
    ("Qwen2.5-VL-7B-Instruct", {"side": 448}, (258, 1, 448)),  # (448 / 28)², start and end
    ("Qwen2.5-VL-7B-Instruct", {"pixels": (640, 480)}, (402, 1, 560)),  # √307,200 = 554 → 20 · 28
    ("Qwen3-VL-8B-Instruct", {"side": 512}, (258, 1, 512)),  # (512 / 32)²
    ("idefics2-8b", {"pixels": (4000, 3000)}, (66, 1, 980)),
    # 3 rows of 4 tiles and the whole: 13 · 169, 2 a tile, a line break a row, 4 around the whole
    ("Idefics3-8B-Llama3", {"pixels": (640, 480)}, (13 * 169 + 24 + 3 + 4, 13, 364)),
    ("SmolVLM-256M-Instruct", {"pixels": (500, 500)}, (17 * 64 + 32 + 4 + 4, 17, 512)),
    ("Llama-3.2-11B-Vision", {}, (1, 1, 560)),
]


@pytest.mark.parametrize("name, given, wanted", READ)
def test_places_of_an_image(name, given, wanted):
    found = shipped(name, **given)
    assert (found.places, found.pictures, found.side) == wanted


def test_an_assumed_size_is_said():
    assert shipped("Qwen2.5-VL-7B-Instruct").assumed
    assert not shipped("Qwen2.5-VL-7B-Instruct", side=448).assumed
    assert not shipped("llava-1.5-7b").assumed


def test_no_image_is_larger_than_the_processor_makes_it():
    found = shipped("Qwen2.5-VL-7B-Instruct", pixels=(20_000, 20_000))
    assert found.side**2 <= 12_845_056 * 1.02


def test_a_family_that_is_not_covered_says_so():
    with pytest.raises(ModelError, match="kosmos-2 model reads images is not covered"):
        image_input({"model_type": "kosmos-2"}, "x")


def built(tmp_path, name, **more):
    pytest.importorskip("transformers")
    from planner.models.building.build import build

    return build(small(tmp_path, name), image_size=112 if name != "qwen3_vl" else 128, **more)


@pytest.mark.parametrize("name", SMALL)
def test_the_tower_is_frozen_and_what_joins_it_trains(tmp_path, name):
    model = built(tmp_path, name)
    names = dict(model.module.named_parameters())
    assert model.frozen and model.beside_adapters and model.frozen < set(names)
    assert not model.frozen & model.beside_adapters
    adapted = model.linear_names()
    towers = {n.removesuffix(".weight") for n in model.frozen | model.beside_adapters}
    reached = {
        m for m, _ in model.module.named_modules() for a in adapted if m == a or m.endswith("." + a)
    }
    assert reached and not reached & towers
    assert not built(tmp_path, name, vision_tower="trained").frozen
    assert len(model.blocks) == 2


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fine_tune", "lora", "qlora", "feature_extraction"])
@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_every_family(tmp_path, name, strategy):
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    _check_step(tmp_path, name, strategy)


@pytest.mark.parametrize("name, strategy", [("llava", "lora"), ("qwen2_5_vl", "fine_tune")])
def test_a_step(tmp_path, name, strategy):
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    _check_step(tmp_path, name, strategy)


def _check_step(tmp_path, name, strategy):
    """One fit in batch and length, whose vision part grows with the batch alone, and whose sum of
    parameters is the module's."""
    from planner.trace.recorder.regimes import record_regime
    from planner.training.recipe import Recipe

    facts = small(tmp_path, name)
    side = 128 if name == "qwen3_vl" else 112
    recipe = Recipe(
        strategy=strategy,
        task=TASK,
        precision="amp_bf16",
        gradient_checkpointing="none",
        attention="sdpa",
        optimizer="adamw",
        image_size=side,
        images=2,
        lora_rank=4 if "lora" in strategy else None,
    )
    family, exact = record_regime(facts, recipe, None, "b2", 64, None)
    (trace,) = family.traces
    assert not exact and trace.meta["trainable_params"] < trace.meta["total_params"]
    if strategy == "fine_tune":
        model = built(tmp_path, name, images=2)
        total = sum(p.numel() for p in {id(p): p for p in model.module.parameters()}.values())
        frozen = sum(p.numel() for n, p in model.module.named_parameters() if n in model.frozen)
        assert trace.meta["total_params"] == total
        assert trace.meta["trainable_params"] == total - frozen
    names = [signature.op for signature in trace.signatures]
    if image_rules()[facts.config["model_type"]].rule != "crossed":
        assert "aten.masked_scatter.default" in names  # features go to their places


def test_features_go_back_through_their_places():
    """The gradient of scattered features is gathered by indices that the host waits for, and that
    of the text loses the images' places."""
    torch = pytest.importorskip("torch")
    from planner.trace.recorder.on_data.known_masks import ScatterOfKnown

    waits = []
    text = torch.empty(2, 8, 4, device="meta", requires_grad=True)
    mask = torch.empty(2, 8, 1, dtype=torch.bool, device="meta")
    features = torch.empty(6, 4, device="meta", requires_grad=True)
    out = ScatterOfKnown.apply(text, mask, features, lambda: waits.append(1))
    assert out.shape == text.shape and not waits
    out.sum().backward()
    assert features.grad.shape == features.shape and text.grad.shape == text.shape
    assert waits == [1]
