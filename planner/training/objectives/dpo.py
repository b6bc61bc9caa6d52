"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290) as TRL runs it
(huggingface/trl@f2cd577 trl/trainer/dpo_trainer.py): both halves of a pair in one pass of twice as
many sequences, the reference's pass without gradients behind it."""

from __future__ import annotations

from planner.training.objective import PAIRS, Objective
from planner.training.preference import logged, summed

#: DPOConfig.beta; it changes no cost.
BETA = 0.1


def batch(sizes):
    made = sizes.texts(2 * sizes.samples)
    if sizes.has_references:
        names = ("ref_chosen_logps", "ref_rejected_logps")
        made |= {name: sizes.numbers(sizes.samples) for name in names}
    return made


def loss(passes, batch):
    from torch.nn import functional

    logits = passes.policy(batch)
    chosen, rejected = summed(logits, batch).chunk(2)
    if passes.compares:
        with passes.reference() as run:
            compared = run(batch)  # alive until the step's figures are logged, as in TRL
            base_chosen, base_rejected = summed(compared, batch).chunk(2)
        chosen, rejected = chosen - base_chosen, rejected - base_rejected
    elif "ref_chosen_logps" in batch:
        chosen = chosen - batch["ref_chosen_logps"]
        rejected = rejected - batch["ref_rejected_logps"]
    found = -functional.logsigmoid(BETA * (chosen - rejected)).mean()
    logged(passes, logits, batch, chosen, rejected, chosen - rejected)
    return found


OBJECTIVE = Objective(
    "dpo",
    "DPO",
    "pairs of a chosen and a rejected answer, compared with a frozen copy",
    PAIRS,
    order=10,
    batch=batch,
    loss=loss,
    reference=True,
    in_step=True,
)
