"""On-policy distillation as TRL runs it (huggingface/trl@f2cd577
trl/experimental/distillation/distillation_trainer.py): the student writes to every prompt, and the
reverse divergence from a teacher is taken of what it wrote. Both models make the logits of prompts
too."""

from __future__ import annotations

from planner.training.objective import IN_STEP, PROMPTS, Objective

#: DistillationConfig.beta and temperature.
BETA, TEMPERATURE = 1.0, 1.0


def batch(sizes):
    whole = sizes.length + sizes.target
    return {
        "input_ids": sizes.ids(sizes.samples, whole),
        "attention_mask": sizes.ids(sizes.samples, whole),
        "completion_mask": sizes.ids(sizes.samples, sizes.target),
    }


def loss(passes, batch):
    from planner.training.divergence import divergence, learnt

    student = passes.policy(batch)
    with passes.reference() as run:
        teacher = run(batch)
    kept = batch["completion_mask"].shape[1]
    written = slice(-kept - 1, -1)
    each = divergence(student[:, written, :], teacher[:, written, :], BETA, TEMPERATURE)
    return learnt(passes, each, batch["completion_mask"])


OBJECTIVE = Objective(
    "on_policy_distillation",
    "on-policy distillation",
    "prompts: completions that the student writes, every token compared with a teacher's",
    PROMPTS,
    order=100,
    batch=batch,
    loss=loss,
    symbols=("B", "S", "T"),
    teacher=IN_STEP,
)
