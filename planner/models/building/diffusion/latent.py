"""A step of training a denoiser in latent space, as diffusers' example scripts run it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from planner.models.building.diffusion.conditions import CONDITIONS
from planner.models.pipelines import Pipeline

Batch = Mapping[str, Any]


class LatentDiffusion(nn.Module):
    """The parts of a pipeline under the names of its folders, and the loss of a batch.

    A batch has ``pixels`` [B, 3, H, W] float32 and the condition's ids, or, where the autoencoder
    and the text encoders ran before (``drop_encoders``), ``latents`` [B, C, H/8, W/8] and what the
    denoiser is told. ``weight_type``: the type that frozen parts and inputs have."""

    def __init__(self, parts: Mapping[str, nn.Module], pipeline: Pipeline, scheduler: Any):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.pipeline, self.scheduler = pipeline, scheduler
        self.condition = CONDITIONS[pipeline.told]
        self.weight_type = torch.float32
        self.prior = False
        self.config = SimpleNamespace(vocab_size=self._ids())

    def _ids(self) -> int:
        """How many ids every embedding has: a batch with values draws from them."""
        embeddings = [part.num_embeddings for part in self.modules() if type(part) is nn.Embedding]
        return min(embeddings, default=0)

    @property
    def denoiser(self) -> Any:
        return getattr(self, self.pipeline.denoiser)

    def forward(self, **batch: Any) -> torch.Tensor:
        if "latents" in batch:
            latents = batch["latents"]
            told = {key: value for key, value in batch.items() if key != "latents"}
        else:
            latents, told = self.encode(batch)
        predicted, target = self.predict(latents, told)
        return self._loss(predicted, target)

    def encode(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(latents, what the denoiser is told), by the frozen parts, outside of autocast: the
        scripts prepare the denoiser alone."""
        pixels = batch["pixels"]
        device = "cuda" if pixels.is_meta else pixels.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            return self._latents(pixels), self.condition.told(self, batch)

    def _latents(self, pixels: torch.Tensor) -> torch.Tensor:
        vae: Any = self.vae
        found = vae.encode(pixels.to(vae.dtype)).latent_dist.sample()
        shift = getattr(vae.config, "shift_factor", None)
        if shift:
            found = found - shift
        return (found * vae.config.scaling_factor).to(self.weight_type)

    def predict(self, latents: torch.Tensor, told: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(what the denoiser says of noisy latents, what it should say)."""
        noise = torch.randn_like(latents)
        steps = self.scheduler.config.num_train_timesteps
        if self.pipeline.is_flow:
            # logit-normal times (Esser et al. 2024, arXiv 2403.03206, section 3.1)
            share = torch.sigmoid(torch.randn(latents.shape[0], device=latents.device))
            sigma = share.to(latents.dtype).view(-1, 1, 1, 1)
            noisy = (1.0 - sigma) * latents + sigma * noise
            return self.condition.call(self, noisy, share * steps, told), noise - latents
        times = torch.randint(0, steps, (latents.shape[0],), device=latents.device)
        noisy = self.scheduler.add_noise(latents, noise, times)
        predicted = self.condition.call(self, noisy, times, told)
        if self.scheduler.config.prediction_type == "v_prediction":
            return predicted, self.scheduler.get_velocity(latents, noise, times)
        return predicted, noise

    def _loss(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error in float32; with prior preservation of both halves apart."""
        if not self.prior:
            return nn.functional.mse_loss(predicted.float(), target.float())
        halves = zip(predicted.chunk(2), target.chunk(2), strict=True)
        own, prior = (nn.functional.mse_loss(p.float(), t.float()) for p, t in halves)
        return own + prior

    def store_half(self, dtype: torch.dtype, *, denoiser: bool) -> None:
        """What mixed precision does to weights that do not train: the autoencoder where its
        pipeline allows it, the text encoders, and under adapters the denoiser itself."""
        self.weight_type = dtype
        for name in self.pipeline.parts:
            if name == "vae" and self.pipeline.float32_vae:
                continue
            if (name != self.pipeline.denoiser or denoiser) and hasattr(self, name):
                getattr(self, name).to(dtype)

    def without_encoders(self) -> LatentDiffusion:
        """Leave the denoiser alone, whose latents and embeddings come from a cache. Returns what
        makes these: a module of the parts that were taken out, whose ``encode`` does."""
        names = [name for name in self.pipeline.parts if name != self.pipeline.denoiser]
        parts = {name: getattr(self, name) for name in names}
        for name in names:
            delattr(self, name)
        other = LatentDiffusion(parts, self.pipeline, self.scheduler)
        other.weight_type = self.weight_type
        return other
