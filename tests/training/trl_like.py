"""Steps of DPO and GRPO written as TRL's trainers run them, loops over the batch included, on real
tensors of the processor, and the bytes that are alive while they run."""

from __future__ import annotations

import torch
from torch.nn import functional

from benchmarks.alive import Alive


def selective_log_softmax(logits, index):
    index = index.unsqueeze(-1)
    if logits.dtype in (torch.float32, torch.float64):
        selected = torch.gather(logits, dim=-1, index=index)
        sums = torch.stack([torch.logsumexp(row, dim=-1) for row in logits])
        return (selected - sums.unsqueeze(-1)).squeeze(-1)
    found = []
    for row, labels in zip(logits, index, strict=True):
        logps = functional.log_softmax(row, dim=-1)
        found.append(logps.gather(dim=-1, index=labels))
    return torch.stack(found).squeeze(-1)


def entropy_from_logits(logits, chunk=128):
    shape = logits.shape[:-1]
    found = []
    for part in logits.reshape(-1, logits.shape[-1]).split(chunk, dim=0):
        logps = functional.log_softmax(part, dim=-1)
        found.append(-(torch.exp(logps) * logps).sum(-1))
    return torch.cat(found).reshape(shape)


def called(model, **inputs):
    """A model as accelerate wraps it under autocast: logits come back in float32."""
    return model(**inputs, use_cache=False).logits.float()


def dpo(model, reference, batch):
    """``reference``: another model, or None for the same one with its adapters off."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = called(model, **inputs)
    labels, mask = batch["input_ids"][..., 1:], batch["completion_mask"][..., 1:]
    shifted = logits[..., :-1, :]
    logps = selective_log_softmax(shifted, labels)
    logps[mask == 0] = 0.0
    chosen, rejected = logps.sum(dim=1).chunk(2)
    with torch.no_grad():
        if reference is None:
            with model.disable_adapter():
                ref_logits = called(model, **inputs)
        else:
            ref_logits = called(reference, **inputs)
    ref_shifted = ref_logits[..., :-1, :]
    ref_logps = selective_log_softmax(ref_shifted, labels)
    ref_logps[mask == 0] = 0.0
    ref_chosen, ref_rejected = ref_logps.sum(dim=1).chunk(2)
    chosen, rejected = chosen - ref_chosen, rejected - ref_rejected
    loss = -functional.logsigmoid(0.1 * (chosen - rejected)).mean()
    (entropy_from_logits(shifted.detach()) * mask).sum()
    halves = shifted.detach().chunk(2)
    for half, own in zip(halves, mask.chunk(2), strict=True):
        half[own.bool()].mean(-1).sum()
    halves[0].argmax(dim=-1)
    return loss


def grpo(model, _reference, batch):
    answered = batch["completion_ids"]
    kept = answered.shape[1]
    logits = called(
        model,
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=kept + 1,
    )
    logits = logits[:, :-1, :]
    logits = logits[:, -kept:, :]
    logits.div_(1.0)
    logps = selective_log_softmax(logits, answered)
    with torch.no_grad():
        entropy_from_logits(logits)
    advantages = batch["advantages"].unsqueeze(1)
    ratio = torch.exp(logps - logps.detach())
    clipped = torch.clamp(ratio, 0.8, 1.2)
    found = -torch.min(ratio * advantages, clipped * advantages)
    return (found * batch["completion_mask"]).sum() / batch["completion_mask"].sum()


STEPS = {"dpo": dpo, "grpo": grpo}


def peak_bytes(objective, model, reference, batch) -> int:
    """Of one step's forward and backward passes, beside what was there before."""
    with Alive() as alive:
        loss = STEPS[objective](model, reference, batch)
        loss.backward()
        del loss
    return alive.peak
