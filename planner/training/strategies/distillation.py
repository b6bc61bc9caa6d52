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

#: Of a CTC model the labels are fewer than the frames.
NO_ROW_OF_ITS_OWN = (
    "the student learns from the teacher's outputs alone: the labels belong to no row of them"
)


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
        target, labels = target[..., : logits.shape[-1]], batch.get("labels")
        if built.soft_loss is not None:
            return built.soft_loss(logits, target)
        if labels is not None and labels.is_floating_point():
            return _regression(logits, target, labels)
        soft = (
            functional.kl_div(
                functional.log_softmax(logits.float() / TEMPERATURE, dim=-1),
                functional.softmax(target.float() / TEMPERATURE, dim=-1),
                reduction="batchmean",
            )
            * TEMPERATURE**2
        )
        rows = logits.numel() // logits.shape[-1]
        if labels is not None and labels.numel() < rows:
            prepared.assumptions = [NO_ROW_OF_ITS_OWN]
            return soft
        if labels is None:
            return soft
        hard = functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels.reshape(-1)[:rows],
        )
        return SOFT_WEIGHT * soft + (1 - SOFT_WEIGHT) * hard

    prepared = Prepared(
        student,
        [p for p in student.parameters() if p.requires_grad],
        forward,
        built.batch,
        count(student.parameters()),
        teacher=teacher.module,
    )
    return prepared


def _regression(logits, target, labels):
    """Of one value a sample there are no probabilities to soften: the squared distances to the
    teacher's output and to the label (TinyBERT's ``task_distill.py`` takes the label's alone)."""
    from torch.nn.functional import mse_loss

    value = logits.reshape(-1).float()
    soft = mse_loss(value, target.reshape(-1).float())
    return SOFT_WEIGHT * soft + (1 - SOFT_WEIGHT) * mse_loss(value, labels.reshape(-1).float())


STRATEGY = Strategy(
    "distillation", "distillation", "a smaller student, from a teacher's outputs", apply, order=60
)
