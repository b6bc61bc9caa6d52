"""Kahneman-Tversky optimization (Ethayarajh et al. 2024, arXiv 2402.01306) as TRL runs it
(huggingface/trl@f2cd577 trl/trainer/kto_trainer.py): single answers that are good or bad. Beside
the pass that trains one runs on mismatched answers, for the divergence from the reference, and the
reference runs both."""

from __future__ import annotations

from planner.training.objective import JUDGED, Objective
from planner.training.preference import logged, summed

#: KTOConfig.beta; it changes no cost.
BETA = 0.1


def batch(sizes):
    made = sizes.texts(sizes.samples)
    made |= {f"other_{name}": value for name, value in sizes.texts(sizes.samples).items()}
    made["label"] = sizes.ids(sizes.samples)
    if sizes.has_references:
        made |= {name: sizes.numbers(sizes.samples) for name in ("ref_logps", "ref_other_logps")}
    return made


def loss(passes, batch):
    import torch

    others = {name[6:]: value for name, value in batch.items() if name.startswith("other_")}
    with torch.no_grad():
        other = summed(passes.policy(others), others)
    logits = passes.policy(batch)
    found = summed(logits, batch)
    if passes.compares:
        with passes.reference() as run:
            base_other = summed(run(others), others)
            compared = run(batch)  # alive until the step's figures are logged, as in TRL
            base = summed(compared, batch)
    elif "ref_logps" in batch:
        base, base_other = batch["ref_logps"], batch["ref_other_logps"]
    else:
        base = base_other = 0.0
    divergence = (other - base_other).mean().detach().clamp(min=0)
    ratios, good = found - base, batch["label"] > 0
    each = torch.where(good, ratios - divergence, divergence - ratios)
    logged(passes, logits, batch, ratios)
    return (1 - torch.sigmoid(BETA * each)).mean()


OBJECTIVE = Objective(
    "kto",
    "KTO",
    "single answers that are good or bad, compared with a frozen copy",
    JUDGED,
    order=30,
    batch=batch,
    loss=loss,
    reference=True,
    in_step=True,
)
