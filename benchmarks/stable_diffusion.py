"""Stable Diffusion as it was trained, for the planner's factories: a denoiser in the latent space
of a frozen autoencoder, told what to paint by a frozen text encoder (Rombach et al. 2022, arXiv
2112.10752; sizes: the published ``v1-inference.yaml`` of CompVis/stable-diffusion and
``v2-inference.yaml`` of Stability-AI/stablediffusion). One function a version and stage. Needs
diffusers and transformers.
"""

from __future__ import annotations

import torch
from torch import nn

from planner.libraries import prepare_torchvision

prepare_torchvision()

from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from diffusers.models.attention_processor import AttnProcessor  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

#: Of the published configurations: latent channels, the autoencoder's reduction, tokens of a
#: caption, its vocabulary.
LATENT_CHANNELS, REDUCTION, CAPTION_TOKENS, VOCABULARY = 4, 8, 77, 49408


class LatentDiffusion(nn.Module):
    """Only the denoiser learns; it recomputes its blocks, as the configurations' ``use_checkpoint``
    says."""

    def __init__(self, denoiser: UNet2DConditionModel, captions: CLIPTextModel):
        super().__init__()
        self.denoiser, self.captions = denoiser, captions
        self.denoiser.enable_gradient_checkpointing()
        self.autoencoder = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=LATENT_CHANNELS,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )

    def forward(self, pixels, caption, noise, step):
        with torch.no_grad():
            latents = self.autoencoder.encode(pixels).latent_dist.mean
            said = self.captions(caption).last_hidden_state
        painted = self.denoiser((latents + noise).detach(), step, said.detach()).sample
        return nn.functional.mse_loss(painted.float(), noise.float())


def _denoiser(
    caption_width: int, heads: int | tuple[int, ...], linear: bool
) -> UNet2DConditionModel:
    """``heads``: attention heads of each resolution, under diffusers' misnamed argument."""
    return UNet2DConditionModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=2,
        block_out_channels=(320, 640, 1280, 1280),
        cross_attention_dim=caption_width,
        attention_head_dim=heads,
        use_linear_projection=linear,
    )


def _captions(width: int, layers: int, heads: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=CAPTION_TOKENS,
        )
    )


def _training_at(pixels: int, module: LatentDiffusion):
    side = pixels // REDUCTION

    def batch(B):
        return {
            "pixels": torch.zeros(B, 3, pixels, pixels),
            "caption": torch.zeros(B, CAPTION_TOKENS, dtype=torch.long),
            "noise": torch.zeros(B, LATENT_CHANNELS, side, side),
            "step": torch.zeros(B, dtype=torch.long),
        }

    return module, batch, lambda model, inputs: model(**inputs)


def _version_1() -> LatentDiffusion:
    """With the attention of 2022, unfused."""
    module = LatentDiffusion(_denoiser(768, 8, linear=False), _captions(768, 12, 12))
    module.denoiser.set_attn_processor(AttnProcessor())
    return module


def _version_2() -> LatentDiffusion:
    """Captions by OpenCLIP's ViT-H, of which all but the last layer are run; fused attention."""
    return LatentDiffusion(_denoiser(1024, (5, 10, 20, 20), linear=True), _captions(1024, 23, 16))


def v1_at_256():
    return _training_at(256, _version_1())


def v1_at_512():
    return _training_at(512, _version_1())


def v2_at_256():
    return _training_at(256, _version_2())


def v2_at_512():
    return _training_at(512, _version_2())


def v2_at_768():
    return _training_at(768, _version_2())


class OnLatents(nn.Module):
    """The denoiser alone, on latents and captions that were computed before (MosaicML's
    ``precomputed_latents``)."""

    def __init__(self, denoiser: UNet2DConditionModel):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, latents, caption, noise, step):
        painted = self.denoiser(latents + noise, step, caption).sample
        return nn.functional.mse_loss(painted.float(), noise.float())


def _on_latents_at(pixels: int):
    side, width = pixels // REDUCTION, 1024
    module = OnLatents(_denoiser(width, (5, 10, 20, 20), linear=True))

    def batch(B):
        shape = (B, LATENT_CHANNELS, side, side)
        return {
            "latents": torch.zeros(shape),
            "caption": torch.zeros(B, CAPTION_TOKENS, width),
            "noise": torch.zeros(shape),
            "step": torch.zeros(B, dtype=torch.long),
        }

    return module, batch, lambda model, inputs: model(**inputs)


def mosaic_at_256():
    return _on_latents_at(256)


def mosaic_at_512():
    return _on_latents_at(512)
