"""Steps of DPO, GRPO and distillation written as the trainers of TRL and torchtune run them, loops
over the batch included, on real tensors of the processor, and the bytes that are alive while they
run."""

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


def jsd(student_logits, teacher_logits, mask, beta, temperature):
    student_logits = student_logits / temperature
    teacher_logits = teacher_logits / temperature
    student_log_probs = functional.log_softmax(student_logits, dim=-1)
    teacher_log_probs = functional.log_softmax(teacher_logits, dim=-1)
    if beta == 1:
        found = functional.kl_div(
            teacher_log_probs, student_log_probs, reduction="none", log_target=True
        )
    else:
        weight = torch.tensor(beta, dtype=student_log_probs.dtype)
        mixture = torch.logsumexp(
            torch.stack(
                [
                    student_log_probs + torch.log1p(-weight),
                    teacher_log_probs + torch.log(weight),
                ]
            ),
            dim=0,
        )
        kl_teacher = functional.kl_div(
            mixture, teacher_log_probs, reduction="none", log_target=True
        )
        kl_student = functional.kl_div(
            mixture, student_log_probs, reduction="none", log_target=True
        )
        found = weight * kl_teacher + (1 - weight) * kl_student
    return found if mask is None else reduced(found, mask)


def reduced(found, mask):
    found = found[mask]
    return found.sum() / mask.sum()


def gkd(model, teacher, batch):
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    student_logits = called(model, **inputs)
    with torch.no_grad():
        teacher_logits = called(teacher, **inputs)
    mask = batch["labels"][:, 1:] != -100
    return jsd(student_logits[:, :-1, :], teacher_logits[:, :-1, :], mask, 0.5, 1.0)


def on_policy_distillation(model, teacher, batch):
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    kept = batch["completion_mask"].size(1)
    student_logits = called(model, **inputs)
    with torch.no_grad():
        teacher_logits = called(teacher, **inputs)
    student_logits = student_logits[:, -kept - 1 : -1, :]
    teacher_logits = teacher_logits[:, -kept - 1 : -1, :]
    found = jsd(student_logits, teacher_logits, None, 1.0, 1.0)
    return reduced(found, batch["completion_mask"].bool())


def chunked(model, batch):
    """A model of torchtune's with ``set_num_output_chunks(8)``."""
    inner = getattr(model, "get_base_model", lambda: model)()
    hidden = inner.model(batch["input_ids"], attention_mask=batch["attention_mask"])
    parts = hidden.last_hidden_state.tensor_split(8, dim=1)
    del hidden
    return [inner.lm_head(part) for part in parts]


def kd(model, teacher, batch):
    logits = chunked(model, batch)
    with torch.no_grad():
        teacher_logits = chunked(teacher, batch)
    labels = batch["labels"]
    teacher_logits = [part.reshape(-1, part.size(-1)) for part in teacher_logits]
    logits = [part.reshape(-1, part.size(-1)) for part in logits]
    pieces = [part.reshape(-1) for part in labels.tensor_split(8, dim=1)]
    kd_loss = 0.0
    for mine, taught, wanted in zip(logits, teacher_logits, pieces, strict=True):
        chances = functional.softmax(taught, dim=-1, dtype=torch.float32)
        infinite = torch.isinf(mine)
        logs = functional.log_softmax(mine, dim=-1, dtype=torch.float32)
        each = torch.sum(torch.masked_fill(chances * logs, infinite, 0), dim=-1).view(-1)
        kd_loss = kd_loss - torch.sum(each * (wanted != -100).int())
        del chances, infinite, logs, each
    loss = 0.0
    for mine, wanted in zip(logits, pieces, strict=True):
        loss = loss + functional.cross_entropy(mine.float(), wanted, reduction="sum")
    number = (labels != -100).sum()
    return 0.5 * (loss / number) + 0.5 * (kd_loss / number)


STEPS = {
    "dpo": dpo,
    "grpo": grpo,
    "gkd": gkd,
    "on_policy_distillation": on_policy_distillation,
    "kd": kd,
}


def peak_bytes(objective, model, reference, batch) -> int:
    """Of one step's forward and backward passes, beside what was there before."""
    with Alive() as alive:
        loss = STEPS[objective](model, reference, batch)
        loss.backward()
        del loss
    return alive.peak
