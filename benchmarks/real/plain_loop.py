"""The loop that people write themselves: a DataLoader in the training process, AdamW, a linear
schedule, an evaluation and a checkpoint each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import DataLoader

from benchmarks.real.cases import RealCase
from benchmarks.real.stamps import Stamps
from benchmarks.real.subject import Subject, accuracy, same_words


def train(case: RealCase, subject: Subject, out: Path, stamps: Stamps) -> dict[str, Any]:
    """Runs the case to its last checkpoint; what the last evaluation said."""
    model, found = subject.model, {}
    batches = DataLoader(
        subject.trained, batch_size=case.micro_batch, shuffle=True, collate_fn=subject.collate
    )
    held_out = DataLoader(
        subject.held_out, batch_size=case.evaluation_batch, collate_fn=subject.collate
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, 0, case.epochs * len(batches)
    )
    with stamps.phase("training"):
        for epoch in range(case.epochs):
            _epoch(model, batches, optimizer, schedule, stamps)
            with stamps.phase("evaluation"):
                found = _evaluated(case, subject, held_out)
            with stamps.phase("saving"):
                _save(model, optimizer, schedule, out / f"epoch-{epoch}")
    return found


def _epoch(model: Any, batches: Any, optimizer: Any, schedule: Any, stamps: Stamps) -> None:
    model.train()
    for batch in batches:
        stamps.step_begins()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        stamps.step_ends()


@torch.no_grad()
def _evaluated(case: RealCase, subject: Subject, held_out: Any) -> dict[str, float]:
    model, scores, losses = subject.model, [], []
    model.eval()
    for batch in held_out:
        labels = batch["labels"].numpy()
        if case.beams is not None:
            generated = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_length=case.generated,
                num_beams=case.beams,
            )
            scores.append(same_words(subject.tokenizer, generated.numpy(), labels))
            continue
        output = model(**batch)
        losses.append(float(output.loss))
        scores.append(accuracy(output.logits.numpy(), labels))
    found = {"eval_accuracy": float(np.mean(scores))}
    return found | ({"eval_loss": float(np.mean(losses))} if losses else {})


def _save(model: Any, optimizer: Any, schedule: Any, folder: Path) -> None:
    """What a run needs to go on."""
    model.save_pretrained(folder)
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(schedule.state_dict(), folder / "scheduler.pt")
