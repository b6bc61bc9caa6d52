"""Distillation: a student learns from a teacher's outputs (Hinton et al. 2015, arXiv 1503.02531).

A step is the teacher's forward pass without gradients, the student's forward pass, the task's loss
plus the temperature- softened Kullback-Leibler divergence between the two outputs, and the
student's backward pass and optimizer.
"""

from __future__ import annotations

from planner.training.strategy import Prepared, Strategy, count, freeze

#: Softmax temperature and the weight of the soft loss as in DistilBERT (Sanh et al. 2019, arXiv
#: 1910.01108); neither changes the cost of a step.
TEMPERATURE, SOFT_WEIGHT = 2.0, 0.5


def apply(built, recipe, build) -> Prepared:
    """``build`` makes the teacher: it returns a BuiltModel of the recipe's teacher."""
    import torch
    from torch.nn import functional

    teacher = build()
    if teacher.facts.quantization is not None:
        from planner.training.quantised.apply import store_frozen

        store_frozen(teacher, recipe)
    freeze(teacher.module)
    teacher.module.eval()
    student = built.module

    def forward(batch, entering_teacher=lambda: None, leaving_teacher=lambda: None):
        entering_teacher()
        with torch.no_grad():
            target = teacher.logits(teacher.module, batch)
        leaving_teacher()
        logits = built.logits(student, batch)
        target = target[..., : logits.shape[-1]]
        if built.soft_loss is not None:
            return built.soft_loss(logits, target)
        soft = (
            functional.kl_div(
                functional.log_softmax(logits.float() / TEMPERATURE, dim=-1),
                functional.softmax(target.float() / TEMPERATURE, dim=-1),
                reduction="batchmean",
            )
            * TEMPERATURE**2
        )
        labels = batch.get("labels")
        if labels is None:
            return soft
        hard = functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels.reshape(-1)[: logits.numel() // logits.shape[-1]],
        )
        return SOFT_WEIGHT * soft + (1 - SOFT_WEIGHT) * hard

    return Prepared(
        student,
        [p for p in student.parameters() if p.requires_grad],
        forward,
        built.batch,
        count(student.parameters()),
        teacher=teacher.module,
    )


STRATEGY = Strategy(
    "distillation", "distillation", "a smaller student, from a teacher's outputs", apply, order=60
)
