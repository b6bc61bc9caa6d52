"""Generalized knowledge distillation (Agarwal et al. 2023, arXiv 2306.13649) as TRL runs it
(huggingface/trl@f2cd577 trl/experimental/gkd/gkd_trainer.py): texts of the data, or in their place
what the student or the teacher writes to their prompts, and the divergence of all logits of both
models. The loss is called without the temperature that completions are sampled at."""

from __future__ import annotations

from planner.training.objective import IN_STEP, TEXTS, Objective

#: GKDConfig.beta: another one within 0 and 1 changes no cost.
BETA, TEMPERATURE = 0.5, 1.0


def batch(sizes):
    return sizes.labelled()


def loss(passes, batch):
    from planner.training.divergence import divergence, learnt, shifted

    student = passes.policy(batch)
    with passes.reference() as run:
        teacher = run(batch)

    def reduced(each):
        return learnt(passes, each, batch["labels"][:, 1:])

    return divergence(shifted(student), shifted(teacher), BETA, TEMPERATURE, reduced)


OBJECTIVE = Objective(
    "gkd",
    "GKD",
    "texts of which the student writes a part itself, every token compared with a teacher's",
    TEXTS,
    order=90,
    batch=batch,
    loss=loss,
    teacher=IN_STEP,
    replaces=True,
)
