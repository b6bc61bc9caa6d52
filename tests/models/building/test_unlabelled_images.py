"""Masked image modelling and self-distillation: what is masked, what trains, what a step runs."""

import importlib.util
import json

import pytest

from planner.models.constants import constant
from planner.models.resolve import resolve
from planner.training.recipe import Recipe

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs transformers", allow_module_level=True)

import torch

from planner.trace.recorder.regimes import build_for
from planner.trace.recorder.step_runner import StepRunner

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_channels": 3}
DINO = SMALL | {"model_type": "dinov2", "patch_size": 14, "image_size": 518, "mlp_ratio": 2}
MAE = SMALL | {
    "model_type": "vit_mae",
    "architectures": ["ViTMAEForPreTraining"],
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
    "mask_ratio": 0.75,
}
VIT = SMALL | {"model_type": "vit", "intermediate_size": 64, "image_size": 64, "patch_size": 16}
SWIN = {"model_type": "swin", "image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1]}
SWIN |= {"num_heads": [2, 2], "window_size": 4, "encoder_stride": 8}
MASKED, SELF = "masked_image_modeling", "image_self_distillation"


@pytest.fixture
def runner(tmp_path):
    def make(config, task, strategy="fine_tune", **more):
        (tmp_path / "config.json").write_text(json.dumps(config))
        facts = resolve(str(tmp_path), task=task, offline=True)
        recipe = Recipe(
            strategy=strategy,
            task=facts.task,
            **{"precision": "fp32", "optimizer": "adamw"} | more,
        )
        return StepRunner(lambda: build_for(facts, recipe), recipe)

    return make


@pytest.mark.parametrize("config", [MAE, VIT, SWIN], ids=lambda config: config["model_type"])
@pytest.mark.parametrize("strategy", ["fine_tune", "partial_fine_tune"])
def test_masked_patches_are_learnt(runner, config, strategy):
    more = {"unfrozen_blocks": 1} if strategy == "partial_fine_tune" else {}
    run = runner(config, MASKED, strategy, **more)
    assert run.built.task == MASKED and run.record(B=2).operations
    batch = run.prepared.batch(2)
    assert ("bool_masked_pos" in batch) == (config is not MAE)


def test_an_autoencoder_is_known_by_its_class_and_sees_a_quarter(runner):
    run = runner(MAE, None)
    assert run.built.task == MASKED
    fixed = {n for n, _ in run.built.module.named_parameters()} & run.built.frozen
    assert len(fixed) == 2 and all("position_embeddings" in n or "pos_embed" in n for n in fixed)
    raw = run.record(B=2)
    entering = {
        tuple(tensor[0])
        for index, _, module in raw.operations
        if raw.modules[module].startswith("vit.layers.")
        for tensor in raw.signatures[index][1]
        if len(tensor[0]) == 3
    }
    # 4 of the 16 patches and the class's token
    assert (2, 5, 32) in entering and (2, 17, 32) not in entering


def test_self_distillation_trains_the_student_alone(runner):
    run = runner(DINO, SELF)
    module = run.built.module
    own = sum(p.numel() for p in module.student.parameters())
    assert run.counts()["trainable_params"] == own
    assert sum(p.numel() for p in module.teacher.parameters()) == own
    assert all(name.startswith("teacher.") for name in run.built.frozen)


def test_crops_are_those_of_the_recipe(runner):
    run = runner(DINO, SELF)
    batch = run.prepared.batch(3)
    side, small = int(constant("global_crop_pixels")), int(constant("local_crop_pixels"))
    assert (side, small) == (224, 98)
    assert batch["global_crops"].shape == (6, 3, 224, 224)
    assert batch["local_crops"].shape == (24, 3, 98, 98)
    assert batch["masks"].shape == (6, 256)
    # half of the large crops have 10 to 50 % of their 256 patches masked: 38 of a crop in the mean
    assert batch["masked"].shape == (6 * 38,)


def test_the_teacher_is_averaged_after_the_update(runner):
    run = runner(DINO, SELF)
    raw = run.record(B=2)
    names = [raw.signatures[index][0] for index, _, _ in raw.operations]
    assert "_foreach_mul" in names[-2] and "_foreach_add" in names[-1]
    averaged = sum(tensor[4] for tensor in raw.signatures[raw.operations[-2][0]][1])
    assert averaged == len(list(run.built.module.teacher.parameters()))


@pytest.mark.slow
def test_a_real_step_moves_student_and_teacher(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(DINO | {"hidden_size": 16}))
    facts = resolve(str(tmp_path), task=SELF, offline=True)
    recipe = Recipe(strategy="fine_tune", task=SELF, precision="fp32", optimizer="adamw")
    torch.manual_seed(0)
    built = build_for(facts, recipe, device="cpu")
    module = built.module
    crops = torch.randn(2, 3, 28, 28), torch.randn(8, 3, 14, 14)
    masks = torch.zeros(2, 4, dtype=torch.bool)
    masks[0, 1] = True
    loss = module(*crops, masks, torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad is None for p in module.teacher.parameters())
    before = [p.clone() for p in module.teacher.parameters()]
    with torch.no_grad():
        for p in module.student.parameters():
            p.add_(1.0)
    module.update_teacher()
    moved = [(a - b).abs().max().item() for a, b in zip(module.teacher.parameters(), before)]
    assert max(moved) == pytest.approx(1 - constant("teacher_momentum"), rel=1e-3)


def test_branches_of_the_student_run_on_a_part_of_the_crops(runner):
    """Half of the two large crops and all eight small ones are nearest to 70 % of 2 × 257 and
    8 × 50 tokens; the teacher sees both large ones."""
    from planner.models.building.self_distillation import kept_crops

    assert kept_crops(0.3, 257, 50) == (1, 8) and kept_crops(0.4, 257, 50) == (1, 6)
    assert kept_crops(0.0, 257, 50) == (2, 8)
    run = runner(DINO, SELF)
    assert run.built.module.leaves_out
    raw = run.record(B=2)
    rows = {"student": set(), "teacher": set()}
    for index, _, module in raw.operations:
        who = raw.modules[module].partition(".")[0]
        if who in rows and raw.modules[module].endswith("norm1"):
            rows[who] |= {t[0][0] for t in raw.signatures[index][1] if len(t[0]) == 3}
    assert rows == {"student": {2, 16}, "teacher": {4}}
