"""transformers' Trainer as people start it, with stamps around what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import transformers

from benchmarks.real.cases import RealCase
from benchmarks.real.stamps import Stamps
from benchmarks.real.subject import Subject, accuracy, same_words


def train(case: RealCase, subject: Subject, out: Path, stamps: Stamps) -> dict[str, Any]:
    """Runs the case to its last checkpoint; what the last evaluation said."""
    generates = case.beams is not None
    base: Any = transformers.Seq2SeqTrainer if generates else transformers.Trainer
    trainer = _stamped(base, stamps)(
        model=subject.model,
        args=_arguments(case, out),
        data_collator=subject.collate,
        train_dataset=subject.trained,
        eval_dataset=subject.held_out,
        processing_class=subject.tokenizer,
        compute_metrics=lambda found: _metrics(case, subject, found),
        callbacks=[_stamping(stamps)],
    )
    trainer.train()
    return {
        name: value
        for name, value in trainer.state.log_history[-2].items()
        if name in ("eval_loss", "eval_accuracy")
    }


def _arguments(case: RealCase, out: Path) -> Any:
    more: dict[str, Any] = {}
    kind: Any = transformers.TrainingArguments
    if case.beams is not None:
        kind = transformers.Seq2SeqTrainingArguments
        more = dict(
            predict_with_generate=True,
            generation_max_length=case.generated,
            generation_num_beams=case.beams,
        )
    return kind(
        output_dir=str(out),
        per_device_train_batch_size=case.micro_batch,
        per_device_eval_batch_size=case.evaluation_batch,
        num_train_epochs=case.epochs,
        eval_strategy="epoch",
        save_strategy="epoch",
        learning_rate=5e-4,
        logging_steps=10,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=case.task != "image_classification",
        **more,
    )


def _metrics(case: RealCase, subject: Subject, found: Any) -> dict[str, float]:
    if case.beams is not None:
        return {"accuracy": same_words(subject.tokenizer, found.predictions, found.label_ids)}
    return {"accuracy": accuracy(np.asarray(found.predictions), found.label_ids)}


def _stamped(base: Any, stamps: Stamps) -> Any:
    class Stamped(base):
        def evaluate(self, *words: Any, **more: Any) -> Any:
            with stamps.phase("evaluation"):
                return super().evaluate(*words, **more)

        def _save_checkpoint(self, *words: Any, **more: Any) -> Any:
            with stamps.phase("saving"):
                return super()._save_checkpoint(*words, **more)

    return Stamped


def _stamping(stamps: Stamps) -> Any:
    class Stamping(transformers.TrainerCallback):
        def on_train_begin(self, *words: Any, **more: Any) -> None:
            stamps.enter("training")

        def on_step_begin(self, *words: Any, **more: Any) -> None:
            stamps.step_begins()

        def on_step_end(self, *words: Any, **more: Any) -> None:
            stamps.step_ends()

        def on_train_end(self, *words: Any, **more: Any) -> None:
            stamps.leave()

    return Stamping()
