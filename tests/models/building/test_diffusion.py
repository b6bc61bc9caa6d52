"""Pipelines of diffusers: what they are read as, and what of them trains."""

import importlib.util
import json
import shutil
from dataclasses import replace

import pytest

from planner import tables
from planner.errors import MissingExtraError, ModelError, PlannerError
from planner.models.pipelines import pipeline_of, pipelines
from planner.models.resolve import resolve
from planner.training.recipe import Recipe

if not all(importlib.util.find_spec(name) for name in ("diffusers", "transformers", "peft")):
    pytest.skip("needs diffusers, transformers and peft", allow_module_level=True)

import torch

from planner.trace.recorder.regimes import build_for
from planner.trace.recorder.step_runner import StepRunner

CLIP = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "projection_dim": 32,
}
PARTS = {
    "unet": {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 16,
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
    },
    "vae": {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [32, 64],
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "latent_channels": 4,
    },
    "text_encoder": CLIP,
}


@pytest.fixture
def folder(tmp_path):
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for name, config in PARTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    (tmp_path / "scheduler").mkdir()
    scheduler = {"_class_name": "PNDMScheduler", "prediction_type": "epsilon"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return tmp_path


def recipe(strategy="fine_tune", **more):
    values = {"task": "text_to_image", "precision": "amp_bf16", "optimizer": "adamw"} | more
    return Recipe(strategy=strategy, **values)


def runner(folder, wanted):
    facts = resolve(str(folder), offline=True)
    return StepRunner(lambda: build_for(facts, wanted), wanted)


def count(module):
    return sum(p.numel() for p in module.parameters())


#: Of published checkpoints: the UNet of Stable Diffusion 1 is called 860M, SDXL's 2.6B, FLUX 12B,
#: SD 3 medium 2B, PixArt 0.6B; the exact numbers are those of diffusers' own classes.
DENOISERS = {
    "stable-diffusion-v1-5": 859_520_964,
    "stable-diffusion-xl-base-1.0": 2_567_463_684,
    "stable-diffusion-3-medium": 2_028_328_000,
    "flux.1-dev": 11_901_408_320,
    "pixart-xl-2-1024-ms": 611_349_152,
}


@pytest.mark.parametrize("name, parameters", DENOISERS.items())
def test_a_full_fine_tuning_trains_the_denoiser_alone(name, parameters):
    facts = resolve(name, offline=True)
    built = build_for(facts, recipe())
    trained = [p.numel() for n, p in built.module.named_parameters() if n not in built.frozen]
    assert sum(trained) == parameters == count(built.module.denoiser)
    assert facts.parameters == count(built.module)


def test_adapters_are_those_of_the_script():
    """797,184 parameters at rank 4: what diffusers' own ``add_adapter`` puts into the UNet."""
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    facts = resolve("sd1.5", offline=True)
    targets = pipeline_of(facts.config, facts.name).lora_targets
    ours = runner("sd1.5", recipe("lora", lora_rank=4, lora_targets=targets))
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(facts.config["unet"])
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=4, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    theirs = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    assert ours.counts()["trainable_params"] == theirs == 797_184
    adapted = {n for n, p in ours.built.module.named_parameters() if p.requires_grad}
    assert all(name.startswith("unet.") for name in adapted)


@pytest.mark.parametrize(
    "wanted, half, whole",
    [
        (recipe(), {"vae", "text_encoder"}, {"unet"}),
        (recipe("lora", lora_rank=4), {"vae", "text_encoder", "unet"}, set()),
        (recipe(precision="fp32"), set(), {"vae", "text_encoder", "unet"}),
    ],
)
def test_mixed_precision_halves_what_does_not_train(folder, wanted, half, whole):
    run = runner(folder, wanted)
    for part in ("vae", "text_encoder", "unet"):
        module = getattr(run.built.module, part)
        frozen = {p.dtype for p in module.parameters() if not p.requires_grad or part in whole}
        assert frozen == {torch.bfloat16 if part in half else torch.float32}, part
    trained = {p.dtype for p in run.prepared.trainable}
    assert trained == {torch.float32}


def test_sdxl_keeps_its_autoencoder_in_float32():
    built = build_for(resolve("sdxl", offline=True), recipe())
    assert built.module.vae.dtype == torch.float32
    assert built.module.text_encoder_2.dtype == torch.bfloat16


def operations(run, B=2):
    return run.record(B=B).operations


def test_cached_latents_leave_the_encoders_out(folder):
    whole, cached = runner(folder, recipe()), runner(folder, recipe(variant="cached"))
    makes = runner(folder, recipe("feature_extraction", variant="features"))
    assert not hasattr(cached.built.module, "vae")
    assert count(cached.built.module) == count(whole.built.module.unet)
    batch = cached.prepared.batch(3)
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "latents": (3, 4, 16, 16),
        "embeddings": (3, 77, 32),
    }
    parts = len(operations(cached)) + len(operations(makes))
    assert 0.97 < parts / len(operations(whole)) <= 1.03
    assert not makes.prepared.trainable


def test_prior_preservation_doubles_a_step(folder):
    whole = {"precision": "fp32"}
    one = runner(folder, recipe(**whole))
    two = runner(folder, recipe(prior_preservation=True, **whole))
    assert two.prepared.batch(1)["pixels"].shape[0] == 2 * one.prepared.batch(1)["pixels"].shape[0]
    with torch.no_grad():
        assert two.prepared.forward(two.prepared.batch(2)).ndim == 0


@pytest.mark.parametrize("strategy", ["fine_tune", "partial_fine_tune", "lora", "qlora"])
def test_every_strategy_records_a_step(folder, strategy):
    more = {"unfrozen_blocks": 1} if strategy == "partial_fine_tune" else {}
    more |= {"lora_rank": 4} if "lora" in strategy else {}
    run = runner(folder, recipe(strategy, gradient_checkpointing="full", **more))
    assert operations(run) and 0 < run.counts()["trainable_params"]
    saved = run.counts()["checkpoint_bytes"]
    if "lora" not in strategy:
        assert saved == 4 * count(run.built.module.unet)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        row["name"]
        for row in tables.rows("models", "catalogue.csv")
        if row["library"] == "diffusers"
    ],
)
def test_every_shipped_pipeline_is_told_its_condition(name):
    """One forward pass and its loss on meta, whatever the denoiser is told."""
    from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
    from planner.trace.recorder.cuda_mode import CudaLike

    built = build_for(resolve(name, offline=True), recipe())
    with torch.no_grad(), as_if_on_cuda(CudaLike(torch.bfloat16)):
        loss = built.loss(built.module, built.batch(2))
    assert loss.ndim == 0 and loss.dtype == torch.float32


def test_a_real_step_learns(folder):
    """The same module on the processor: gradients reach the denoiser and nothing else."""
    wanted = recipe(precision="fp32")
    built = build_for(resolve(str(folder), offline=True), wanted, device="cpu")
    torch.manual_seed(0)
    built.loss(built.module, built.batch(2)).backward()
    reached = {n for n, p in built.module.named_parameters() if p.grad is not None}
    assert reached == {n for n, _ in built.module.named_parameters() if n.startswith("unet")}


def test_names_of_pipelines(folder):
    assert resolve("diffusers:stable-diffusion-v1-5/stable-diffusion-v1-5", offline=True).library
    assert resolve("SDXL", offline=True).image_size == 1024
    mine = resolve(str(folder), offline=True)
    assert (mine.library, mine.image_size, mine.task) == ("diffusers", 32, "text_to_image")
    again = replace(mine, name="other")
    assert again.fingerprint == mine.fingerprint != resolve("sd1.5", offline=True).fingerprint
    with pytest.raises(ModelError, match="no pipeline"):
        resolve("diffusers:gpt2", offline=True)


def test_what_is_no_pipeline_of_ours_is_refused_in_a_line(folder):
    shutil.rmtree(folder / "vae")
    with pytest.raises(ModelError, match="cannot be read"):
        resolve(str(folder), offline=True)
    (folder / "model_index.json").write_text('{"_class_name": "AudioLDMPipeline"}')
    with pytest.raises(ModelError, match="AudioLDMPipeline is not covered"):
        resolve(str(folder), offline=True)
    with pytest.raises(ModelError, match="trains on text_to_image"):
        resolve("sd1.5", task="image_classification", offline=True)
    with pytest.raises(ModelError, match="multiple of 64"):
        build_for(resolve("sd1.5", offline=True), recipe(image_size=500))


def test_without_diffusers_the_extra_is_named(monkeypatch):
    real = importlib.util.find_spec

    def without(name, *args):
        return None if name == "diffusers" else real(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(MissingExtraError, match=r"planner\[diffusers\]") as error:
        build_for(resolve("sd1.5", offline=True), recipe())
    assert isinstance(error.value, PlannerError)


def test_the_table_names_what_a_training_loads():
    for row in pipelines().values():
        assert row.denoiser in row.parts and "vae" in row.parts
        assert bool(row.caption_tokens) == any(part.startswith("text") for part in row.parts)
