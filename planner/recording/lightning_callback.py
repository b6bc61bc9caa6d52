"""A callback that records the runs of Lightning's Trainer into the ledger, for ``lightning`` and
``pytorch_lightning`` alike::

    trainer = Trainer(callbacks=[PlannerCallback()])

Validation and saving are left out of the step times. It costs some microseconds a batch and waits
for nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import MissingExtraError
from planner.ledger import model_setup
from planner.libraries import prepare_torchvision
from planner.recording.recorder import Recording, Then

_log = logging.getLogger("planner")
LIBRARIES = ("lightning.pytorch", "pytorch_lightning")

#: ``Trainer.precision`` to a question's names; ``-true`` sets the weights' type.
PRECISION = {
    "32-true": "fp32",
    "16-mixed": "amp_fp16",
    "bf16-mixed": "amp_bf16",
    "bf16-true": "bf16",
    "16-true": "fp16",
}
PARALLEL = (("deepspeed", "deepspeed"), ("fsdp", "fsdp"), ("ddp", "ddp"))


def _callback_class() -> type:
    """Of the library that the program uses; without one that is imported, of one that is installed.
    Raises MissingExtraError."""
    prepare_torchvision()  # torchmetrics imports it
    for name in LIBRARIES:
        if name in sys.modules:
            return sys.modules[name].Callback
    for name in LIBRARIES:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            return importlib.import_module(name).Callback
    raise MissingExtraError("lightning", "lightning", "recording Lightning's runs")


class PlannerCallback(_callback_class()):
    """Records each ``fit()`` as one run. ``question``, ``ledger``, ``then`` and ``known``
    as of ``planner.record``; of many processes the first writes. A fit that ends by an exception is
    recorded with it: out of memory is a result."""

    def __init__(
        self,
        question: Any = None,
        ledger: Path | str | None = None,
        *,
        with_estimate: bool = True,
        reset_peak: bool = True,
        then: Then | None = None,
        **known: Any,
    ) -> None:
        super().__init__()
        self.question, self.ledger, self.known = question, ledger, known
        self.with_estimate, self.reset_peak, self.then = with_estimate, reset_peak, then
        self.recording: Recording | None = None
        self.record = None  # the last one written

    # ------------------------------------------------------------ Lightning's events

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        self._steps, self._saving, self._batches, self._samples, self._tokens = (
            trainer.global_step,
            False,
            0,
            0,
            0,
        )
        self.recording = Recording(
            self.question,
            self.ledger,
            device=pl_module.device,
            with_estimate=self.with_estimate,
            reset_peak=self.reset_peak,
            then=self.then,
            source="lightning.Trainer",
        )
        self._quietly(self._set_up, self.recording, trainer, pl_module)
        self.recording.start()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: Any, *_: Any
    ) -> None:
        if self.recording is None:
            return
        if self._saving:  # the wait held a checkpoint
            self._saving = False
            self.recording.skip(paused=True)
        else:
            self.recording.data()
        self._batches += 1
        self._quietly(self._see, batch)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if self.recording is not None:
            self.recording.forward()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if self.recording is not None:
            self.recording.backward()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: Any, *_: Any
    ) -> None:
        if self.recording is not None and trainer.global_step != self._steps:
            self._steps = trainer.global_step
            self.recording.step()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if self.recording is not None:
            self.recording.skip()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self.recording is not None:
            self.recording.skip(paused=True)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        self._saving = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._finish(trainer, None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: Any) -> None:
        self._finish(trainer, exception)

    # ------------------------------------------------------------ inside

    def _set_up(self, recording: Recording, trainer: Any, module: Any) -> None:
        found, notes = model_setup.setup_of_model(_inner(module))
        found = model_setup.in_words_of(self.question, found)
        weights = found.pop("precision_of_weights", None)
        precision = PRECISION.get(str(trainer.precision))
        if precision == "fp32":
            precision = model_setup.precision_of(weights, None, model_setup.tf32_allowed())
        strategy = type(trainer.strategy).__name__.lower()
        more = {
            "precision": precision,
            "epochs": trainer.max_epochs
            if (trainer.max_epochs or -1) > 0 and (trainer.max_steps or -1) < 0
            else None,
            "gpus": trainer.world_size,
            "parallel": next((name for part, name in PARALLEL if part in strategy), None)
            if trainer.world_size > 1
            else None,
            "optimizer": model_setup.optimizer_of(trainer.optimizers[0])
            if len(trainer.optimizers) == 1
            else None,
        }
        held = model_setup.held_by("lightning", lambda name: getattr(trainer, name, None))
        recording.set(**model_setup.without_unknown({**found, **held, **more, **self.known}))
        recording.notes += notes

    def _see(self, batch: Any) -> None:
        """Samples and, of text, padded tokens, by the shapes of the batch."""
        named = batch if isinstance(batch, Mapping) else {}
        text = named.get("input_ids")
        first = text if text is not None else _first_tensor(batch)
        if first is None or first.dim() == 0:
            return
        self._samples += first.shape[0]
        self._tokens += (
            first.shape[0] * first.shape[1] if text is not None and first.dim() > 1 else 0
        )

    def _finish(self, trainer: Any, error: BaseException | None) -> None:
        recording, self.recording = self.recording, None
        if recording is None:
            return
        world = max(1, trainer.world_size)
        if self._samples:
            recording.add(samples=self._samples * world, tokens=self._tokens * world)
            recording.set(
                micro_batch=self.known.get("micro_batch", round(self._samples / self._batches))
            )
        if self._tokens:
            recording.set(
                sequence_length=self.known.get(
                    "sequence_length", round(self._tokens / self._samples)
                )
            )
        recording.finish(error)
        self.record = recording.record

    def _quietly(self, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except Exception as error:
            _log.warning(
                "planner: the run is recorded without some of its setup: %s",
                " ".join(f"{type(error).__name__}: {error}".split())[:300],
            )


def _inner(module: Any) -> Any:
    """The one model with a configuration inside a LightningModule, where there is one; else the
    module itself."""
    known = [
        child
        for child in module.children()
        if getattr(child, "config", None) is not None or getattr(child, "peft_config", None)
    ]
    return known[0] if len(known) == 1 else module


def _first_tensor(batch: Any) -> Any:
    if hasattr(batch, "shape") and hasattr(batch, "dim"):
        return batch
    items = (
        batch.values()
        if isinstance(batch, Mapping)
        else batch
        if isinstance(batch, list | tuple)
        else ()
    )
    return next((found for item in items if (found := _first_tensor(item)) is not None), None)
